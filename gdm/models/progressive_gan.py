"""GANs whose networks grow while they train."""

import math
from typing import Any

import torch
from torch import Tensor

from gdm.models.gan import GAN
from gdm.theory import growth
from gdm.theory.growth import FIRST_LEVEL, Growth


class ProgressiveGAN(GAN):
    """A GAN that begins with images of 4 x 4 pixels and doubles them, again and again (Karras et
    al. 2018).

    Both networks are told the level, see `gdm.theory.growth`, beside what they are given. New
    layers fade in, real images fade with them, and the optimizers' states are cleared whenever
    layers come or stay. Samples are brought to the whole resolution, at every level.

    Args:
        growth: images seen, those of the batch in progress included -> level.
        (the rest as in `GAN`)
    """

    growth: Growth | None = None  # until it is built

    def __init__(self, growth: Growth, **gan: Any) -> None:
        super().__init__(**gan)
        self.growth = growth
        # a part of what the weights are, so saved with them: a checkpoint does not know how long
        # its run was to be
        self.register_buffer("level_reached", torch.tensor(float(FIRST_LEVEL)))

    @property
    def level(self) -> float:
        """How far the networks have grown: the base-2 logarithm of their resolution."""
        return float(self.level_reached)

    def set_progress(
        self, seed: int, batch_size: int, num_batches: int, batches_seen: int
    ) -> None:
        super().set_progress(seed, batch_size, num_batches, batches_seen)
        if self.growth is not None:
            self._grow()

    def _grow(self) -> None:
        num_images = self.num_batches * self.batch_size
        level = self.growth.level(self.images_seen, num_images, self.resolution)
        self.level_reached.fill_(level)

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        before = self.level
        super().on_train_batch_start(batch, batch_idx)
        self._grow()
        # layers come, or have come; the paper's code: `floor(lod)` or `ceil(lod)` changes
        if _whole_levels(before) != _whole_levels(self.level):
            for optimizer in self.trainer.optimizers:
                optimizer.state.clear()

    def phases(self, num_batches: int) -> dict[str, int]:
        """Return the first batch of each phase by its resolution: `4`, `4 to 8`, `8`, ..."""
        found = {}
        num_images = num_batches * self.batch_size
        for number, images in enumerate(self.growth.begins(num_images, self.resolution)):
            whole, fades = divmod(number, 2)
            side = 2 ** (FIRST_LEVEL + whole)
            batches = round(images / self.batch_size, 6)  # a sum of lengths is not exact
            if fades:  # the first batch that ends after this moment
                found[f"{side} to {2 * side}"] = math.floor(batches)
            else:  # the first batch that ends at it, or after it
                found[f"{side}"] = max(0, math.ceil(batches) - 1)
        return {phase: batch for phase, batch in found.items() if batch < num_batches}

    @property
    def depends_on_length(self) -> bool:
        return super().depends_on_length or self.growth.depends_on_length

    def real_images(self, batch) -> Tensor:
        x = growth.faded(self.pad(batch.x), self.level)
        return self.crop(growth.larger(x, self.resolution))

    def with_noise(self, x: Tensor) -> Tensor:
        return super().with_noise(growth.smaller(x, growth.resolution_of(self.level)))

    def outputs_of(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return self.discriminator(x, labels, self.level)

    def images_of(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return growth.larger(self.generator(z, labels, self.level), self.resolution)


def _whole_levels(level: float) -> tuple[int, int]:
    return math.floor(level), math.ceil(level)
