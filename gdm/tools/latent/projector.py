"""The codes for TensorBoard's embedding projector."""

import contextlib
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from gdm.data.datamodule import ImageDataModule
from gdm.data.images import Images
from gdm.errors import UserError
from gdm.pictures import grids
from gdm.recipes.ranges import Count
from gdm.tools.latent.coding import coded
from gdm.tools.latent.refusals import refuse_without_codes
from gdm.tools.latent.tool import SPLIT, Result, Tool
from gdm.tools.open_run import OpenRun

TAG = "codes"
EMPTY = ".no-scalars"  # ends the name of a file of events that the writer makes and leaves empty
LARGEST_SPRITE = 8192  # pixels per side of the picture of all thumbnails, as TensorBoard takes it


class Projector(Tool):
    """Writes codes with their classes and thumbnails for TensorBoard, into the run's own
    `tensorboard` folder, or into the one that `to` names.

    Args:
        num_images: of the validation split, the first of it.
    """

    def __init__(self, num_images: Count) -> None:
        self.num_images = num_images

    def refuse(self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule) -> None:
        refuse_without_codes(opened)
        most = (LARGEST_SPRITE // data.native_resolution) ** 2
        if self.num_images > most:
            raise UserError(
                f"tool.num_images={self.num_images}: must be at most {most}; TensorBoard takes no "
                "larger picture of thumbnails"
            )

    def use(
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
    ) -> Result:
        part = coded(opened.model, data.split(SPLIT), self.num_images)
        names = _called(data.split(SPLIT), data.class_names, part.label)
        thumbnails = part.images.float() / 255
        record = {
            "split": SPLIT,
            "num_images": len(part.z),
            "latent_dim": part.z[0].numel(),
        }
        return Result(
            record,
            {"thumbnails": grids.grid(part.images[:100], 10)},
            scales={"thumbnails": 2},
            for_tensorboard=partial(_write, part.z.flatten(1), names, thumbnails),
        )


def _called(images: Images, class_names: tuple[str, ...], label: Tensor) -> list[str] | None:
    """Return what the first images are called in the projector: their classes, of images without
    any their captions, if they have those."""
    if class_names:
        return [class_names[number] for number in label.tolist()]
    return images.captions and list(images.captions[: len(label)])


def _write(z: Tensor, names: list[str] | None, thumbnails: Tensor, folder: Path) -> None:
    """Write codes, (N, D), their classes and thumbnails, in the place of those of an earlier use.

    Raises:
        OSError: if the folder cannot be written to.
    """
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder / "00000" / TAG)
    with SummaryWriter(folder, filename_suffix=EMPTY) as writer:
        writer.add_embedding(z, names, thumbnails, tag=TAG)
    for events in folder.glob(f"*{EMPTY}"):
        events.unlink()
