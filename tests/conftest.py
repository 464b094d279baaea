"""What the journeys share: recipes composed from configs/, and short runs made of them."""

import copy
import functools
import logging
import os
import pickle
import runpy
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess

for library in ("OMP", "OPENBLAS"):  # as many processes as cores, each with one thread
    os.environ[f"{library}_NUM_THREADS"] = "1"
if "PYTEST_XDIST_WORKER" not in os.environ:  # workers share the cache of who started them
    cache = tempfile.TemporaryDirectory(prefix="gdm-")  # nothing cached is left from elsewhere
    os.environ["GDM_DATA"] = cache.name

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra._internal import defaults_list as _hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from omegaconf import OmegaConf

from gdm.cli.compose import arranged, compose_config
from gdm.cli.composed import NOT_IN_RECIPES
from gdm.data.bundled import BundledSource
from gdm.data.datamodule import settle_facts
from gdm.data.images import Images
from gdm.data.mnist import FashionMNISTMini
from gdm.evaluation import model_metrics
from gdm.recipes.build import build
from gdm.recipes.options import options_from
from gdm.runs import catalogue
from gdm.tools import open_run
from gdm.tools.latent.tool import LatentOptions
from gdm.training.training import Training

ROOT = Path(__file__).parents[1]

BUNDLED = FashionMNISTMini.path
_unpack = FashionMNISTMini.load
_unpacked = functools.cache(functools.partial(_unpack, FashionMNISTMini()))

# Overrides of single models, where the journey is not about the numbers.
FEW_COMPONENTS = ("model.density.num_components=2",)
SHORTER = {
    "autoencoder": FEW_COMPONENTS,
    "denoising_autoencoder": FEW_COMPONENTS,
    "wgan": ("model.num_discriminator_steps=5",),  # so that players stand between two turns
}

# Networks so small, and a run so short, that the journey is what takes the time.
SMALL = ("model.width=8",)
SMALL_DIFFUSION = (
    "model.network.widths=[8,8]", "model.sampler.num_steps=3", "model.inversion_steps=4",
)  # fmt: skip
SMALL_GAN = ("model.generator.width=4", "model.discriminator.width=4")
SMALL_NETWORKS = tuple(  # of those that state their channels at each resolution
    f"model.{network}.{key}"
    for network in ("generator", "discriminator")
    for key in ("channel_base=64", "channel_max=8")
)
BRIEF = (
    "trainer=cpu",
    "dataset.batch_size=50",
    "budget.images=600",
    "callbacks.validation.times=3",
    "callbacks.validation.limit=60",
    "callbacks.validation.quality.num_samples=200",
    "callbacks.validation.health.num_images=60",
    "callbacks.checkpoints.times=4",
    "callbacks.metrics.every_batches=2",
    "callbacks.validation.pictures.num_samples=10",
    "callbacks.validation.pictures.num_reconstructions=10",
)
SHORT = (*SMALL, *BRIEF)
UNDRAWN = "callbacks.validation.pictures=null"  # where no picture is asked for
UNSEEN = (UNDRAWN, "callbacks.validation.quality=null")  # nor what samples are like


def composed(*overrides: str) -> dict:
    """Return the recipe that the command line would make."""
    return copy.deepcopy(_composed(*overrides))


@functools.cache
def _composed(*overrides: str) -> dict:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        words = arranged(list(overrides), ROOT / "configs")
        config = OmegaConf.to_container(compose("train", words), resolve=True)
    recipe = {key: config[key] for key in config if key not in NOT_IN_RECIPES}
    if recipe["dataset"]["facts"]["num_classes"] is None:
        data = build(recipe["dataset"], "dataset")
        if isinstance(data.source, BundledSource):  # others may not be there; training settles it
            settle_facts(recipe, data)
    return recipe


def small(model: str) -> tuple[str, ...]:
    """Return the overrides that make a model's network small."""
    recipe = composed(f"model={model}")["model"]
    if "discriminator" in recipe:  # a penalty that counts in short runs too
        networks = SMALL_GAN if "width" in recipe["generator"] else SMALL_NETWORKS
        return (*networks, "model.penalty.every=2") if recipe["penalty"] else networks
    return SMALL_DIFFUSION if "sampler" in recipe else SMALL


def short(model: str) -> dict:
    """Return the recipe of a short run of a model."""
    return composed(f"model={model}", *small(model), *BRIEF, *SHORTER.get(model, ()))


def trained(recipe: dict, folder: Path, plugins: Sequence[str] = ()) -> catalogue.Run:
    """Train a recipe in a new run directory below a folder."""
    recipe = recipe | {"outputs": str(folder)}
    training = Training(recipe, plugins)
    training.settle_budget()
    run = catalogue.create(recipe)
    run.write_recipe(recipe, [])
    training.run(run)
    return run


def resumed(
    run: catalogue.Run, recipe: dict | None = None, plugins: Sequence[str] = ()
) -> catalogue.Run:
    """Go on with a run, with its own recipe or with one that changes its length."""
    Training(recipe or run.recipe(), plugins).run(run, resume=True)
    return run


@pytest.fixture(scope="session", autouse=True)
def _bundled_images_are_unpacked_once():
    """Unpacking takes longer than many a run here; whoever asks gets images of its own."""

    def load(self, split: str) -> Images:
        if self.path != BUNDLED:
            return _unpack(self, split)
        images = _unpacked(split)
        return Images(images.images.clone(), images.labels.clone(), images.class_names)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FashionMNISTMini, "load", load)
        yield


def _kept(method, folders_of):
    """Return a method of Hydra's that finds out once what it is asked about our own folder."""
    ours = {str(ROOT / "configs"), "hydra.conf", ""}
    known = {}

    def ask(self, *asked, **named):
        folders = [each.path.rpartition("://")[2] for each in folders_of(self)]
        question = repr((folders, asked, named))
        if not ours.issuperset(folders) or "hydra.searchpath" in question:
            return method(self, *asked, **named)
        if question not in known:
            known[question] = pickle.dumps(method(self, *asked, **named))
        return pickle.loads(known[question])  # everyone has a copy of their own

    return ask


@pytest.fixture(scope="session", autouse=True)
def _configurations_are_read_and_composed_once():
    """Composing takes longer than many a test; a third of it goes into a map that is only for
    options whose name is an interpolation."""
    map_choices = _hydra._create_interpolation_map
    read = _kept(ConfigRepository.load_config, lambda repository: repository.sources)
    compose_all = _kept(
        ConfigLoaderImpl.load_configuration, lambda loader: loader.get_search_path().get_path()
    )

    def compose_here(self, *asked, **named):
        config = compose_all(self, *asked, **named)
        config.hydra.runtime.cwd = str(Path.cwd())
        return config

    def map_if_asked(overrides, defaults, is_self_added):
        is_asked = any(each.is_interpolation() for each in defaults)
        return map_choices(overrides, defaults, is_self_added) if is_asked else None

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ConfigLoaderImpl, "load_configuration", compose_here)
        patched.setattr(ConfigRepository, "load_config", read)
        patched.setattr(_hydra, "_create_interpolation_map", map_if_asked)
        yield


def script_called(name: str, *arguments: str) -> int:
    """Run a page of scripts/ as Python does, but in this process, which has imported all it needs.

    What it leaves to the end of its process is undone: the log, and the hook of threads.
    """
    root, hook = logging.getLogger(), threading.excepthook
    handlers, level = root.handlers[:], root.level
    path = ROOT / "scripts" / f"{name}.py"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", [str(path), *arguments])
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as stop:  # as the interpreter takes it
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
            return 1 if isinstance(stop.code, str) else stop.code or 0
        finally:
            root.handlers[:], root.level, threading.excepthook = handlers, level, hook
    return 0


@pytest.fixture
def run_script(monkeypatch, capfd):
    """A page of scripts/ and its arguments -> its status, and what it writes."""
    monkeypatch.chdir(ROOT)

    def call(name: str, *arguments: str) -> CompletedProcess:
        capfd.readouterr()
        status = script_called(name, *arguments)
        return CompletedProcess([name, *arguments], status, *capfd.readouterr())

    return call


@pytest.fixture(scope="session")
def short_vae(tmp_path_factory) -> catalogue.Run:
    """A short run of the default model that nobody changes."""
    return trained(composed(*SHORT), tmp_path_factory.mktemp("vae"))


@pytest.fixture(scope="session")
def short_ddpm(tmp_path_factory) -> catalogue.Run:
    """A short run of a diffusion model that nobody changes."""
    recipe = short("ddpm") | {"name": "ddpm/fashion_mnist_mini"}
    return trained(recipe, tmp_path_factory.mktemp("ddpm"))


class SplitsAsked:
    """A data set that notes the splits that are read."""

    def __init__(self, data) -> None:
        self.data, self.asked = data, set()

    def __getattr__(self, name):
        return getattr(self.data, name)

    def split(self, name):
        self.asked.add(name)
        return self.data.split(name)

    def batches(self, split, *arguments, **options):
        self.asked.add(split)  # at the first batch that is taken
        yield from self.data.batches(split, *arguments, **options)


# The latent tools: models with the weights that they begin with, of one data set.


def latent_options(*overrides: str) -> dict:
    """Return the keys of scripts/latent.py that the command line would make."""
    return compose_config(ROOT / "configs", "latent", list(overrides))


def opened_as_it_begins(model_recipe: dict, data, folder: Path, name: str) -> open_run.OpenRun:
    """Return an open run whose model has the weights that it begins with."""
    torch.manual_seed(0)
    model = build(model_recipe, "model").eval()
    with model.evaluating():
        model_metrics.prepare_sampling(model, data)
    extractor = open_run.extractor_of(options_from(LatentOptions, latent_options()))
    return open_run.OpenRun(catalogue.Run(folder), name, model, {}, data, {"run": name}, extractor)


@pytest.fixture(scope="module")
def data():
    """The bundled images, of which 200 are held out."""
    return build(composed("dataset.validation_size=200")["dataset"], "dataset")


@pytest.fixture(scope="module")
def opened_of(data, tmp_path_factory):
    """Overrides of a recipe -> an open run whose model has the weights that it begins with."""

    def made(*overrides: str, name: str = "ours") -> open_run.OpenRun:
        recipe = composed(*overrides)["model"]
        return opened_as_it_begins(recipe, data, tmp_path_factory.mktemp(name), name)

    return made


@pytest.fixture(scope="module")
def autoencoder(opened_of):
    """A plain autoencoder of two dimensions."""
    return opened_of("model=autoencoder", "model.width=8", "density=gaussian", name="plain")


@pytest.fixture(scope="module")
def gan(opened_of):
    """A model without an encoder."""
    return opened_of("model=dcgan", *small("dcgan"), name="gan")


@pytest.fixture(scope="module")
def ddpm(opened_of):
    """A model whose codes are as large as its images."""
    return opened_of("model=ddpm", *small("ddpm"), name="ddpm")
