"""A command line -> a recipe for a task: of a new run, or of an earlier one."""

import os
import shlex
import sys
from pathlib import Path

from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig, OmegaConf

from gdm.cli.compose import CONFIGS, arranged
from gdm.cli.earlier_run import reference, reopen
from gdm.cli.new_run import start
from gdm.cli.origin import Task
from gdm.errors import UserError
from gdm.recipes.options import help_text
from gdm.recipes.terminal import override, printable

TAKES_PATHS = {"compare": "runs"}  # script -> the key of what is named without a key
SWITCHES = {"--watch": "watch=true"}  # of such a script
WITH_VALUE = ("--config-dir", "-cd", "--cfg", "-c", "--package", "-p")  # flags, as Hydra has them


def main(config_name: str, task: Task, configs: Path = CONFIGS) -> None:
    """Run a task on what the command line says; a user's mistake is one line, and exit status 1.

    Args:
        config_name: the script's own file in configs/, without its ending.
        task: called with the recipe and its origin, once per job in a sweep.
        configs: the folder of configurations.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come back here instead of being printed
    if config_name in TAKES_PATHS:
        sys.argv[1:] = with_paths_named(sys.argv[1:], TAKES_PATHS[config_name])
    sys.argv[1:] = arranged(sys.argv[1:], configs)
    OmegaConf.register_new_resolver("options", _options_explained, replace=True)
    command = get_args_parser().parse_args()
    try:
        earlier = reference(command)
        if earlier is None:
            start(config_name, task, configs, command)
        else:
            reopen(*earlier, config_name, task, configs, command)
    except UserError as error:
        sys.exit(printable(f"error: {error}"))
    except KeyboardInterrupt:
        sys.exit(130)  # before the task has anything to save
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def with_paths_named(arguments: list[str], key: str) -> list[str]:
    """Return a command line with `key=[...]` in the place of the paths on it, since Hydra takes no
    words without a key, and of switches the keys that they stand for.

    Args:
        arguments: the words of the command line.
        key: what the paths are.
    """
    paths, others = [], []
    for before, text in zip(["", *arguments], arguments, strict=False):
        if text in SWITCHES:
            others.append(SWITCHES[text])
        elif _is_path(text) and before not in WITH_VALUE:
            paths.append(text)
        else:
            others.append(text)
    if not paths:
        return others
    return [*others, shlex.split(override(key, paths))[0]]


def _is_path(text: str) -> bool:
    """Whether a word is neither a flag nor `key=value`; folders of sweeps have an equals sign."""
    if text.startswith(("-", "~", "+")):
        return False
    key, equals, _ = text.partition("=")
    return not equals or "/" in key


def _options_explained(target: str, *, _root_: DictConfig) -> str:
    """Return what `${options:gdm.tools.x.XOptions}` in a script's help stands for."""
    chosen = OmegaConf.select(_root_, "hydra.runtime.choices") or {}
    defaults = OmegaConf.to_container(_root_, resolve=False)
    return help_text(target, {key: chosen.get(key, value) for key, value in defaults.items()})
