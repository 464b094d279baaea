"""Run directories that nobody trained, for whoever reads such: recipe, manifest and records."""

import copy
import json
from pathlib import Path
from typing import Any

import yaml
from conftest import composed

from gdm.recipes.tree import assign
from gdm.runs import signing
from gdm.runs.catalogue import recipe_hash
from gdm.runs.run import Run, trained_part

CHECKSUM = "22d409c6c161e9b9"
DATA = "e6f63ab069c7c7fc"


def handmade(
    path: Path,
    changes: dict[str, Any] | None = None,
    seed: int = 0,
    records: list[dict[str, Any]] | None = None,
    model: str = "vae",
    **facts: Any,
) -> Run:
    """Write a run directory as a training leaves it, within a millisecond or two.

    Args:
        path: of the run.
        changes: full key of the recipe -> value.
        seed: of the recipe.
        records: of its evaluations; None for one validation and one test of distance 10.
        model: the option of `model=`.
        facts: of the manifest, besides those that a finished run has.
    """
    recipe = copy.deepcopy(composed(f"model={model}")) | {"seed": seed}
    recipe["name"] = f"{model}/fashion_mnist_mini"
    for key, value in (changes or {}).items():
        assign(recipe, key, value)
    run = Run(path)
    (path / ".hydra").mkdir(parents=True)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump(json.loads(json.dumps(recipe)), Dumper=dumper, sort_keys=False)
    (path / ".hydra" / "config.yaml").write_text(text)
    manifest = {
        "status": "finished", "recipe": recipe_hash(recipe),
        "created": f"2026-11-28T10:00:{len(path.name) % 60:02d}+00:00", "commit": "abc",
        "seed": seed, "data": DATA, "num_batches": 10, "num_parameters": 1234,
        "trained_recipe": trained_part(recipe), "device": "cpu", "images_seen": 600,
        "seconds": 90.0, "peak_memory_mib": 500, "validated_at": {"0": 6.0, "600": 60.0},
    } | facts  # fmt: skip
    known = {key: value for key, value in manifest.items() if value is not None}
    (path / "manifest.json").write_text(json.dumps(known))
    previous, lines = "", []
    for record in [validation(12.0), evaluated(10.0)] if records is None else records:
        signed = signing.signed(record, previous)
        lines.append(json.dumps(signed) + "\n")
        previous = signed[signing.DIGEST]
    run.metrics.write_text("".join(lines))
    return run


def validation(distance: float, images: int = 600, n: int = 200, **more: Any) -> dict[str, Any]:
    """Return the record of a validation during training."""
    return {
        "images": images, "split": "validation", "num_images": 60, "elbo": -1500.5,
        "bits_per_dim": 3.5, "likelihood": "bound", "num_reference": 1000, "seed": 0,
        "weights": "average", "extractor": "classifier", "extractor_checksum": CHECKSUM,
        "real": {"n": 1000, "inception_score": 9.0}, "n": n, "frechet_distance": distance,
        "inception_score": 5.0,
    } | more  # fmt: skip


def evaluated(distance: float, images: int = 600, n: int = 1000, **more: Any) -> dict[str, Any]:
    """Return the record of an evaluation by scripts/evaluate.py."""
    return {
        "images": images, "split": "test", "num_reference": 2000, "extractor": "classifier",
        "extractor_checksum": CHECKSUM, "data": DATA, "n": n, "frechet_distance": distance,
        "kernel_distance": distance / 10, "precision": 0.5, "recall": 0.25,
        "real": {"n": 1000, "frechet_distance": 2.25, "precision": 0.9}, "seed": 0,
        "checkpoint": "last", "weights": "average", "samples_per_second": 100.5,
        "network_evaluations": 1, "num_images": 2000, "bits_per_dim": 3.25,
        "likelihood": "bound",
    } | more  # fmt: skip
