"""Evaluate a trained model, or a file of samples: python scripts/evaluate.py --help."""

from gdm.cli.command_line import main
from gdm.cli.evaluate import evaluate

if __name__ == "__main__":
    main("evaluate", evaluate)
