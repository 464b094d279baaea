"""The house's order: a room imports only from rooms to its left."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT_TO_RIGHT = """
    errors ranges terminal files randomness schedules learning_rates losses adversarial
    augmentation moments distances latent priors ema pictures networks samplers models data recipes
    signatures checkpoints runs features inception forward_process sampling evaluation subjects
    protocol quality_cost health latent_tools callbacks console training config
"""
ROOMS = LEFT_TO_RIGHT.split()
BLIND_TO = {  # to the left, and yet not imported
    "networks": {"schedules", "learning_rates", "losses"},
    "models": {"data"},
}
ONLY_CONFIG = {"hydra", "omegaconf"}
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
    left = set(ROOMS[: ROOMS.index(room) + 1]) - BLIND_TO.get(room, set())
    used = {name.split(".")[1] for name in imports(path) if name.split(".")[0] == "gdm"}
    assert used <= left


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_config_imports_hydra_and_nothing_imports_scripts(path):
    packages = {name.split(".")[0] for name in imports(path)}
    assert "scripts" not in packages
    assert room_of(path) == "config" or not packages & ONLY_CONFIG


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=str)
def test_packages_do_nothing_when_imported(path):
    assert not path.read_text().strip()
