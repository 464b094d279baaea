"""What `gdm benchmark` measures: one function per part, which prints what it finds."""

import gc
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from pytorch_lightning import Callback
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import FashionMNIST, ImageFolder

from gdm.cli.bare_training import (
    recipe_of,
    seconds_bare_gan,
    seconds_bare_lightning,
    seconds_bare_loop,
    seconds_whole_stack,
)
from gdm.data.batches import TrainBatches
from gdm.data.folders import Folder
from gdm.data.images import Images
from gdm.data.mnist import FashionMNISTMini
from gdm.evaluation.samples import draw
from gdm.recipes.build import build
from gdm.runs.run import Run
from gdm.theory.images import to_float
from gdm.training.training import Training

ROUNDS = 10


def alternating(ways: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure each way once per round, every other round backwards, so that drift favours none."""
    figures: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS):
        for name in list(ways) if number % 2 == 0 else reversed(ways):
            gc.collect()
            figures[name].append(ways[name]())
    return figures


def training() -> None:
    """Images per second of the default VAE: the whole stack against a bare loop."""
    compare_training(recipe_of(), num_batches=170)


def unet() -> None:
    """Images per second of the default U-Net in training: the whole stack against a bare loop."""
    compare_training(recipe_of("model=ddpm"), num_batches=60)


def gan() -> None:
    """Images per second of the default GAN: the whole stack against a bare alternating loop."""
    compare_training(recipe_of("model=dcgan"), 100, seconds_bare_gan)


def compare_training(
    recipe: dict, num_batches: int, bare: Callable[[dict, int], float] = seconds_bare_loop
) -> None:
    """Measure training through the whole stack against a bare loop, and print both."""
    figures = alternating({
        "bare loop": lambda: bare(recipe, num_batches),
        "whole stack": lambda: seconds_whole_stack(recipe, num_batches),
    })  # fmt: skip
    print_rates(figures, recipe["dataset"]["batch_size"], "images")


def print_rates(figures: dict[str, list[float]], count: int, unit: str) -> None:
    """Print how many per second each way makes, from its seconds for `count` of them."""
    for name, seconds in figures.items():
        print(f"  {name:<15} {count / median(seconds):8,.0f} {unit}/s")
    pairs = zip(figures["bare loop"], figures["whole stack"], strict=True)
    ratio = median(bare / whole for bare, whole in pairs)
    print(f"  ratio           {ratio:8.3f}  (at least 0.95)")


def sampling() -> None:
    """Samples per second of the default U-Net by 25 steps of DDIM: our way against a bare loop."""
    plain = ("sampler=ddim", "prediction=epsilon", "model.autoguidance=1")
    model, few = build(recipe_of("model=ddpm", *plain)["model"], "model").eval(), 100

    def ours() -> float:
        started = time.perf_counter()
        for _ in draw(model, few, None, 0, few):
            pass
        return time.perf_counter() - started

    @torch.no_grad()
    def bare() -> float:
        started = time.perf_counter()
        times = torch.linspace(1, 0, 26, dtype=torch.float64)
        alphas, sigmas = (part.float() for part in model.schedule(times))
        x_t = torch.randn(few, 1, 28, 28)
        for i in range(25):
            epsilon = model.network(x_t, (1000 * times[i]).expand(few), None)
            x_0 = ((x_t - sigmas[i] * epsilon) / alphas[i]).clamp(-1, 1)
            slope = (x_t - alphas[i] * x_0) / sigmas[i]
            x_t = alphas[i + 1] * x_0 + sigmas[i + 1] * slope
        return time.perf_counter() - started

    figures = alternating({"bare loop": bare, "whole stack": ours})
    print_rates(figures, few, "samples")


def samplers() -> None:
    """Seconds for 1,000 samples of the default U-Net, from 100, by sampler and number of steps."""
    for name in ("ddim", "dpm_solver", "euler", "heun", "ddpm"):
        for steps in (10, 25, 100):
            recipe = recipe_of("model=ddpm", f"sampler={name}", f"model.sampler.num_steps={steps}")
            model = build(recipe["model"], "model").eval()
            model.sample(range(10))
            started = time.perf_counter()
            model.sample(range(100))
            seconds = 10 * (time.perf_counter() - started)
            evaluations = model.network_evaluations
            print(f"  {name:<11} {steps:4} steps, {evaluations:4} evaluations {seconds:8.1f} s")


def overhead() -> None:
    """Microseconds per step beside a bare loop, with a network so small that they show."""
    torch.set_num_threads(1)  # threads would have nothing to share but noise
    recipe, num_batches = recipe_of("dataset.batch_size=1", "model.width=1"), 2020
    figures = alternating({
        "bare loop": lambda: seconds_bare_loop(recipe, num_batches, tiny=True),
        "bare Lightning": lambda: seconds_bare_lightning(recipe, num_batches, tiny=True),
        "whole stack": lambda: seconds_whole_stack(recipe, num_batches, tiny=True),
    })  # fmt: skip
    for name, seconds in figures.items():
        print(f"  {name:<15} {1e6 * median(seconds):8,.0f} microseconds per step")
    pairs = zip(figures["bare Lightning"], figures["whole stack"], strict=True)
    added = median(whole - bare for bare, whole in pairs)
    print(f"  ours adds       {1e6 * added:8,.0f} microseconds to Lightning's  (at most 150)")


def data() -> None:
    """Images per second of the data path alone, against torchvision with PIL transforms."""
    print("  grey, 28 pixels, from memory")
    grey_data()
    print("  colour, 64 pixels, from a folder of JPEG files")
    colour_data()


def grey_data() -> None:
    """Measure the bundled images against torchvision's Fashion-MNIST, and print both."""
    with tempfile.TemporaryDirectory() as folder:
        write_for_torchvision(Path(folder))
        steps = [transforms.Pad(2), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
        dataset = FashionMNIST(folder, transform=transforms.Compose(steps))
        images = FashionMNISTMini().load("train")
        compare_data(dataset, images)


def colour_data() -> None:
    """Measure a folder of photographs against torchvision's ImageFolder, and print both."""
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as cache,
        patch.dict(os.environ, GDM_DATA=cache),  # so that the images are decoded here and now
    ):
        write_photographs(Path(folder))
        steps = [
            transforms.Resize(64), transforms.CenterCrop(64), transforms.ToTensor(),
            transforms.Normalize(0.5, 0.5),
        ]  # fmt: skip
        dataset = ImageFolder(folder, transform=transforms.Compose(steps))
        started = time.perf_counter()
        images = Folder(folder).load_at("train", 64)
        seconds = time.perf_counter() - started
        print(f"  decoding, once           {len(dataset) / seconds:12,.0f} images/s")
        compare_data(dataset, images)


def compare_data(dataset: Dataset, images: Images) -> None:
    """Measure batches of images against torchvision's data set of them, and print both."""

    def torchvision(num_workers: int) -> Callable[[], float]:
        loader = DataLoader(dataset, 64, shuffle=True, drop_last=True, num_workers=num_workers)
        return lambda: rate(loader)

    ours = TrainBatches(images, 64, 0, 0, len(images) // 64)
    figures = alternating({
        "torchvision, no workers": torchvision(0),
        "torchvision, 2 workers": torchvision(2),
        "ours": lambda: rate(to_float(batch.x) for batch in ours),
    })  # fmt: skip
    for name, rates in figures.items():
        print(f"  {name:<24} {median(rates):12,.0f} images/s")
    theirs = max(median(figures[name]) for name in figures if name != "ours")
    print(f"  ratio to the better      {median(figures['ours']) / theirs:12,.0f}  (at least 20)")


def rate(batches) -> float:
    """Images per second over all batches."""
    started, count = time.perf_counter(), 0
    for batch in batches:
        count += len(batch) if isinstance(batch, torch.Tensor) else len(batch[0])
    return count / (time.perf_counter() - started)


def write_for_torchvision(folder: Path) -> None:
    """Lay the bundled images out as torchvision expects Fashion-MNIST."""
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images = FashionMNISTMini().load(split)
        for kind, array in (("images-idx3", images.images[:, 0]), ("labels-idx1", images.labels)):
            values = array.numpy().astype(np.uint8)
            header = bytes([0, 0, 8, values.ndim])
            header += b"".join(size.to_bytes(4, "big") for size in values.shape)
            (raw / f"{prefix}-{kind}-ubyte").write_bytes(header + values.tobytes())


def write_photographs(folder: Path) -> None:
    """Write 2,000 cuttings of scikit-learn's two photographs, 96 pixels a side, in two classes."""
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(0)
    for name, photograph in zip("ab", load_sample_images().images, strict=True):
        (folder / name).mkdir()
        for number in range(1000):
            top, left = (random.integers(size - 96) for size in photograph.shape[:2])
            cutting = Image.fromarray(photograph[top : top + 96, left : left + 96])
            cutting.save(folder / name / f"{number:03}.jpg", quality=90)


def memory() -> None:
    """Memory of a VAE run on all of Fashion-MNIST, epoch by epoch."""
    recipe = recipe_of("dataset=fashion_mnist", "model.width=8", "prior=standard_normal",
                       "dataset.batch_size=500", "budget.epochs=5")  # fmt: skip
    training = Training(recipe)
    watch = MemoryWatch(training.data.num_train // 500)
    training.callbacks["watch"] = watch
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        training.run(run)
        peak = run.manifest()["peak_memory_mib"]
    print("  after each epoch " + ", ".join(f"{each:,.0f}" for each in watch.mib) + " MiB")
    print(f"  growth from the second to the last {watch.mib[-1] - watch.mib[1]:,.1f} MiB")
    print(f"  peak {peak:,} MiB")


class MemoryWatch(Callback):
    """The memory that is held after each epoch."""

    def __init__(self, batches_an_epoch: int) -> None:
        self.batches_an_epoch = batches_an_epoch
        self.mib: list[float] = []

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        if model.batches_seen % self.batches_an_epoch == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.mib.append(pages * 4096 / 2**20)


PARTS = {
    part.__name__: part
    for part in (training, unet, gan, sampling, samplers, overhead, data, memory)
}
