"""What a discriminator declares of itself."""

from torch import nn


class Discriminator(nn.Module):
    """A discriminator whose strength can be set by arguments.

    It has an attribute for each of these that its constructor takes under the same name; where a
    GAN fails, another value of it may be proposed. One that stays None is no argument. Networks
    that declare nothing need not derive from it.

    Attributes:
        width: channels at its largest maps.
        dropout: fraction of its features that is left out in training.
        normalisation: how features are normalised; `batch` ties the images of a batch together.
        minibatch_std: whether it sees how much the images of a batch differ.
    """

    width: int | None = None
    dropout: float | None = None
    normalisation: str | None = None
    minibatch_std: bool | None = None
