"""The families of models, by their names: `from gdm.models import VAE`.

Each is imported when it is first asked for.
"""

import importlib

MODELS = {  # class -> its module
    "Autoencoder": "autoencoder",
    "Classifier": "classifier",
    "DDPM": "ddpm",
    "Diffusion": "diffusion",
    "GAN": "gan",
    "GenerativeModel": "base",
    "Model": "base",
    "VAE": "vae",
}


def __getattr__(name: str):
    if name in MODELS:
        return getattr(importlib.import_module(f"{__name__}.{MODELS[name]}"), name)
    if name in MODELS.values():
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"gdm.models has no {name!r}; it has {', '.join(MODELS)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *MODELS])
