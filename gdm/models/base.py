"""What every family shares: the contract that callbacks, metrics and scripts rest on."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, Required, TypedDict

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad
from torch.optim import Adam

from gdm.ema import EMA
from gdm.images import ImageFacts
from gdm.learning_rates import Constant, LearningRate
from gdm.moments import Moments
from gdm.randomness import refuse_number, seed_default_generators
from gdm.ranges import Positive

CONSTANT = Constant(warmup_share=0.0)


class Shared(TypedDict, total=False):
    """What every model's constructor takes: `**shared: Unpack[Shared]`."""

    facts: Required[ImageFacts]
    optimizer: Callable
    learning_rate: LearningRate
    ema: EMA | None
    max_gradient_norm: Positive | None


class SharedByConditional(Shared, total=False):
    """The same, of a model that can be told the class."""

    conditional: bool


INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class GenerativeModel(LightningModule):
    """A model of images x: (N, channels, native_resolution, native_resolution) in [-1, 1].

    A model says what is optimised in `training_step` and makes images in `sample`. Where it has
    codes it also offers `encode(x)` and `decode(z)`; where it weighs codes that it draws for an
    image, `log_likelihood(x)`. Images enter and leave in their native resolution; networks see
    them padded to `resolution`.

    Args:
        facts: what is known of the data set's images.
        conditional: tell the model the class.
        optimizer: parameters -> optimizer.
        learning_rate: progress in [0, 1] -> factor of the optimizer's rate.
        ema: the average of the weights that samples and evaluation use; None for none.
        max_gradient_norm: gradients are scaled down to this norm; None for no clipping.
    """

    headline: tuple[str, ...] = ("loss",)  # the figures that the progress bar shows
    latent_dim: int | None = None  # size of a code or a latent; None where it is an image
    smallest_batch: int = 1  # images that a training step takes at least
    batches_in_cycle: int = 1  # after so many, what a training step does comes again
    network_evaluations: int = 1  # passes through a network that one sample takes
    likelihood_kind: Literal["exact", "bound"] | None = None  # what `figures` tell of log p(x)

    def __init__(
        self,
        facts: ImageFacts,
        conditional: bool = False,
        optimizer: Callable = Adam,
        learning_rate: LearningRate = CONSTANT,
        ema: EMA | None = None,
        max_gradient_norm: Positive | None = None,
    ) -> None:
        super().__init__()
        self.facts = facts
        self.channels = facts.channels
        self.resolution = facts.resolution
        self.native_resolution = facts.native_resolution
        self.num_classes = facts.num_classes
        self.conditional = conditional
        self.num_labels = facts.num_classes if conditional else 0
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.ema = ema
        self.max_gradient_norm = max_gradient_norm
        self.place_in_run(seed=0, batch_size=1, num_batches=1, batches_seen=0)

    # What a family defines ---------------------------------------------------------------------

    def sample(
        self,
        indices: Sequence[int],
        label: int | Sequence[int] | Tensor | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Return the images of these indices, (N, C, H, W) in [-1, 1].

        Image i depends on (seed, i) alone, not on the batch it is drawn in.

        Args:
            indices: the N indices.
            label: classes for a conditional model, one for all or (N,); None spreads the indices
                over all.
            seed: the seed of the whole set of samples.
        """
        raise NotImplementedError

    def prepare_sampling(self, batches: Iterable) -> None:
        """Fit what sampling needs to batches of training images; most models need nothing."""

    def as_if_trained(self) -> None:
        """Let a throw-away copy cost as much to sample from as a trained model; most do."""

    def figures(self, x: Tensor, label: Tensor, index: Sequence[int]) -> dict[str, Tensor]:
        """Return figures of each image for the evaluation to average: {name: (N, ...)}."""
        return {}

    def strips(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return pictures of what the family does, by name: rows of K moments, (N, K, C, H, W).

        Args:
            x: N images.
            label: their classes, (N,).
        """
        return {}

    def draw_codes(
        self, x: Tensor, label: Tensor | None, index: Sequence[int], seed: int = 0
    ) -> Tensor:
        """Return the codes of images as training sees them: (N, C, H, W), (N,) -> (N, ...).

        Args:
            x, label: the images.
            index, seed: what the noise of each image's code depends on, where codes are drawn.
        """
        return self.encode(x, label)

    def health(self, x: Tensor, label: Tensor) -> dict[str, float]:
        """Return how training stands, where a family has ways to fail that its loss hides.

        Args:
            x: N images that are not trained on.
            label: their classes, (N,).
        """
        return {}

    def report(self, moments: dict[str, Moments]) -> dict[str, float | list[float]]:
        """Turn the moments of `figures` over a split into the figures that are reported."""
        return {name: float(moment.mean) for name, moment in moments.items()}

    @property
    def has_codes(self) -> bool:
        """Whether it encodes images and decodes codes."""
        return callable(getattr(self, "encode", None))

    @property
    def weighs_codes(self) -> bool:
        """Whether it has the importance-weighted bound on log p(x), `log_likelihood`."""
        return callable(getattr(self, "log_likelihood", None))

    @property
    def makes_images(self) -> bool:
        """Whether there is anything to sample; a classifier has nothing."""
        return type(self).sample is not GenerativeModel.sample

    # Labels ------------------------------------------------------------------------------------

    def labels_of(
        self, indices: Sequence[int], label: int | Sequence[int] | Tensor | None
    ) -> Tensor:
        """Return the classes to sample, (N,): those asked for, or all classes in turn.

        Args:
            indices: the N indices.
            label: the class of all, or of each; None for all classes in turn.

        Raises:
            ValueError: if they are no classes, or not as many as indices.
        """
        refuse_number(indices)
        if label is None:
            label = [index % max(self.num_classes, 1) for index in indices]
        return self._checked(label, len(indices)).to(self.device)

    def _checked(self, label: int | Sequence[int] | Tensor, count: int) -> Tensor:
        """Return labels as a tensor, (count,), if they are the numbers of classes."""
        last = max(self.num_classes, 1) - 1
        wanted = f"must be a class's number, 0 to {last}, or {count} of them, one for each index"
        try:
            found = torch.as_tensor(label)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"label={label!r}: {wanted}") from None
        if found.shape not in ((), (count,)):
            raise ValueError(f"label has the shape {tuple(found.shape)}: {wanted}")
        if found.numel() and (
            found.dtype not in INTEGERS or int(found.min()) < 0 or int(found.max()) > last
        ):
            raise ValueError(f"label={found.tolist()}: {wanted}")
        return found.long().expand(count)

    def one_hot(self, label: Tensor | None) -> Tensor:
        """Return labels as indicator vectors: (N,) -> (N, num_classes)."""
        if label is None:
            raise ValueError("this model is conditional: give the label of each image")
        return one_hot(label, self.num_classes).float()

    # Padding -----------------------------------------------------------------------------------

    def pad(self, x: Tensor) -> Tensor:
        """Pad native images with black to the networks' resolution."""
        border = self.resolution - self.native_resolution
        before, after = border // 2, border - border // 2
        return pad(x, (before, after, before, after), value=-1.0) if border else x

    def crop(self, x: Tensor) -> Tensor:
        """Undo `pad`."""
        before = (self.resolution - self.native_resolution) // 2
        inside = slice(before, before + self.native_resolution)
        return x[..., inside, inside]

    # Training ----------------------------------------------------------------------------------

    def place_in_run(
        self, seed: int, batch_size: int, num_batches: int, batches_seen: int
    ) -> None:
        """Say where in which run the next training step stands; all that follows is a function
        of it: the noise, the learning rate and the decay of the average.
        """
        self.seed = seed
        self.batch_size = batch_size
        self.num_batches = num_batches
        self.batches_seen = batches_seen

    @property
    def images_seen(self) -> int:
        """Number of training images consumed, those of the batch in progress included."""
        return self.batches_seen * self.batch_size

    @property
    def depends_on_length(self) -> bool:
        """Whether a step depends on the run's length, so that an extended run is another."""
        return self.learning_rate.decays

    def average(self, *networks: nn.Module) -> None:
        """Name the networks whose averaged weights samples and evaluation use; the last line of
        a constructor."""
        if self.ema is not None:
            self.ema.follow(list(networks))

    @contextmanager
    def evaluating(self, averaged: bool = True) -> Iterator[None]:
        """Evaluation mode without gradients and, where there is an average, with its weights."""
        was_training = self.training
        self.eval()
        try:
            with torch.no_grad():
                if averaged and self.ema is not None:
                    with self.ema.applied():
                        yield
                else:
                    yield
        finally:
            self.train(was_training)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = self.optimizer(p for p in self.parameters() if p.requires_grad)
        optimizer.register_step_post_hook(self._update_average)
        return optimizer

    def _update_average(self, *_) -> None:
        if self.ema is not None:
            self.ema.update(self.images_seen, self.batch_size)

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        seed_default_generators(self.seed, "step", self.batches_seen)
        progress = (self.batches_seen + 0.5) / self.num_batches
        factor = self.learning_rate(progress)
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = factor * group.setdefault("initial_lr", group["lr"])
        self.batches_seen += 1  # from here on this batch counts

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["batches_seen"] = self.batches_seen
        del checkpoint["loops"]  # every fit is one epoch over the batches that are left

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.max_gradient_norm is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.max_gradient_norm)
