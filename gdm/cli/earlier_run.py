"""An earlier run: its saved recipe, with what the command line changes, for a task."""

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override, OverrideType

from gdm.cli.compose import (
    COMPOSITION_ERRORS,
    chosen,
    compose_config,
    options_of,
    parse,
    plugins_of,
    room_of,
    without_quotes,
)
from gdm.cli.mistakes import explain, refuse_no_folder, unknown_option
from gdm.cli.origin import Origin, Task
from gdm.errors import UserError
from gdm.recipes.check import show
from gdm.recipes.tree import assign

REFERENCES = ("rerun", "resume", "run")  # each names a run, whose recipe is then the configuration
CHANGEABLE = ("budget", "trainer", "callbacks", "logger", "extractor")  # while a run goes on
OF_SAMPLING = ("sampler",)  # groups of a model that its weights do not depend on
OF_CLASSES = ("groups", "labels", "source")  # keys of a data set that its classes depend on
UNITS = ("epochs", "images", "minutes")


def reference(command: Namespace) -> tuple[str, str] | None:
    """Return what is asked of which earlier run, if the command line names one."""
    asks_hydra = (command.help, command.hydra_help, command.shell_completion, command.info)
    written = [text.partition("=")[::2] for text in command.overrides]
    named = [
        (key, without_quotes(run)) for key, run in written if key in REFERENCES and run != "null"
    ]
    if not named or any(asks_hydra):
        return None
    for key, run in named:
        if not run.strip():
            raise UserError(f"{key}= is empty: name a run's directory, an ending of it, or last")
    if len(named) > 1:
        raise UserError(f"{' '.join(f'{key}={run}' for key, run in named)}: name one run")
    if command.multirun:
        raise UserError(f"{named[0][0]}= takes one run at a time, without -m")
    return named[0]


def reopen(
    kind: str, reference: str, config_name: str, task: Task, configs: Path, command: Namespace
) -> None:
    """Run a task on an earlier run's recipe, with what the command line changes in it.

    Args:
        kind: what is asked of the run: `rerun`, `resume`, `run`.
        reference: the run, as the user names it.
        config_name: the script's own file in configs/, without its ending.
        task: called with the recipe and its origin.
        configs: the folder of configurations.
        command: the command line, as Hydra reads it.
    """
    from gdm.runs import catalogue

    written = [text for text in command.overrides if text.partition("=")[0] not in REFERENCES]
    try:
        overrides = parse(written)
        of_script = compose_config(configs, config_name) if kind == "run" else ["outputs"]
        own = [each.input_line for each in overrides if room_of(each) in of_script]
        script = compose_config(configs, config_name, own)
    except COMPOSITION_ERRORS as error:
        raise UserError(explain(error, config_name, configs, written)) from error
    refuse_no_folder(script["outputs"])
    run = catalogue.find(reference, Path(script["outputs"]))
    if kind != "rerun":  # which writes elsewhere
        run.refuse_links()
    recipe = run.recipe()
    if "budget" in recipe and any(room_of(each) == "budget" for each in overrides):
        recipe["budget"] |= dict.fromkeys(UNITS)  # a new length replaces the old in any unit
    groups_first = sorted(overrides, key=lambda each: not options_of(configs, each.key_or_group))
    for override in groups_first:
        if override.input_line not in own and room_of(override) != "plugins":
            _apply(override, recipe, kind, configs, of_script)
    if kind == "rerun":
        recipe["outputs"] = script["outputs"]  # not a folder that came with the run
        _settle_classes_anew(recipe, [each.key_or_group for each in overrides])
    if command.cfg:
        print(yaml.safe_dump(recipe, sort_keys=False), end="")
        return
    plugins, options = plugins_of(overrides), script if kind == "run" else {}
    task(recipe, Origin(kind, run, written, plugins, options=options))


def _settle_classes_anew(recipe: dict[str, Any], keys: Iterable[str]) -> None:
    """Let the images tell anew how many classes there are, where other ones may have been asked
    for and no number is given; a number that is given is the model's too."""
    names = [key.split(".") for key in keys]
    facts = [recipe[room].get("facts") or {} for room in ("dataset", "model")]
    if not all("num_classes" in each for each in facts):  # a model that knows of none
        return
    of_data, of_model = facts
    if any(name[-1] == "num_classes" for name in names):
        if ["model", "facts", "num_classes"] not in names:
            of_model["num_classes"] = of_data["num_classes"]
    elif any(name[0] == "dataset" and name[1] in OF_CLASSES for name in names if len(name) > 1):
        of_data["num_classes"] = of_model["num_classes"] = None


def _apply(
    override: Override, recipe: dict[str, Any], kind: str, configs: Path, also: Iterable[str]
) -> None:
    """Change an earlier run's recipe as one override says."""
    text, key = override.input_line, override.key_or_group
    if text.startswith("~") and key in ("callbacks", "logger", "extractor"):
        recipe[key] = None
        return
    if override.type != OverrideType.CHANGE or override.is_sweep_override():
        raise UserError(f"{text}: with {kind}= write key=value, with one value")
    if kind == "resume" and room_of(override) not in CHANGEABLE:
        allowed = ", ".join(f"{room}.*" for room in CHANGEABLE)
        raise UserError(f"{text}: resume= goes on with the same training; it takes {allowed} only")
    if not options_of(configs, key):
        assign(recipe, key, override.value(), also)
    elif key in CHANGEABLE or (kind == "run" and key in OF_SAMPLING):
        _choose(key, override.value(), recipe, configs)
    else:
        *groups, last = [*CHANGEABLE[1:], *(OF_SAMPLING if kind == "run" else ())]
        raise UserError(
            f"{text}: {kind}= keeps what was trained; it takes single keys, and the groups "
            f"{', '.join(groups)} and {last}; another {key} is another training: start a new run"
        )


def _choose(group: str, value: Any, recipe: dict[str, Any], configs: Path) -> None:
    """Replace a recipe's node by another option of its group, or by several side by side."""
    composed = [_option(group, each, recipe, configs) for each in chosen(group, value)]
    if group in OF_SAMPLING:
        if group not in recipe["model"]:
            raise UserError(f"{group}={value}: the model of this run takes no {group}")
        recipe["model"][group] = composed[0]["model"][group]
        return
    taken = [each.pop(group) for each in composed]
    recipe[group] = {name: part for node in taken for name, part in node.items()} or None
    for each in composed:
        _merge(each, recipe)


def _option(group: str, option: Any, recipe: dict[str, Any], configs: Path) -> dict[str, Any]:
    """Compose an option of a group, for the data of a recipe."""
    options = options_of(configs, group)
    if option not in options:
        raise UserError(unknown_option(group, show(option), options))
    return compose_config(configs, f"{group}/{option}", given={"dataset": recipe.get("dataset")})


def _merge(changes: dict[str, Any], recipe: dict[str, Any]) -> None:
    """Change the keys of a recipe; what is switched off there stays so."""
    for key, value in changes.items():
        if not isinstance(value, dict):
            recipe[key] = value
        elif isinstance(recipe.get(key), dict):
            _merge(value, recipe[key])
