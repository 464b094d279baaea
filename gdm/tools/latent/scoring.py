"""How surely images have an attribute, as a classifier says."""

from collections.abc import Callable

import torch
from torch import Tensor

from gdm.data.datamodule import EVALUATION_BATCH
from gdm.evaluation.extractors import Extractor
from gdm.theory.images import to_bytes
from gdm.tools.latent.attributes import Attribute
from gdm.tools.latent.classes import probabilities

Scorer = Callable[[Tensor], dict[str, Tensor]]  # N images in [-1, 1] -> metrics, (N,) each


def means(metrics: dict[str, Tensor]) -> dict[str, float]:
    """Return the mean over the images of each metric."""
    return {name: float(values.mean()) for name, values in metrics.items()}


def scorer_of(extractor: Extractor | None, attribute: Attribute) -> Scorer:
    """Return images -> metrics of what they are taken for: of classes their probabilities, of
    another attribute that of a logistic regression in the classifier's features.
    """
    if extractor is None:
        return lambda x: {}
    if attribute.target is None:
        return _regression(extractor, attribute)

    def metrics(x: Tensor) -> dict[str, Tensor]:
        p = probabilities(extractor, x)
        named = p.argmax(1)
        other = (named != attribute.source) & (named != attribute.target)
        return {
            "p_with": p[:, attribute.target],
            "p_without": p[:, attribute.source],
            "named_other": other.float(),
        }

    return metrics


def _regression(extractor: Extractor, attribute: Attribute) -> Scorer:
    """Return images -> the probability that they have an attribute."""
    from sklearn.linear_model import LogisticRegression

    def features(images: Tensor):
        parts = (extractor(part).features.cpu() for part in images.split(EVALUATION_BATCH))
        return torch.cat(list(parts)).numpy()

    scorer = LogisticRegression(max_iter=1000)
    scorer.fit(features(attribute.train.images), attribute.has.numpy())
    return lambda x: {
        "p_with": torch.from_numpy(scorer.predict_proba(features(to_bytes(x)))[:, 1])
    }
