"""One run, from its recipe to a finished directory."""

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer

from gdm.data.datamodule import ImageDataModule, settle_facts
from gdm.errors import UserError
from gdm.evaluation.classifier import ClassifierFeatures, NoClassifier
from gdm.files import locked
from gdm.models.base import Model
from gdm.recipes.build import build
from gdm.runs import checkpoints
from gdm.runs.catalogue import environment, recipe_hash
from gdm.runs.run import Run, trained_part
from gdm.theory.randomness import seed_default_generators
from gdm.training import loggers, measuring
from gdm.training.budget import Budget
from gdm.training.finishing import finish
from gdm.training.log import logging_to
from gdm.training.loop import callbacks_in_order, refuse_misplaced
from gdm.training.machine import device_name, peak_memory_mib, refuse_impossible_trainer
from gdm.training.metrics import Diverged
from gdm.training.pruning import Pruned, Pruning
from gdm.training.saving import Checkpoints
from gdm.training.signals import Interrupted, Signals
from gdm.training.validation import Validation

log = logging.getLogger(__name__)


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
        self.callbacks: dict[str, Callback | None] = self._build("callbacks") or {}
        refuse_misplaced(self.callbacks)
        self.loggers: dict[str, loggers.Maker | None] = self._build("logger") or {}
        loggers.refuse_unusable(self.loggers)
        self.signals = Signals()
        self.pruning: Pruning | None = None  # given by the search that the run is a trial of
        self.not_evaluated: str | None = None  # why samples are not evaluated during training
        self.data: ImageDataModule = self._build("dataset")
        settle_facts(self.recipe, self.data)
        self.model = self._new_model()
        if self.data.batch_size < self.model.smallest_batch:
            raise UserError(
                f"dataset.batch_size={self.data.batch_size}: {type(self.model).__name__} trains "
                f"on batches of at least {self.model.smallest_batch} images"
            )
        self.data.prepare()
        self._evaluate_samples()

    @property
    def validation(self) -> Validation | None:
        """What validates the model; None if nothing does."""
        return self.callbacks.get("validation")

    @property
    def saving(self) -> Checkpoints | None:
        """What saves the run; None if nothing does."""
        return self.callbacks.get("checkpoints")

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

    def missing_classifier(self) -> NoClassifier | None:
        """Return why there is no classifier for the model's images; None where there is one, or
        a file is damaged, which is said where it is asked for."""
        try:
            ClassifierFeatures(None, self.data, Path(self.recipe["outputs"]), self.plugins)
        except UserError as reason:
            return reason if isinstance(reason, NoClassifier) else None
        return None

    def run(self, run: Run, resume: bool = False, overrides: Sequence[str] = ()) -> dict[str, Any]:
        """Train in a run directory, or go on there, and return the final record.

        Args:
            run: the run directory.
            resume: go on with what is there.
            overrides: what the user has changed in the recipe of a run that goes on.

        Raises:
            Diverged: if a metric of training is NaN or infinite.
            Interrupted: if the run was asked to stop; it has been saved.
            Pruned: if `pruning` gives the run up; it has been saved.
            UserError: if the run can not go on from what is there.
        """
        run.refuse_links()
        with locked(run.lock), logging_to(run.log), self.signals.listening():
            run.remove_leftovers()
            return self._run(run, resume, overrides)

    def _run(self, run: Run, resume: bool, overrides: Sequence[str]) -> dict[str, Any]:
        if self.not_evaluated:
            log.warning("%s", self.not_evaluated)
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
        record = self._described(run, checkpoint, resume)
        run.keep(lambda: run.describe(final=record))
        return record

    def _described(self, run: Run, checkpoint: Path | None, resume: bool) -> dict[str, Any]:
        """Train, and write down how it ended, however it ended."""
        before, status = run.seconds_before(), "failed"
        if self.validation is not None:
            self.validation.started = self.started - before
        try:
            record = self._logged(run, checkpoint, resume)
            status = "finished"
            return record
        except Diverged as error:
            status = "diverged"
            kept = checkpoints.newest_whole(run.checkpoints)
            raise Diverged(f"{error}; the last good checkpoint is {kept or 'none'}") from error
        except (Interrupted, KeyboardInterrupt, SystemExit):  # the last by who queues jobs
            status = "interrupted"
            raise
        except Pruned:
            status = "pruned"
            raise
        finally:
            seconds = before + time.monotonic() - self.started
            facts = {
                "status": status,
                "images_seen": self.model.images_seen,
                "seconds": round(seconds, 1),
                "peak_memory_mib": round(peak_memory_mib()),
            } | ({"budget": self.recipe["budget"]} if status == "finished" else {})
            run.keep(lambda: run.describe(**facts))

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
        self.model.set_progress(seed, batch_size, num_batches, start)
        if saved:
            checkpoints.load_weights(self.model, saved, checkpoint)
            checkpoints.refuse_other_optimizers(self.model, saved, checkpoint)
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
            "num_parameters": self.model.num_parameters,
            "recipe": recipe_hash(self.recipe),
            "trained_recipe": trained_part(self.recipe),
        }
        if self.data.source.provenance:
            facts["provenance"] = self.data.source.provenance
        if self.minutes is not None:
            facts["minutes_wished"] = self.minutes
        is_extended = before.get("num_batches", num_batches) != num_batches
        if checkpoint and is_extended and self.model.depends_on_length:
            facts["extended"] = True
            log.warning(
                "training depends on the budget (a learning rate that decays, noise that fades, "
                "growth, a guide), and %d batches had been trained for another: this is not the "
                "run that would have had the new budget at once",
                self.model.batches_seen,
            )
        if resume:
            now = environment()
            facts["resumed"] = [*before.get("resumed", []), now]
            run.write_recipe(self.recipe, list(overrides))
            run.forget_after(self.model.images_seen if checkpoint else -1)
        run.describe(**facts)
        if resume:
            run.warn_of_other_bits(now)

    def _logged(self, run: Run, checkpoint: Path | None, resume: bool) -> dict[str, Any]:
        """Train with the recipe's loggers, and return the final record."""
        # what a resumed run will write again is void in the curves it left
        first_void = (self.model.images_seen + 1 if checkpoint else 0) if resume else None
        with loggers.opened(self.loggers, run.path, first_void, self.recipe) as writing:
            return self._fit_and_finish(run, checkpoint, writing)

    def _fit_and_finish(
        self, run: Run, checkpoint: Path | None, writing: list[loggers.RunLogger]
    ) -> dict[str, Any]:
        """Train, and return the final record."""
        model = self.model
        callbacks = callbacks_in_order(self.callbacks, self.signals, self.pruning)
        trainer = self._trainer(run, callbacks, writing)
        pictures = self.validation.pictures if self.validation is not None else None
        if pictures is not None and model.batches_seen == 0:
            pictures.draw_sources(self.data, run, writing)
        if model.batches_seen < model.num_batches:
            trainer.fit(model, self.data, ckpt_path=checkpoint)
        if self.saving is not None and self.saving.failure is not None:
            raise UserError(
                "the run is trained, but its last checkpoint is not saved "
                f"({self.saving.failure}); make room, then: {run.command('train', self.plugins)}"
            )
        device = trainer.strategy.root_device
        run.keep(lambda: run.describe(device=device_name(device)))
        model.to(device)
        return finish(model, self.data, run, self.recipe, writing, pictures)

    def _evaluate_samples(self) -> None:
        """Let validations compare samples, if there is anything to evaluate such images by."""
        quality = self.validation.quality if self.validation is not None else None
        if quality is None or self.recipe["extractor"] is None or not self.model.makes_images:
            return
        quality.refuse_few(self.data)
        try:
            quality.extractor = self._build("extractor")(
                data=self.data, outputs=Path(self.recipe["outputs"]), plugins=self.plugins
            )
        except NoClassifier as reason:
            self.not_evaluated = f"samples are not evaluated during training: {reason}"

    def _trainer(self, run: Run, callbacks: list[Callback], loggers: list) -> Trainer:
        return self._build(
            "trainer",
            max_epochs=1,  # the whole run is one stream of batches
            callbacks=callbacks,
            logger=loggers,
            default_root_dir=run.path,
            plugins=[checkpoints.DurableCheckpointIO()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )

    def _images_within(self, seconds: float) -> int:
        """Measure a throw-away copy, and return how many images the run sees in the time left;
        by the recipe too, the model is looked at no more often than there is time for."""
        seed, batch_size = self.recipe["seed"], self.data.batch_size
        self.data.set_stream(seed, 0, 10**9)
        copy = self._new_model()
        copy.set_progress(seed, batch_size, 10**9, 0)
        copy.as_if_trained()
        costs = measuring.measure(copy, self.data, self.validation, self._trainer, seconds)
        if self.validation is not None:
            measuring.validate_less(self.validation, costs.validation_seconds, seconds)
            self.recipe["callbacks"]["validation"]["times"] = self.validation.times
        return batch_size * measuring.steps_within(
            seconds, self.started, costs, copy.phases, self.validation, self.saving
        )

    def _build(self, key: str, **extra: Any) -> Any:
        return build(self.recipe[key], key, self.plugins, **extra)

    def _new_model(self) -> Model:
        """Build the model with the weights that the seed gives it."""
        seed_default_generators(self.recipe["seed"], "initialisation")
        return self._build("model")


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
