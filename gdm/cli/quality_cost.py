"""Draw what a diffusion model's samples are worth against what they cost."""

from typing import Any

from gdm.cli.compose import CONFIGS, nodes_of_group
from gdm.cli.origin import Origin
from gdm.recipes.terminal import say_files


def compare(recipe: dict[str, Any], origin: Origin) -> None:
    """Evaluate an earlier run by every sampler and number of steps, and other runs beside it."""
    from gdm.cli import console
    from gdm.evaluation.protocol import Evaluator  # torch, not for --help
    from gdm.recipes.options import options_from
    from gdm.tools import open_run, quality_cost, quality_cost_points

    console.log_to_console()
    run, plugins = origin.run, origin.plugins
    options = options_from(quality_cost.QualityCostOptions, origin.options, plugins)
    quality_cost.refuse_idle(origin.overrides)
    settings = quality_cost.sampler_settings(options, nodes_of_group(CONFIGS, "sampler"), plugins)
    opened = open_run.opened_run(
        run,
        recipe,
        checkpoint=options.checkpoint,
        averaged=options.averaged,
        extractor=open_run.extractor_of(options, plugins),
        plugins=plugins,
    )
    quality_cost.refuse_without_sampler(opened)
    open_run.refuse_other_data(run, opened.data)
    others = open_run.compared_runs(options, opened, plugins)
    open_run.prepare([opened, *others])
    extractor = opened.features()
    path = quality_cost.curve_path(options, opened, extractor)
    evaluator = Evaluator(opened.data, extractor, pairwise=False, num_neighbours=0)
    record = quality_cost_points.measure(opened, settings, others, evaluator, options)
    record["overrides"] = origin.overrides
    console.report_quality_cost(record)
    say_files(*quality_cost.write(record, path))
