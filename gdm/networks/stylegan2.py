"""The generator and the discriminator of Karras et al. 2020 (StyleGAN2), with the numbers that
StyleGAN2-ADA (Karras et al. 2020) gives them, for any power of two.

Weights have an equalised learning rate, activations are LeakyReLU times sqrt 2, and resolutions
change with the filter of `gdm.networks.resampling`.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pixel_shuffle, pixel_unshuffle

from gdm.networks import discriminator
from gdm.networks.convolutional import SMALLEST
from gdm.networks.equalised import (
    EqualisedConv2d,
    EqualisedLinear,
    channels_at,
)
from gdm.networks.mapping import Mapping, activated
from gdm.networks.minibatch_std import MinibatchStd
from gdm.networks.resampling import blurred, doubled
from gdm.recipes.ranges import Count, NonNegativeInt, PatchSize

LABEL_LAYERS = 8  # of the discriminator's mapping of labels, whatever the generator's has


class Generator(nn.Module):
    """Latents (N, D), labels (N, K) -> images (N, C, R, R): a latent is mapped to a vector w of
    the same size, and each of the L layers of the synthesis is given a style, which is that w.

    Args:
        channels: C.
        resolution: R, a power of two, 16 to 1024.
        latent_dim: D.
        num_labels: K; 0 for none.
        num_mapping_layers: from the latent to w.
        channel_base: channels at resolution r are channel_base / r,
        channel_max: but at most this many.
        noise: whether fresh noise comes in at every layer in training; in evaluation it is always
            the same.
        patch_size: the maps have a place for each block of so many pixels a side, which are
            channels there; 1 is the paper's, 2 spares a CPU most of its time.
        bounded: whether images go through tanh, so that plain black or white is easily made; the
            paper's are without a bound.
    """

    def __init__(
        self,
        channels: Count,
        resolution: Count,
        latent_dim: Count,
        num_labels: NonNegativeInt,
        num_mapping_layers: Count,
        channel_base: Count,
        channel_max: Count,
        noise: bool,
        patch_size: PatchSize = 1,
        bounded: bool = False,
    ) -> None:
        super().__init__()
        widths = channels_at(resolution, channel_base, channel_max, patch_size)
        self.mapping = Mapping(latent_dim, num_labels, latent_dim, num_mapping_layers)
        self.synthesis = Synthesis(channels, widths, latent_dim, noise, patch_size, bounded)
        self.num_styles = self.synthesis.num_styles
        self.to(memory_format=torch.channels_last)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        w = self.mapping(z, labels)
        return self.synthesis(w.unsqueeze(1).expand(-1, self.num_styles, -1))  # (N, L, W)


class Synthesis(nn.Module):
    """Styles (N, L, W) -> images (N, C, R, R), the sum of one image of each resolution, doubled to
    the whole (the "skip" architecture, section 4.1).

    Args:
        channels: C.
        widths: channels at 4 x 4, 8 x 8, ..., R x R pixels.
        style_dim: W.
        noise: whether noise is added.
        patch_size, bounded: as in `Generator`.
    """

    def __init__(
        self,
        channels: int,
        widths: list[int],
        style_dim: int,
        noise: bool,
        patch_size: int,
        bounded: bool,
    ) -> None:
        super().__init__()
        self.patch_size, self.bounded = patch_size, bounded
        self.constant = nn.Parameter(torch.randn(1, widths[0], SMALLEST, SMALLEST))
        layers = [StyledLayer(widths[0], widths[0], style_dim, SMALLEST, noise)]
        for stage, (below, here) in enumerate(pairwise(widths), 1):
            side = SMALLEST * 2**stage
            layers += [
                StyledLayer(below, here, style_dim, side, noise, doubles=True),
                StyledLayer(here, here, style_dim, side, noise),
            ]
        self.layers = nn.ModuleList(layers)
        self.to_images = nn.ModuleList(
            ToImage(width, channels * patch_size**2, style_dim) for width in widths
        )
        self.num_styles = len(layers) + 1  # a doubling layer shares its style with the image below

    def forward(self, styles: Tensor) -> Tensor:
        first, *others = self.layers
        x = self.constant.repeat(len(styles), 1, 1, 1)
        x = first(x.contiguous(memory_format=torch.channels_last), styles[:, 0])
        image = self.to_images[0](x, styles[:, 1])
        stages = zip(others[::2], others[1::2], self.to_images[1:], strict=True)
        for stage, (doubling, layer, to_image) in enumerate(stages):
            number = 2 * stage + 1
            x = doubling(x, styles[:, number])
            x = layer(x, styles[:, number + 1])
            image = doubled(image) + to_image(x, styles[:, number + 2])
        image = pixel_shuffle(image, self.patch_size)
        return image.tanh() if self.bounded else image


class ModulatedConv2d(nn.Module):
    """A convolution whose inputs are scaled by a style, and whose outputs are brought back to the
    variance that they would have if inputs were independent and of variance 1 (equations 1 and 3):

        y = d (W * (s x)),  d_o = 1 / sqrt(sum over i, k of (s_i W_oik)^2 + 1e-8)

    Scaling what goes in and what comes out is the same as scaling the weights for each image.

    Args:
        in_channels, out_channels: of the maps.
        kernel_size: in pixels.
        style_dim: size of the vector w that s is an affine function of, with 1 in the middle.
        demodulates: whether there is d.
        doubles: whether the resolution is doubled, by a transposed convolution and a filter.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        style_dim: int,
        demodulates: bool = True,
        doubles: bool = False,
    ) -> None:
        super().__init__()
        self.demodulates, self.doubles = demodulates, doubles
        self.affine = EqualisedLinear(style_dim, in_channels, bias=1.0)
        shape = out_channels, in_channels, kernel_size, kernel_size
        self.weight = nn.Parameter(torch.randn(shape))
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)

    def forward(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return W * (s x) and d, for whoever comes next to multiply."""
        s = self.affine(w) * self.scale  # (N, in_channels)
        x = self.convolved(x * s[:, :, None, None])
        if not self.demodulates:
            return x, None
        energy = s.square() @ self.weight.square().sum((2, 3)).T  # (N, out_channels)
        return x, (energy + 1e-8).rsqrt()[:, :, None, None]

    def convolved(self, x: Tensor) -> Tensor:
        """Return W * x, of twice the resolution if it doubles."""
        if not self.doubles:
            return conv2d(x, self.weight, padding=self.weight.shape[-1] // 2)
        weight = self.weight.transpose(0, 1).contiguous(memory_format=torch.channels_last)
        return blurred(conv_transpose2d(x, weight, stride=2), padding=1, gain=4.0)


class StyledLayer(nn.Module):
    """A modulated convolution, noise, a bias, and the activation.

    Noise is one number a pixel, times one strength that begins at 0; in evaluation it is constant.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style_dim: int,
        side: int,
        noise: bool,
        doubles: bool = False,
    ) -> None:
        super().__init__()
        self.convolution = ModulatedConv2d(
            in_channels, out_channels, 3, style_dim, doubles=doubles
        )
        self.bias = nn.Parameter(torch.zeros(out_channels, 1, 1))
        self.noise_strength = nn.Parameter(torch.zeros(())) if noise else None
        if noise:
            self.register_buffer("noise", torch.randn(1, 1, side, side))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x, demodulation = self.convolution(x, w)
        if self.noise_strength is None:
            return activated(x * demodulation + self.bias)
        noise = torch.randn_like(x[:, :1]) if self.training else self.noise
        noisy = torch.addcmul(self.noise_strength * noise, x, demodulation)
        return activated(noisy.add_(self.bias))


class ToImage(nn.Module):
    """A modulated convolution of single pixels, without demodulation, and a bias."""

    def __init__(self, in_channels: int, channels: int, style_dim: int) -> None:
        super().__init__()
        self.convolution = ModulatedConv2d(in_channels, channels, 1, style_dim, demodulates=False)
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.convolution(x, w)[0] + self.bias


class Discriminator(discriminator.Discriminator):
    """Images (N, C, R, R), labels (N, K) -> one number an image, (N,).

    With labels it is <mapped label, features> / sqrt(features), the projection of Miyato and
    Koyama (2018) as StyleGAN2-ADA has it.

    Args:
        channels: C.
        resolution: R, a power of two, 16 to 1024.
        num_labels: K; 0 for none.
        channel_base: channels at resolution r are channel_base / r,
        channel_max: but at most this many.
        residual: whether each resolution's block is added to a shortcut (section 4.1); without,
            it is the network of the progressive GAN.
        minibatch_std: show the last layers how much the images of a batch differ.
        patch_size: as in `Generator`.
    """

    def __init__(
        self,
        channels: Count,
        resolution: Count,
        num_labels: NonNegativeInt,
        channel_base: Count,
        channel_max: Count,
        residual: bool,
        minibatch_std: bool,
        patch_size: PatchSize = 1,
    ) -> None:
        super().__init__()
        self.minibatch_std, self.patch_size = minibatch_std, patch_size
        widths = channels_at(resolution, channel_base, channel_max, patch_size)[::-1]
        last = widths[-1]
        self.from_image = EqualisedConv2d(channels * patch_size**2, widths[0], 1)
        self.blocks = nn.ModuleList(Block(*pair, residual) for pair in pairwise(widths))
        self.std = MinibatchStd() if minibatch_std else nn.Identity()
        self.convolution = EqualisedConv2d(last + int(minibatch_std), last, 3, padding=1)
        self.hidden = EqualisedLinear(last * SMALLEST**2, last)
        self.last = EqualisedLinear(last, last if num_labels else 1)
        self.of_label = Mapping(0, num_labels, last, LABEL_LAYERS) if num_labels else None
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        x = pixel_unshuffle(x, self.patch_size)
        x = activated(self.from_image(x.contiguous(memory_format=torch.channels_last)))
        for block in self.blocks:
            x = block(x)
        x = activated(self.convolution(self.std(x)))
        output = self.last(activated(self.hidden(x.flatten(1))))
        if self.of_label is None:
            return output.squeeze(1)
        vector = self.of_label(labels[:, :0], labels)  # there is no latent
        return (output * vector).sum(1) / math.sqrt(output.shape[1])


class Block(nn.Module):
    """Half the resolution: (N, C, R, R) -> (N, C', R / 2, R / 2)."""

    def __init__(self, channels: int, channels_below: int, residual: bool) -> None:
        super().__init__()
        self.first = EqualisedConv2d(channels, channels, 3, padding=1)
        self.second = EqualisedConv2d(channels, channels_below, 3, stride=2)
        self.shortcut = None
        if residual:
            self.shortcut = EqualisedConv2d(channels, channels_below, 1, stride=2, bias=None)

    def forward(self, x: Tensor) -> Tensor:
        y = activated(self.second(blurred(activated(self.first(x)), padding=2)))
        if self.shortcut is None:
            return y
        return (y + self.shortcut(blurred(x, padding=1))) * math.sqrt(0.5)  # as much variance
