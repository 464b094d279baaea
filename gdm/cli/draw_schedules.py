"""Draw the noise schedules of diffusion models."""

from typing import Any

from gdm.cli.compose import CONFIGS, Origin, nodes_of_group
from gdm.recipes.terminal import say


def draw(recipe: dict[str, Any], origin: Origin) -> None:
    """Draw alpha_bar of every schedule, and below it an image that each turns into noise."""
    from gdm.files import named_file
    from gdm.pictures import figures, grids
    from gdm.recipes import build, check
    from gdm.theory.images import to_float
    from gdm.tools.schedules import discrete_schedules, layout, picture, training_image

    check.check(recipe, root=layout, trusted=origin.plugins)
    path = named_file(recipe["to"], "schedules.png")
    grids.refuse_ending(path)
    data = build.build(recipe["dataset"], "dataset", origin.plugins)
    x_0 = to_float(training_image(data, recipe["index"]))
    nodes = nodes_of_group(CONFIGS, "schedule")
    schedules = discrete_schedules(nodes, origin.plugins)
    figures.save_figure(picture(schedules, x_0, recipe["seed"]), path)
    say(path)
