"""A recipe as a tree: its nodes, its full keys, and what they hold.

A recipe is a tree of dicts, lists and scalars. A dict with a `_target_` is a node: it names a
class or function, and its other keys are the arguments. With `_partial_: true` the node stands
for a `functools.partial` of its target.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from gdm.errors import UserError
from gdm.recipes.moved import new_name
from gdm.recipes.spelling import no_such_key

TARGET, PARTIAL = "_target_", "_partial_"


def join(key: str, name: str | int) -> str:
    """Return the full key of `name` below `key`."""
    return f"{key}.{name}" if key else str(name)


def nodes(tree: Any, key: str = "") -> Iterator[tuple[str, dict]]:
    """Yield every node of a tree, itself included, with its full key."""
    if isinstance(tree, dict) and TARGET in tree:
        yield key, tree
    if isinstance(tree, dict | list):
        children = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for name, child in children:
            yield from nodes(child, join(key, name))


def keys(tree: Any, key: str = "") -> Iterator[str]:
    """Yield every full key of a tree, groups and their parts."""
    if isinstance(tree, dict):
        for name, child in tree.items():
            yield join(key, name)
            yield from keys(child, join(key, name))


def flat(tree: Any, key: str = "") -> dict[str, bool | int | float | str]:
    """Return a recipe's scalars by their full keys, as a table of runs takes them."""
    if isinstance(tree, dict | list):
        children = tree.items() if isinstance(tree, dict) else enumerate(tree)
        parts = [flat(child, join(key, name)) for name, child in children]
        return {name: value for part in parts for name, value in part.items()}
    return {key: tree if isinstance(tree, bool | int | float | str) else str(tree)}


def changes(before: dict, after: dict) -> dict[str, bool | int | float | str | None]:
    """Return the scalars by which a recipe differs from an earlier one, by their full keys; None
    for one that is gone."""
    old, new = flat(before), flat(after)
    return {key: new.get(key) for key in old | new if old.get(key) != new.get(key)}


def arguments(node: dict) -> dict[str, Any]:
    """Return what a node gives its target."""
    return {name: value for name, value in node.items() if name not in (TARGET, PARTIAL)}


def assign(recipe: dict, key: str, value: Any, also: Iterable[str] = ()) -> None:
    """Change what a recipe holds at a full key; a dict changes the keys that it names.

    Args:
        recipe: the recipe.
        key: the full key.
        value: what it is to hold.
        also: keys beside the recipe's that a misspelt key may have meant.

    Raises:
        UserError: if the recipe has no such key, or a group of keys there.
    """
    *path, last = key.split(".")
    parent = recipe
    for name in path:
        parent = parent.get(name) if isinstance(parent, dict) else None
    if not isinstance(parent, dict) or last not in parent:
        raise UserError(no_such_key(key, [*also, *keys(recipe)]))
    if isinstance(parent[last], dict) and isinstance(value, dict):
        for name, part in value.items():
            assign(recipe, join(key, name), part)
    elif isinstance(parent[last], dict) and value is not None:
        names = ", ".join(join(key, name) for name in parent[last])
        new = f"; write {new_name(key)} now" if new_name(key) else ""
        raise UserError(f"{key}={value}: is a group of keys; it has {names}{new}")
    else:
        parent[last] = value
