"""Sample images from a trained model."""

from typing import Any

from gdm.cli.origin import Origin
from gdm.recipes.terminal import say_files


def sample(recipe: dict[str, Any], origin: Origin) -> None:
    """Sample images from the model of an earlier run and write them."""
    from gdm.recipes.options import options_from
    from gdm.tools.open_run import opened_run  # torch, not for --help
    from gdm.tools.sample import SampleOptions, sample

    options = options_from(SampleOptions, origin.options, origin.plugins)
    opened = opened_run(
        origin.run,
        recipe,
        checkpoint=options.checkpoint,
        averaged=options.averaged,
        plugins=origin.plugins,
    )
    say_files(sample(opened, options))
