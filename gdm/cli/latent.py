"""See, walk, edit and use the latent space of a trained model."""

from typing import Any

from gdm.cli.compose import Origin
from gdm.recipes.terminal import say


def use(recipe: dict[str, Any], origin: Origin) -> None:
    """Use one tool on an earlier run, beside further runs where it compares."""
    from gdm.cli import console
    from gdm.evaluation import protocol
    from gdm.recipes import build, check
    from gdm.tools import open_run
    from gdm.tools.latent.tool import (
        apply,
        destination,
        folder_for_tensorboard,
        layout,
        refuse_idle_comparison,
        write,
    )

    console.log_to_console()
    run, options, plugins = origin.run, origin.options, origin.plugins
    check.check(options, root=layout, trusted=plugins)
    check.check(recipe, trusted=plugins)
    tool = build.build(options["tool"], "tool", plugins)
    data = build.build(recipe["dataset"], "dataset", plugins)
    protocol.refuse_other_data(run, data)
    refuse_idle_comparison(tool, options["compare"])
    subject = open_run.opened(run, recipe, options, data, plugins)
    others = open_run.opened_others(options, subject, data, plugins, key="compare")
    tool.refuse(subject, others, data)
    folder = destination(tool, run, options["to"])
    found = apply(tool, subject, others, data, options["seed"])
    found.record["overrides"] = origin.overrides
    written = write(found, folder, folder_for_tensorboard(run, options["to"]))
    console.report_found(found.record)
    say(*written)
