"""Write a trained classifier into one file: python scripts/export_classifier.py --help."""

from pathlib import Path
from typing import Any

from gdm.config import Origin, main


def export(recipe: dict[str, Any], origin: Origin) -> None:
    """Write the averaged network of an earlier run, with what is known of it."""
    from gdm import features, signatures  # torch comes with them, so not for --help
    from gdm.errors import UserError

    run, options = origin.run, origin.options
    signatures.check(options, root=features.layout)
    signatures.check(recipe, trusted=origin.plugins)
    path = Path(options["to"] or run.path / "classifier.safetensors")
    if path.is_dir():
        raise UserError(f"to={path}: is a folder; name a file in it, such as mine.safetensors")
    facts = features.export(run, options["checkpoint"], path)
    print(f"{path}: right about {float(facts['test_accuracy']):.2%} of the test images")


if __name__ == "__main__":
    main("export_classifier", export)
