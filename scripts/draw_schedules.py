"""Draw the noise schedules of diffusion models: python scripts/draw_schedules.py --help."""

from gdm.cli.command_line import main
from gdm.cli.draw_schedules import draw

if __name__ == "__main__":
    main("draw_schedules", draw)
