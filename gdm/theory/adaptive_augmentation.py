"""Adaptive discriminator augmentation: changes of images that are as frequent as the discriminator
knows its few images by heart.

A change is a matrix for each image. Those of places are 3 x 3, in homogeneous coordinates
(column, row, 1) of which the first two are -1 and 1 at the edges; those of colours are
(C + 1) x (C + 1), with values between -1 and 1.
"""

import math
from functools import reduce

import torch
from torch import Tensor
from torch.nn.functional import pad

from gdm.recipes.ranges import Count, Fraction
from gdm.theory.augmentation import Augmentation

# Karras et al. 2020, appendix B. A factor of 2^(std n), n from N(0, 1), is their Lognormal(0,
# (std ln 2)^2); each of these distributions is that of the inverse changes too.
MAX_WHOLE_MOVE = 0.125  # of the side
MOVE_STD = 0.125  # of the side
SCALE_STD = 0.2  # octaves
BRIGHTNESS_STD = 0.2  # of values between -1 and 1
CONTRAST_STD = 0.5  # octaves
SATURATION_STD = 1.0  # octaves


class AdaptiveAugmentation(Augmentation):
    """Changes of place and colour, each with probability p, which follows the discriminator's
    overfitting

        r = E[sign D(x)]    over real images x

    towards a target: p rises where r is above it, and falls elsewhere (Karras et al. 2020,
    "Training generative adversarial networks with limited data", section 3.1 and appendix B;
    the changes are their "bgc", in their order and of their distributions). At p = 0 images stay
    as they are.

    Two things differ. The paper resamples with a wavelet's filter (sym6); bilinear interpolation
    leaves what is mirrored, turned by quarters and moved by pixels as sharp as it was, and blurs
    the rest a little, real and fake alike. And the paper mirrors an image beyond its edges; on a
    plain background that makes parts of a second object, so that here the edge goes on.

    Args:
        initial_p: p at first.
        target: of r; None leaves p as it is.
        every: steps of the discriminator from one adjustment to the next.
        adjustment_images: images in which p gets from 0 to 1.
        max_p: p does not exceed it.
    """

    def __init__(
        self,
        initial_p: Fraction,
        target: Fraction | None,
        every: Count,
        adjustment_images: Count,
        max_p: Fraction,
    ) -> None:
        super().__init__()
        if initial_p > max_p:
            raise ValueError(f"initial_p={initial_p:g} exceeds max_p={max_p:g}")
        self.target = target
        self.every = every
        self.adjustment_images = adjustment_images
        self.max_p = max_p
        self.register_buffer("p", torch.tensor(float(initial_p)))
        self.register_buffer("overfitting", torch.tensor(0.0))  # r, at the last adjustment
        # since then
        self.register_buffer("sum_of_signs", torch.tensor(0.0))
        self.register_buffer("num_images", torch.tensor(0))
        self.register_buffer("num_steps", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        if not self.p:
            return x
        count, channels, side, _ = x.shape
        with torch.autocast(x.device.type, enabled=False):  # places need more than 8 bits
            x = resampled(x.float(), random_places(count, side, self.p))
            return recoloured(x, random_colours(count, channels, self.p))

    @torch.no_grad()
    def adapt(self, real_output: Tensor) -> None:
        self.sum_of_signs += real_output.sign().sum()
        self.num_images += len(real_output)
        self.num_steps += 1
        if self.num_steps < self.every:
            return
        self.overfitting.copy_(self.sum_of_signs / self.num_images)
        if self.target is not None:
            change = self.num_images / self.adjustment_images
            self.p.add_((self.overfitting - self.target).sign() * change).clamp_(0, self.max_p)
        for gathered in (self.sum_of_signs, self.num_images, self.num_steps):
            gathered.zero_()

    def health(self) -> dict[str, float]:
        return {"augmentation_p": float(self.p), "overfitting": float(self.overfitting)}

    def as_if_trained(self) -> None:
        if self.target is not None:
            self.p.fill_(self.max_p)


# Places -----------------------------------------------------------------------------------------


def random_places(count: int, side: int, p: Tensor) -> Tensor:
    """Return which place of its image each place of a result shows, where each change has
    probability p: images, pixels a side, () -> (N, 3, 3)."""
    one, two = p.new_empty(count), p.new_empty(2, count)
    p_of_turn = 1 - (1 - p).sqrt()  # of each of two, so that p is that of either
    scale = _sometimes(p, torch.exp2(SCALE_STD * torch.randn_like(one)), 1.0)
    stretch = _sometimes(p, torch.exp2(SCALE_STD * torch.randn_like(one)), 1.0)
    changes = [
        mirrored(_sometimes(p, torch.randint_like(one, 2), 0.0)),
        quarter_turned(_sometimes(p, torch.randint_like(one, 4), 0.0)),
        moved(*_sometimes(p, (MAX_WHOLE_MOVE * side * _either_way(two)).round() / side, 0.0)),
        scaled(scale, scale),
        turned(_sometimes(p_of_turn, math.pi * _either_way(one), 0.0)),
        scaled(stretch, 1 / stretch),
        turned(_sometimes(p_of_turn, math.pi * _either_way(one), 0.0)),
        moved(*_sometimes(p, MOVE_STD * torch.randn_like(two), 0.0)),
    ]
    return reduce(torch.matmul, changes)


def mirrored(is_mirrored: Tensor) -> Tensor:
    """Return the change of left and right where it is 1: (N,) -> (N, 3, 3)."""
    return scaled(1 - 2 * is_mirrored, torch.ones_like(is_mirrored))


def quarter_turned(turns: Tensor) -> Tensor:
    """Return rotations by so many quarters of a circle: (N,) -> (N, 3, 3)."""
    angle = math.pi / 2 * turns
    return _rotation(angle.cos().round(), angle.sin().round())


def turned(angle: Tensor) -> Tensor:
    """Return rotations by an angle, in radians: (N,) -> (N, 3, 3)."""
    return _rotation(angle.cos(), angle.sin())


def _rotation(cos: Tensor, sin: Tensor) -> Tensor:
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    return _matrix([cos, -sin, zero], [sin, cos, zero], [zero, zero, one])


def scaled(horizontally: Tensor, vertically: Tensor) -> Tensor:
    """Return scalings about the middle: (N,), (N,) -> (N, 3, 3)."""
    zero, one = torch.zeros_like(vertically), torch.ones_like(vertically)
    return _matrix([horizontally, zero, zero], [zero, vertically, zero], [zero, zero, one])


def moved(right: Tensor, down: Tensor) -> Tensor:
    """Return translations by fractions of the side: (N,), (N,) -> (N, 3, 3)."""
    zero, one = torch.zeros_like(right), torch.ones_like(right)
    return _matrix([one, zero, 2 * right], [zero, one, 2 * down], [zero, zero, one])


def resampled(x: Tensor, places: Tensor) -> Tensor:
    """Return images whose places show other places of theirs, by bilinear interpolation; what is
    beyond an image continues its edge: (N, C, R, R), (N, 3, 3) -> (N, C, R, R).

    `grid_sample` is not what is used: its gradient is not repeatable on a GPU, nor has it a second
    one.
    """
    channels, side = x.shape[1:3]
    middles = (2 * torch.arange(side, dtype=x.dtype, device=x.device) + 1) / side - 1  # of pixels
    row, column = torch.meshgrid(middles, middles, indexing="ij")
    shown = places[:, :2] @ torch.stack([column, row, torch.ones_like(row)]).flatten(1)
    column, row = (((shown + 1) * side - 1) / 2).unbind(1)  # in pixels, (N, R R)
    left, top = column.floor(), row.floor()
    lefts, rights, tops, bottoms = (
        place.long().clamp(0, side - 1) for place in (left, left + 1, top, top + 1)
    )
    to_right, to_bottom = (column - left).unsqueeze(1), (row - top).unsqueeze(1)
    pixels = x.flatten(2)

    def at(row: Tensor, column: Tensor) -> Tensor:
        return pixels.gather(2, (side * row + column).unsqueeze(1).expand(-1, channels, -1))

    upper = torch.lerp(at(tops, lefts), at(tops, rights), to_right)
    lower = torch.lerp(at(bottoms, lefts), at(bottoms, rights), to_right)
    return torch.lerp(upper, lower, to_bottom).view(x.shape)


# Colours ----------------------------------------------------------------------------------------


def random_colours(count: int, channels: int, p: Tensor) -> Tensor:
    """Return what becomes of colours where each change has probability p; of grey values only
    brightness and contrast: images, channels, () -> (N, C + 1, C + 1)."""
    one = p.new_empty(count)
    offset = _sometimes(p, BRIGHTNESS_STD * torch.randn_like(one), 0.0)
    factor = _sometimes(p, torch.exp2(CONTRAST_STD * torch.randn_like(one)), 1.0)
    changes = [brightened(offset, channels), contrasted(factor, channels)]
    if channels == 3:
        saturation = torch.exp2(SATURATION_STD * torch.randn_like(one))
        changes += [
            luma_flipped(_sometimes(p, torch.randint_like(one, 2), 0.0)),
            hue_turned(_sometimes(p, math.pi * _either_way(one), 0.0)),
            saturated(_sometimes(p, saturation, 1.0)),
        ]
    return reduce(torch.matmul, reversed(changes))  # the first is the first to act


def brightened(offset: Tensor, channels: int) -> Tensor:
    """Return additions to all channels: (N,), C -> (N, C + 1, C + 1)."""
    matrix = torch.eye(channels + 1, device=offset.device).repeat(len(offset), 1, 1)
    matrix[:, :channels, channels] = offset.unsqueeze(1)
    return matrix


def contrasted(factor: Tensor, channels: int) -> Tensor:
    """Return scalings of all channels: (N,), C -> (N, C + 1, C + 1)."""
    ones = torch.ones_like(factor)
    return torch.stack([factor] * channels + [ones], 1).diag_embed()


def luma_flipped(is_flipped: Tensor) -> Tensor:
    """Return the change of light and dark, with the same colours, where it is 1: (N,) ->
    (N, 4, 4)."""
    one = torch.ones_like(is_flipped)
    return _about_grey(1 - 2 * is_flipped, one, torch.zeros_like(one))


def hue_turned(angle: Tensor) -> Tensor:
    """Return rotations of colours about the axis of grey ones, in radians: (N,) -> (N, 4, 4)."""
    return _about_grey(torch.ones_like(angle), angle.cos(), angle.sin())


def saturated(factor: Tensor) -> Tensor:
    """Return scalings of the distance from grey: (N,) -> (N, 4, 4)."""
    return _about_grey(torch.ones_like(factor), factor, torch.zeros_like(factor))


def _about_grey(luma: Tensor, across: Tensor, turn: Tensor) -> Tensor:
    """Return luma v v^T + across (I - v v^T) + turn [v]_x, with v = (1, 1, 1) / sqrt 3 the axis of
    grey colours: thrice (N,) -> (N, 4, 4)."""
    identity = torch.eye(3, device=luma.device)
    grey = torch.full_like(identity, 1 / 3)  # v v^T
    cross = (identity.roll(1, 0) - identity.roll(1, 1)) / math.sqrt(3)  # [v]_x
    luma, across, turn = (each[:, None, None] for each in (luma, across, turn))
    change = (luma - 1) * grey + (across - 1) * (identity - grey) + turn * cross
    return torch.eye(4, device=luma.device) + pad(change, [0, 1, 0, 1])  # so that 0 is exact


def recoloured(x: Tensor, colours: Tensor) -> Tensor:
    """Return images with other colours: (N, C, R, R), (N, C + 1, C + 1) -> (N, C, R, R)."""
    linear, offset = colours[:, :-1, :-1], colours[:, :-1, -1:]
    return torch.baddbmm(offset, linear, x.flatten(2)).view(x.shape)


# Parts of both ----------------------------------------------------------------------------------


def _sometimes(p: Tensor, drawn: Tensor, neutral: float) -> Tensor:
    """Return what was drawn with probability p, each image by itself, and elsewhere what changes
    nothing: (..., N) -> (..., N)."""
    is_changed = torch.rand(drawn.shape[-1], device=drawn.device) < p
    return torch.where(is_changed, drawn, neutral)


def _either_way(like: Tensor) -> Tensor:
    """Return numbers in [-1, 1]."""
    return 2 * torch.rand_like(like) - 1


def _matrix(*rows: list[Tensor]) -> Tensor:
    """Return a matrix of entries that are (N,) each: (N, K, K)."""
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
