"""Write a trained classifier into one file: python scripts/export_classifier.py --help."""

from typing import Any

from gdm.config import Origin, main
from gdm.terminal import say


def export(recipe: dict[str, Any], origin: Origin) -> None:
    """Write the averaged network of an earlier run, with what is known of it."""
    from gdm import features, signatures  # torch comes with them, so not for --help
    from gdm.files import named_file

    run, options = origin.run, origin.options
    signatures.check(options, root=features.layout)
    signatures.check(recipe, trusted=origin.plugins)
    to = options["to"] or run.path / "classifier.safetensors"
    path = named_file(to, "mine.safetensors")
    facts = features.export(run, options["checkpoint"], path, origin.plugins)
    say(f"{path}: right about {float(facts['test_accuracy']):.2%} of the test images")


if __name__ == "__main__":
    main("export_classifier", export)
