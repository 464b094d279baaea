"""The latent space as a map: where the classes lie, what is sampled, and what it decodes to."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.evaluation.extractors import Extractor
from gdm.models.base import GenerativeModel
from gdm.pictures import figures, latent, tables
from gdm.recipes.ranges import Count, NonNegativeInt
from gdm.theory import walks
from gdm.tools.latent import diagnostics, distributions
from gdm.tools.latent.classes import classifier_of
from gdm.tools.latent.coding import Coded, classes_in_turn, coded, decoded
from gdm.tools.latent.diagnostics import Diagnosis
from gdm.tools.latent.projections import PROJECTIONS, refuse_without_umap
from gdm.tools.latent.refusals import refuse_codes_of_images_size, refuse_without_codes
from gdm.tools.latent.tool import SPLIT, Result, Tool
from gdm.tools.open_run import OpenRun

AXES = {"pca": "principal component", "tsne": "t-SNE", "umap": "UMAP"}
CONTOUR_POINTS = 200  # points per side that contours are drawn through
MASSES = (0.5, 0.9, 0.99)  # of the distribution that is sampled, inside the contours
MIN_IMAGES = 10  # images below which there is nothing to map
QUANTILES_OF = 10_000  # sampled codes that give the lines of a manifold and the contours' levels
WITHOUT_METRICS = (
    "Codes as large as images are mapped without the metrics of codes with few numbers."
)
LEGEND = (
    "nats: KL divergences of the codes, at least. off: the fraction of samples that would have to "
    "change class to match the decoded codes. change in largest 5 percent of steps: the fraction "
    "of all change of the images that lies in them; 0.05 is even. clear images: named with a "
    "probability of 0.8."
)
LABELS = {
    "x": "fraction of the steps, the largest change first",
    "y": "fraction of all change of the images",
    "equal": "the same change at every step",
}


class Map(Tool):
    """Draws the codes of validation images by class, and measures what a plain autoencoder lacks.

    - `map`: the codes, in two dimensions as they are, in more by a projection;
    - `map_samples`: over them the contours of the density that samples are drawn from, points
      drawn from it, and what these decode to (a projection has no contours);
    - `manifold`, in two dimensions: images decoded on a grid over the plane, whose lines are
      quantiles of the codes that are sampled, or of the images' codes where these follow no
      prior;
    - `distribution`, `classes`, `steps` and `largest_jumps`: the three drawbacks of a plain
      autoencoder, beside the runs that are compared; of codes as large as images none of this.

    Args:
        projection: of codes with more than two dimensions: `pca`, `tsne` or `umap`.
        num_images: validation images, the first of the split.
        num_sampled: points that are numbered.
        manifold: images per side of the manifold; 0 for none.
        num_samples: samples whose classes are counted.
        num_paths, num_steps: along which change is measured: paths, and steps of each.
        num_train: training images whose codes divergences are measured with.
    """

    compares = True

    def __init__(
        self,
        projection: Literal["pca", "tsne", "umap"],
        num_images: Count,
        num_sampled: Count,
        manifold: NonNegativeInt,
        num_samples: Count,
        num_paths: Count,
        num_steps: Count,
        num_train: Count,
    ) -> None:
        self.projection = projection
        self.num_images = num_images
        self.num_sampled = num_sampled
        self.manifold = manifold
        self.num_samples = num_samples
        self.num_paths = num_paths
        self.num_steps = num_steps
        self.num_train = num_train

    def refuse(self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule) -> None:
        for each in (opened, *others):
            refuse_without_codes(each)
            if others:
                refuse_codes_of_images_size(each)
            if each.model.latent_dim == 1:
                raise UserError(f"{each.run} has codes of one dimension; a map takes two or more")
        if self.projection == "umap":
            refuse_without_umap()
        if self.num_images < MIN_IMAGES:
            raise UserError(f"tool.num_images={self.num_images}: must be at least {MIN_IMAGES}")
        least = distributions.CODES_PER_NUMBER * max(
            each.model.latent_dim or 0 for each in (opened, *others)
        )
        if self.num_train < least:
            raise UserError(
                f"tool.num_train={self.num_train}: must be at least {least}, "
                f"{distributions.CODES_PER_NUMBER} for each number of a code"
            )
        if (count := len(data.split(SPLIT))) < MIN_IMAGES:
            raise UserError(
                f"there are {count} validation images; a map takes {MIN_IMAGES} at least"
            )

    def use(
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
    ) -> Result:
        model = opened.model
        few = model.latent_dim is not None
        extractor = classifier_of(opened, data) if few else None
        part = coded(model, data.split(SPLIT), self.num_images)
        plane = model.latent_dim == 2
        many = model.sample_codes(range(QUANTILES_OF), seed=seed).cpu() if plane else None
        drawn = self._maps(model, part, many, data, seed)
        record: dict[str, Any] = {"split": SPLIT, "num_images": len(part.z)}
        if not few:
            return Result(record, drawn, remark=WITHOUT_METRICS)
        if plane and self.manifold:
            drawn["manifold"] = self._manifold(model, part, many, data.class_names)
        return self._with_drawbacks(
            Result(record, drawn), [opened, *others], extractor, data, seed
        )

    def _with_drawbacks(
        self,
        maps: Result,
        opened_runs: Sequence[OpenRun],
        extractor: Extractor | None,
        data: ImageDataModule,
        seed: int,
    ) -> Result:
        measured = {
            each.name: diagnostics.measure(
                each, data, extractor, self.num_images, self.num_samples, self.num_paths,
                self.num_steps, self.num_train, seed,
            )
            for each in opened_runs
        }  # fmt: skip
        record = maps.record | {
            "classes_by": "nearest codes" if extractor is None else extractor.name,
            "extractor_checksum": None if extractor is None else extractor.checksum,
            "drawbacks": {name: each.metrics for name, each in measured.items()},
            "classes": [
                row
                for name, each in measured.items()
                for row in _of_classes(name, each, data.class_names)
            ],
        }
        drawn = _drawn_drawbacks(measured, data.class_names, opened_runs)
        return Result(record, maps.pictures | drawn, remark=LEGEND)

    def _maps(
        self,
        model: GenerativeModel,
        part: Coded,
        many: Tensor | None,
        data: ImageDataModule,
        seed: int,
    ) -> dict[str, Tensor]:
        points = range(self.num_sampled)
        sampled = model.sample_codes(points, seed=seed).cpu()
        images = decoded(model, sampled, classes_in_turn(model, points))
        codes, flat = part.z.flatten(1), sampled.flatten(1)
        names, contours = ("$z_1$", "$z_2$"), None
        if many is not None:
            contours = _contours(model, torch.cat([codes, flat]), many)
        else:
            codes, flat = PROJECTIONS[self.projection](codes, flat, seed)
            names = tuple(f"{AXES[self.projection]} {number}" for number in (1, 2))
        drawn = (codes, part.label, data.class_names)
        return {
            "map": latent.latent_map(*drawn, axis_names=names),
            "map_samples": latent.latent_map(
                *drawn, flat, contours, axis_names=names, images=images
            ),
        }

    def _manifold(
        self, model: GenerativeModel, part: Coded, many: Tensor, class_names: tuple[str, ...]
    ) -> Tensor:
        follows = model.has_prior
        z, x, y = walks.quantile_grid(many if follows else part.z, self.manifold)
        label = torch.zeros(len(z), dtype=torch.int64)
        whose = "the prior" if follows else "the codes"
        whose += f", as {class_names[0]}" if model.condition == "label" else ""
        labels = tuple(f"$z_{d}$, at quantiles of {whose}" for d in (1, 2))
        return latent.manifold(decoded(model, z, label), x, y, labels)


def _contours(model: GenerativeModel, codes: Tensor, many: Tensor) -> latent.Contours:
    """Return the lines within which fractions of what is sampled lie, around the codes: those of
    the density's logarithm that so many samples, (N, 2), exceed.
    """
    exceeded = model.code_log_prob(many.to(model.device)).double().cpu()
    levels = torch.quantile(exceeded, 1 - torch.tensor(MASSES, dtype=torch.float64))
    low, high = codes.min(0).values, codes.max(0).values
    low, high = low - 0.25 * (high - low), high + 0.25 * (high - low)
    x, y = (torch.linspace(float(low[d]), float(high[d]), CONTOUR_POINTS) for d in (0, 1))
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    z = torch.stack([columns, rows], -1).flatten(0, 1).to(model.device)
    log_density = (
        model.code_log_prob(z).double().cpu().unflatten(0, (CONTOUR_POINTS, CONTOUR_POINTS))
    )
    names = [f"{100 * mass:g} %" for mass in MASSES]
    return x, y, log_density, dict(zip(names, levels.tolist(), strict=True))


def _of_classes(name: str, each: Diagnosis, class_names: tuple[str, ...]) -> list[dict]:
    """Return the fractions of every class in one model."""
    return [
        {"model": name, "class": own}
        | {kind: float(fractions[number]) for kind, fractions in each.fractions.items()}
        for number, own in enumerate(class_names)
    ]


def _drawn_drawbacks(
    measured: dict[str, Diagnosis], class_names: tuple[str, ...], opened_runs: Sequence[OpenRun]
) -> dict[str, Tensor]:
    panels, rows = {}, []
    for opened in opened_runs:
        each = measured[opened.name]
        nats = each.metrics["nats_from_normal"]
        if opened_runs[0].model.latent_dim == opened.model.latent_dim == 2:
            panels[f"{opened.name}: {nats:.2f} nats from normal"] = distributions.whitened(
                each.codes
            )
        rows.append(each.largest_jump)
    label = next(iter(measured.values())).label
    found = {
        "steps": figures.concentration(
            {name: diagnostics.concentration(each.change) for name, each in measured.items()},
            LABELS,
        ),
        "largest_jumps": _largest_jumps(measured),
    }
    if class_names:
        fractions = {name: each.fractions for name, each in measured.items()}
        found["classes"] = figures.class_fractions(fractions, class_names, "fraction")
    if panels:  # the circles hold half, 90 % and 99 % of N(0, I) in the plane
        circles = {
            f"{100 * mass:g} % of N(0, I)": math.sqrt(-2 * math.log(1 - mass)) for mass in MASSES
        }
        found["distribution"] = latent.latent_maps(panels, label, class_names, circles)
    return found


def _largest_jumps(measured: dict[str, Diagnosis]) -> Tensor:
    """Draw the path with the largest change in one step of each model."""
    rows = torch.stack([each.largest_jump for each in measured.values()])  # (M, S + 1, C, H, W)
    shown = torch.linspace(0, rows.shape[1] - 1, min(rows.shape[1], 11)).round().int().tolist()
    names = [f"{each / (rows.shape[1] - 1):.2f}" for each in shown]
    return tables.image_table(rows[:, shown], list(measured), names)
