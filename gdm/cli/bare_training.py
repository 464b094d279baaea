"""Seconds a training step takes in the whole stack, in Lightning alone, and in a bare loop."""

import tempfile
import time
from pathlib import Path

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.nn.functional import pad, softplus

from gdm.cli.compose import CONFIGS, compose_config
from gdm.cli.composed import NOT_IN_RECIPES
from gdm.data.batches import TrainBatches
from gdm.data.datamodule import ImageDataModule
from gdm.models.base import GenerativeModel
from gdm.runs.run import Run
from gdm.theory.images import to_float
from gdm.training.training import Training

WARM_UP = 20  # batches at the start of a round that do not count
# Validating and saving happen a few times per run and are no part of a step.
STEPS_ONLY = (
    "trainer=cpu", "model.ema=null",
    "callbacks.validation=null", "callbacks.checkpoints.times=1",
)  # fmt: skip


class Tiny(GenerativeModel):
    """A model of one matrix, whose step takes next to no time of its own."""

    def __init__(self, like: GenerativeModel) -> None:
        super().__init__(
            facts=like.facts, optimizer=like.optimizer, learning_rate=like.learning_rate
        )
        self.matrix = torch.nn.Linear(self.native_resolution**2, 1)

    def training_step(self, batch, batch_idx: int) -> dict[str, torch.Tensor]:
        loss = self.matrix(batch.x.flatten(1)).square().mean()
        return {"loss": loss, "reconstruction": loss, "kl": loss}


class Bare(LightningModule):
    """The same objective in a LightningModule with nothing added."""

    def __init__(self, model: GenerativeModel) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch, batch_idx: int) -> torch.Tensor:
        batch = batch._replace(x=to_float(batch.x))
        return self.model.training_step(batch, batch_idx)["loss"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.model.optimizer(self.model.parameters())


class Clock(Callback):
    """The time from one batch to the last, without the first ones."""

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        if batch_idx + 1 == WARM_UP:
            self.started = time.perf_counter()
        self.stopped = time.perf_counter()


def recipe_of(*overrides: str) -> dict:
    """Return the recipe that train.py would make of these overrides."""
    composed = compose_config(CONFIGS, "train", [*STEPS_ONLY, *overrides])
    return {key: value for key, value in composed.items() if key not in NOT_IN_RECIPES}


def training_of(recipe: dict, tiny: bool) -> Training:
    """Return the objects of a run, with a tiny model in place of its own if so asked."""
    training = Training(recipe)
    if tiny:
        training.model = Tiny(training.model)
    return training


def seconds_bare_loop(recipe: dict, num_batches: int, tiny: bool = False) -> float:
    """Seconds per step of a plain loop over the same network, batches and optimizer."""
    training = training_of(recipe, tiny)
    model, data = training.model.train(), training.data
    optimizer = model.configure_optimizers()
    for number, batch in enumerate(stream(data, num_batches), start=1):
        loss = model.training_step(batch._replace(x=to_float(batch.x)), number)["loss"]
        optimizer.zero_grad()
        loss.backward()
        if model.max_gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), model.max_gradient_norm)
        optimizer.step()
        if number == WARM_UP:
            started = time.perf_counter()
    return (time.perf_counter() - started) / (num_batches - WARM_UP)


def seconds_bare_gan(recipe: dict, num_batches: int) -> float:
    """Seconds per step of a plain loop in which the same two networks take turns."""
    training = training_of(recipe, tiny=False)
    model, data = training.model.train(), training.data
    generator, discriminator, penalty = model.generator, model.discriminator, model.penalty
    of_generator, of_discriminator = model.configure_optimizers()
    for number, batch in enumerate(stream(data, num_batches), start=1):
        real = pad(to_float(batch.x), (2, 2, 2, 2), value=-1.0)
        fake = generator(torch.randn(len(real), model.latent_dim), None)
        loss = softplus(-discriminator(real, None)) + softplus(discriminator(fake.detach(), None))
        if number % penalty.every == 0:
            x = real.requires_grad_()
            (slope,) = torch.autograd.grad(discriminator(x, None).sum(), x, create_graph=True)
            loss = loss + penalty.every * penalty.weight / 2 * slope.square().sum((1, 2, 3))
        of_discriminator.zero_grad()
        loss.mean().backward()
        of_discriminator.step()
        discriminator.requires_grad_(False)
        of_generator.zero_grad()
        softplus(-discriminator(fake, None)).mean().backward()
        of_generator.step()
        discriminator.requires_grad_(True)
        if number == WARM_UP:
            started = time.perf_counter()
    return (time.perf_counter() - started) / (num_batches - WARM_UP)


def seconds_bare_lightning(recipe: dict, num_batches: int, tiny: bool = False) -> float:
    """Seconds per step of Lightning's Trainer with nothing added."""
    training = training_of(recipe, tiny)
    clock = Clock()
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[clock], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Bare(training.model), stream(training.data, num_batches))
    return (clock.stopped - clock.started) / (num_batches - WARM_UP)


def seconds_whole_stack(recipe: dict, num_batches: int, tiny: bool = False) -> float:
    """Seconds per step of what train.py runs, with its callbacks and TensorBoard."""
    images = num_batches * recipe["dataset"]["batch_size"]
    training = training_of(recipe | {"budget": recipe["budget"] | {"images": images}}, tiny)
    clock = Clock()
    training.callbacks = {"clock": clock} | training.callbacks
    with tempfile.TemporaryDirectory() as folder:
        training.run(Run(Path(folder)))
    return (clock.stopped - clock.started) / (num_batches - WARM_UP)


def stream(data: ImageDataModule, num_batches: int) -> TrainBatches:
    """Return a stream of training batches."""
    return TrainBatches(data.split("train"), data.batch_size, 0, 0, num_batches)
