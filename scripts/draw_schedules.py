"""Draw the noise schedules of diffusion models: python scripts/draw_schedules.py --help."""

from pathlib import Path
from typing import Any

from gdm.config import Origin, main, nodes_of_group
from gdm.terminal import say

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def draw(recipe: dict[str, Any], origin: Origin) -> None:
    """Draw alpha_bar of every schedule, and below it an image that each turns into noise."""
    from gdm import forward_process, pictures, recipes, signatures  # torch, so not for --help
    from gdm.data.batches import to_float
    from gdm.files import named_file

    signatures.check(recipe, root=forward_process.layout, trusted=origin.plugins)
    path = named_file(recipe["to"], "schedules.png")
    pictures.refuse_ending(path)
    data = recipes.build(recipe["dataset"], "dataset", origin.plugins)
    x_0 = to_float(forward_process.training_image(data, recipe["index"]))
    nodes = nodes_of_group(CONFIGS, "schedule")
    schedules = forward_process.discrete_schedules(nodes, origin.plugins)
    pictures.save_figure(forward_process.picture(schedules, x_0, recipe["seed"]), path)
    say(path)


if __name__ == "__main__":
    main("draw_schedules", draw)
