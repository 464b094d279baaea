"""The one protocol, in its parts: what is measured of samples and of a model, for callbacks and
scripts alike.

Samples are 8-bit images in their native resolution, as a file would hold them; a set of them is
compared with all images of a split in the features of an extractor.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.functional.image import structural_similarity_index_measure

from gdm import distances
from gdm.data.batches import to_float
from gdm.data.datamodule import EVALUATION_BATCH, ImageDataModule
from gdm.features import Extractor, Features, read_checked, write_checked
from gdm.files import cache_folder
from gdm.metrics import METRICS
from gdm.models.base import GenerativeModel
from gdm.moments import JointMoments, Moments
from gdm.pictures import to_bytes

log = logging.getLogger(__name__)

DENSITY_IMAGES = 20_000  # codes of that many training images settle a density of few dimensions
CONFIDENT = 0.8  # a classifier names an image that it gives at least this probability
NEIGHBOURS = 5  # k of precision, recall, density and coverage (Naeem et al. 2020)
FEWEST = NEIGHBOURS + 2  # images below which these are not defined


class FeatureSet:
    """What is kept of the features of a set of images, which come a batch at a time.

    Args:
        pairwise: keep the features themselves too, for the figures that compare all pairs;
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
        found.add(extractor(to_float(batch)))
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
    """Return the figures of a set of samples: how far it is from the reference, and what is in it.

    `n`, how many there are, and `frechet_distance`; of pairwise sets also `kernel_distance` with
    its standard error, `precision`, `recall`, `density` and `coverage`; where the extractor
    classifies also the `inception_score`, and where it knows the data's own classes the share
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


# The model's own figures -------------------------------------------------------------------------


def evaluate(
    model: GenerativeModel, data: ImageDataModule, split: str, limit: int | None = None
) -> dict[str, Any]:
    """Return the model's own figures, averaged over the images of a split.

    Call it inside `model.evaluating()`, which also settles which weights are judged.

    Args:
        model: the model.
        data: the data set.
        split: `train`, `validation` or `test`.
        limit: number of images, the first of the split; None for all.
    """
    moments = defaultdict(Moments)
    num_images = 0
    for batch in data.batches(split, device=model.device, limit=limit):
        num_images += len(batch.x)
        for name, values in model.figures(batch.x, batch.label, batch.index.tolist()).items():
            moments[name].update(values)
    return {"split": split, "num_images": num_images} | model.report(dict(moments))


def reconstruction(
    model: GenerativeModel, data: ImageDataModule, split: str, limit: int
) -> dict[str, float]:
    """Return how well 8-bit images come back from their codes: PSNR in dB and SSIM.

    Args:
        model: a model with codes.
        data: the data set.
        split: the split.
        limit: number of images, the first of the split.
    """
    likeness = Likeness()
    for batch in data.batches(split, device=model.device, limit=limit):
        likeness.update(images_back(model, batch.x, batch.label), batch.x)
    return likeness.figures() | {"num_reconstructions": likeness.count}


def images_back(model: GenerativeModel, x: Tensor, label: Tensor) -> Tensor:
    """Return images encoded and decoded: (N, C, H, W), (N,) -> (N, C, H, W) in [-1, 1]."""
    return model.decode(model.encode(x, label), label)


class Likeness:
    """How alike 8-bit images of a stream are to what they should be: mean PSNR and SSIM."""

    def __init__(self) -> None:
        self._psnr, self._ssim = Moments(), Moments()  # of each image

    @property
    def count(self) -> int:
        """Number of images."""
        return self._psnr.count

    def update(self, found: Tensor, x: Tensor) -> None:
        """Take in images, which are rounded to 8 bits, and originals: both (N, C, H, W)."""
        found = to_float(to_bytes(found).to(x.device))
        self._psnr.update(peak_signal_to_noise_ratio(found, x))
        self._ssim.update(
            structural_similarity_index_measure(found, x, data_range=(-1.0, 1.0), reduction="none")
        )

    def figures(self) -> dict[str, float]:
        """Return `psnr` in dB and `ssim`, averaged over the images."""
        return {"psnr": float(self._psnr.mean), "ssim": float(self._ssim.mean)}


def peak_signal_to_noise_ratio(x: Tensor, y: Tensor) -> Tensor:
    """Return 10 log10(range^2 / mean squared error) of images in [-1, 1] in dB: (N, ...) -> (N,).

    Equal images have an error of half a grey level put in the place of none.
    """
    error = (x - y).square().flatten(1).mean(1).clamp_min((0.5 / 127.5) ** 2)
    return 10 * torch.log10(4 / error)


def importance_weighted_bound(
    model: GenerativeModel, data: ImageDataModule, split: str, num_importance_samples: int
) -> dict[str, float]:
    """Return the bound on log p(x) of Burda et al. 2016 (equation 8), the mean in nats."""
    bound = Moments()
    for batch in data.batches(split, device=model.device):
        index = batch.index.tolist()
        bound.update(model.log_likelihood(batch.x, batch.label, index, num_importance_samples))
    return {
        "importance_weighted_bound": float(bound.mean),
        "importance_samples": num_importance_samples,
    }


def prepare_sampling(model: GenerativeModel, data: ImageDataModule) -> None:
    """Let a model whose codes have no known distribution fit one to its training codes."""
    model.prepare_sampling(data.batches("train", device=model.device, limit=DENSITY_IMAGES))


def nearest_training_images(
    samples: Tensor, data: ImageDataModule, k: int
) -> tuple[Tensor, Tensor]:
    """Return distances, in grey levels a pixel, and positions of the nearest training images.

    Args:
        samples: (N, C, H, W) 8-bit values.
        data: the data set.
        k: how many.

    Returns:
        (N, k) root mean squared differences, ascending, and (N, k) positions in the split.
    """
    train = data.split("train").images
    parts = (part.flatten(1).float() for part in train.split(10 * EVALUATION_BATCH))
    found, index = distances.nearest(samples.flatten(1).float(), parts, k)
    return found / samples[0].numel() ** 0.5, index


def numbers(record: dict[str, Any]) -> dict[str, float]:
    """Return the single numbers of a record that measure something, without counts and lists.

    These are all floats, such as a metric of the user's own, and the integers among METRICS.
    """
    return {
        name: value
        for name, value in record.items()
        if isinstance(value, float) or (isinstance(value, int) and name in METRICS)
    }


def _cache_path(extractor: Extractor, data: ImageDataModule, split: str) -> Path:
    parts = (extractor.name, extractor.checksum, data.fingerprint, split, data.native_resolution)
    return cache_folder() / "features" / ("-".join(map(str, parts)) + ".safetensors")


def _keep(features: dict[str, Tensor], path: Path) -> None:
    try:
        write_checked(features, {}, path)
    except (OSError, SafetensorError) as error:
        log.warning("could not keep features in %s (%s); they are computed again", path, error)


def _computed(extractor: Extractor, data: ImageDataModule, split: str) -> dict[str, Tensor]:
    images: Sequence[Tensor] = data.split(split).images.split(EVALUATION_BATCH)
    found = [extractor(to_float(part)) for part in images]
    computed = {"features": torch.cat([each.features.float().cpu() for each in found])}
    if found[0].probabilities is not None:
        computed["probabilities"] = torch.cat([each.probabilities.cpu() for each in found])
    return computed
