"""Recipes: plain containers that name what to build -> the objects.

What a recipe may name is a short list, since a recipe may come with a run directory that somebody
else sent.
"""

import importlib
import inspect
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from gdm.errors import UserError
from gdm.recipes.ranges import Because, Fraction, NonNegative, Positive
from gdm.recipes.spelling import nearest
from gdm.recipes.tree import PARTIAL, TARGET, arguments, join, nodes

_ADAM = {
    "lr": Positive,
    "betas": tuple[Fraction, Fraction],
    "eps": NonNegative,
    "weight_decay": NonNegative,
    "amsgrad": bool,
    "fused": bool | None,
}
# What a recipe may name outside gdm, with the arguments that it may give: the other arguments of
# Lightning's trainer belong to gdm.training.training.
THIRD_PARTY = {
    "torch.optim.Adam": _ADAM,
    "torch.optim.AdamW": _ADAM,
    "torch.optim.SGD": {
        "lr": Positive,
        "momentum": NonNegative,
        "dampening": NonNegative,
        "weight_decay": NonNegative,
        "nesterov": bool,
        "fused": bool | None,
    },
    "torch.optim.RMSprop": {
        "lr": Positive,
        "alpha": Fraction,
        "eps": NonNegative,
        "weight_decay": NonNegative,
        "momentum": NonNegative,
        "centered": bool,
    },
    "pytorch_lightning.Trainer": {
        "accelerator": Literal["auto", "cpu", "gpu"],
        "devices": Annotated[Literal[1], Because("since a run uses one device")],
        "precision": Literal["32-true", "bf16-mixed", "16-mixed"],
        "deterministic": bool,
        "detect_anomaly": bool,
    },
}
# Rooms, or files of them, whose classes a recipe may name. Others write files, or act on recipes.
OPEN = (
    "theory.adaptive_augmentation",
    "theory.adversarial",
    "theory.augmentation",
    "theory.densities",
    "theory.growth",
    "theory.images",
    "theory.learning_rates",
    "theory.likelihoods",
    "theory.path_length",
    "theory.predictions",
    "theory.priors",
    "theory.samplers",
    "theory.schedules",
    "networks",
    "models",
    "data",
    "evaluation.classifier",
    "evaluation.inception",
    "training.budget",
    "training.csv_logger",
    "training.health",
    "training.metrics",
    "training.mlflow_logger",
    "training.pictures",
    "training.progress",
    "training.quality",
    "training.saving",
    "training.sweep_options",
    "training.tensorboard",
    "training.validation",
    "training.wandb_logger",
    "tools.latent",
)
# Those whose functions it may name too: whatever they are called with, nothing is changed.
OPEN_FUNCTIONS = (
    "theory.schedules",
    "theory.learning_rates",
    "theory.likelihoods",
    "theory.densities",
)


def check_targets(tree: Any, trusted: Iterable[str] = (), key: str = "") -> None:
    """Refuse a tree that names anything but what a recipe may name.

    Nothing is built, and nothing outside gdm and the trusted packages is imported to find out.

    Args:
        tree: a recipe or a part of one.
        trusted: packages that the user named on the command line (`plugins=[my_package]`).
        key: the full key of `tree`.

    Raises:
        UserError: naming the key, the target, and what is allowed.
    """
    for full_key, node in nodes(tree, key):
        locate(node, full_key, trusted)
        if node[TARGET] in THIRD_PARTY:
            known = THIRD_PARTY[node[TARGET]]
            refuse_unknown(full_key, node[TARGET].rpartition(".")[2], arguments(node), known)


def refuse_unknown(key: str, title: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse arguments that `title`, the node at `key`, does not take."""
    for name in given:
        if name not in known:
            takes = ", ".join(known) or "no arguments"
            raise UserError(
                f"{join(key, name)}: {title} takes no {name}{nearest(str(name), known)}; "
                f"it takes {takes}"
            )


def locate(node: dict, key: str = "", trusted: Iterable[str] = ()) -> Any:
    """Return the class or function that a node names, if a recipe may name it."""
    target = node[TARGET]
    named = f"{join(key, TARGET)}={target}"
    if not isinstance(target, str):
        raise UserError(f"{named}: must be the dotted name of a class or function")
    module, _, name = target.rpartition(".")
    if target in THIRD_PARTY:
        return getattr(importlib.import_module(module), name)
    if not _is_open(module, OPEN) and not _belongs(module, trusted):
        raise UserError(
            f"{named}: a configuration may name what gdm defines in "
            f"{', '.join(OPEN)}, and {', '.join(THIRD_PARTY)}; a package of "
            "your own is allowed on the command line: plugins=[my_package]"
        )
    offered = _offered(module, named)
    if name not in offered:
        raise UserError(f"{named}: {module} has no {name} to offer{nearest(name, offered)}")
    return offered[name]


def build(node: Any, key: str = "", trusted: Iterable[str] = (), **extra: Any) -> Any:
    """Build what a recipe, or a part of one, names.

    Args:
        node: dicts become objects where they have a `_target_`, dicts of built values elsewhere;
            lists are built element by element; scalars are themselves.
        key: the full key of `node`, for messages.
        trusted: packages that the user named on the command line (`plugins=[my_package]`).
        extra: further arguments of the outermost node, which win over its own.

    Raises:
        UserError: where a target is not allowed, does not take the arguments it is given, or
            refuses them with a ValueError.
    """
    check_targets(node, trusted, key)
    return _build(node, key, trusted, extra)


def _build(node: Any, key: str, trusted: Iterable[str], extra: dict) -> Any:
    if isinstance(node, list):
        return [_build(child, join(key, i), trusted, {}) for i, child in enumerate(node)]
    if not isinstance(node, dict):
        return node
    children = arguments(node).items()
    built = {name: _build(child, join(key, name), trusted, {}) for name, child in children}
    if TARGET not in node:
        return built
    return _call(locate(node, key, trusted), built | extra, node.get(PARTIAL) is True, key)


def _call(target: Any, given: dict, is_partial: bool, key: str) -> Any:
    signature = inspect.signature(target)
    try:
        (signature.bind_partial if is_partial else signature.bind)(**given)
    except TypeError as error:
        raise UserError(f"{key}: {target.__name__}: {error}") from error
    if is_partial:
        return partial(target, **given)
    try:  # a TypeError in there would be a defect of ours, and keeps its traceback
        return target(**given)
    except ValueError as error:
        raise UserError(f"{key}: {error}") from error


def _is_open(module: str, rooms: Iterable[str]) -> bool:
    """Whether a module of gdm is one of these rooms, or in one."""
    if not _belongs(module, [f"gdm.{room}" for room in rooms]):
        return False
    parts = module.split(".")
    path = Path(__file__).parents[2].joinpath(*parts).with_suffix(".py")
    return all(part.isidentifier() for part in parts) and path.is_file()


def _belongs(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _offered(module: str, named: str) -> dict[str, Any]:
    """Return what a room, or a module of the user's own, itself defines for recipes to name."""
    try:
        members = vars(importlib.import_module(module))
    except ModuleNotFoundError as error:
        raise UserError(f"{named}: {error}") from error
    has_functions = not module.startswith("gdm.") or _is_open(module, OPEN_FUNCTIONS)
    return {
        name: value
        for name, value in members.items()
        if (inspect.isclass(value) or (has_functions and inspect.isfunction(value)))
        and not inspect.isabstract(value)
        and (value.__module__, value.__qualname__) == (module, name)
        and not name.startswith("_")
    }
