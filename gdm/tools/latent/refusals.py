"""What the tools of the latent space refuse, before anything takes long."""

from collections.abc import Iterable, Sequence

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.tools.latent.tool import SPLIT
from gdm.tools.open_run import OpenRun

WITH_CODES = "an autoencoder, a VAE or a diffusion model"
WITH_FEW_NUMBERS = "an autoencoder or a VAE"


def refuse_empty(key: str, values: Sequence, example: str) -> None:
    """Refuse a list that names nothing."""
    if not values:
        raise UserError(f"{key}=[]: name one at least, such as {key}={example}")


def refuse_single(num_images: int) -> None:
    """Refuse a strip that has not both its ends."""
    if num_images < 2:
        raise UserError(f"tool.num_images={num_images}: must be at least 2, both ends")


def refuse_without_codes(opened: OpenRun, takes: str = WITH_CODES) -> None:
    """Refuse a model that does not encode images.

    Args:
        opened: the model.
        takes: which models the tool takes.
    """
    if not opened.model.encodes:
        kind = type(opened.model).__name__
        raise UserError(
            f"{opened.run} is a {kind}, which has no codes of images; this tool takes {takes}"
        )


def refuse_codes_of_images_size(opened: OpenRun) -> None:
    """Refuse a model whose codes are as large as its images, or are none."""
    if opened.model.latent_dim is None:
        kind = type(opened.model).__name__
        raise UserError(
            f"{opened.run} is a {kind}, whose codes are as large as its images; this tool takes "
            "a model with few latent dimensions"
        )


def refuse_index(index: int | str, opened: OpenRun, data: ImageDataModule, key: str) -> None:
    """Refuse what is no index of a validation image or, for a model without an encoder, of a
    latent, of which there is no last one."""
    if not opened.model.encodes:
        if isinstance(index, str) or index < 0:
            raise UserError(
                f"{key}={index}: {opened.run} is a {type(opened.model).__name__}, which encodes "
                "no images; give the index of a latent, 0 or more"
            )
        return
    count = len(data.split(SPLIT))
    if not 0 <= index < count:
        raise UserError(
            f"{key}={index}: must be between 0 and {count - 1}, one of the {count:,} validation "
            "images"
        )


def refuse_without_code_vectors(opened_runs: Iterable[OpenRun]) -> None:
    """Refuse models that do not encode images as few numbers."""
    for opened in opened_runs:
        refuse_without_codes(opened, WITH_FEW_NUMBERS)
        refuse_codes_of_images_size(opened)


def refuse_told_the_class(opened_runs: Iterable[OpenRun], why: str) -> None:
    """Refuse models whose encoder is told the class.

    Args:
        opened_runs: the models.
        why: what is wrong with that, as the end of a sentence.
    """
    for opened in opened_runs:
        if opened.model.condition is not None:
            raise UserError(f"{opened.run} is told the class beside the image, {why}")


def refuse_without_styles(opened: OpenRun) -> None:
    """Refuse a model whose images have no styles."""
    if not opened.model.has_styles:
        kind = type(opened.model).__name__
        raise UserError(f"{opened.run} is a {kind}, whose images have no styles; this tool takes "
                        "a StyleGAN")  # fmt: skip
