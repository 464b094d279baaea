"""See, walk, edit and use the latent space of a trained model: python scripts/latent.py --help."""

from typing import Any

from gdm.config import Origin, main
from gdm.terminal import say


def use(recipe: dict[str, Any], origin: Origin) -> None:
    """Use one tool on an earlier run, beside further runs where it compares."""
    from gdm import console, protocol, recipes, signatures, subjects  # torch, not for --help
    from gdm.latent_tools import tool as tools

    console.log_to_console()
    run, options, plugins = origin.run, origin.options, origin.plugins
    signatures.check(options, root=tools.layout, trusted=plugins)
    signatures.check(recipe, trusted=plugins)
    tool = recipes.build(options["tool"], "tool", plugins)
    data = recipes.build(recipe["dataset"], "dataset", plugins)
    protocol.refuse_other_data(run, data)
    tools.refuse_idle_comparison(tool, options["compare"])
    subject = subjects.opened(run, recipe, options, data, plugins)
    others = subjects.opened_others(options, subject, data, plugins, key="compare")
    tool.refuse(subject, others, data)
    folder = tools.destination(tool, run, options["to"])
    found = tools.apply(tool, subject, others, data, options["seed"])
    found.record["overrides"] = origin.overrides
    written = tools.write(found, folder, tools.folder_for_tensorboard(run, options["to"]))
    console.report_found(found.record)
    say(*written)


if __name__ == "__main__":
    main("latent", use)
