"""The linear codes that stand beside those of a model."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gdm.data.datamodule import ImageDataModule


class PrincipalComponents:
    """Codes by the linear map that gives images back with the least squared error: the projections
    on the axes of the largest variance (Pearson 1901), found from training images.

    Args:
        data: the data set.
        num_train: training images that the axes are found from, the first of the split.
        most: axes to find; of fewer images or pixels fewer.
    """

    def __init__(self, data: ImageDataModule, num_train: int, most: int) -> None:
        from sklearn.decomposition import PCA

        batches = data.batches("train", limit=num_train)
        x = torch.cat([batch.x.flatten(1) for batch in batches])  # (N, P)
        found = PCA(min(most, *x.shape), random_state=0).fit(x.numpy())
        self.mean = torch.from_numpy(found.mean_).float()
        self.axes = torch.from_numpy(found.components_).float().T  # (P, A)

    @property
    def count(self) -> int:
        """Number of axes."""
        return self.axes.shape[1]

    def encode(self, x: Tensor, dimension: int) -> Tensor:
        """Return codes of images: (N, C, H, W) -> (N, dimension), on the CPU."""
        return (x.cpu().flatten(1) - self.mean) @ self.axes[:, :dimension]

    def decode(self, z: Tensor, shape: Sequence[int]) -> Tensor:
        """Return images of codes: (N, dimension) -> (N, *shape) in [-1, 1]."""
        return (self.mean + z @ self.axes[:, : z.shape[1]].T).clamp(-1, 1).reshape(-1, *shape)
