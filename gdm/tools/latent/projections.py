"""Codes of many dimensions in the plane; the libraries' projections, called alike."""

import importlib.util

import torch
from torch import Tensor

from gdm.errors import UserError
from gdm.theory.randomness import fold


def principal_components(codes: Tensor, further: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return codes in the plane of their largest variance, and further ones in the same plane.

    Args:
        codes: (N, D).
        further: (M, D).
        seed: of what is random in it.

    Returns:
        (N, 2) and (M, 2).
    """
    from sklearn.decomposition import PCA

    plane = PCA(2, svd_solver="full").fit(codes.double().numpy())
    return _to(codes, plane.transform(codes.double().numpy())), _to(
        codes, plane.transform(further.double().numpy())
    )


def neighbour_embedding(codes: Tensor, further: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return a map that keeps neighbours together (t-SNE, van der Maaten and Hinton 2008).

    Distances in it mean little, and it places all codes together; otherwise as
    `principal_components`.
    """
    from sklearn.manifold import TSNE

    whole = torch.cat([codes, further]).double().numpy()
    perplexity = min(30, (len(whole) - 1) / 3)
    placed = TSNE(
        2, perplexity=perplexity, init="pca", random_state=fold(seed, "t-SNE") % 2**32
    ).fit_transform(whole)
    return _to(codes, placed[: len(codes)]), _to(codes, placed[len(codes) :])


def manifold_approximation(codes: Tensor, further: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return a map of the codes' neighbourhoods (UMAP, McInnes et al. 2018); otherwise as
    `principal_components`.

    Raises:
        UserError: if umap-learn is not installed.
    """
    refuse_without_umap()
    from umap import UMAP

    reducer = UMAP(n_components=2, random_state=fold(seed, "UMAP") % 2**32, n_jobs=1).fit(
        codes.numpy()
    )
    return _to(codes, reducer.embedding_), _to(codes, reducer.transform(further.numpy()))


def refuse_without_umap() -> None:
    """Refuse a map that needs a library which is not there.

    Raises:
        UserError: saying how it is installed.
    """
    if importlib.util.find_spec("umap") is None:
        raise UserError(
            "tool.projection=umap: needs umap-learn; install it with pip install -e '.[umap]', or "
            "take tool.projection=tsne or pca"
        )


def _to(codes: Tensor, array) -> Tensor:
    return torch.from_numpy(array).to(codes)


PROJECTIONS = {
    "pca": principal_components,
    "tsne": neighbour_embedding,
    "umap": manifold_approximation,
}
