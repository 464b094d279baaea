"""Write a trained classifier into one file: python scripts/export_classifier.py --help."""

from gdm.cli.command_line import main
from gdm.cli.export_classifier import export

if __name__ == "__main__":
    main("export_classifier", export)
