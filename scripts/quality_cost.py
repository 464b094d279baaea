"""Draw what a diffusion model's samples are worth against what they cost:
python scripts/quality_cost.py --help."""

from gdm.cli.command_line import main
from gdm.cli.quality_cost import compare

if __name__ == "__main__":
    main("quality_cost", compare)
