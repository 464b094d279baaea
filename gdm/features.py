"""Images -> features: the extractors that distances stand on."""

import json
import logging
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gdm import checkpoints, runs
from gdm.data.datamodule import ImageDataModule, identity, order_of_holding_out
from gdm.data.sources import FashionMNIST, FashionMNISTMini
from gdm.errors import UserError
from gdm.files import durable_replacement
from gdm.models.classifier import Classifier
from gdm.moved import upgraded
from gdm.recipes import build
from gdm.terminal import command, override

log = logging.getLogger(__name__)

UNREADABLE = (
    UserError, OSError, SafetensorError,
    KeyError, TypeError, ValueError, RuntimeError, AttributeError,  # facts of another kind
)  # fmt: skip
CHECKSUM = "checksum"  # the name of the fact in a file
SHIPPED = Path(__file__).with_name("fashion_mnist_classifier.safetensors")


class Features(NamedTuple):
    """What an extractor finds in N images: float32 features (N, D), and the probabilities of its
    classes (N, K), or None if it does not classify.
    """

    features: Tensor
    probabilities: Tensor | None


class Extractor(ABC):
    """Images -> features; without gradients, the same for an image in any batch.

    Attributes:
        name: the option of `extractor=` that it is.
        checksum: 16 letters that change when a weight does.
        dimension: D.
        class_names: names of the classes of its probabilities; None if they are not the data's.
    """

    name: str
    checksum: str
    dimension: int
    class_names: tuple[str, ...] | None = None

    @abstractmethod
    def __call__(self, x: Tensor) -> Features:
        """Return the features of images, (N, C, H, W) in [-1, 1] in their native resolution, on
        whatever device."""

    @abstractmethod
    def to(self, device: torch.device | str) -> "Extractor":
        """Move to a device, and return the extractor."""


class NoClassifier(UserError):
    """There is no classifier that could judge the images."""


class ClassifierFeatures(Extractor):
    """The last hidden layer of a classifier of the same data set.

    Small grey images are judged by what tells their own classes apart, where a network trained on
    photographs sees little.

    Args:
        weights: the classifier: a run of `model=classifier` or a file that
            scripts/export_classifier.py wrote. None for the one that comes with gdm, or else the
            newest finished run trained on the same images.
        data: the images that are judged.
        outputs: the folder of all runs.
        plugins: packages that a recipe may name besides gdm.

    Raises:
        NoClassifier: if there is none for these images, with the command that trains one.
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
    def __call__(self, x: Tensor) -> Features:
        return Features(*self.model.features_and_probabilities(x.to(self.model.device)))

    def to(self, device: torch.device | str) -> "ClassifierFeatures":
        self.model.to(device)
        return self


def read_classifier(path: Path) -> tuple[Classifier, dict[str, int]]:
    """Return the classifier in a file, and of which images it has seen none.

    The latter are, for each data set by its identity, so many of its first images in
    `order_of_holding_out`.

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
        if path == SHIPPED:
            raise UserError(
                f"{path} is missing or damaged ({error}). Install gdm again"
            ) from error
        raise UserError(
            f"extractor.weights={path}: is no classifier that scripts/export_classifier.py "
            f"wrote ({error})"
        ) from error


def load_classifier(
    run: runs.Run, checkpoint: str = "last", plugins: Sequence[str] = ()
) -> Classifier:
    """Return the classifier of a run.

    Raises:
        UserError: if the run is of another model.
    """
    model = runs.load(run, checkpoint, plugins=plugins)
    if not isinstance(model, Classifier):
        raise UserError(f"{run}: is no run of model=classifier")
    return model


def layout(run: str | None, outputs: str, checkpoint: str, to: str | None) -> None:
    """The keys of configs/export_classifier.yaml, and what each holds."""


def export(
    run: runs.Run, checkpoint: str, path: Path, plugins: Sequence[str] = ()
) -> dict[str, str]:
    """Write the classifier of a run as a file, and return the facts that the file states.

    Raises:
        UserError: if the run is of another model.
    """
    recipe = run.recipe()
    model = load_classifier(run, checkpoint, plugins)
    data = build(recipe["dataset"], "dataset", plugins)
    with model.evaluating(averaged=False):
        right = [
            (model.features_and_probabilities(batch.x)[1].argmax(1) == batch.label).float()
            for batch in data.batches("test")
        ]
    overrides = yaml.safe_load((run.path / ".hydra" / "overrides.yaml").read_text())
    overrides = [text for text in overrides if not text.startswith(("outputs=", "name="))]
    facts = {
        "model": json.dumps(recipe["model"]),
        "class_names": json.dumps(data.class_names),
        "held_out": json.dumps(_held_out(data)),
        "command": f"python scripts/train.py {shlex.join(overrides)}",
        "test_accuracy": f"{float(torch.cat(right).mean()):.4f}",
    }
    write_checked(model.network.state_dict(), facts, path)
    return facts


def write_checked(tensors: dict[str, Tensor], facts: dict[str, str], path: Path) -> None:
    """Write tensors and facts durably, with a checksum of both.

    Raises:
        OSError: if the file cannot be written.
    """
    with durable_replacement(path) as temporary:
        save_file(tensors, temporary, facts | {CHECKSUM: _checksum(tensors, facts)})


def read_checked(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the facts that `write_checked` wrote.

    Raises:
        OSError: if the file cannot be read.
        SafetensorError: if it is no such file.
        ValueError: if it has no checksum, or another one than what it holds.
    """
    with safe_open(path, "pt") as file:
        facts = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    stated = facts.pop(CHECKSUM, None)
    if stated is None:
        raise ValueError("it has no checksum; what an older gdm wrote is to be written again")
    if stated != _checksum(tensors, facts):
        raise ValueError("it is damaged: its checksum is not that of what it holds")
    return tensors, facts


def _checksum(tensors: dict[str, Tensor], facts: dict[str, str]) -> str:
    return checkpoints.digest([sorted(tensors.items()), sorted(facts.items())])


def _held_out(data: ImageDataModule) -> dict[str, int]:
    """Return how many images of a data set were held out, and of the bundled part of it."""
    held_out = {data.identity: data.validation_size}
    if isinstance(data.source, FashionMNIST) and not data.binarize:
        seen = set(map(bytes, data.split("train").images.numpy()))
        part = FashionMNISTMini()
        images = part.load("train")
        ordered = images.select(order_of_holding_out(images)).images.numpy()
        unseen = next(place for place, image in enumerate(ordered) if bytes(image) in seen)
        held_out[identity(part, data.binarize)] = unseen
    return held_out


def _opened(
    weights: str, data: ImageDataModule, outputs: Path, plugins: Sequence[str], command: str
) -> Classifier:
    """Return the classifier that the user names."""
    path = Path(weights).expanduser()
    if path.is_file():
        model, held_out = read_classifier(path)
    else:
        try:
            run = runs.find(str(path), outputs)
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
    model, held_out = read_classifier(SHIPPED)
    if held_out.get(data.identity, -1) >= data.validation_size:
        return model
    for run in reversed(runs.listed(outputs)):
        try:
            if _is_finished_classifier(run):
                held_out = _held_out_by(run, plugins)
                if held_out.get(data.identity, -1) >= data.validation_size:
                    return load_classifier(run, plugins=plugins)
        except UserError as error:  # it has lost a file, or needs a package that is not allowed
            log.info("passing over the classifier of %s: %s", run, error)
    raise NoClassifier(
        f"there is no classifier of dataset={data.source.name}, with "
        f"dataset.validation_size={data.validation_size}, to judge images by; train one: {command}"
    )


def _is_finished_classifier(run: runs.Run) -> bool:
    if run.manifest().get("status") != "finished":
        return False
    model = run.recipe().get("model")
    name = f"{Classifier.__module__}.{Classifier.__qualname__}"
    return isinstance(model, dict) and model.get("_target_") == name


def _held_out_by(run: runs.Run, plugins: Iterable[str]) -> dict[str, int]:
    """Return how many images of which data set a run has held out."""
    data = build(run.recipe()["dataset"], "dataset", plugins)
    return {data.identity: data.validation_size}


def _command(data: ImageDataModule, outputs: Path, plugins: Sequence[str]) -> str:
    """Return what to type to train a classifier of a data set."""
    words = ["model=classifier", override("dataset", data.source.name)]
    words += ["dataset.binarize=true"] if data.binarize else []
    words += [f"dataset.validation_size={data.validation_size}"]
    words += [] if data.source.mirrored_alike else ["model.flip=false"]
    words += [override("outputs", outputs)] if outputs != Path("outputs") else []
    words += [override("plugins", plugins)] if plugins else []
    return command("train", *words)
