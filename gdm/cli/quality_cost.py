"""Draw what a diffusion model's samples are worth against what they cost."""

from pathlib import Path
from typing import Any

from gdm.cli.compose import CONFIGS, Origin, nodes_of_group
from gdm.recipes.terminal import say


def compare(recipe: dict[str, Any], origin: Origin) -> None:
    """Judge an earlier run by every sampler and number of steps, and other runs beside it."""
    # torch, not for --help
    from gdm.cli import console
    from gdm.evaluation import protocol
    from gdm.recipes import build, check
    from gdm.tools import open_run, quality_cost

    console.log_to_console()
    run, options, plugins = origin.run, origin.options, origin.plugins
    check.check(options, root=quality_cost.layout, trusted=plugins)
    check.check(recipe, trusted=plugins)
    quality_cost.refuse_idle(origin.overrides)
    quality_cost.refuse_without_sampler(run, recipe)
    ways = quality_cost.ways(options, nodes_of_group(CONFIGS, "sampler"), plugins)
    data = build.build(recipe["dataset"], "dataset", plugins)
    protocol.refuse_other_data(run, data)
    subject = open_run.opened(run, recipe, options, data, plugins)
    others = open_run.opened_others(options, subject, data, plugins)
    open_run.prepare([subject, *others], data)
    extractor = build.build(options["extractor"], "extractor", plugins)(
        data=data, outputs=Path(options["outputs"]), plugins=plugins
    ).to(subject.model.device)
    path = quality_cost.destination(options, run, recipe, data, extractor)
    judge = protocol.Judge(data, extractor, pairwise=False, num_neighbours=0)
    record = quality_cost.measure(subject, ways, others, judge, options)
    record["overrides"] = origin.overrides
    console.report_quality_cost(record)
    say(*quality_cost.write(record, path))
