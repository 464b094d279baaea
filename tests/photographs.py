"""A data set of the tests' own: pieces of two colour photographs, in any size, grey too."""

from pathlib import Path

import torch
from sklearn.datasets import load_sample_images
from torch.nn.functional import interpolate

from gdm.data.images import Attributes, Images
from gdm.data.sources import Source

PLUGINS = (Path(__file__).stem,)  # as the command line would allow it
STEP = 12  # pixels from piece to piece, which overlap
HELD_FOR_TEST = 4  # every so many pieces are the test split
BRIGHT = 110  # the mean of a piece above which it has the attribute


class Photographs(Source):
    """Square pieces of a temple and of a flower, classed by where they stand.

    Args:
        channels: 3, or 1 for grey.
        resolution: pixels a side.
        num_classes: pieces in turn are of so many classes; 0 for none.
    """

    name = "photographs"

    def __init__(self, channels: int, resolution: int, num_classes: int) -> None:
        self.channels = channels
        self.resolution = resolution
        self.class_names = tuple(f"class {number}" for number in range(num_classes))

    @property
    def fingerprint(self) -> str:
        return f"{self.channels}-{self.resolution}-{len(self.class_names)}"

    def load(self, split: str) -> Images:
        pieces = torch.cat(
            [self._pieces(photograph) for photograph in load_sample_images().images]
        )
        places = torch.arange(len(pieces))
        is_test = places % HELD_FOR_TEST == 0
        places = places[is_test if split == "test" else ~is_test]
        labels = places // HELD_FOR_TEST % max(1, len(self.class_names))
        bright = pieces[places].float().mean((1, 2, 3)) > BRIGHT
        return Images(
            pieces[places],
            labels,
            self.class_names,
            attributes=Attributes(bright[:, None].to(torch.uint8), ("bright",)),
        )

    def _pieces(self, photograph) -> torch.Tensor:
        """Cut a photograph, (H, W, 3), at half of its size: (N, C, R, R) uint8."""
        x = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None].float()
        x = interpolate(x, scale_factor=0.5, mode="area")[0]
        x = x.mean(0, keepdim=True) if self.channels == 1 else x
        side = self.resolution
        pieces = x.unfold(1, side, STEP).unfold(2, side, STEP)  # (C, n, m, R, R)
        return pieces.permute(1, 2, 0, 3, 4).flatten(0, 1).round().to(torch.uint8).contiguous()
