"""Train a model, repeat a run, or go on with one: python scripts/train.py --help."""

from gdm.cli.command_line import main
from gdm.cli.train import train

if __name__ == "__main__":
    main("train", train)
