"""A recipe against the signatures of what it names: the constructors are the schema.

Nothing is built but an optimizer for one dummy parameter, so that a wrong key is known before any
data is loaded.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    Unpack,
    get_args,
    get_origin,
    get_type_hints,
)

from gdm.errors import UserError
from gdm.recipes.build import THIRD_PARTY, build, check_targets, locate, refuse_unknown
from gdm.recipes.moved import new_name
from gdm.recipes.tree import PARTIAL, TARGET, arguments, join, nodes

KINDS = {  # annotation -> what a recipe may hold for it, and how that is called
    NoneType: (NoneType, "null"),
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: (int | float, "a number"),
    str: (str, "text"),
    Path: (str, "a path"),
    list: (list, "a list"),
    tuple: (list, "a list"),
    Sequence: (list, "a list"),
    dict: (dict, "a group of keys"),
    Mapping: (dict, "a group of keys"),
}


def check(recipe: dict, root: Callable | None = None, trusted: Iterable[str] = ()) -> None:
    """Compare every node of a recipe with the signature and annotations of its target.

    Args:
        recipe: the whole configuration, or a part of it.
        root: a dataclass of options, or a function, whose signature says which keys the outermost
            level takes; it is not called. None where they are free.
        trusted: packages that the user named on the command line (`plugins=[my_package]`).

    Raises:
        UserError: naming the full key, the value, and what is allowed.
    """
    check_targets(recipe, trusted)
    if root is not None:
        _check_arguments(root, "the configuration", recipe, "", trusted)
    for key, node in nodes(recipe):
        target = locate(node, key, trusted)
        _check_value(node.get(PARTIAL, False), bool, join(key, PARTIAL), trusted)
        _check_arguments(target, target.__name__, node, key, trusted)
        if node[TARGET].startswith("torch.optim."):
            _try_optimizer(target, arguments(node), key)


def check_quickly(recipe: dict, trusted: Iterable[str] = ()) -> None:
    """Refuse what can be refused before torch is imported: a wrong trainer or budget.

    Raises:
        UserError: as `check`, which sees the rest.
    """
    for key, node in nodes({"trainer": recipe.get("trainer")}):
        allowed = THIRD_PARTY.get(node[TARGET], {})
        for name in arguments(node).keys() & allowed:
            _check_value(node[name], allowed[name], join(key, name), trusted)
    check({"budget": recipe.get("budget")}, trusted=trusted)
    build(recipe.get("budget"), "budget", trusted)


def show(value: Any) -> str:
    """Return a value as it is written on the command line; a node is shown by its target."""
    if isinstance(value, dict):
        parts = (f"{name}:{show(part)}" for name, part in value.items())
        return str(value.get(TARGET, "{" + ",".join(parts) + "}"))
    if isinstance(value, list):
        return "[" + ",".join(map(show, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def words(hint: Any) -> str:
    """Say what an annotation allows."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return ", ".join([words(parts[0]), *map(str, hint.__metadata__)])
    if origin in (Union, UnionType):
        return ", or ".join(map(words, parts))
    if origin is Literal:
        return "one of " * (len(parts) > 1) + ", ".join(map(show, parts))
    if _is_callable(hint):
        made = f" of class {parts[-1].__name__}" if parts and parts[-1] is not Any else ""
        return f"a _target_{made} with _partial_: true"
    if (origin or hint) in KINDS:
        elements = dict.fromkeys(words(part) for part in parts if part is not ...)
        return KINDS[origin or hint][1] + (f" ({'; '.join(elements)})" if elements else "")
    return f"a _target_ of class {hint.__name__}" if inspect.isclass(hint) else "given"


def _check_arguments(
    target: Callable, title: str, node: dict, key: str, trusted: Iterable[str]
) -> None:
    given = arguments(node)
    allowed = THIRD_PARTY.get(node.get(TARGET)) or schema(target)
    refuse_unknown(key, title, given, allowed)
    for name, hint in allowed.items():
        if name in given:
            _check_value(given[name], hint, join(key, name), trusted)
        elif _needs(target, name) and not node.get(PARTIAL):
            raise UserError(f"{join(key, name)} is missing: must be {words(hint)}")


def schema(target: Callable) -> dict[str, Any]:
    """Return the arguments that a recipe may give a target of gdm, with their annotations; what a
    constructor takes as `**rest` without saying more are those of the next class."""
    allowed: dict[str, Any] = {}
    for function in _constructors(target):
        hints = get_type_hints(function, include_extras=True)
        passes_on = False
        for each in inspect.signature(function).parameters.values():
            if get_origin(hints.get(each.name)) is Unpack:  # **shared: Unpack[Shared], as PEP 692
                (shared,) = get_args(hints[each.name])
                written = get_type_hints(shared, include_extras=True)
                allowed |= {name: _without_required(hint) for name, hint in written.items()}
            elif each.kind is each.VAR_KEYWORD:
                passes_on = True
            elif each.kind is not each.VAR_POSITIONAL and each.name != "self":
                allowed.setdefault(each.name, hints.get(each.name, Any))
        if not passes_on:
            break
    return allowed


def _constructors(target: Callable) -> list[Callable]:
    """Return what is called to make a target, in this order: a class's own constructor first."""
    if not inspect.isclass(target):
        return [target]
    return [vars(each)["__init__"] for each in target.__mro__ if "__init__" in vars(each)]


def _without_required(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint


def _needs(target: Callable, name: str) -> bool:
    """Whether a recipe must give an argument: what gdm's models have by default, and what models
    share, is optional in Python alone, so that a recipe is whole."""
    parameters = inspect.signature(target).parameters
    if name not in parameters or target.__module__.startswith("gdm.models."):
        return True
    return parameters[name].default is inspect.Parameter.empty


def _check_value(value: Any, hint: Any, key: str, trusted: Iterable[str]) -> None:
    """Refuse a value that its annotation does not allow."""
    if get_origin(hint) is dict and isinstance(value, dict) and TARGET not in value:
        for name, part in value.items():  # so that the message names the part's own key
            _check_value(part, get_args(hint)[1], join(key, name), trusted)
    elif not _fits(value, hint, trusted):
        alone = get_origin(hint) is list and isinstance(value, (str, int, float))
        brackets = f"; write {key}=[{show(value)}]" if alone else ""
        new = new_name(key)
        renamed = f"; write {new} now" if new else ""
        raise UserError(f"{key}={show(value)}: must be {words(hint)}{brackets}{renamed}")


def _fits(value: Any, hint: Any, trusted: Iterable[str]) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if hint in (Any, object):
        return True
    if origin is Annotated:
        fits = _fits(value, parts[0], trusted)
        return fits and all(value in allowed for allowed in hint.__metadata__)
    if origin in (Union, UnionType):
        return any(_fits(value, part, trusted) for part in parts)
    if origin is Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if isinstance(value, dict) and TARGET in value:
        return _makes(value, hint, trusted)
    if (origin or hint) not in KINDS:
        return False
    if isinstance(value, bool) and hint is not bool:
        return False
    return isinstance(value, KINDS[origin or hint][0]) and _elements_fit(value, parts, trusted)


def _elements_fit(value: Any, parts: tuple, trusted: Iterable[str]) -> bool:
    if isinstance(value, dict) and parts:
        return all(_fits(part, parts[1], trusted) for part in value.values())
    if not isinstance(value, list) or not parts:
        return not (isinstance(value, float) and not isfinite(value))
    if len(parts) == 1 or parts[-1] is ...:
        parts = parts[:1] * len(value)
    return len(parts) == len(value) and all(
        _fits(element, part, trusted) for element, part in zip(value, parts, strict=True)
    )


def _makes(node: dict, hint: Any, trusted: Iterable[str]) -> bool:
    """Whether a node makes what its place is annotated with."""
    target = locate(node, trusted=trusted)
    is_class = inspect.isclass(target)
    made = target if is_class else get_type_hints(target, include_extras=True).get("return", Any)
    if not _is_callable(hint):
        return node.get(PARTIAL) is not True and _is_kind_of(made, hint)
    wanted = get_args(hint)[-1] if get_args(hint) else Any
    if node.get(PARTIAL) is True:
        return _is_kind_of(made, wanted)
    forgotten = wanted is not Any and _is_kind_of(made, wanted)  # its _partial_
    return hasattr(made, "__call__") and not forgotten  # noqa: B004


def _is_callable(hint: Any) -> bool:
    return Callable in (hint, get_origin(hint))


def _is_kind_of(made: Any, wanted: Any) -> bool:
    if Any in (made, wanted):
        return True
    return inspect.isclass(made) and inspect.isclass(wanted) and issubclass(made, wanted)


def _try_optimizer(target: Callable, given: dict, key: str) -> None:
    """Make the optimizer of a dummy parameter; blame the key whose default would have worked."""
    message = _refusal(target, given)
    if message is None:
        return
    for name, value in given.items():
        others = {other: given[other] for other in given if other != name}
        if _refusal(target, others) is None:
            default = inspect.signature(target).parameters[name].default
            raise UserError(f"{join(key, name)}={show(value)}: {message} (default {default})")
    raise UserError(f"{key}: {message}")


def _refusal(optimizer: Callable, given: dict) -> str | None:
    import torch

    try:
        optimizer([torch.zeros(1, requires_grad=True)], **given)
    except (ValueError, TypeError, RuntimeError) as error:
        return str(error)
    return None
