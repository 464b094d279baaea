"""Write a trained classifier into one file."""

from typing import Any

from gdm.cli.compose import Origin
from gdm.recipes.terminal import say


def export(recipe: dict[str, Any], origin: Origin) -> None:
    """Write the averaged network of an earlier run, with what is known of it."""
    from gdm.evaluation import classifier
    from gdm.files import named_file
    from gdm.recipes import check
    from gdm.tools.export import export

    run, options = origin.run, origin.options
    check.check(options, root=classifier.layout)
    check.check(recipe, trusted=origin.plugins)
    to = options["to"] or run.path / "classifier.safetensors"
    path = named_file(to, "mine.safetensors")
    facts = export(run, options["checkpoint"], path, origin.plugins)
    say(f"{path}: right about {float(facts['test_accuracy']):.2%} of the test images")
