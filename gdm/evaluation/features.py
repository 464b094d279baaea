"""Sets of images in the features of an extractor: collected, kept, and compared."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import one_hot

from gdm.data.batches import parts_of
from gdm.data.datamodule import EVALUATION_BATCH, ImageDataModule
from gdm.evaluation import distances
from gdm.evaluation.extractors import Extractor, Features, read_checked, write_checked
from gdm.files import cache_folder
from gdm.theory.moments import JointMoments, Moments

log = logging.getLogger(__name__)

CONFIDENT = 0.8  # a classifier names an image that it gives at least this probability


NEIGHBOURS = 5  # k of precision, recall, density and coverage (Naeem et al. 2020)


MIN_IMAGES = NEIGHBOURS + 2  # images below which these are not defined


class FeatureSet:
    """What is kept of the features of a set of images, which come a batch at a time.

    Args:
        pairwise: keep the features themselves too, for the metrics that compare all pairs;
            without, the memory does not grow with the number of images.
    """

    def __init__(self, pairwise: bool = True) -> None:
        self.joint = JointMoments()
        self.probabilities, self.log, self.named = Moments(), Moments(), Moments()
        self._right = Moments()  # of images whose classes are known
        self._features: list[Tensor] | None = [] if pairwise else None

    def __len__(self) -> int:
        return self.joint.count

    @property
    def is_pairwise(self) -> bool:
        """Whether the features themselves are kept."""
        return self._features is not None

    @property
    def features(self) -> Tensor:
        """The features, (N, D); of a pairwise set."""
        return torch.cat(self._features)

    @property
    def accuracy(self) -> float | None:
        """The fraction of images that are named by their own class; None where it is unknown."""
        return float(self._right.mean) if self._right.count else None

    def add(self, found: Features, label: Tensor | None = None) -> None:
        """Take in a batch, with its classes, (N,), where the extractor tells these apart."""
        self.joint.update(found.features)
        if self.is_pairwise:
            self._features.append(found.features.float().cpu())
        if found.probabilities is None:
            return
        p = found.probabilities.double()
        self.probabilities.update(p)
        self.log.update(torch.special.xlogy(p, p).sum(1))
        confidence, answer = p.max(1)
        confident = (confidence >= CONFIDENT).unsqueeze(1)
        self.named.update(torch.cat([one_hot(answer, p.shape[1]), confident], 1))  # (N, K + 1)
        if label is not None:
            self._right.update((answer == label).double())


def features_of(
    batches: Iterable[Tensor], extractor: Extractor, pairwise: bool = True
) -> FeatureSet:
    """Return what an extractor finds in 8-bit images, batches of (N, C, H, W)."""
    found = FeatureSet(pairwise)
    for batch in batches:
        found.add(extractor(batch))
    return found


def features_of_split(
    extractor: Extractor,
    data: ImageDataModule,
    split: str,
    limit: int | None = None,
    pairwise: bool = True,
) -> FeatureSet:
    """Return what an extractor finds in a split, or in its first `limit` images.

    The features are computed once and kept on the disk, under the fingerprint of the data, the
    split, the images' size and the extractor's checksum.
    """
    path = _cache_path(extractor, data, split)
    try:
        kept, _ = read_checked(path)
    except (OSError, SafetensorError, ValueError):  # not there yet, or damaged
        kept = _computed(extractor, data, split)
        _keep(kept, path)
    labels = data.split(split).labels if extractor.class_names is not None else None
    found = FeatureSet(pairwise)
    for index in torch.arange(len(kept["features"]))[:limit].split(EVALUATION_BATCH):
        probabilities = kept["probabilities"][index] if "probabilities" in kept else None
        label = None if labels is None else labels[index]
        found.add(Features(kept["features"][index], probabilities), label)
    return found


def is_kept(extractor: Extractor, data: ImageDataModule, split: str) -> bool:
    """Whether the features of a split lie on the disk."""
    return _cache_path(extractor, data, split).exists()


def compare(samples: FeatureSet, reference: FeatureSet, extractor: Extractor) -> dict[str, Any]:
    """Return the metrics of a set of samples: how far it is from the reference, and what is in it.

    `n`, how many there are, and `frechet_distance`; of pairwise sets also `kernel_distance` with
    its standard error, `precision`, `recall`, `density` and `coverage`; where the extractor
    classifies also the `inception_score`, and where it knows the data's own classes the fraction
    that is `confident` and the `class_histogram`.
    """
    record: dict[str, Any] = {
        "n": len(samples),
        "frechet_distance": distances.frechet_distance(samples.joint, reference.joint),
    }
    if samples.is_pairwise and reference.is_pairwise:
        x, y = samples.features, reference.features
        kernel, error = distances.kernel_distance(x, y)
        record |= {"kernel_distance": kernel, "kernel_distance_error": error}
        record |= distances.precision_recall(x, y, NEIGHBOURS)
    return record | class_metrics(samples, extractor)


def class_metrics(images: FeatureSet, extractor: Extractor) -> dict[str, Any]:
    """Return what the classes of a set of images tell, of samples or of real ones: the metrics of
    `compare` that need no reference."""
    record: dict[str, Any] = {}
    if images.probabilities.count:
        record["inception_score"] = distances.inception_score(
            images.probabilities.mean, float(images.log.mean)
        )
    if extractor.class_names is not None:
        *histogram, confident = images.named.mean.tolist()
        record |= {"confident": confident, "class_histogram": histogram}
    return record


def real_against_real(
    count: int, reference: FeatureSet, extractor: Extractor, data: ImageDataModule
) -> dict[str, Any]:
    """Return what real images score: the first images of the validation split, which neither the
    models nor the classifier have seen, as many as there are samples or as the split has.
    """
    real = features_of_split(extractor, data, "validation", count, reference.is_pairwise)
    return compare(real, reference, extractor)


def _cache_path(extractor: Extractor, data: ImageDataModule, split: str) -> Path:
    parts = (extractor.name, extractor.checksum, data.fingerprint, split, data.native_resolution)
    return cache_folder() / "features" / ("-".join(map(str, parts)) + ".safetensors")


def _keep(features: dict[str, Tensor], path: Path) -> None:
    try:
        write_checked(features, {}, path)
    except (OSError, SafetensorError) as error:
        log.warning("could not keep features in %s (%s); they are computed again", path, error)


def _computed(extractor: Extractor, data: ImageDataModule, split: str) -> dict[str, Tensor]:
    found = [extractor(part) for part in parts_of(data.split(split).images, EVALUATION_BATCH)]
    computed = {"features": torch.cat([each.features.float().cpu() for each in found])}
    if found[0].probabilities is not None:
        computed["probabilities"] = torch.cat([each.probabilities.cpu() for each in found])
    return computed
