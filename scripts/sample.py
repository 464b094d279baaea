"""Draw samples from a trained model: python scripts/sample.py --help."""

from gdm.cli.command_line import main
from gdm.cli.sample import sample

if __name__ == "__main__":
    main("sample", sample)
