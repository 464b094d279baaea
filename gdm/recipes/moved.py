"""Names that have moved: a recipe of any earlier version, in the words of this one.

Old runs and weight files name their classes and arguments; they open for ever.
"""

from collections.abc import Callable
from typing import Any

# module -> where it is now
_MODULES = {
    "gdm.adversarial": "gdm.theory.adversarial",
    "gdm.augmentation": "gdm.theory.augmentation",
    "gdm.callbacks.budget": "gdm.training.budget",
    "gdm.callbacks.checkpoints": "gdm.training.saving",
    "gdm.callbacks.health": "gdm.training.health",
    "gdm.callbacks.metrics": "gdm.training.metrics",
    "gdm.callbacks.pictures": "gdm.training.pictures",
    "gdm.callbacks.progress": "gdm.training.progress",
    "gdm.callbacks.quality": "gdm.training.quality",
    "gdm.callbacks.tensorboard": "gdm.training.tensorboard",
    "gdm.callbacks.validation": "gdm.training.validation",
    "gdm.ema": "gdm.networks.ema",
    "gdm.features": "gdm.evaluation.classifier",
    "gdm.inception": "gdm.evaluation.inception",
    "gdm.latent": "gdm.theory.densities",
    "gdm.learning_rates": "gdm.theory.learning_rates",
    "gdm.losses": "gdm.theory.likelihoods",
    "gdm.networks.autoencoder": "gdm.networks.convolutional",
    "gdm.networks.gan": "gdm.networks.dcgan",
    "gdm.priors": "gdm.theory.priors",
    "gdm.samplers": "gdm.theory.samplers",
    "gdm.schedules": "gdm.theory.schedules",
}
_NAMES = {"Targets": "LabelNoise"}
# class that left the others of its module -> where it is now
_CLASSES = {
    f"gdm.data.sources.{name}": f"gdm.data.mnist.{name}"
    for name in ("FashionMNIST", "FashionMNISTMini", "MNIST")
}
_CLASSES |= {
    f"gdm.{module}.Augmentation": "gdm.theory.augmentation.DiffAugment"
    for module in ("augmentation", "theory.augmentation")
}
# key -> what to write now
KEYS = {
    "model.conditional": "model.condition=label, or null",
    "model.prediction": "the group prediction=epsilon, x_0, v, velocity or preconditioned",
    "model.data_deviation": "model.prediction.sigma_data",
    "dataset.channels": "dataset.facts.channels",
    "dataset.native_resolution": "dataset.facts.native_resolution",
    "dataset.num_classes": "dataset.facts.num_classes",
    "others": "compare",  # of scripts/quality_cost.py
}
# argument of any class -> what it is called now
ARGUMENTS = {
    "constant_share": "constant_fraction",
    "guide_share": "guide_fraction",
    "log_snr_deviation": "log_snr_std",
    "minibatch_deviation": "minibatch_std",
    "targets": "label_noise",
    "warmup_share": "warmup_fraction",
}
_PREDICTIONS = {"epsilon": "Epsilon", "x_0": "X0", "v": "V"}


def new_name(key: str) -> str | None:
    """Return what to write in the place of a key that has moved; None for one that has not."""
    if key in KEYS:
        return KEYS[key]
    first, *rest = key.split(".")
    moved = ".".join([first, *(ARGUMENTS.get(name, name) for name in rest)])
    return moved if moved != key else None


def upgraded(tree: Any) -> Any:
    """Return a recipe, or a part of one, in today's words; one that is so already is the same."""
    if isinstance(tree, list):
        return [upgraded(child) for child in tree]
    if not isinstance(tree, dict):
        return tree
    tree = {name: upgraded(child) for name, child in tree.items()}
    for part in ("model", "dataset"):  # of classes of one's own too
        if isinstance(tree.get(part), dict):
            tree[part] = _condition(_facts(tree[part]))
    logger = tree.get("logger")
    if "model" in tree and isinstance(logger, dict) and "_target_" in logger:  # there was one
        tree["logger"] = {"tensorboard": logger}
    target = tree.get("_target_")
    if not isinstance(target, str):
        return tree
    module, _, name = target.rpartition(".")
    if module in _MODULES:
        tree["_target_"] = f"{_MODULES[module]}.{_NAMES.get(name, name)}"
    if target in _CLASSES:
        tree["_target_"] = _CLASSES[target]
    if module.startswith("gdm."):
        tree = {ARGUMENTS.get(name, name): child for name, child in tree.items()}
    here = tree["_target_"]  # before an upgrade makes it another class
    for begins, upgrade in _UPGRADES:
        if here.startswith(begins):
            tree = upgrade(tree)
    return tree


def _ddpm(node: dict) -> dict:
    """`prediction` was a word."""
    word = node.get("prediction")
    if word not in (*_PREDICTIONS, None):
        return node
    made = {"_target_": f"gdm.theory.predictions.{_PREDICTIONS[word or 'epsilon']}"}
    return node | {"prediction": made}


def _edm(node: dict) -> dict:
    """EDM was a class of its own."""
    rest = {name: value for name, value in node.items() if name != "data_deviation"}
    made = {"_target_": "gdm.theory.predictions.Preconditioned"}
    if "data_deviation" in node:
        made["sigma_data"] = node["data_deviation"]
    return rest | {"_target_": "gdm.models.diffusion.Diffusion", "prediction": made}


def _flow_matching(node: dict) -> dict:
    """Flow matching was a class of its own."""
    made = {"_target_": "gdm.theory.predictions.Velocity"}
    return node | {"_target_": "gdm.models.diffusion.Diffusion", "prediction": made}


def _facts(node: dict) -> dict:
    """The facts of the data were single arguments; of diffusion models without `resolution`."""
    if "native_resolution" not in node:
        return node
    names = ("channels", "resolution", "native_resolution", "num_classes")
    facts = {"resolution": node["native_resolution"]} | {
        name: value for name, value in node.items() if name in names
    }
    rest = {name: value for name, value in node.items() if name not in names}
    return rest | {"facts": {"_target_": "gdm.theory.images.ImageFacts"} | facts}


def _condition(node: dict) -> dict:
    """`conditional` said that a model is told the class."""
    rest = {name: value for name, value in node.items() if name != "conditional"}
    if rest == node:
        return node
    return rest | {"condition": "label" if node["conditional"] else None}


def _pairing(node: dict) -> dict:
    """There were no pairs, so that the numbers of how they are made say nothing; these are the
    defaults, so that nothing differs. They are written out since no data is imported here."""
    numbers = {"edge_sigma": 0.7, "edge_threshold": 0.07, "factor": 4,
               "masked_fraction": 0.5, "noise_std": 0.5}  # fmt: skip
    return {"pairing": {"_target_": "gdm.data.pairs.Pairing"} | numbers} | node


def _drift(node: dict) -> dict:
    """Outputs for real images were free."""
    return {"drift": 0.0} | node


def _decay(node: dict) -> dict:
    """A cosine fell to the end of the run."""
    return {"decay_fraction": 1.0} | node


# what a target begins with -> what is done to its node, in this order
_UPGRADES: tuple[tuple[str, Callable[[dict], dict]], ...] = (
    ("gdm.models.ddpm.DDPM", _ddpm),
    ("gdm.models.edm.EDM", _edm),
    ("gdm.models.flow_matching.FlowMatching", _flow_matching),
    ("gdm.models.gan.GAN", _drift),
    ("gdm.theory.learning_rates.Cosine", _decay),
    ("gdm.models.", _facts),
    ("gdm.models.", _condition),
    ("gdm.data.datamodule.ImageDataModule", _facts),
    ("gdm.data.datamodule.ImageDataModule", _pairing),
)
