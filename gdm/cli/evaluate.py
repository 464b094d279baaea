"""Judge a trained model, or a file of samples."""

from pathlib import Path
from typing import Any

from gdm.cli.compose import Origin
from gdm.recipes.terminal import say


def evaluate(recipe: dict[str, Any], origin: Origin) -> None:
    """Judge the model of an earlier run, or a file of samples, and record what is found."""
    import torch  # not for --help

    from gdm.cli import console
    from gdm.evaluation import protocol
    from gdm.recipes import build, check
    from gdm.runs import catalogue

    console.log_to_console()
    options = origin.options if origin.run else recipe
    check.check(options, root=protocol.layout, trusted=origin.plugins)
    if origin.run:
        check.check(recipe, trusted=origin.plugins)
    protocol.refuse_contradictions(options, origin.run, origin.overrides)
    data = build.build(recipe["dataset"], "dataset", origin.plugins)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, changed = None, {}
    if origin.run:
        changed = build.changes(origin.run.recipe(), recipe)
        protocol.refuse_other_data(origin.run, data)
        options["checkpoint"] = catalogue.checkpoint_path(origin.run, options["checkpoint"]).stem
        model = catalogue.load(
            origin.run, options["checkpoint"], options["averaged"], recipe, origin.plugins
        ).to(device)
        protocol.refuse_impossible_bound(model, data, options["importance_samples"])
    extractor = None
    if model is None or model.makes_images:
        extractor = build.build(options["extractor"], "extractor", origin.plugins)(
            data=data, outputs=Path(options["outputs"]), plugins=origin.plugins
        ).to(device)
    path = protocol.destination(options, origin.run, data, extractor, changed)
    judge = protocol.Judge(data, extractor, options["pairwise"], options["neighbours"])
    if model is not None:
        judgement = protocol.judge_run(model, judge, options)
        judgement.record |= {"changed": changed} if changed else {}
        origin.run.record(model.images_seen, judgement.record)
    else:
        judgement = protocol.judge_file(Path(options["samples"]), judge)
    console.report_judgement(judgement.record, data.class_names)
    say(*protocol.write(judgement, path))
