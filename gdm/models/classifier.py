"""The discriminative model p(class | x), which evaluates the samples of the generative ones."""

from typing import Unpack

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot, softmax

from gdm.models.base import Model, Shared
from gdm.networks.classifier import ConvolutionalClassifier
from gdm.recipes.ranges import Count, Fraction, NonNegativeInt
from gdm.theory.augmentation import mirrored, moved
from gdm.theory.moments import Moments

NUM_BINS = 15  # of confidence (Guo et al. 2017, section 3)
IMAGES_IN_CACHE = 64  # a CPU is slower by a third where the maps of a batch leave its cache


class Classifier(Model):
    """Minimises -log p(label | x), a convolutional network's cross-entropy.

    The discriminative counterpart of the generative models. Its last hidden layer is the space in
    which sets of images are compared.

    The arguments beside its own are those of `Model`.
    """

    progress_metrics = ("loss", "accuracy")
    smallest_batch = 2  # BatchNorm of a single feature map needs two values

    def __init__(
        self,
        width: Count = 32,  # channels of the network at half the resolution
        num_features: Count = 128,  # size of the last hidden layer
        dropout: Fraction = 0.0,  # of the features are left out in training
        label_smoothing: Fraction = 0.0,  # of the target goes to all classes (Szegedy et al. 2016)
        flip: bool = True,  # mirror half of the training images, left to right
        shift: NonNegativeInt = 1,  # pixels that each training image is moved by, at most
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        if self.num_classes < 2:
            raise ValueError("a classifier needs images of two classes at least")
        self.label_smoothing = label_smoothing
        self.flip = flip
        self.shift = shift
        self.network = ConvolutionalClassifier(
            channels=self.channels,
            resolution=self.resolution,
            num_classes=self.num_classes,
            width=width,
            num_features=num_features,
            dropout=dropout,
        )
        self.average(self.network)

    def training_step(self, batch, batch_idx: int) -> dict[str, Tensor]:
        logits = self.network(self.augment(self.pad(batch.x))).float()
        loss = cross_entropy(logits, batch.label, label_smoothing=self.label_smoothing)
        return {"loss": loss, "accuracy": (logits.argmax(1) == batch.label).float().mean()}

    def augment(self, x: Tensor) -> Tensor:
        """Mirror and move each padded image by itself, (N, C, R, R)."""
        return moved(mirrored(x) if self.flip else x, self.shift)

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer: (N, C, H, W) in [-1, 1] -> (N, F), none below 0."""
        return self.features_and_probabilities(x)[0]

    def probabilities(self, x: Tensor) -> Tensor:
        """Return p(class | x): (N, C, H, W) in [-1, 1] -> (N, K)."""
        return self.features_and_probabilities(x)[1]

    @torch.no_grad()
    def features_and_probabilities(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both in one pass: (N, C, H, W) in [-1, 1] -> (N, F), (N, K)."""
        parts = x.split(IMAGES_IN_CACHE) if x.device.type == "cpu" else [x]
        features = torch.cat([self.network.features(self.pad(part)) for part in parts])
        return features.float(), softmax(self.network.head(features).float(), 1)

    def metrics(self, batch) -> dict[str, Tensor]:
        x, label = batch.x, batch.label
        probabilities = self.probabilities(x)
        confidence, answer = probabilities.max(1)
        accuracy = (answer == label).float()
        gap = (confidence - accuracy).unsqueeze(1)
        bins = (confidence * NUM_BINS).long().clamp_max(NUM_BINS - 1)
        truth, answer = (one_hot(each, self.num_classes) for each in (label, answer))
        likelihood = probabilities.gather(1, label.unsqueeze(1)).squeeze(1)
        return {
            "cross_entropy": -likelihood.clamp_min(torch.finfo(likelihood.dtype).tiny).log(),
            "accuracy": accuracy,
            "overconfidence": gap * one_hot(bins, NUM_BINS),  # (N, M): in the bin of confidence
            "joint": truth.unsqueeze(2) * answer.unsqueeze(1),  # (N, K, K)
        }

    def summarise(self, moments: dict[str, Moments]) -> dict[str, float | list[float]]:
        joint = moments["joint"].mean
        of_class = joint.sum(1, keepdim=True).clamp_min(1e-12)  # a class may be missing
        return {
            "cross_entropy": float(moments["cross_entropy"].mean),
            "accuracy": float(moments["accuracy"].mean),
            # Guo et al. 2017, equation 3: sum over bins of |B| / n * |accuracy - confidence|
            "calibration_error": float(moments["overconfidence"].mean.abs().sum()),
            "confusion": (joint / of_class).tolist(),
        }
