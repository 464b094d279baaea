"""What a classifier says of images, for tools that can do without."""

import logging

import torch
from torch import Tensor

from gdm.data.datamodule import EVALUATION_BATCH, ImageDataModule
from gdm.errors import UserError
from gdm.evaluation.classifier import NoClassifier
from gdm.evaluation.extractors import Extractor
from gdm.theory.images import to_bytes
from gdm.tools.open_run import OpenRun

log = logging.getLogger(__name__)


def classifier_of(opened: OpenRun, data: ImageDataModule) -> Extractor | None:
    """Return what knows the classes of images; None, with a line that says why, if nothing does.

    Raises:
        UserError: if an extractor is named that knows no classes, or cannot be had.
    """
    if opened.extractor is None:
        return None
    try:
        extractor = opened.extractor(data=data)
    except NoClassifier as error:
        log.warning("metrics that need a classifier are left out: %s", error)
        return None
    if extractor.class_names is None:
        raise UserError(f"extractor={extractor.name}: does not know the classes of the images")
    return extractor.to(opened.model.device)


def probabilities(extractor: Extractor, x: Tensor) -> Tensor:
    """Return the classes' probabilities of images in [-1, 1], rounded to 8 bits as those of the
    protocol are: (N, C, H, W) -> (N, K)."""
    parts = (extractor(part).probabilities.cpu() for part in to_bytes(x).split(EVALUATION_BATCH))
    return torch.cat(list(parts))
