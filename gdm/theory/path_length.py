"""How far an image moves when a generator's style does, and what keeps that alike everywhere."""

import math

import torch
from torch import Tensor, nn

from gdm.recipes.ranges import Count, NonNegative, PositiveFraction


class PathLength(nn.Module):
    """A cost of path lengths that differ from their running mean a (Karras et al. 2020, StyleGAN2,
    section 3.2 and appendix B):

        weight (|J_w^T y| - a)^2,  J_w = dg(w)/dw,  y ~ N(0, I)

    It is least where J_w is orthogonal up to the factor a, so that a step of w changes the image
    as much wherever and in which direction it is.

    Args:
        weight: its weight in the generator's loss.
        every: it counts at every so many-th step of the generator, and then as many times as much
            ("lazy", section 3.1; the optimizer's rate and betas stay as they are, since it is
            added to a step and no step of its own).
        decay: part of the way that a moves to the mean of a batch, whenever it counts.
        batch_fraction: of a batch, that it is computed for.
    """

    mean: Tensor

    def __init__(
        self,
        weight: NonNegative,
        every: Count,
        decay: PositiveFraction,
        batch_fraction: PositiveFraction,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.every = every
        self.decay = decay
        self.batch_fraction = batch_fraction
        self.register_buffer("mean", torch.zeros(()))  # a

    def forward(self, images: Tensor, styles: Tensor) -> Tensor:
        """Return the penalty of a step at which it counts, and move the running mean: images
        (N, C, H, W) that were made of styles (N, L, W) -> ()."""
        lengths = path_lengths(images, styles)
        with torch.no_grad():
            self.mean.lerp_(lengths.mean(), self.decay)
        return self.weight * self.every * (lengths - self.mean).square().mean()


def path_lengths(images: Tensor, styles: Tensor) -> Tensor:
    """Return |J^T y| of each image, differentiable: (N, C, H, W), (N, L, W) -> (N,).

    y is N(0, I) / sqrt(H W), and the norm the root of the mean over the L styles of the squared
    norms of the gradients, as their code has it: the length does not depend on how many there are.
    """
    y = torch.randn_like(images) / math.sqrt(images.shape[-2] * images.shape[-1])
    (gradient,) = torch.autograd.grad((images * y).sum(), styles, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()
