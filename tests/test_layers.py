"""The house's order: a room imports only from rooms to its left."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STOREYS = """
    errors files recipes theory networks
    data models
    runs pictures evaluation
    training tools cli
"""
ROOMS = STOREYS.split()
HYDRA = {"hydra", "omegaconf"}
# The files of the command line that know Hydra.
OF_HYDRA = {
    "command_line", "compose", "composed", "dimensions", "earlier_run", "experiments", "mistakes",
    "new_run", "searching", "sweeping",
}  # fmt: skip
FILES = sorted((ROOT / "gdm").rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Return the dotted names of all that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "gdm").with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_room_imports_only_from_rooms_to_its_left(path):
    room = room_of(path)
    if room == "__init__":
        return
    left = set(ROOMS[: ROOMS.index(room) + 1])
    used = {name.split(".")[1] for name in imports(path) if name.startswith("gdm.")}
    assert used <= left


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_the_command_line_imports_hydra_and_nothing_imports_scripts(path):
    packages = {name.split(".")[0] for name in imports(path)}
    assert "scripts" not in packages
    knows_hydra = path.parent == ROOT / "gdm" / "cli" and path.stem in OF_HYDRA
    assert bool(packages & HYDRA) == knows_hydra


LAZY = ("gdm", "gdm.models", "gdm.runs")  # which give gdm.runs, VAE, and load when asked


def test_the_house_has_thirteen_names():
    top = {room_of(path) for path in FILES} - {"__init__"}
    assert top == set(ROOMS)
    assert len(ROOMS) == 13


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=str)
def test_packages_do_nothing_when_imported(path):
    name = ".".join(path.relative_to(ROOT).parent.parts)
    if name not in LAZY:
        assert not path.read_text().strip()


def test_what_a_package_has_is_loaded_when_it_is_asked_for():
    ours = "[name for name in sys.modules if name.split('.')[0] == 'gdm']"
    loaded = f"import sys, {', '.join(LAZY)}; print({ours})"
    asked = "print('torch' in sys.modules, gdm.errors.UserError.__name__)"
    command = [sys.executable, "-c", f"{loaded}; {asked}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(list(LAZY)), "False UserError"]
