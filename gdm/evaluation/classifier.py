"""Images -> features: the extractors that distances stand on."""

import json
import logging
from collections.abc import Iterable, Sequence
from inspect import Parameter, signature
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import interpolate

from gdm.data.datamodule import ImageDataModule
from gdm.data.sources import Source
from gdm.errors import UserError
from gdm.evaluation.extractors import Extractor, Features, read_checked
from gdm.files import cache_folder
from gdm.models.base import Model
from gdm.models.classifier import Classifier
from gdm.recipes.build import build
from gdm.recipes.moved import upgraded
from gdm.recipes.terminal import command, override, program
from gdm.runs import catalogue, checkpoints
from gdm.theory.images import to_float

log = logging.getLogger(__name__)

UNREADABLE = (
    UserError, OSError, SafetensorError,
    KeyError, TypeError, ValueError, RuntimeError, AttributeError,  # facts of another kind
)  # fmt: skip
KINDS = bool | int | float | str | Path  # of what is written on a command line
USUAL_BATCH = 64  # as in configs/dataset/base/all.yaml
SHIPPED = Path(__file__).parent  # the folder of the classifiers that come with gdm


class NoClassifier(UserError):
    """There is no classifier to evaluate the images by.

    Args:
        reason: why.
        command: what trains one; None where there can be none.
    """

    def __init__(self, reason: str, command: str | None = None) -> None:
        super().__init__(reason)
        self.command = command


class ClassifierFeatures(Extractor):
    """The last hidden layer of a classifier of the same data set.

    Small grey images are evaluated by what tells their own classes apart, where a network that was
    trained on photographs sees little.

    Args:
        weights: the classifier: a run of `model=classifier` or a file that
            scripts/export_classifier.py wrote. None for one that comes with gdm, or else the
            newest finished run trained on the same images. Images larger than those that it was
            trained on are made as small as these.
        data: the images that are evaluated.
        outputs: the folder of all runs.
        plugins: packages that a recipe may name besides gdm.

    Raises:
        NoClassifier: if there is none for these images, with the command that trains one, or the
            reason why there can be none.
        UserError: if `weights` is none, or was trained on other images, or on some of those
            that are held out.
    """

    name = "classifier"

    def __init__(
        self,
        weights: str | None,
        data: ImageDataModule,
        outputs: Path,
        plugins: Sequence[str] = (),
    ) -> None:
        if not data.num_classes:
            raise NoClassifier(
                f"the images of dataset={data.source.name} have no classes, so that no classifier "
                "can evaluate them; extractor=inception needs none"
            )
        if data.validation_size is None:
            data.prepare()  # which settles how many a tenth is
        command = _command(data, outputs, plugins)
        if weights:
            model = _opened(weights, data, outputs, plugins, command)
        else:
            model = _found(data, outputs, plugins, command)
        self.model = model.eval()
        self.checksum = checkpoints.digest(model.network.state_dict())[:16]
        self.class_names = data.class_names
        self.dimension = model.network.head.in_features

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Features:
        x = self._as_trained_on(to_float(images).to(self.model.device))
        return Features(*self.model.features_and_probabilities(x))

    def features_of(self, x: Tensor) -> Tensor:
        """Return the features of images that are not rounded, through which gradients flow:
        (N, C, H, W) in [-1, 1] -> (N, D)."""
        return self.model.network.features(self.model.pad(self._as_trained_on(x))).float()

    def _as_trained_on(self, x: Tensor) -> Tensor:
        if x.shape[-1] > self.model.native_resolution:
            return interpolate(x, size=self.model.native_resolution, mode="area")
        return x

    def to(self, device: torch.device | str) -> "ClassifierFeatures":
        self.model.to(device)
        return self


def shipped() -> list[Path]:
    """Return the files of the classifiers that come with gdm."""
    return sorted(SHIPPED.glob("*_classifier.safetensors"))


def read_classifier(path: Path) -> tuple[Classifier, dict[str, int]]:
    """Return the classifier in a file, and of which images it has seen none.

    The latter are, for each data set by its identity, so many of its first images in
    `validation_order`.

    Raises:
        UserError: if the file is not one that scripts/export_classifier.py writes, or damaged.
    """
    try:
        weights, facts = read_checked(path)
        model = build(upgraded(json.loads(facts["model"])), "model")
        held_out = json.loads(facts["held_out"])
        if not isinstance(model, Classifier):
            raise TypeError(f"its model is a {type(model).__name__}")
        if not all(isinstance(count, int) for count in held_out.values()):
            raise TypeError("what it has left out is no number of images")
        if not all(bool(weight.isfinite().all()) for weight in weights.values()):
            raise ValueError("some of its weights are not finite")
        model.network.load_state_dict(weights)
        return model, held_out
    except UNREADABLE as error:
        if path in shipped():
            raise UserError(
                f"{path} is missing or damaged ({error}). Install gdm again"
            ) from error
        raise UserError(
            f"extractor.weights={path}: is no classifier that {program('export_classifier')} "
            f"wrote ({error})"
        ) from error


def load_classifier(
    run: catalogue.Run, checkpoint: str = "last", plugins: Sequence[str] = ()
) -> Classifier:
    """Return the classifier of a run.

    Raises:
        UserError: if the run is of another model.
    """
    return as_classifier(catalogue.load(run, checkpoint, plugins=plugins), run)


def as_classifier(model: Model, run: catalogue.Run) -> Classifier:
    """Return a run's model, which must be a classifier.

    Raises:
        UserError: if it is another model.
    """
    if not isinstance(model, Classifier):
        raise UserError(f"{run}: is no run of model=classifier")
    return model


def _opened(
    weights: str, data: ImageDataModule, outputs: Path, plugins: Sequence[str], command: str
) -> Classifier:
    """Return the classifier that the user names."""
    path = Path(weights).expanduser()
    if path.is_file():
        model, held_out = read_classifier(path)
    else:
        try:
            run = catalogue.find(str(path), outputs)
        except UserError as error:
            raise UserError(
                f"extractor.weights={weights}: there is no such file, and {error}"
            ) from error
        model, held_out = load_classifier(run, plugins=plugins), _held_out_by(run, plugins)
    if data.identity not in held_out:
        raise UserError(
            f"extractor.weights={weights}: this classifier was trained on other images than "
            f"dataset={data.source.name}; leave extractor.weights out, or train one: {command}"
        )
    if held_out[data.identity] < data.validation_size:
        raise UserError(
            f"extractor.weights={weights}: this classifier was trained on some of the images that "
            f"dataset.validation_size={data.validation_size} holds out: it has left out "
            f"{held_out[data.identity]:,}; train one that leaves out as many: {command}"
        )
    return model


def _found(
    data: ImageDataModule, outputs: Path, plugins: Sequence[str], command: str
) -> Classifier:
    """Return the first classifier that knows these images and none that are held out: the one
    that comes with gdm, or that of the newest finished run.
    """
    for path in shipped():
        model, held_out = read_classifier(path)
        if held_out.get(data.identity, -1) >= data.validation_size:
            return model
    for run in reversed(catalogue.listed(outputs)):
        try:
            if _is_finished_classifier(run):
                held_out = _held_out_by(run, plugins)
                if held_out.get(data.identity, -1) >= data.validation_size:
                    return load_classifier(run, plugins=plugins)
        except UserError as error:  # it has lost a file, or needs a package that is not allowed
            log.info("passing over the classifier of %s: %s", run, error)
    raise NoClassifier(
        f"there is no classifier of dataset={data.source.name}, with "
        f"dataset.validation_size={data.validation_size}, to evaluate images by; train one: "
        f"{command}",
        command,
    )


def _is_finished_classifier(run: catalogue.Run) -> bool:
    if run.manifest().get("status") != "finished":
        return False
    model = run.recipe().get("model")
    name = f"{Classifier.__module__}.{Classifier.__qualname__}"
    return isinstance(model, dict) and model.get("_target_") == name


def _held_out_by(run: catalogue.Run, plugins: Iterable[str]) -> dict[str, int]:
    """Return how many images of which data set a run has held out."""
    return held_out_of(build(run.recipe()["dataset"], "dataset", plugins))


def held_out_of(data: ImageDataModule) -> dict[str, int]:
    """Return how many images of which data set a classifier of it has not seen; nothing where it
    has seen one of two domains alone, and knows no other class."""
    return {} if data.domains is not None else {data.identity: data.validation_size}


def _command(data: ImageDataModule, outputs: Path, plugins: Sequence[str]) -> str:
    """Return what to type to train a classifier of a data set."""
    words = ["model=classifier", override("dataset", data.source.name)]
    chosen = {"resolution": data.resolution, "labels": data.labels, "groups": data.groups}
    words += [
        override(f"dataset.{key}", value) for key, value in chosen.items() if value is not None
    ]
    words += ["dataset.domains=null"] if data.domains is not None else []  # all images, not one's
    words += _given_to(data.source, data, "source")
    words += ["dataset.binarize=true"] if data.binarize else []
    words += [f"dataset.validation_size={data.validation_size}"]
    few = data.batch_size < USUAL_BATCH  # of images that may be no more
    words += [f"dataset.batch_size={data.batch_size}"] if few else []
    words += [] if data.source.flip_keeps_class else ["model.flip=false"]
    words += [override("outputs", outputs)] if outputs != Path("outputs") else []
    words += [override("plugins", plugins)] if plugins else []
    return command("train", *words)


def _given_to(source: Source, data: ImageDataModule, room: str) -> list[str]:
    """Return overrides that name the same source: its folder, and what else it was given."""
    usual, words = cache_folder() / source.name, []
    parameters = signature(type(source)).parameters
    for name, value in source.given.items():
        key, default = f"dataset.{room}.{name}", parameters[name].default
        if room == "source" and hasattr(data.facts, name):
            key = f"dataset.facts.{name}"
        elif room != "source" and name != "folder":  # which alone is there in two_sets.yaml
            key = f"+{key}"
        if isinstance(value, Source):
            target = f"{type(value).__module__}.{type(value).__qualname__}"
            words.append(override(f"{key}._target_", target))
            words += _given_to(value, data, f"{room}.{name}")
        elif value is None and default not in (None, Parameter.empty):
            words.append(f"{key}=null")
        elif isinstance(value, KINDS) and value not in (default, usual):
            words.append(override(key, value))
    return words
