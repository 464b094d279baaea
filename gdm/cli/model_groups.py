"""Groups that belong to a model, such as `prediction`: which models have which."""

from pathlib import Path
from typing import Any

from gdm.cli.compose import CONFIGS, compose_config, options_of
from gdm.cli.origin import Origin
from gdm.errors import UserError
from gdm.recipes.tree import TARGET


def refuse_unused(recipe: dict[str, Any], origin: Origin) -> None:
    """Refuse a group on the command line that the model does not have; its null is left out.

    Args:
        recipe: of a new run; of an earlier run, whose groups are settled, nothing is looked at.
        origin: what the user wrote.

    Raises:
        UserError: naming the models that have the group.
    """
    from gdm.recipes.build import locate
    from gdm.recipes.check import schema

    model = recipe.get("model")
    if origin.kind != "new" or not isinstance(model, dict) or TARGET not in model:
        return
    taken = schema(locate(model, "model", origin.plugins))
    for text in origin.overrides:
        group = text.partition("=")[0]
        if group not in model or group in taken or not options_of(CONFIGS, group):
            continue
        if model[group] is not None:
            chosen = f"model={origin.choices['model']}"
            raise UserError(f"{text}: {chosen} {has_no_group(group, CONFIGS)}")
        del model[group]


def has_no_group(group: str, configs: Path) -> str:
    """Say that a model has no such group, and which models have."""
    options = options_of(configs, "model")
    composed = {name: compose_config(configs, "train", [f"model={name}"]) for name in options}
    having = [name for name, recipe in composed.items() if group in recipe["model"]]
    return f"has no group {group}; models with one: {', '.join(having)}"
