"""What models share: `Model` is what is trained, `GenerativeModel` is what makes images too."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal, Required, TypedDict, get_args

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad
from torch.optim import Adam

from gdm.errors import UserError
from gdm.models.conditions import ONLY_LABELS, Condition, class_numbers
from gdm.networks.ema import EMA
from gdm.recipes.ranges import Because, Positive
from gdm.theory.images import ImageFacts
from gdm.theory.learning_rates import Constant, LearningRate
from gdm.theory.moments import Moments
from gdm.theory.randomness import refuse_number, seed_default_generators

CONSTANT = Constant(warmup_fraction=0.0)
RENAMED = {  # what a model of one's own may still call them
    "figures": "metrics",
    "headline": "progress_metrics",
    "place_in_run": "set_progress",
    "report": "summarise",
    "strips": "process_images",
}


class Shared(TypedDict, total=False):
    """What every model's constructor takes: `**shared: Unpack[Shared]`."""

    facts: Required[ImageFacts]
    optimizer: Callable
    learning_rate: LearningRate
    ema: EMA | None
    max_gradient_norm: Positive | None


class SharedByConditional(Shared, total=False):
    """The same, of a model that can be told something of the image."""

    condition: Annotated[Condition | None, Because(ONLY_LABELS)]


class Model(LightningModule):
    """Something that is trained on images x, (N, C, H, W) in [-1, 1].

    A model says what is optimised in `training_step`, which returns `loss` and its terms. Batches
    are read by name: `batch.x`, `batch.label`, `batch.index`. Images enter and leave in their
    native resolution; networks see them padded to `resolution`.

    What a model can do it declares, for callers to ask; each flag names the method it stands for.

    Args:
        facts: what is known of the data set's images.
        optimizer: parameters -> optimizer.
        learning_rate: progress in [0, 1] -> factor of the optimizer's rate.
        ema: the average of the weights that samples and evaluation use; None for none.
        max_gradient_norm: gradients are scaled down to this norm; None for no clipping.
    """

    # what it can do
    makes_images: ClassVar[bool] = False  # `sample`
    encodes: ClassVar[bool] = False  # `encode` and `decode`; a GAN only decodes
    has_prior: ClassVar[bool] = False  # codes are trained to follow what is sampled
    has_code_density: ClassVar[bool] = False  # `code_log_prob`
    has_styles: ClassVar[bool] = False  # codes are styles: `styles`, `images_of_styles`
    has_sampler: ClassVar[bool] = False  # images are made by a sampler that can be swapped
    likelihood_kind: ClassVar[Literal["exact", "bound"] | None] = None  # of log p(x), in `metrics`
    weighs_codes: ClassVar[bool] = False  # `log_likelihood`, the importance-weighted bound

    # what it is
    condition: Condition | None = None  # what it is told of an image
    latent_dim: int | None = None  # size of a code or a latent; None where it is an image
    progress_metrics: tuple[str, ...] = ("loss",)  # the metrics that the progress bar shows
    smallest_batch: int = 1  # images that a training step takes at least
    batches_in_cycle: int = 1  # period of the training step (lazy penalties, turns of players)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for old in RENAMED.keys() & vars(cls).keys():  # else it would report nothing, unsaid
            raise UserError(f"{cls.__module__}.{cls.__name__}.{old} is called {RENAMED[old]} now")

    def __init__(
        self,
        facts: ImageFacts,
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
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.ema = ema
        self.max_gradient_norm = max_gradient_norm
        self.set_progress(seed=0, batch_size=1, num_batches=1, batches_seen=0)

    # What a family defines ---------------------------------------------------------------------

    def metrics(self, batch: Any) -> dict[str, Tensor]:
        """Return metrics of each image for the evaluation to average: {name: (N, ...)}.

        Args:
            batch: N images with what is known of them; their noise depends on `batch.index`.
        """
        return {}

    def summarise(self, moments: dict[str, Moments]) -> dict[str, float | list[float]]:
        """Turn the moments of `metrics` over a split into the metrics that are reported."""
        return {name: float(moment.mean) for name, moment in moments.items()}

    def process_images(self, batch: Any) -> dict[str, Tensor]:
        """Return pictures of what the family does, by name: rows of K times, (N, K, C, H, W)."""
        return {}

    def health(self, batch: Any) -> dict[str, float]:
        """Return how training stands by a batch that is not trained on, beyond its loss."""
        return {}

    def phases(self, num_batches: int) -> dict[str, int]:
        """Return the batch at which each phase of a run begins, by name, within which steps cost
        the same; an empty one begins where the next one does."""
        return {"training": 0}

    def as_if_trained(self) -> None:
        """Put a copy that is only timed into the state of a trained model, e.g. with its guide."""

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

    def set_progress(
        self, seed: int, batch_size: int, num_batches: int, batches_seen: int
    ) -> None:
        """Say where in which run the next training step stands; all that follows is a function
        of it: the noise, the learning rate and the decay of the average."""
        self.seed = seed
        self.batch_size = batch_size
        self.num_batches = num_batches
        self.batches_seen = batches_seen

    @property
    def images_seen(self) -> int:
        """Number of training images consumed, those of the batch in progress included."""
        return self.batches_seen * self.batch_size

    @property
    def num_parameters(self) -> int:
        """Number of weights that are trained."""
        return sum(each.numel() for each in self.parameters() if each.requires_grad)

    @property
    def depends_on_length(self) -> bool:
        """Whether a step depends on the run's length, so that an extended run is another."""
        return self.learning_rate.decays

    def average(self, *networks: nn.Module) -> None:
        """Name the networks whose averaged weights are used; the last line of a constructor."""
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


class GenerativeModel(Model):
    """A model that makes images, in `sample`.

    Args:
        condition: what the model is told of an image, by the name that batches have for it; None
            for nothing.
        (the rest as in `Model`)
    """

    makes_images = True
    network_evaluations: int = 1  # passes through a network that one sample takes

    def __init__(self, condition: Condition | None = None, **shared: Any) -> None:
        super().__init__(**shared)
        known = get_args(Condition)
        if condition is not None and condition not in known:
            raise ValueError(f"condition={condition}: must be {known[0]}, {ONLY_LABELS}, or None")
        self.condition = condition
        self.num_labels = self.num_classes if condition == "label" else 0
        if condition == "label" and self.num_classes < 1:
            raise ValueError(
                "condition=label: the images have no classes; use condition=null, or an attribute "
                "of theirs as classes, dataset.labels=ATTRIBUTE"
            )

    # What a family defines ---------------------------------------------------------------------

    def sample(
        self,
        indices: Sequence[int],
        condition: int | Sequence[int] | Tensor | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Return the images of these indices, (N, C, H, W) in [-1, 1].

        Image i depends on (seed, i) alone, not on the batch it is drawn in.

        Args:
            indices: the N indices.
            condition: what the model is told: the class of all, or of each, (N,); None spreads
                the indices over all classes.
            seed: the seed of the whole set of samples.
        """
        raise NotImplementedError

    def prepare_sampling(self, batches: Iterable) -> None:
        """Fit what sampling needs to batches of training images; most models need nothing."""

    def draw_codes(
        self, x: Tensor, condition: Tensor | None, index: Sequence[int], seed: int = 0
    ) -> Tensor:
        """Return the codes of images as training sees them: (N, C, H, W) -> (N, ...).

        Args:
            x: the images.
            condition: what the model is told of them, or None.
            index, seed: what the noise of each image's code depends on, where codes are drawn.
        """
        return self.encode(x, condition)

    @property
    def decoding_network(self) -> nn.Module:
        """What has to be kept to decode codes."""
        return self

    # Conditions --------------------------------------------------------------------------------

    def condition_of(self, batch: Any) -> Tensor | None:
        """Return what the model is told of a batch's images; None for nothing."""
        return None if self.condition is None else getattr(batch, self.condition)

    def conditions_for(
        self, indices: Sequence[int], condition: int | Sequence[int] | Tensor | None
    ) -> Tensor | None:
        """Return what the model is told of samples: what is asked for, or all classes in turn,
        (N,); None of a model that is told nothing.

        Args:
            indices: the N indices.
            condition: the class of all, or of each; None for all classes in turn.

        Raises:
            ValueError: if they are no classes, or not as many as indices.
        """
        refuse_number(indices)
        if self.condition is None:
            if condition is not None:
                raise ValueError("condition: this model was trained without; leave it out")
            return None
        if condition is None:
            condition = [index % self.num_classes for index in indices]
        return class_numbers(condition, len(indices), self.num_classes).to(self.device)

    def one_hot(self, label: Tensor | None) -> Tensor:
        """Return labels as indicator vectors: (N,) -> (N, num_classes)."""
        if label is None:
            raise ValueError("this model is conditional: give the class of each image")
        return one_hot(label, self.num_classes).float()
