"""Guidance: a denoiser made of two denoisers."""

from torch import Tensor

from gdm.theory.samplers import Denoiser


def guided(towards: Denoiser, away_from: Denoiser, guidance: float) -> Denoiser:
    """Return a denoiser that goes beyond one in its direction from another.

        away_from + guidance (towards - away_from)

    With a conditional and an unconditional denoiser it is classifier-free guidance (Ho and
    Salimans 2022, equation 6, with guidance = 1 + w), with a good and a worse one autoguidance
    (Karras et al. 2024).

    Args:
        towards, away_from: the two denoisers, (x_t, t) -> x_0.
        guidance: how far; 1 is the first, 0 the second.
    """

    def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
        start = away_from(x_t, t)
        return start + guidance * (towards(x_t, t) - start)

    return denoiser
