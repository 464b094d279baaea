"""Export a run's classifier as a file that others can evaluate by."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from gdm.data.datamodule import ImageDataModule, identity, validation_order
from gdm.data.emoji import RESOLUTIONS, EmojiMini, known_fingerprint
from gdm.data.mnist import FashionMNIST, FashionMNISTMini
from gdm.evaluation.classifier import as_classifier, held_out_of
from gdm.evaluation.extractors import write_checked
from gdm.tools.open_run import OpenRun


@dataclass(frozen=True)
class ExportOptions:
    """The keys of scripts/export_classifier.py.

    Args:
        run: its directory, a unique ending of its path, or last.
        outputs: the folder of all runs.
        checkpoint: last or best.
        to: the file; null for classifier.safetensors in the run's directory.
    """

    run: str | None
    outputs: str
    checkpoint: str
    to: str | None


def export(opened: OpenRun, path: Path) -> dict[str, str]:
    """Write the classifier of a run as a file, and return the facts that the file states.

    Raises:
        UserError: if the run is of another model.
    """
    run, data, recipe = opened.run, opened.data, opened.recipe
    model = as_classifier(opened.model, run).cpu()
    with model.evaluating(averaged=False):
        right = [
            (model.features_and_probabilities(batch.x)[1].argmax(1) == batch.label).float()
            for batch in data.batches("test")
        ]
    overrides = yaml.safe_load((run.path / ".hydra" / "overrides.yaml").read_text())
    overrides = [text for text in overrides if not text.startswith(("outputs=", "name="))]
    facts = {
        "model": json.dumps(recipe["model"]),
        "class_names": json.dumps(data.class_names),
        "held_out": json.dumps(_held_out(data)),
        "command": f"python scripts/train.py {shlex.join(overrides)}",
        "test_accuracy": f"{float(torch.cat(right).mean()):.4f}",
    }
    write_checked(model.network.state_dict(), facts, path)
    return facts


def _held_out(data: ImageDataModule) -> dict[str, int]:
    """Return how many images of a data set were held out, and of others with the same images."""
    held_out = held_out_of(data)
    if not held_out or data.binarize:
        return held_out
    if isinstance(data.source, FashionMNIST) and data.groups is None:  # which has all classes
        seen = set(map(bytes, data.split("train").images.numpy()))
        part = FashionMNISTMini()
        images = part.load("train")
        ordered = images.select(validation_order(images)).images.numpy()
        unseen = next(place for place, image in enumerate(ordered) if bytes(image) in seen)
        held_out[identity(part.fingerprint, data.binarize)] = unseen
    if isinstance(data.source, EmojiMini):
        for resolution in RESOLUTIONS:  # at each the same images are held out
            chosen = {"resolution": resolution, "labels": data.labels, "groups": data.groups}
            font = identity(known_fingerprint(), data.binarize, chosen)
            held_out[font] = data.validation_size
    return held_out
