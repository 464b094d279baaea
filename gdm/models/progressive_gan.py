"""GANs whose networks grow while they train."""

import math
from typing import Any

from torch import Tensor

from gdm.models.gan import GAN
from gdm.theory import growth
from gdm.theory.growth import Growth


class ProgressiveGAN(GAN):
    """A GAN that begins with images of 4 x 4 pixels and doubles them, again and again (Karras et
    al. 2018).

    Both networks are told the level, see `gdm.theory.growth`, beside what they are given. New
    layers fade in, real images fade with them, and the optimizers' states are cleared whenever
    layers come or stay. Samples are brought to the whole resolution, at every level.

    Args:
        growth: images seen -> level.
        (the rest as in `GAN`)
    """

    def __init__(self, growth: Growth, **gan: Any) -> None:
        super().__init__(**gan)
        self.growth = growth

    @property
    def level(self) -> float:
        """How far the networks have grown: the base-2 logarithm of their resolution."""
        return self._level_after(self.images_seen)

    def _level_after(self, images: int) -> float:
        return self.growth.level(images, self.num_batches * self.batch_size, self.resolution)

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        before = self.level
        super().on_train_batch_start(batch, batch_idx)
        # layers come, or have come; the paper's code, `floor(lod)` or `ceil(lod)` changes
        if _phase(before) != _phase(self.level):
            for optimizer in self.trainer.optimizers:
                optimizer.state.clear()

    @property
    def depends_on_length(self) -> bool:
        return super().depends_on_length or self.growth.depends_on_length

    def real_images(self, batch) -> Tensor:
        x = growth.faded(self.pad(batch.x), self.level)
        return self.crop(growth.larger(x, self.resolution))

    def shown(self, x: Tensor) -> Tensor:
        return growth.smaller(super().shown(x), growth.resolution_of(self.level))

    def outputs_of(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return self.discriminator(x, labels, self.level)

    def images_of(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return growth.larger(self.generator(z, labels, self.level), self.resolution)


def _phase(level: float) -> tuple[int, int]:
    return math.floor(level), math.ceil(level)
