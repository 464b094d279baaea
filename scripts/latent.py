"""See, walk, edit and use the latent space of a trained model: python scripts/latent.py --help."""

from gdm.cli.command_line import main
from gdm.cli.latent import use

if __name__ == "__main__":
    main("latent", use)
