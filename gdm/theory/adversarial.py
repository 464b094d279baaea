"""The game of a GAN: what its two players minimise, and what keeps the discriminator smooth.

A discriminator's outputs are one number an image, (N,), the larger the more real. Losses and
penalties are one figure an image; the mean over the batch is the model's to take.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from gdm.recipes.ranges import Count, Fraction, NonNegative, Positive

Discriminator = Callable[[Tensor], Tensor]  # images (N, C, R, R) -> outputs (N,)


class Objective(ABC):
    """What the two players minimise, given what the discriminator makes of real and fake images.

    Attributes:
        boundary: the output above which the discriminator takes an image for real; None where
            only differences of outputs mean anything.
        compares: whether the generator's loss depends on outputs for real images.
    """

    boundary: float | None = 0.0
    compares: bool = False

    @abstractmethod
    def discriminator_loss(
        self, real_output: Tensor, fake_output: Tensor, real_label: Tensor, fake_label: Tensor
    ) -> Tensor:
        """Return the discriminator's loss: four times (N,) -> (N,).

        Args:
            real_output, fake_output: its outputs for N images of each kind.
            real_label, fake_label: what it is told of them, between 0, fake, and 1, real.
        """

    @abstractmethod
    def generator_loss(self, real_output: Tensor | None, fake_output: Tensor) -> Tensor:
        """Return the generator's loss: twice (N,) -> (N,).

        Args:
            real_output: the discriminator's outputs for real images; None where it `compares`
                nothing.
            fake_output: its outputs for the generator's images.
        """


class Separate(Objective):
    """An objective that looks at each image by itself."""

    @abstractmethod
    def of_real(self, output: Tensor) -> Tensor:
        """Return the discriminator's loss on images labelled real: (N,) -> (N,)."""

    @abstractmethod
    def of_fake(self, output: Tensor) -> Tensor:
        """Return the discriminator's loss on images labelled fake: (N,) -> (N,)."""

    @abstractmethod
    def of_generator(self, output: Tensor) -> Tensor:
        """Return the generator's loss, given what the discriminator makes of its images: (N,)."""

    def of_discriminator(self, output: Tensor, label: Tensor) -> Tensor:
        """Return the discriminator's loss on images with labels between 0, fake, and 1, real.

        It is linear in the label, which for the cross-entropy and, up to a constant, for least
        squares is their own definition of it: (N,), (N,) -> (N,).
        """
        return label * self.of_real(output) + (1 - label) * self.of_fake(output)

    def discriminator_loss(
        self, real_output: Tensor, fake_output: Tensor, real_label: Tensor, fake_label: Tensor
    ) -> Tensor:
        of_real = self.of_discriminator(real_output, real_label)
        of_fake = self.of_discriminator(fake_output, fake_label)
        return of_real + of_fake

    def generator_loss(self, real_output: Tensor | None, fake_output: Tensor) -> Tensor:
        return self.of_generator(fake_output)


class NonSaturating(Separate):
    """The discriminator's cross-entropy; the generator maximises log D(G(z)).

    Goodfellow et al. 2014, section 3, end: the same fixed point as `Minimax`, with gradients that
    do not vanish where the discriminator is sure. D = sigmoid(output).
    """

    def of_real(self, output: Tensor) -> Tensor:
        return softplus(-output)  # -log D

    def of_fake(self, output: Tensor) -> Tensor:
        return softplus(output)  # -log(1 - D)

    def of_generator(self, output: Tensor) -> Tensor:
        return softplus(-output)  # -log D


class Minimax(NonSaturating):
    """The same discriminator; the generator minimises log(1 - D(G(z))).

    Goodfellow et al. 2014, equation 1. Its gradient vanishes where the discriminator is sure.
    """

    def of_generator(self, output: Tensor) -> Tensor:
        return -softplus(output)  # log(1 - D)


class LeastSquares(Separate):
    """Real outputs are pulled to 1 and fake ones to 0, by the generator to 1.

    Mao et al. 2017, equation 9.
    """

    boundary = 0.5

    def of_real(self, output: Tensor) -> Tensor:
        return 0.5 * (output - 1).square()

    def of_fake(self, output: Tensor) -> Tensor:
        return 0.5 * output.square()

    def of_generator(self, output: Tensor) -> Tensor:
        return 0.5 * (output - 1).square()


class Hinge(Separate):
    """Outputs are pushed beyond 1 and -1, and not further.

    Lim and Ye 2017; Miyato et al. 2018, equations 16 and 17.
    """

    def of_real(self, output: Tensor) -> Tensor:
        return relu(1 - output)

    def of_fake(self, output: Tensor) -> Tensor:
        return relu(1 + output)

    def of_generator(self, output: Tensor) -> Tensor:
        return -output


class Wasserstein(Separate):
    """The difference of mean outputs, whose largest value over the critics of slope at most 1 is
    the distance of real and generated images.

    Arjovsky et al. 2017, equation 2. It needs a bound on the slope: a penalty, or clipped weights.
    """

    boundary = None

    def of_real(self, output: Tensor) -> Tensor:
        return -output

    def of_fake(self, output: Tensor) -> Tensor:
        return output

    def of_generator(self, output: Tensor) -> Tensor:
        return -output


class Relativistic(Objective):
    """The discriminator's cross-entropy of which of a pair is the real one; the generator wants
    it to be wrong.

    Jolicoeur-Martineau 2019, section 4.2; Huang et al. 2024 (R3GAN), equation 2, with
    f(t) = -log(1 + exp(-t)): the loss is -f(D(x) - D(G(z))). The label of a pair, 1 where the
    first is the real one, is (1 + real label - fake label) / 2.
    """

    boundary = None
    compares = True

    def discriminator_loss(
        self, real_output: Tensor, fake_output: Tensor, real_label: Tensor, fake_label: Tensor
    ) -> Tensor:
        difference, label = real_output - fake_output, (1 + real_label - fake_label) / 2
        return label * softplus(-difference) + (1 - label) * softplus(difference)

    def generator_loss(self, real_output: Tensor | None, fake_output: Tensor) -> Tensor:
        return softplus(real_output - fake_output)


class Penalty(ABC):
    """A cost of the discriminator's slope |grad_x D(x)|, the norm over all of an image.

    Args:
        weight: its weight in the discriminator's loss.
        every: it counts at every so many-th batch, and then as many times as much ("lazy", Karras
            et al. 2020, StyleGAN2, section 3.1; the optimizer's betas stay as they are).
    """

    def __init__(self, weight: Positive, every: Count) -> None:
        self.weight = weight
        self.every = every

    @abstractmethod
    def slope(self, discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
        """Return the slope where it is penalised: (N, C, R, R), (N, C, R, R) -> (N,)."""

    @abstractmethod
    def cost(self, slope: Tensor) -> Tensor:
        """Return the cost of slopes, without its weight: (N,) -> (N,)."""


class GradientPenalty(Penalty):
    """(|grad D(x)| - 1)^2 between real and fake images.

    Gulrajani et al. 2017, equation 3: x = u real + (1 - u) fake, u uniform, one for each image.
    """

    def slope(self, discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
        u = torch.rand(len(real), 1, 1, 1, device=real.device)
        return slope_at(u * real + (1 - u) * fake, discriminator)

    def cost(self, slope: Tensor) -> Tensor:
        return (slope - 1).square()


class R1(Penalty):
    """|grad D(x)|^2 / 2 at real images, with `weight` as gamma.

    Mescheder et al. 2018, equation 9.
    """

    def slope(self, discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
        return slope_at(real, discriminator)

    def cost(self, slope: Tensor) -> Tensor:
        return 0.5 * slope.square()


class R1R2(Penalty):
    """|grad D(x)|^2 / 2 at real and at fake images, with `weight` as gamma of both.

    Roth et al. 2017; Huang et al. 2024 (R3GAN), section 2.2. Slopes are those of the real images,
    then those of the fake ones, (2 N,); the mean of both costs is half their sum.
    """

    def slope(self, discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
        # each by itself: a discriminator may be told as many labels as there are images of a kind
        return torch.cat([slope_at(real, discriminator), slope_at(fake, discriminator)])

    def cost(self, slope: Tensor) -> Tensor:
        return slope.square()


def slope_at(x: Tensor, discriminator: Discriminator) -> Tensor:
    """Return |grad_x D(x)| of each image, differentiable, in full precision: (N,)."""
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        x = x.detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
        return gradient.flatten(1).norm(dim=1)


class LabelNoise:
    """What the discriminator is told about the images: 1 for real and 0 for fake, less surely.

    Each of these weakens a discriminator that overpowers the generator. With all at 0 it is told
    the truth.

    Args:
        smoothing: the label 1 becomes 1 - smoothing, and 0 stays (one-sided; Salimans et al.
            2016, section 3.4).
        flipped: fraction of the labels, of real and of fake images, that are the wrong way round.
        noise: standard deviation of Gaussian noise on the labels, which stay within [0, 1].
    """

    def __init__(self, smoothing: Fraction, flipped: Fraction, noise: NonNegative) -> None:
        self.smoothing = smoothing
        self.flipped = flipped
        self.noise = noise

    def __call__(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels of as many real and fake images as `like` has rows, (N,) each."""
        return self._unsure(torch.ones_like(like)), self._unsure(torch.zeros_like(like))

    def _unsure(self, realness: Tensor) -> Tensor:
        if self.flipped:
            is_flipped = torch.rand_like(realness) < self.flipped
            realness = torch.where(is_flipped, 1 - realness, realness)
        realness = (1 - self.smoothing) * realness
        if self.noise:
            realness = (realness + self.noise * torch.randn_like(realness)).clamp(0, 1)
        return realness
