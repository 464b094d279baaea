"""Write a trained classifier into one file."""

from typing import Any

from gdm.cli.origin import Origin
from gdm.recipes.terminal import say


def export(recipe: dict[str, Any], origin: Origin) -> None:
    """Write the averaged network of an earlier run, with what is known of it."""
    from gdm.files import named_file
    from gdm.recipes.options import options_from
    from gdm.tools.export import ExportOptions, export
    from gdm.tools.open_run import opened_run, refuse_other_data  # torch, not for --help

    run, plugins = origin.run, origin.plugins
    options = options_from(ExportOptions, origin.options, plugins)
    path = named_file(options.to or run.path / "classifier.safetensors", "mine.safetensors")
    opened = opened_run(run, recipe, checkpoint=options.checkpoint, plugins=plugins)
    refuse_other_data(run, opened.data)
    facts = export(opened, path)
    say(f"{path}: right about {float(facts['test_accuracy']):.2%} of the test images")
