"""The families of models, by their names: `from gdm.models import VAE`.

Each is imported when it is first asked for.
"""

import gdm

MODELS = {  # class -> its module
    "Autoencoder": "autoencoder",
    "Classifier": "classifier",
    "DDPM": "ddpm",
    "Diffusion": "diffusion",
    "GAN": "gan",
    "GenerativeModel": "base",
    "Model": "base",
    "ProgressiveGAN": "progressive_gan",
    "ProgressiveStyleGAN": "stylegan",
    "R3GAN": "r3gan",
    "StyleGAN": "stylegan",
    "VAE": "vae",
}
__getattr__, __dir__ = gdm.lazily(__name__, __path__, MODELS)
