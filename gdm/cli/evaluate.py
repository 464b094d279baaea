"""Evaluate a trained model, or a file of samples."""

from typing import Any

from gdm.cli.origin import Origin
from gdm.recipes.terminal import say_files


def evaluate(recipe: dict[str, Any], origin: Origin) -> None:
    """Evaluate the model of an earlier run, or a file of samples, and record what is found."""
    from gdm.cli import console
    from gdm.recipes.options import options_from
    from gdm.tools.evaluate import (
        EvaluateOptions,
        evaluate_file,
        evaluate_run,
        refuse_contradictions,
    )
    from gdm.tools.open_run import extractor_of, opened_run  # torch, not for --help

    console.log_to_console()
    run, plugins = origin.run, origin.plugins
    options = options_from(EvaluateOptions, origin.options if run else recipe, plugins)
    refuse_contradictions(options, run, origin.overrides)
    if run is None:
        evaluation, class_names = evaluate_file(options, plugins), options.dataset.class_names
    else:
        opened = opened_run(
            run,
            recipe,
            checkpoint=options.checkpoint,
            averaged=options.averaged,
            extractor=extractor_of(options, plugins),
            plugins=plugins,
        )
        evaluation, class_names = evaluate_run(opened, options), opened.data.class_names
    evaluation, written = evaluation
    console.report_evaluation(evaluation.record, class_names)
    say_files(*written)
