"""One run, from its recipe to a finished directory."""

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.evaluation import features, model_metrics
from gdm.evaluation.classifier import NoClassifier
from gdm.evaluation.extractors import Extractor
from gdm.files import locked
from gdm.models.base import Model
from gdm.recipes.build import build
from gdm.recipes.ranges import Seed
from gdm.runs import checkpoints
from gdm.runs.catalogue import recipe_hash, surroundings
from gdm.runs.run import Run, trained_part
from gdm.theory.randomness import seed_default_generators
from gdm.training.budget import Budget
from gdm.training.log import logging_to
from gdm.training.loop import Together, defines, first_of
from gdm.training.metrics import Diverged
from gdm.training.saving import Checkpoints
from gdm.training.signals import Interrupted, Signals
from gdm.training.stopwatch import Stopwatch
from gdm.training.tensorboard import TensorBoard
from gdm.training.validation import Validation, named_figures

log = logging.getLogger(__name__)

MEASURED_SHARE = 0.05  # of a budget in minutes goes, at most, into measuring
VALIDATED_SHARE = 0.2  # of a budget in minutes goes, at most, into looks at the model
MAX_MEASURED_SECONDS = 120
FINAL_LOOKS = 2  # the first look, and the pictures at the end


class Training:
    """The objects of one run, built from its recipe.

    Args:
        recipe: the whole configuration, plain containers.
        plugins: packages that the recipe may name besides gdm.
        started: `time.monotonic()` when the command started, for its wall time.

    Raises:
        UserError: for what a user got wrong, before anything long has started.
    """

    def __init__(
        self, recipe: dict[str, Any], plugins: Iterable[str] = (), started: float | None = None
    ) -> None:
        self.recipe = recipe
        self.plugins = tuple(plugins)
        self.started = time.monotonic() if started is None else started
        refuse_impossible_trainer(recipe)
        self.budget: Budget = self._build("budget")
        self.minutes = self.budget.minutes  # what was wished for, once it is turned into images
        self.callbacks: dict[str, Callback] = self._build("callbacks") or {}
        self.signals = Signals()
        self.unjudged: str | None = None  # why samples are not judged during training
        self.model = self._new_model()
        self.data: ImageDataModule = self._build("dataset")
        if self.data.batch_size < self.model.smallest_batch:
            raise UserError(
                f"dataset.batch_size={self.data.batch_size}: {type(self.model).__name__} trains "
                f"on batches of at least {self.model.smallest_batch} images"
            )
        self.data.prepare()
        self._judge_samples()

    def settle_budget(self, resume: bool = False) -> None:
        """Turn a budget in minutes into images, in the recipe too, so that it is final.

        Raises:
            UserError: for a run that goes on, whose first steps are behind it.
        """
        if self.minutes is None:
            return
        if resume:
            raise UserError(
                f"budget.minutes={self.minutes:g}: minutes are measured before the first step; "
                "a run that goes on takes budget.epochs or budget.images"
            )
        with self.signals.listening():
            images = self._images_within(self.minutes * 60)
        log.info("%g minutes are %s images on this machine", self.minutes, f"{images:,}")
        self.recipe["budget"] |= {"images": images, "minutes": None}
        self.budget = self._build("budget")

    def run(self, run: Run, resume: bool = False, overrides: Sequence[str] = ()) -> dict[str, Any]:
        """Train in a run directory, or go on there, and return the final record.

        Args:
            run: the run directory.
            resume: go on with what is there.
            overrides: what the user has changed in the recipe of a run that goes on.

        Raises:
            Diverged: if a figure of training is NaN or infinite.
            Interrupted: if the run was asked to stop; it has been saved.
            UserError: if the run can not go on from what is there.
        """
        run.refuse_links()
        with locked(run.path / ".lock"), logging_to(run.log), self.signals.listening():
            run.sweep()
            return self._run(run, resume, overrides)

    # The parts of a run ------------------------------------------------------------------------

    def _run(self, run: Run, resume: bool, overrides: Sequence[str]) -> dict[str, Any]:
        if self.unjudged:
            log.warning("%s", self.unjudged)
        before = run.manifest()
        if before.get("data", self.data.fingerprint) != self.data.fingerprint:
            raise UserError(f"{run} was trained on other data than dataset.* gives now")
        if resume:
            run.refuse_edited(self.recipe)
        checkpoint = checkpoints.newest_whole(run.checkpoints) if resume else None
        self._place(run, checkpoint)
        try:
            self._write_down(run, checkpoint, resume, overrides)
        except OSError as error:
            raise UserError(
                f"{run} cannot be written ({error}); its weights are as they were; it goes on, "
                f"once it can be, with: {run.command('train', self.plugins)}"
            ) from error
        status = "failed"
        try:
            record = self._fit_and_finish(run, checkpoint, resume)
            status = "finished"
        except Diverged as error:
            status = "diverged"
            kept = checkpoints.newest_whole(run.checkpoints)
            raise Diverged(f"{error}; the last good checkpoint is {kept or 'none'}") from error
        except (Interrupted, KeyboardInterrupt):
            status = "interrupted"
            raise
        finally:
            seconds = before.get("seconds", 0.0) + time.monotonic() - self.started
            facts = {
                "status": status,
                "images_seen": self.model.images_seen,
                "seconds": round(seconds, 1),
                "peak_memory_mib": round(peak_memory_mib()),
            } | ({"budget": self.recipe["budget"]} if status == "finished" else {})
            run.keep(lambda: run.describe(**facts))
        run.keep(lambda: run.describe(final=record))
        return record

    def _place(self, run: Run, checkpoint: Path | None) -> None:
        """Put model and data at the batch where the run stands."""
        seed, batch_size = self.recipe["seed"], self.data.batch_size
        num_batches = self.budget.num_batches(self.data.num_train, batch_size)
        saved = checkpoints.read(checkpoint) if checkpoint else None
        start = saved["batches_seen"] if saved else 0
        if start > num_batches:
            raise UserError(
                f"{run} has seen {start * batch_size:,} images, more than the budget of "
                f"{num_batches * batch_size:,}; give it a larger one, such as budget.images"
            )
        self.model.place_in_run(seed, batch_size, num_batches, start)
        if saved:
            checkpoints.load_weights(self.model, saved, checkpoint)
        self.data.set_stream(seed, start, num_batches)

    def _write_down(
        self, run: Run, checkpoint: Path | None, resume: bool, overrides: Sequence[str]
    ) -> None:
        """Write what the run is about to do. The recipe comes first: what has been asked for is
        then done by the next resume, if this one is killed."""
        before, num_batches = run.manifest(), self.model.num_batches
        facts = {
            "status": "running",
            "seed": self.recipe["seed"],
            "data": self.data.fingerprint,
            "num_batches": num_batches,
            "recipe": recipe_hash(self.recipe),
            "trained_recipe": trained_part(self.recipe),
        }
        if self.minutes is not None:
            facts["minutes_wished"] = self.minutes
        is_extended = before.get("num_batches", num_batches) != num_batches
        if checkpoint and is_extended and self.model.depends_on_length:
            facts["extended"] = True
            log.warning(
                "training depends on the budget (a learning rate that decays, noise that fades, a "
                "guide), and %d batches had been trained for another: this is not the run that "
                "would have had the new budget at once",
                self.model.batches_seen,
            )
        if resume:
            now = surroundings()
            facts["resumed"] = [*before.get("resumed", []), now]
            run.write_recipe(self.recipe, list(overrides))
            run.forget_after(self.model.images_seen if checkpoint else -1)
        run.describe(**facts)
        if resume:
            run.warn_of_other_bits(now)

    def _fit_and_finish(self, run: Run, checkpoint: Path | None, resume: bool) -> dict[str, Any]:
        model = self.model
        # what a resumed run will write again is void in the curves it left
        first_void = (model.images_seen + 1 if checkpoint else 0) if resume else None
        callbacks = [*self.callbacks.values(), self.signals]
        trainer = self._trainer(run, callbacks, self._loggers(run, first_void))
        if model.batches_seen < model.num_batches:
            trainer.fit(model, self.data, ckpt_path=checkpoint)
        saving = first_of(self.callbacks.values(), Checkpoints)
        if saving is not None and saving.failure is not None:
            raise UserError(
                f"the run is trained, but its last checkpoint is not saved ({saving.failure}); "
                f"make room, then: {run.command('train', self.plugins)}"
            )
        model.to(trainer.strategy.root_device)
        device = device_name(trainer.strategy.root_device)
        run.keep(lambda: run.describe(device=device))
        with model.evaluating():
            record = self._final_record(run, trainer.loggers)
            validation = first_of(self.callbacks.values(), Validation)
            if validation is not None and validation.pictures is not None:
                validation.pictures.draw(model, self.data, run, trainer.loggers, "final", record)
        for logger in trainer.loggers:
            logger.log_result(self.recipe, named_figures(record))
            logger.finalize("success")
        return record

    def _final_record(self, run: Run, loggers: Iterable) -> dict[str, Any]:
        """Return the record of the last look, or, if there was none, of one at all images."""
        for record in reversed(run.records()):
            if record["images"] == self.model.images_seen and record.get("split") == "validation":
                return record
        record = model_metrics.evaluate(self.model, self.data, "validation")
        run.record(self.model.images_seen, record)
        for logger in loggers:
            logger.log_metrics(named_figures(record), self.model.images_seen)
        return record

    def _judge_samples(self) -> None:
        """Let the looks at the model compare its samples, if anything can judge such images."""
        validation = first_of(self.callbacks.values(), Validation)
        quality = validation.quality if validation else None
        if quality is None or self.recipe["extractor"] is None or not self.model.makes_images:
            return
        outputs = Path(self.recipe["outputs"])
        few = min(quality.num_samples, self.data.validation_size)
        if few < features.FEWEST:
            raise UserError(
                f"samples cannot be judged by {few} images; let callbacks.validation.quality."
                f"num_samples and dataset.validation_size be at least {features.FEWEST}, or "
                "switch it off: callbacks.validation.quality=null"
            )
        try:
            quality.extractor = self._build("extractor")(
                data=self.data, outputs=outputs, plugins=self.plugins
            )
        except NoClassifier as reason:
            self.unjudged = f"samples are not judged during training: {reason}"

    def _trainer(self, run: Run, callbacks: list[Callback], loggers: list) -> Trainer:
        return self._build(
            "trainer",
            max_epochs=1,  # the whole run is one stream of batches
            callbacks=bundled(callbacks),
            logger=loggers,
            default_root_dir=run.path,
            plugins=[checkpoints.DurableCheckpointIO()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )

    def _loggers(self, run: Run, purge_step: int | None) -> list:
        if self.recipe["logger"] is None:
            return []
        return [self._build("logger")(folder=str(run.tensorboard), purge_step=purge_step)]

    def _images_within(self, seconds: float) -> int:
        """Measure a throw-away copy, and return how many images it sees in the time left."""
        seed, batch_size = self.recipe["seed"], self.data.batch_size
        self.data.set_stream(seed, 0, 10**9)
        copy = self._new_model()
        copy.place_in_run(seed, batch_size, 10**9, 0)
        copy.as_if_trained()
        validation = first_of(self.callbacks.values(), Validation)
        measured = min(seconds * MEASURED_SHARE / 2, MAX_MEASURED_SECONDS)
        stopwatch = Stopwatch(measured, validation)
        with tempfile.TemporaryDirectory() as folder:
            trainer = self._trainer(Run(Path(folder)), [stopwatch], [])
            trainer.fit(copy, self.data)
        if validation is not None:
            self._look_less(validation, stopwatch.look_seconds, seconds)
        looks = validation.times + FINAL_LOOKS if validation else FINAL_LOOKS
        left = seconds - (time.monotonic() - self.started)
        saving = first_of(self.callbacks.values(), Checkpoints)
        saves = looks + (saving.times if saving else 0)  # each look may find the best so far
        left -= looks * stopwatch.look_seconds + saves * stopwatch.save_seconds
        if left < stopwatch.step_seconds:
            raise UserError(
                f"budget.minutes={self.minutes:g}: too short; start-up and evaluation alone take "
                f"{(seconds - left) / 60:.2g} minutes here"
            )
        return int(left / stopwatch.step_seconds) * batch_size

    def _look_less(self, validation: Validation, look_seconds: float, seconds: float) -> None:
        """Look at the model less often where that would take too much of a budget in minutes, in
        the recipe too, so that it is final."""
        times = affordable_looks(look_seconds, seconds)
        if times < validation.times:
            log.info(
                "the model is looked at %d times instead of %d, for at most %.0f %% of the time",
                times, validation.times, 100 * VALIDATED_SHARE,
            )  # fmt: skip
            validation.times = times
            (name,) = (name for name, each in self.callbacks.items() if each is validation)
            self.recipe["callbacks"][name]["times"] = times

    def _build(self, key: str, **extra: Any) -> Any:
        return build(self.recipe[key], key, self.plugins, **extra)

    def _new_model(self) -> Model:
        """Build the model with the weights that the seed gives it."""
        seed_default_generators(self.recipe["seed"], "initialisation")
        return self._build("model")


def layout(
    seed: Seed,
    outputs: str,
    name: str | None,
    budget: Budget,
    model: Model,
    dataset: ImageDataModule,
    callbacks: dict[str, Callback | None] | None,
    logger: Callable[..., TensorBoard] | None,
    extractor: Callable[..., Extractor] | None,
    trainer: Trainer,
) -> None:
    """The outermost keys of a recipe, and what each of them builds."""


def affordable_looks(look_seconds: float, seconds: float) -> int:
    """Return how often a run of a length may look at the model, besides the first and last."""
    return max(1, int(VALIDATED_SHARE * seconds / max(look_seconds, 1e-9)) - FINAL_LOOKS)


def is_complete(run: Run, recipe: dict[str, Any]) -> bool:
    """Whether a run that is to go on has nothing left to do; what follows is said in the log.

    What was finished is told by the manifest and the weights: the recipe in the run may already
    be the one of an extension that was killed before it began.
    """
    manifest = run.manifest()
    trained_for = manifest.get("budget") or run.recipe()["budget"]  # of an earlier version
    if manifest.get("status") != "finished" or recipe["budget"] != trained_for:
        return False
    checkpoint = checkpoints.newest_whole(run.checkpoints)
    if checkpoint and checkpoints.read(checkpoint)["batches_seen"] != manifest.get("num_batches"):
        return False
    log.info("%s is finished; extend it with a larger budget, such as budget.epochs=40", run)
    return True


def bundled(callbacks: list[Callback]) -> list[Callback]:
    """Return callbacks as Lightning is to have them: in one, but for those with a state."""
    present = [callback for callback in callbacks if callback]
    stateful = [callback for callback in present if defines(callback, "state_dict")]
    return [Together(each for each in present if each not in stateful), *stateful]


def refuse_impossible_trainer(recipe: dict[str, Any]) -> None:
    """Refuse what this machine or torch does not have, which Lightning would replace silently.

    Raises:
        UserError: for a GPU that is not there, or half precision on a CPU.
    """
    trainer, model = recipe["trainer"], recipe["model"]
    optimizers = [name for name in ("optimizer", "discriminator_optimizer") if name in model]
    fused = [f"model.{name}.fused=false" for name in optimizers if model[name].get("fused")]
    if trainer["precision"] == "16-mixed" and model.get("max_gradient_norm") and fused:
        raise UserError(
            "trainer.precision=16-mixed with model.max_gradient_norm: a fused optimizer clips "
            f"gradients that are still scaled; add {' '.join(fused)}"
        )
    on_gpu = torch.cuda.is_available() and trainer["accelerator"] != "cpu"
    if trainer["accelerator"] == "gpu" and not torch.cuda.is_available():
        raise UserError("trainer.accelerator=gpu: torch finds no GPU here; use trainer=cpu")
    if trainer["precision"] == "16-mixed" and not on_gpu:
        raise UserError(
            "trainer.precision=16-mixed: needs a GPU; on a CPU use 32-true or bf16-mixed"
        )


def device_name(device: torch.device) -> str:
    """Return what a device is called by those who made it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory_mib() -> float:
    """Return the most memory that this process has held, in MiB."""
    if sys.platform == "win32":
        import psutil  # there alone it knows the peak

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, others KiB
