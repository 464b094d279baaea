"""Draw samples from a trained model."""

from functools import partial
from typing import Any

from gdm.cli.compose import Origin
from gdm.recipes.terminal import say


def sample(recipe: dict[str, Any], origin: Origin) -> None:
    """Draw samples from the model of an earlier run and write them."""
    import torch  # not for --help

    from gdm.evaluation import model_metrics, samples
    from gdm.recipes import build, check
    from gdm.runs import catalogue

    options = origin.options
    check.check(options, root=samples.layout)
    check.check(recipe, trusted=origin.plugins)
    options["checkpoint"] = catalogue.checkpoint_path(origin.run, options["checkpoint"]).stem
    model = catalogue.load(
        origin.run, options["checkpoint"], options["averaged"], recipe, origin.plugins
    )
    samples.refuse_without_images(model, origin.run)
    data = build.build(recipe["dataset"], "dataset", origin.plugins)
    label = samples.class_number(options["label"], data.source.class_names, model)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    count, kind = options["num_samples"], options["format"]
    changed = build.changes(origin.run.recipe(), recipe)
    path = samples.destination(options, origin.run, changed)
    with model.evaluating(averaged=False):  # the weights are those that were asked for
        model_metrics.prepare_sampling(model, data)
        batches = samples.draw(model, count, label, options["seed"], options["batch_size"])
        names = data.source.class_names
        lay_out = partial(samples.picture, model=model, label=label, class_names=names)
        samples.write(samples.with_progress(batches, count), count, kind, path, lay_out)
    say(path)
