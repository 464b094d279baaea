"""What is drawn of a model, during training and at its end."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from gdm.data.datamodule import ImageDataModule
from gdm.evaluation import model_metrics, samples
from gdm.models.base import Model
from gdm.pictures import figures, grids, latent, tables
from gdm.recipes.ranges import Count
from gdm.runs.run import Run
from gdm.training import phase_pictures

COLUMNS = 10
NUM_PROCESS_IMAGES = 8  # images whose processes are shown
NUM_PAIRS = 20  # images that are shown beside what they are to be made from
GRIDS = ("reconstructions", "latent_samples")  # enlarged in files; the rest is drawn large
MAP_POINTS = 24  # sampled points that are numbered on a latent map


class Pictures:
    """Draws the same samples and reconstructions at every stage of a run.

    - `samples`: the images of the same latents, of a conditional model with a named row a class;
    - what the family adds, such as the `forward` and the `backward` process of diffusion models,
      with how far each has come, from 0 to 1, above its columns;
    - `confusion`, of a classifier: which classes it takes for which;
    - `reconstructions`, where the model has codes: validation images above what became of them;
    - `latent_map`, `latent_map_samples`, `latent_samples`, where codes have two dimensions: the
      codes of the validation images, points sampled over them, and what these decode to.

    At the end, where training has phases, `growth`: the first samples at the end of each.

    Before training, where images are to be made from others, `data`: some of both, side by side.

    Args:
        num_samples: images in the grid of samples.
        num_reconstructions: images in the grid of reconstructions.
    """

    def __init__(self, num_samples: Count, num_reconstructions: Count) -> None:
        self.num_samples = num_samples
        self.num_reconstructions = num_reconstructions

    def draw_sources(self, data: ImageDataModule, run: Run, loggers: Iterable) -> None:
        """Draw validation images to the right of what they are to be made from, once; nothing of
        data without pairs or domains."""
        batch = next(iter(data.batches("validation", NUM_PAIRS)))
        if batch.source is None:
            return
        picture = grids.sources_and_targets(batch.source, batch.x)
        run.keep(lambda: grids.save(picture, run.samples / "data.png", samples.SCALE))
        for logger in loggers:
            logger.log_picture("data", picture, 0)

    def draw(
        self,
        model: Model,
        data: ImageDataModule,
        run: Run,
        loggers: Iterable,
        stage: str,
        record: dict[str, Any],
    ) -> None:
        """Draw into the run's `samples` and the loggers, within `model.evaluating()`.

        Args:
            model, data, run, loggers: what to draw, and where.
            stage: the name of the moment in the files, such as the number of images seen.
            record: the figures of this moment.
        """
        for name, picture in self.drawn(model, data, record):
            file = f"{stage}.png" if name == "samples" else f"{name}-{stage}.png"
            scale = samples.SCALE if name in GRIDS else 1
            run.keep(lambda: grids.save(picture, run.samples / file, scale))  # noqa: B023
            for logger in loggers:
                logger.log_picture(name, picture, model.images_seen)
        phase_pictures.keep_samples(model, run)

    def drawn(
        self, model: Model, data: ImageDataModule, record: dict[str, Any]
    ) -> Iterable[tuple[str, Tensor]]:
        """Yield each picture that the model allows with its name: 8-bit values, (C, H, W)."""
        if "confusion" in record:
            fractions = torch.tensor(record["confusion"])
            yield "confusion", figures.confusion_matrix(fractions, data.class_names)
        if model.makes_images:
            images = model.sample(range(self.num_samples))
            yield "samples", samples.picture(images, model, None, data.class_names)
        first = next(iter(data.batches("validation", NUM_PROCESS_IMAGES, model.device)))
        for name, rows in model.process_images(first).items():
            yield name, _process(name, rows)
        if not model.encodes or model.latent_dim is None:
            return
        batch = next(iter(data.batches("validation", self.num_reconstructions, model.device)))
        reconstructions = model_metrics.images_back(model, batch.x, model.condition_of(batch))
        yield "reconstructions", grids.pairs(batch.x, reconstructions, COLUMNS)
        if model.latent_dim == 2:
            yield from self._latent_maps(model, data)

    def _latent_maps(self, model, data) -> Iterable[tuple[str, Tensor]]:
        batches = list(data.batches("validation", device=model.device))
        codes = torch.cat(
            [model.encode(batch.x, model.condition_of(batch)) for batch in batches]
        ).cpu()
        label = torch.cat([batch.label for batch in batches]).cpu()
        points = range(MAP_POINTS)
        sampled = model.sample_codes(points).cpu()
        yield "latent_map", latent.latent_map(codes, label, data.class_names)
        yield (
            "latent_map_samples",
            latent.latent_map(codes, label, data.class_names, sampled),
        )
        yield "latent_samples", grids.grid(model.sample(points), MAP_POINTS // 3)


def _process(name: str, rows: Tensor) -> Tensor:
    """Draw rows of moments, (N, K, C, H, W), with how far the process has come in each column."""
    count, columns = rows.shape[:2]
    far = [f"{k / max(columns - 1, 1):.2g}" for k in range(columns)]
    return tables.image_table(rows, [f"{name} {number + 1}" for number in range(count)], far)
