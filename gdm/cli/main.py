"""The command `gdm`: `gdm train ...` is `python scripts/train.py ...`, from any folder."""

import os
import re
import sys
from importlib.metadata import version
from inspect import getmodule

from gdm.cli import command_line
from gdm.cli.benchmark import benchmark
from gdm.cli.compare import compare as compare_runs
from gdm.cli.draw_schedules import draw
from gdm.cli.evaluate import evaluate
from gdm.cli.export_classifier import export
from gdm.cli.latent import use
from gdm.cli.quality_cost import compare
from gdm.cli.sample import sample
from gdm.cli.train import train
from gdm.recipes import terminal
from gdm.recipes.spelling import nearest

TASKS = {
    "train": train,
    "sample": sample,
    "evaluate": evaluate,
    "compare": compare_runs,
    "latent": use,
    "quality-cost": compare,
    "draw-schedules": draw,
    "export-classifier": export,
    "benchmark": benchmark,
}
COMPLETION = """\
_gdm() {
    local line=${COMP_LINE:0:COMP_POINT} word
    word=${line##* }
    COMPREPLY=($(compgen -W "$(COMP_LINE=$line gdm completion words 2> /dev/null)" -- "$word"))
    [[ ${#COMPREPLY[@]} != 1 || $COMPREPLY == *[=./] ]] || compopt +o nospace 2> /dev/null
    if [[ $COMP_WORDBREAKS == *=* ]]; then  # bash takes what follows the last = for the word
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*=}"}"}")
    fi
}
complete -o nospace -o default -F _gdm gdm"""


def main() -> None:
    """Run the subcommand that the command line names, with the rest of it."""
    name, arguments = (*sys.argv[1:2], "--help")[0], sys.argv[2:]
    if name in TASKS:
        _run(name, arguments)
    elif name == "completion":
        _complete(arguments)
    elif name in ("--help", "-h", "help"):
        print(_usage())
    elif name == "--version":
        print(f"gdm {version('gdm')}")
    else:
        names = [*TASKS, "completion"]
        said = f"error: {name}: there is no such command{nearest(name, names)}; gdm --help"
        sys.exit(terminal.printable(said))


def _run(name: str, arguments: list[str]) -> None:
    sys.argv = [terminal.program(name, as_gdm=True), *arguments]
    if name == "benchmark":
        benchmark()
    else:
        command_line.main(name.replace("-", "_"), TASKS[name])


def _usage() -> str:
    lines = [f"  {name:<19}{getmodule(task).__doc__}" for name, task in TASKS.items()]
    return "\n".join([
        "usage: gdm COMMAND [group=option ...] [key=value ...]",
        "",
        *lines,
        '  completion         Complete all this by Tab: eval "$(gdm completion bash)".',
        "",
        "gdm COMMAND --help tells more of one; gdm --version says which gdm this is.",
    ])  # fmt: skip


# Completion -------------------------------------------------------------------------------------


def _complete(arguments: list[str]) -> None:
    """Print the function that bash completes by or, for that function, words to choose from."""
    if arguments == ["bash"]:
        print(COMPLETION)
    elif arguments == ["words"]:
        _print_words(os.environ.get("COMP_LINE", ""))
    elif set(arguments) & {"--help", "-h"}:
        print('Write eval "$(gdm completion bash)", in ~/.bashrc to keep it.')
    else:
        sys.exit('error: write eval "$(gdm completion bash)", in ~/.bashrc to keep it')


def _print_words(line: str) -> None:
    """Print how the last word of a line may go on."""
    name, is_whole, rest = re.sub(r"^\s*\S+\s+", "", line).partition(" ")
    if not is_whole:
        print(*TASKS, "completion")
    elif name in TASKS and name != "benchmark":
        os.environ["COMP_LINE"] = f"gdm {rest}"
        folder = terminal.config_dir(rest.split())
        _run(name, [*([f"--config-dir={folder}"] if folder else []), "-sc", "query=bash"])
