"""Words that are not known: what they were meant to be."""

import difflib
import re
from collections.abc import Iterable

from gdm.recipes.moved import new_name

# What other tools call a key -> what it is called here.
ELSEWHERE = {
    "epochs": "budget.epochs",
    "max_epochs": "budget.epochs",
    "max_steps": "budget.images",
    "max_time": "budget.minutes",
    "learning_rate": "model.optimizer.lr",
    "devices": "trainer.accelerator",
    "gpus": "trainer.accelerator",
}


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the nearest spelling of `word`, or nothing."""
    by_small = {each.lower(): each for each in known}
    found = difflib.get_close_matches(word.lower(), list(by_small), n=1)
    return f"; did you mean {by_small[found[0]]}?" if found else ""


def nearest_key(key: str, known: Iterable[str]) -> str:
    """As `nearest`, for full keys: also one whose beginning or middle was left out, or that has
    another name elsewhere."""
    known = list(known)
    room, _, last = key.rpartition(".")
    likely = [each for each in known if each.endswith(f".{key}")]
    likely += [each for each in known if room and each.startswith(f"{room}.")
               and each.endswith(f".{last}")]  # fmt: skip
    likely += [ELSEWHERE[last]] if ELSEWHERE.get(last) in known else []
    return f"; did you mean {likely[0]}?" if likely else nearest(key, known)


def no_such_key(key: str, known: Iterable[str]) -> str:
    """Return what is said of a key that there is not: its new name, or what it may have meant."""
    known, new = list(known), new_name(key)
    if new and re.split(r"[^\w.]", new)[0] in known:  # which another script or model may lack
        return f"{key}: write {new} now"
    return f"{key}: there is no such key{nearest_key(key, known)}"
