"""Editing an attribute: a direction in the latent space that adds it to an image."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gdm.data.datamodule import ImageDataModule
from gdm.data.images import Images
from gdm.errors import UserError
from gdm.evaluation import model_metrics
from gdm.evaluation.samples import class_called
from gdm.models.base import GenerativeModel
from gdm.pictures.tables import image_table
from gdm.recipes.ranges import Count
from gdm.recipes.spelling import nearest
from gdm.theory import walks
from gdm.theory.images import to_bytes
from gdm.tools.latent.attributes import Attribute, complete, read_column
from gdm.tools.latent.classes import classifier_of
from gdm.tools.latent.coding import Coded, classes_in_turn, coded, decoded
from gdm.tools.latent.refusals import WITH_CODES, refuse_without_codes
from gdm.tools.latent.scoring import Scorer, means, scorer_of
from gdm.tools.latent.tool import SPLIT, Result, Tool
from gdm.tools.open_run import OpenRun

ARROW = "->"
HELD_OUT_TRIED = 4  # samples in which as many are sought as are evaluated
LEGEND = (
    "p with, p without: the classifier's mean probability of the attribute, of the class without "
    "it. named other: taken for another class. psnr: to the image at alpha 0, in dB. "
    "individuality: correlation, before and after, of what tells one image from the others."
)
SURE = 0.8  # probability at which a sample counts as one with, or without, an attribute


class Edit(Tool):
    """Adds an attribute to images: z_new = z + alpha * direction.

    The direction is the mean code of images with the attribute less that of images without, both
    from the training split. It is evaluated by validation images that lack the attribute. Of a
    model with styles, which encodes nothing, all are samples: a classifier that has learned from
    the training images says which have the attribute.

    Args:
        attribute: the classes without and with it, [Pullover,Dress] or "Pullover->Dress"; of a
            data set with attributes also one of these, red_hair, or two, [blond_hair,red_hair],
            from the images that have the first to those that have the second; None where a CSV
            tells.
        csv: a file with a row of names, then a row for each of the data set's training images,
            those that are held out for validation too, in the data set's own order.
        column: of the CSV, whose values are 0 and 1.
        alphas: the steps; 0 is the image as its code gives it back, 1 the whole direction.
        num_shown: images in the picture.
        num_train: images the direction is found from, the first of the split.
        num_held_out: validation images it is evaluated by, the first without the attribute, and as
            many with it.
    """

    def __init__(
        self,
        attribute: list[str | int] | str | None,
        csv: str | None,
        column: str | None,
        alphas: list[float],
        num_shown: Count,
        num_train: Count,
        num_held_out: Count,
    ) -> None:
        self.attribute = attribute
        self.csv = csv
        self.column = column
        self.alphas = alphas
        self.num_shown = num_shown
        self.num_train = num_train
        self.num_held_out = num_held_out

    def refuse(self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule) -> None:
        if not opened.model.has_styles:
            refuse_without_codes(opened, f"{WITH_CODES}, or a StyleGAN")
        elif opened.extractor is None:
            raise UserError(
                "extractor=null: something has to say which samples have the attribute; leave it "
                "out"
            )
        if not self.alphas:
            raise UserError("tool.alphas=[]: name one step at least, such as [0,1]")
        attribute = self._asked(data)
        if attribute.target is not None and opened.model.condition == "label":
            raise UserError(
                f"{opened.run} is told the class beside the code, so that no direction in the "
                "codes leads from class to class; tool.csv and tool.column name other attributes"
            )

    def use(
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
    ) -> Result:
        model, attribute = opened.model, self._asked(data)
        scorer = scorer_of(classifier_of(opened, data), attribute)
        if model.has_styles:
            train, has = self._sampled(model, scorer, range(self.num_train), seed)
            held_out = range(self.num_train, self.num_train + HELD_OUT_TRIED * self.num_held_out)
            among, held_out_has = self._sampled(model, scorer, held_out, seed)
            lacking, with_it = (
                _part(among, chosen.nonzero()[: self.num_held_out, 0])
                for chosen in (~held_out_has, held_out_has)
            )
        else:
            train, has = coded(model, attribute.train), attribute.has
            lacking, with_it = (
                coded(model, _first(attribute.held_out, chosen, self.num_held_out))
                for chosen in (~attribute.held_out_has, attribute.held_out_has)
            )
        direction = walks.attribute_direction(train.z, has)
        alphas = [0.0, *(float(alpha) for alpha in self.alphas if alpha != 0)]
        by_alpha: dict[float, dict[str, float]] = {}
        plain = None
        for alpha in alphas:
            (edited,) = walks.moved(lacking.z, direction, torch.tensor([alpha])).unbind(1)
            images = decoded(model, edited, lacking.label)
            plain = images if plain is None else plain
            by_alpha[alpha] = {
                "alpha": alpha, **means(scorer(images)), **_kept(plain, images, alpha)
            }  # fmt: skip
        back = decoded(model, with_it.z, with_it.label)
        record: dict[str, Any] = {
            "attribute": attribute.name,
            "num_train": len(train.z),
            "num_train_with": int(has.sum()),
            "num_held_out": len(lacking.z),
            "num_held_out_with": len(with_it.z),
            "direction_over_spread": float(direction.norm() / train.z.std(0).norm()),
            "told_apart_along_direction": _told_apart(train, has, lacking, with_it, direction),
            "by_alpha": [by_alpha[alpha] for alpha in sorted(by_alpha)],
            "with_the_attribute": means(scorer(back)),
        }
        return Result(record, {"edit": self._drawn(opened, lacking, direction)}, remark=LEGEND)

    def _sampled(
        self, model: GenerativeModel, scorer: Scorer, indices: range, seed: int
    ) -> tuple[Coded, Tensor]:
        """Return samples that a classifier is sure of, and whether they have the attribute, (N,).

        Raises:
            UserError: if it is sure of none with, or of none without.
        """
        z = model.sample_codes(indices, seed=seed).cpu()
        label = classes_in_turn(model, indices)
        images = decoded(model, z, label)
        scores = scorer(images)
        has, lacks = scores["p_with"] >= SURE, 1 - scores["p_with"] >= SURE
        if "p_without" in scores:  # of a class, which is not all that is not the other one
            lacks = scores["p_without"] >= SURE
        chosen = (has | lacks).nonzero()[:, 0]
        has = has[chosen]
        if not 0 < int(has.sum()) < len(has):
            raise UserError(
                f"of {len(indices):,} samples {int(has.sum()):,} have the attribute for sure and "
                f"{int((~has).sum()):,} lack it; there must be some of each; more samples are had "
                "with tool.num_train, for its direction, and tool.num_held_out"
            )
        return _part(Coded(to_bytes(images), label, z), chosen), has

    def _asked(self, data: ImageDataModule) -> Attribute:
        """Return the attribute that is asked for."""
        if self.column is not None and self.csv is None:
            raise UserError(f"tool.column={self.column}: is of a file; name it in tool.csv")
        if (self.attribute is None) == (self.csv is None):
            both = "" if self.csv is None else ", not both"
            raise UserError(
                f"name one attribute{both}: tool.attribute=[Pullover,Dress], from the class "
                "without it to the class with it, or tool.csv=FILE tool.column=NAME"
            )
        if self.csv is not None:
            return self._of_column(data)
        asked = self.attribute.split(ARROW) if isinstance(self.attribute, str) else self.attribute
        asked = [str(name).strip() for name in asked]
        known = data.split("train").attributes
        if not known or set(asked) <= set(data.class_names):
            return self._of_classes(data, asked)
        if len(asked) == 1 or set(asked) & set(known.names) or not data.class_names:
            return self._of_attributes(data, asked)
        return self._of_classes(data, asked)

    def _of_attributes(self, data: ImageDataModule, asked: list[str]) -> Attribute:
        """Return one of the data set's own attributes, or the second of two against the first."""
        parts = [data.split("train"), data.split(SPLIT)]
        names = parts[0].attributes.names
        for name in asked:
            if name not in names:
                raise UserError(
                    f"tool.attribute={name}: the images have no such attribute"
                    f"{nearest(name, names)}; they have {', '.join(names)}"
                )
        if len(asked) > 2:
            raise UserError(
                f"tool.attribute={self.attribute}: name one attribute, or two, from the first to "
                "the second"
            )
        columns = [names.index(name) for name in asked]
        if len(asked) == 2:  # images with one of the two, and not with both
            either = [part.attributes.values[:, columns].sum(1) == 1 for part in parts]
            parts = [
                part.select(chosen.nonzero()[:, 0])
                for part, chosen in zip(parts, either, strict=True)
            ]
        train, held_out = parts
        train = train.select(torch.arange(min(len(train), self.num_train)))
        has, held_out_has = (
            part.attributes.values[:, columns[-1]].bool() for part in (train, held_out)
        )
        name = f" {ARROW} ".join(asked)
        return complete(Attribute(name, train, has, held_out, held_out_has))

    def _of_classes(self, data: ImageDataModule, asked: list[str]) -> Attribute:
        if len(asked) != 2:
            raise UserError(
                f"tool.attribute={self.attribute}: must be two classes, such as [Pullover,Dress]"
            )
        source, target = (class_called(name, data.class_names, "tool.attribute") for name in asked)
        if source == target:
            raise UserError(f"tool.attribute={self.attribute}: the two classes must differ")
        train, held_out = (
            images.select(((images.labels == source) | (images.labels == target)).nonzero()[:, 0])
            for images in (data.split("train"), data.split(SPLIT))
        )
        train = train.select(torch.arange(min(len(train), self.num_train)))
        has, held_out_has = train.labels == target, held_out.labels == target
        name = f"{data.class_names[source]} {ARROW} {data.class_names[target]}"
        return complete(Attribute(name, train, has, held_out, held_out_has, source, target))

    def _of_column(self, data: ImageDataModule) -> Attribute:
        train, held_out = data.split("train"), data.split(SPLIT)
        has = read_column(self.csv, self.column, len(train) + len(held_out))
        chosen = torch.arange(min(len(train), self.num_train))
        has_of_train = has[data.positions("train")[chosen]]
        has_of_held_out = has[data.positions(SPLIT)]
        return complete(
            Attribute(self.column, train.select(chosen), has_of_train, held_out, has_of_held_out),
            "tool.column",
        )

    def _drawn(self, opened: OpenRun, lacking: Coded, direction: Tensor) -> Tensor:
        """Draw some images, and what becomes of each at each alpha."""
        z, label = lacking.z[: self.num_shown], lacking.label[: self.num_shown]
        walked = walks.moved(z, direction, torch.tensor(self.alphas))  # (N, K, ...)
        repeated = label.repeat_interleave(len(self.alphas))
        images = decoded(opened.model, walked.flatten(0, 1), repeated)
        rows = torch.cat(
            [lacking.images[: self.num_shown, None],
             to_bytes(images).unflatten(0, walked.shape[:2])], 1
        )  # fmt: skip
        columns = ["image", *(rf"$\alpha$={alpha:g}" for alpha in self.alphas)]
        return image_table(rows, [""] * len(rows), columns)


def _first(images: Images, chosen: Tensor, limit: int) -> Images:
    return images.select(chosen.nonzero()[:limit, 0])


def _part(coded: Coded, chosen: Tensor) -> Coded:
    return Coded(coded.images[chosen], coded.label[chosen], coded.z[chosen])


def _kept(plain: Tensor, edited: Tensor, alpha: float) -> dict[str, float]:
    """Return how much of the images an edit leaves: PSNR to the unedited ones in dB, and how far
    what tells an image from the others stays (the correlation of deviations from the mean image).
    """
    if alpha == 0:
        return {"individuality": 1.0}  # the images themselves, at no finite PSNR
    if len(plain) < 2:  # no others to be told from
        return {"psnr": float(model_metrics.peak_signal_to_noise_ratio(edited, plain).mean())}
    psnr = model_metrics.peak_signal_to_noise_ratio(edited, plain).mean()
    before, after = (x - x.mean(0) for x in (plain, edited))
    norms = before.norm() * after.norm()
    return {
        "psnr": float(psnr),
        "individuality": float((before * after).sum() / norms.clamp_min(1e-9)),
    }


def _told_apart(
    train: Coded, has: Tensor, lacking: Coded, with_it: Coded, direction: Tensor
) -> float:
    """Return the fraction of held-out images, both kinds alike, that the direction alone puts on
    the right side of the middle between the training images' means.
    """

    def along(part: Coded) -> Tensor:
        return (part.z.flatten(1) @ direction.flatten()).double()

    middle = (along(train)[has].mean() + along(train)[~has].mean()) / 2
    below, above = (along(lacking) <= middle).double(), (along(with_it) > middle).double()
    return float((below.mean() + above.mean()) / 2)
