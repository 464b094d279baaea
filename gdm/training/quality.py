"""The distance between samples and held-out images, during training."""

from typing import Any

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.evaluation import features
from gdm.evaluation.extractors import Extractor
from gdm.evaluation.samples import draw
from gdm.models.base import Model
from gdm.recipes.ranges import Count
from gdm.runs.catalogue import kind_of_weights


class Quality:
    """Compares samples with all validation images, by the protocol that scripts/evaluate.py has.

    The samples are the same at every stage: those of the first indices and seed 0. A small number
    of them makes the distance larger for every model alike, so metrics compare only at equal
    numbers.

    Args:
        num_samples: how many samples.
        pairwise: also compare all pairs, for precision, recall, density and coverage.
    """

    def __init__(self, num_samples: Count, pairwise: bool) -> None:
        self.num_samples = num_samples
        self.pairwise = pairwise
        self.extractor: Extractor | None = None  # given by whoever knows the data
        self._reference: features.FeatureSet | None = None  # the same at every validation

    def refuse_few(self, data: ImageDataModule) -> None:
        """Refuse a comparison of next to nothing.

        Raises:
            UserError: if there are too few samples or validation images.
        """
        few = min(self.num_samples, len(data.split("validation")))
        if few < features.MIN_IMAGES:
            raise UserError(
                f"samples cannot be evaluated by {few} images; let callbacks.validation.quality."
                f"num_samples and dataset.validation_size be at least {features.MIN_IMAGES}, or "
                "switch it off: callbacks.validation.quality=null"
            )

    def measure(self, model: Model, data: ImageDataModule) -> dict[str, Any]:
        """Return the record of the model as it is, within `model.evaluating()`."""
        if self.extractor is None or not model.makes_images:
            return {}
        extractor = self.extractor.to(model.device)
        samples = draw(model, self.num_samples, None, 0)
        found = features.features_of(samples, extractor, self.pairwise)
        if self._reference is None:
            self._reference = features.features_of_split(
                extractor, data, "validation", pairwise=self.pairwise
            )
        return {
            "num_reference": len(self._reference),
            "seed": 0,
            "weights": kind_of_weights(model),
            "extractor": extractor.name,
            "extractor_checksum": extractor.checksum,
            "real": {"n": len(self._reference)}
            | features.class_metrics(self._reference, extractor),
        } | features.compare(found, self._reference, extractor)
