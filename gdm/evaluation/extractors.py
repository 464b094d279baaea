"""Images -> features: the contract that distances stand on, and files that tell when they are
damaged."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from gdm.files import durable_replacement
from gdm.runs import checkpoints

CHECKSUM = "checksum"  # the name of the fact in a file


class Features(NamedTuple):
    """What an extractor finds in N images: float32 features (N, D), and the probabilities of its
    classes (N, K), or None if it does not classify.
    """

    features: Tensor
    probabilities: Tensor | None


class Extractor(ABC):
    """Images -> features; without gradients, the same for an image in any batch.

    Attributes:
        name: the option of `extractor=` that it is.
        checksum: 16 letters that change when a weight does.
        dimension: D.
        class_names: names of the classes of its probabilities; None if they are not the data's.
    """

    name: str
    checksum: str
    dimension: int
    class_names: tuple[str, ...] | None = None

    @abstractmethod
    def __call__(self, images: Tensor) -> Features:
        """Return the features of images: 8-bit values (N, C, H, W), uint8, in their native
        resolution, on whatever device. What a model makes goes through `to_bytes` first, so that
        it is evaluated as a file would hold it."""

    @abstractmethod
    def to(self, device: torch.device | str) -> "Extractor":
        """Move to a device, and return the extractor."""


def write_checked(tensors: dict[str, Tensor], facts: dict[str, str], path: Path) -> None:
    """Write tensors and facts durably, with a checksum of both.

    Raises:
        OSError: if the file cannot be written.
    """
    with durable_replacement(path) as temporary:
        save_file(tensors, temporary, facts | {CHECKSUM: _checksum(tensors, facts)})


def read_checked(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the facts that `write_checked` wrote.

    Raises:
        OSError: if the file cannot be read.
        SafetensorError: if it is no such file.
        ValueError: if it has no checksum, or another one than what it holds.
    """
    with safe_open(path, "pt") as file:
        facts = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    stated = facts.pop(CHECKSUM, None)
    if stated is None:
        raise ValueError("it has no checksum; what an older gdm wrote is to be written again")
    if stated != _checksum(tensors, facts):
        raise ValueError("it is damaged: its checksum is not that of what it holds")
    return tensors, facts


def _checksum(tensors: dict[str, Tensor], facts: dict[str, str]) -> str:
    return checkpoints.digest([sorted(tensors.items()), sorted(facts.items())])
