"""Compare runs and sweeps in one table and one page: python scripts/compare.py --help."""

from gdm.cli.command_line import main
from gdm.cli.compare import compare

if __name__ == "__main__":
    main("compare", compare)
