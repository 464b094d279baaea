"""The average of a network's weights over training, a module of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gdm.recipes.ranges import Fraction, Positive


class EMA(nn.Module):
    """An exponential moving average of weights, updated after every step of an optimizer.

        average <- average + (1 - decay) * (weights - average)

    The decay is stated as a half-life in images, so that it does not depend on the batch size.
    Early in a run the half-life is at most `warmup_fraction` of the images seen so far, so that
    the random initial weights are forgotten (the ramp-up of Karras et al. 2020, StyleGAN2-ADA).

    Floating-point buffers (the running statistics of BatchNorm) are averaged like weights. The
    average is saved with the model, under `ema.`.

    Args:
        half_life_images: number of images after which a weight counts half as much in the average.
        warmup_fraction: cap of the half-life, as a fraction of the images seen; None for no cap.
    """

    def __init__(self, half_life_images: Positive, warmup_fraction: Fraction | None) -> None:
        super().__init__()
        self.half_life_images = half_life_images
        self.warmup_fraction = warmup_fraction
        self._networks: list[nn.Module] = []
        self._pairs: tuple[list[Tensor], list[Tensor]] | None = None

    def follow(self, networks: list[nn.Module]) -> None:
        """Average these networks from now on, starting with the weights they have."""
        self._networks = networks  # in a list, so not a submodule: saved once, where it belongs
        for key, tensor in self._named_weights():
            self.register_buffer(key, tensor.detach().clone())

    def decay(self, images_seen: int, batch_size: int) -> float:
        """Return the decay of a step on `batch_size` images that makes `images_seen` in all."""
        half_life = self.half_life_images
        if self.warmup_fraction is not None:
            half_life = min(half_life, self.warmup_fraction * images_seen)
        return 0.5 ** (batch_size / half_life) if half_life > 0 else 0.0

    @torch.no_grad()
    def update(self, images_seen: int, batch_size: int) -> None:
        """Move the average towards the current weights, after an optimizer's step."""
        averages, weights = self._tensors()
        torch._foreach_lerp_(averages, weights, 1 - self.decay(images_seen, batch_size))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Lend the networks their averaged weights; they get their own back in any case."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def give(self) -> None:
        """Give the networks the averaged weights for good."""
        for average, weight in zip(*self._tensors(), strict=True):
            weight.copy_(average)

    @torch.no_grad()
    def _swap(self) -> None:
        for average, weight in zip(*self._tensors(), strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)

    def _tensors(self) -> tuple[list[Tensor], list[Tensor]]:
        if self._pairs is None:
            named = self._named_weights()
            self._pairs = [getattr(self, key) for key, _ in named], [weight for _, weight in named]
        return self._pairs

    def _named_weights(self) -> list[tuple[str, Tensor]]:
        return [
            (f"{number}/{name.replace('.', '/')}", tensor)
            for number, network in enumerate(self._networks)
            for name, tensor in network.state_dict().items()
            if tensor.is_floating_point()
        ]

    def _apply(self, *args, **kwargs):  # a move to another device replaces the tensors
        self._pairs = None
        return super()._apply(*args, **kwargs)
