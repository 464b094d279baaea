"""Randomness as a pure function: (seed, purpose, position) -> generator.

Nothing here has a state that would have to be saved. Whoever needs random numbers folds the run's
seed with what they are for and where in the run they are used, so that a run that was
interrupted anywhere goes on with the very numbers it would have drawn.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def fold(seed: int, *parts: int | str) -> int:
    """Fold a seed with a purpose and positions into a new seed in [0, 2^63).

    Args:
        seed: the seed to start from.
        parts: what the numbers are for and where they are used, such as `"order", epoch`.
    """
    text = "/".join(map(str, (seed, *parts)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, *parts: int | str) -> torch.Generator:
    """Return a CPU generator seeded with `fold(seed, *parts)`."""
    return torch.Generator().manual_seed(fold(seed, *parts))


def seed_default_generators(seed: int, *parts: int | str) -> None:
    """Seed the generators that dropout and `randn_like` draw from.

    `torch.manual_seed` would also prepare a lazy CUDA call, which costs far more than a small
    training step may.
    """
    folded = fold(seed, *parts)
    torch.default_generator.manual_seed(folded)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(folded)


def normal(indices: Sequence[int], shape: Sequence[int], seed: int, purpose: str) -> Tensor:
    """Draw standard normal noise that belongs to each index, whatever batch it is drawn in.

    Args:
        indices: the N indices, of samples or of images.
        shape: the shape of one index's noise.
        seed: the seed of the whole set.
        purpose: what the noise is for, so that two uses of one index are independent.

    Returns:
        Noise on the CPU, (N, *shape).
    """
    return _draw(Tensor.normal_, indices, shape, seed, purpose)


def uniform(indices: Sequence[int], shape: Sequence[int], seed: int, purpose: str) -> Tensor:
    """Draw noise uniform in [0, 1) that belongs to each index; otherwise as `normal`."""
    return _draw(Tensor.uniform_, indices, shape, seed, purpose)


def refuse_number(indices: Sequence[int]) -> None:
    """Refuse a number of images where the index of each is to be given.

    Raises:
        TypeError: saying how it is given.
    """
    if isinstance(indices, int):
        raise TypeError(
            f"indices={indices}: must be the index of each image; the first {indices} are "
            f"range({indices})"
        )


def _draw(fill, indices, shape, seed, purpose) -> Tensor:
    refuse_number(indices)
    noise = torch.empty(len(indices), *shape)
    own = torch.Generator()
    for row, index in zip(noise, indices, strict=True):
        fill(row, generator=own.manual_seed(fold(seed, purpose, int(index))))
    return noise
