"""From one image to another, through the codes between them."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from gdm.data.datamodule import EVALUATION_BATCH, ImageDataModule
from gdm.errors import UserError
from gdm.evaluation import distances
from gdm.evaluation.samples import class_called, class_number
from gdm.models.base import GenerativeModel
from gdm.pictures.tables import image_table
from gdm.recipes.ranges import Count, NonNegativeInt
from gdm.theory import walks
from gdm.theory.images import grey_levels_changed, to_bytes
from gdm.tools.latent.classes import classifier_of
from gdm.tools.latent.coding import classes_in_turn, code_of_index, coded, decoded, told
from gdm.tools.latent.refusals import refuse_codes_of_images_size, refuse_index, refuse_single
from gdm.tools.latent.tool import SPLIT, Result, Tool
from gdm.tools.open_run import OpenRun

CLASS = "class:"  # before the name of a class
EPSILON = 1e-3  # of the way between two codes; in single precision less would lose digits
CENTRE_OF = 1000  # sampled codes whose mean is the centre of great circles


class Morph(Tool):
    """Walks from code a to code b along a straight line and along a great circle.

    The circle's centre is the mean of the codes that samples are decoded from.

    Args:
        a, b: each the index of a validation image, or a class's name, also as `class:NAME`, where
            names are numbers. Of a model without an encoder the index of a latent.
        of_class: what a class's name stands for: the `first` of its validation images, or the
            `mean` of their codes, which is none of codes that are noise.
        label: a class's name or number that a conditional model is told all the way; None for the
            class of a up to the middle, then that of b.
        num_images: in each strip.
        frames_between: of the animation, between two images of the strip.
        num_pairs: of sampled codes, from one of which towards the other it is measured how fast
            images change; 0 for none.
    """

    def __init__(
        self,
        a: int | str,
        b: int | str,
        of_class: Literal["first", "mean"],
        label: str | int | None,
        num_images: Count,
        frames_between: Count,
        num_pairs: NonNegativeInt,
    ) -> None:
        self.a = a
        self.b = b
        self.of_class = of_class
        self.label = label
        self.num_images = num_images
        self.frames_between = frames_between
        self.num_pairs = num_pairs

    def refuse(self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule) -> None:
        refuse_single(self.num_images)
        if self.a == self.b:
            raise UserError(f"tool.a={self.a}: is tool.b too; name two ends")
        class_number(self.label, data.class_names, opened.model, "tool.label")
        if self.of_class == "mean" and opened.model.encodes:
            refuse_codes_of_images_size(opened)
        for key, end in (("tool.a", self.a), ("tool.b", self.b)):
            if isinstance(end, str) and opened.model.encodes:
                _refuse_class_without_images(end, data, key)
            else:
                refuse_index(end, opened, data, key)

    def use(
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
    ) -> Result:
        model = opened.model
        (z_a, label_a), (z_b, label_b) = (
            _end(model, data, end, self.of_class, seed) for end in (self.a, self.b)
        )
        steps = self.frames_between * (self.num_images - 1) + 1
        t = torch.linspace(0, 1, steps)
        held = class_number(self.label, data.class_names, model, "tool.label")
        if held is not None:
            label_a = label_b = held
        label = torch.tensor([label_a if moment < 0.5 else label_b for moment in t.tolist()])
        centre = _centre(model, seed)
        paths = {
            "straight line": walks.straight_line(z_a, z_b, t),
            "great circle": walks.great_circle(z_a, z_b, t, centre),
        }
        images = {name: decoded(model, path, label) for name, path in paths.items()}
        strip = torch.stack([each[:: self.frames_between] for each in images.values()])
        moments = [f"{moment:.2f}" for moment in t[:: self.frames_between].tolist()]
        names = [_named(end) for end in (self.a, self.b)]
        moments[0], moments[-1] = names
        return Result(
            {
                "split": SPLIT if model.encodes else None,
                "from": names[0],
                "to": names[1],
                "label": None if held is None else data.class_names[held],
                "paths": {
                    name: _facts(path, images[name], centre) for name, path in paths.items()
                },
                **self._path_length(opened, data, seed),
            },
            {"morph": image_table(strip, list(paths), moments)},
            {
                name.replace(" ", "-"): _there_and_back(to_bytes(each))
                for name, each in images.items()
            },
        )

    def _path_length(self, opened: OpenRun, data: ImageDataModule, seed: int) -> dict[str, float]:
        """Return how fast images change in a classifier's features along straight lines between
        sampled codes; of codes where such lines mean something."""
        model = opened.model
        is_straight = model.has_styles or (model.encodes and model.latent_dim is not None)
        extractor = classifier_of(opened, data) if self.num_pairs and is_straight else None
        if extractor is None:
            return {}
        lengths = []
        for indices in torch.arange(2 * self.num_pairs).split(EVALUATION_BATCH):
            codes = model.sample_codes(indices.tolist(), seed=seed)
            own = told(model, classes_in_turn(model, indices.tolist()))
            own = None if own is None else own[::2]  # of the pair's first

            def seen(z: Tensor, own: Tensor | None = own) -> Tensor:
                return extractor.features_of(model.decode(z, own))

            lengths.append(path_length(seen, codes[::2], codes[1::2]).cpu())
        return {"perceptual_path_length": distances.mean_of_middle(torch.cat(lengths))}


def path_length(seen: Callable[[Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """Return how fast what is seen changes where a straight line from a to b begins.

        |f(a) - f(a + epsilon (b - a))|^2 / epsilon^2

    Karras et al. 2019, section 4.1, at the end points as in Karras et al. 2020.

    Args:
        seen: codes (N, D) -> features of their images, (N, F).
        a, b: codes, (N, D).
    """
    return (seen(a) - seen(torch.lerp(a, b, EPSILON))).square().sum(1) / EPSILON**2


def _named(end: int | str) -> str:
    return end.removeprefix(CLASS) if isinstance(end, str) else f"image {end}"


def _end(
    model: GenerativeModel, data: ImageDataModule, end: int | str, of_class: str, seed: int
) -> tuple[Tensor, int]:
    """Return the code that an end of the walk stands for, and its class."""
    if isinstance(end, int):
        z, label = code_of_index(model, data, end, seed)
        return z, int(label)
    chosen = _images_of_class(end, data, "tool")
    chosen = chosen[:1] if of_class == "first" else chosen
    part = coded(model, data.split(SPLIT).select(chosen))
    return part.z.mean(0), int(part.label[0])


def _images_of_class(name: str, data: ImageDataModule, key: str) -> Tensor:
    """Return the places of a class's validation images, (N,)."""
    label = class_called(name.removeprefix(CLASS), data.class_names, key)
    return (data.split(SPLIT).labels == label).nonzero().flatten()


def _refuse_class_without_images(name: str, data: ImageDataModule, key: str) -> None:
    if not len(_images_of_class(name, data, key)):
        raise UserError(f"{key}={name}: none of the validation images is of this class")


def _centre(model: GenerativeModel, seed: int) -> Tensor | float:
    """Return the mean of the codes that are sampled; of pure noise it is 0."""
    if model.has_code_density or model.has_styles:
        return model.sample_codes(range(CENTRE_OF), seed=seed).cpu().mean(0)
    return 0.0


def _facts(path: Tensor, images: Tensor, centre: Tensor | float) -> dict[str, float]:
    """Return how far a path stays from the centre, and how evenly the image changes along it."""
    distance = (path - centre).flatten(1).norm(dim=1)
    change = grey_levels_changed(images)
    return {
        "distance_from_centre_at_ends": float(distance[[0, -1]].mean()),
        "distance_from_centre_least": float(distance.min()),
        "grey_levels_changed_in_all": float(change.sum()),
        "largest_step_over_mean": float(change.max() / change.mean().clamp_min(1e-6)),
    }


def _there_and_back(frames: Tensor) -> Tensor:
    return torch.cat([frames, frames.flip(0)[1:-1]])
