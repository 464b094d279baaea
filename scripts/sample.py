"""Draw samples from a trained model: python scripts/sample.py --help."""

from functools import partial
from typing import Any

from gdm.config import Origin, main
from gdm.terminal import say


def sample(recipe: dict[str, Any], origin: Origin) -> None:
    """Draw samples from the model of an earlier run and write them."""
    import torch  # not for --help

    from gdm import evaluation, recipes, runs, sampling, signatures

    options = origin.options
    signatures.check(options, root=sampling.layout)
    signatures.check(recipe, trusted=origin.plugins)
    options["checkpoint"] = runs.checkpoint_path(origin.run, options["checkpoint"]).stem
    model = runs.load(
        origin.run, options["checkpoint"], options["averaged"], recipe, origin.plugins
    )
    sampling.refuse_without_images(model, origin.run)
    data = recipes.build(recipe["dataset"], "dataset", origin.plugins)
    label = sampling.class_number(options["label"], data.source.class_names, model)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    count, kind = options["num_samples"], options["format"]
    changed = recipes.changes(origin.run.recipe(), recipe)
    path = sampling.destination(options, origin.run, changed)
    with model.evaluating(averaged=False):  # the weights are those that were asked for
        evaluation.prepare_sampling(model, data)
        batches = sampling.draw(model, count, label, options["seed"], options["batch_size"])
        names = data.source.class_names
        lay_out = partial(sampling.picture, model=model, label=label, class_names=names)
        sampling.write(sampling.with_progress(batches, count), count, kind, path, lay_out)
    say(path)


if __name__ == "__main__":
    main("sample", sample)
