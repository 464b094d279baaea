"""See, walk, edit and use the latent space of a trained model."""

from typing import Any

from gdm.cli.origin import Origin
from gdm.recipes.terminal import say_files


def use(recipe: dict[str, Any], origin: Origin) -> None:
    """Use one tool on an earlier run, beside further runs where it compares."""
    from gdm.cli import console
    from gdm.evaluation.samples import refuse_without_images  # torch, not for --help
    from gdm.recipes.options import options_from
    from gdm.tools import open_run
    from gdm.tools.latent import tool

    console.log_to_console()
    run, plugins = origin.run, origin.plugins
    options = options_from(tool.LatentOptions, origin.options, plugins)
    tool.refuse_idle_comparison(options.tool, options.compare)
    extractor = open_run.extractor_of(options, plugins)
    opened = open_run.opened_run(
        run,
        recipe,
        checkpoint=options.checkpoint,
        averaged=options.averaged,
        extractor=extractor,
        plugins=plugins,
    )
    open_run.refuse_other_data(run, opened.data)
    refuse_without_images(opened.model, run)
    others = open_run.compared_runs(options, opened, plugins)
    options.tool.refuse(opened, others, opened.data)
    folder = tool.destination(options.tool, run, options.to)
    found = tool.apply(options.tool, opened, others, opened.data, options.seed)
    found.record["overrides"] = origin.overrides
    written = tool.write(found, folder, tool.folder_for_tensorboard(run, options.to))
    console.report_found(found.record)
    say_files(*written)
