"""Draw the noise schedules of diffusion models."""

from typing import Any

from gdm.cli.compose import CONFIGS, nodes_of_group
from gdm.cli.origin import Origin
from gdm.recipes.terminal import say_files


def draw(recipe: dict[str, Any], origin: Origin) -> None:
    """Draw alpha_bar of every schedule, and below it an image that each turns into noise."""
    from gdm.files import named_file
    from gdm.pictures import figures, grids
    from gdm.recipes.options import options_from
    from gdm.theory.images import to_float
    from gdm.tools import schedules

    options = options_from(schedules.DrawSchedulesOptions, recipe, origin.plugins)
    path = named_file(options.to, "schedules.png")
    grids.refuse_ending(path)
    x_0 = to_float(schedules.training_image(options.dataset, options.index))
    nodes = nodes_of_group(CONFIGS, "schedule")
    drawn = schedules.discrete_schedules(nodes, origin.plugins)
    figures.save_figure(schedules.picture(drawn, x_0, options.seed), path)
    say_files(path)
