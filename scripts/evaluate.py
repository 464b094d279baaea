"""Judge a trained model, or a file of samples: python scripts/evaluate.py --help."""

from pathlib import Path
from typing import Any

from gdm.config import Origin, main
from gdm.terminal import say


def evaluate(recipe: dict[str, Any], origin: Origin) -> None:
    """Judge the model of an earlier run, or a file of samples, and record what is found."""
    import torch  # not for --help

    from gdm import console, protocol, recipes, runs, signatures

    console.log_to_console()
    options = origin.options if origin.run else recipe
    signatures.check(options, root=protocol.layout, trusted=origin.plugins)
    if origin.run:
        signatures.check(recipe, trusted=origin.plugins)
    protocol.refuse_contradictions(options, origin.run, origin.overrides)
    data = recipes.build(recipe["dataset"], "dataset", origin.plugins)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, changed = None, {}
    if origin.run:
        changed = recipes.changes(origin.run.recipe(), recipe)
        protocol.refuse_other_data(origin.run, data)
        options["checkpoint"] = runs.checkpoint_path(origin.run, options["checkpoint"]).stem
        model = runs.load(
            origin.run, options["checkpoint"], options["averaged"], recipe, origin.plugins
        ).to(device)
        protocol.refuse_impossible_bound(model, data, options["importance_samples"])
    extractor = None
    if model is None or model.makes_images:
        extractor = recipes.build(options["extractor"], "extractor", origin.plugins)(
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


if __name__ == "__main__":
    main("evaluate", evaluate)
