"""How much the images of a batch differ, as one more map of features."""

import torch
from torch import Tensor, nn

GROUP_SIZES = (4, 3, 2)  # images whose differences are seen (Karras et al. 2018: 4)


class MinibatchStd(nn.Module):
    """Append a map of the mean deviation within groups of images: (N, C, S, S) -> C + 1 maps.

    Karras et al. 2018, section 3: a generator that repeats itself cannot hide it. Images i,
    i + N / G, ... are a group of G = 4; of 3, 2 or all N where N is no multiple of 4.
    """

    def forward(self, maps: Tensor) -> Tensor:
        group = next((g for g in GROUP_SIZES if len(maps) % g == 0), len(maps))
        grouped = maps.float().unflatten(0, (group, -1))  # (group, N / group, C, S, S)
        std = (grouped.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
        shown = std.repeat(group)[:, None, None, None].expand(-1, 1, *maps.shape[2:])
        return torch.cat([maps, shown.to(maps.dtype)], dim=1)
