"""Oxford 102 Flowers: photographs of flowers of 102 kinds, read from the archive."""

import hashlib
from typing import Literal

import numpy as np
import torch

from gdm.data.archives import KnownFile, MatFile, PackedPictures, in_tar, square_of
from gdm.data.cache import decoded
from gdm.data.images import Images
from gdm.data.sources import COLOUR, FileSource, SizedSource
from gdm.errors import UserError

SHORTER_SIDE = 500  # pixels, of every image
# The names in setid.mat, of 1,020, 1,020 and 6,149 images, of which train and test are made.
SPLITS = {
    "official": {"train": ("trnid", "valid"), "test": ("tstid",)},
    "joined": {"train": ("valid", "tstid"), "test": ("trnid",)},
}


class Flowers102(FileSource, SizedSource):
    """Oxford 102 Flowers (Nilsback and Zisserman 2008): 8,189 photographs, in any size.

    The official split has more images to test a classifier on than to train it, 6,149 against
    2,040. Joined, all but ten of each class are trained on: the 1,020 of the official training
    list are the test images.

    Args:
        folder: of the three files.
        split: `official`, or `joined` for generation.
    """

    name = "flowers102"
    class_names = (
        "pink primrose", "hard-leaved pocket orchid", "canterbury bells", "sweet pea",
        "english marigold", "tiger lily", "moon orchid", "bird of paradise", "monkshood",
        "globe thistle", "snapdragon", "colt's foot", "king protea", "spear thistle",
        "yellow iris", "globe-flower", "purple coneflower", "peruvian lily", "balloon flower",
        "giant white arum lily", "fire lily", "pincushion flower", "fritillary", "red ginger",
        "grape hyacinth", "corn poppy", "prince of wales feathers", "stemless gentian",
        "artichoke", "sweet william", "carnation", "garden phlox", "love in the mist",
        "mexican aster", "alpine sea holly", "ruby-lipped cattleya", "cape flower",
        "great masterwort", "siam tulip", "lenten rose", "barbeton daisy", "daffodil",
        "sword lily", "poinsettia", "bolero deep blue", "wallflower", "marigold", "buttercup",
        "oxeye daisy", "common dandelion", "petunia", "wild pansy", "primula", "sunflower",
        "pelargonium", "bishop of llandaff", "gaura", "geranium", "orange dahlia",
        "pink-yellow dahlia?", "cautleya spicata", "japanese anemone", "black-eyed susan",
        "silverbush", "californian poppy", "osteospermum", "spring crocus", "bearded iris",
        "windflower", "tree poppy", "gazania", "azalea", "water lily", "rose", "thorn apple",
        "morning glory", "passion flower", "lotus", "toad lily", "anthurium", "frangipani",
        "clematis", "hibiscus", "columbine", "desert-rose", "tree mallow", "magnolia",
        "cyclamen", "watercress", "canna lily", "hippeastrum", "bee balm", "ball moss",
        "foxglove", "bougainvillea", "camellia", "mallow", "mexican petunia", "bromelia",
        "blanket flower", "trumpet creeper", "blackberry lily",
    )  # fmt: skip
    files = {  # noqa: RUF012
        "images": KnownFile(
            "102flowers.tgz",
            344_862_509,
            "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
        ),
        "labels": MatFile(
            "imagelabels.mat",
            502,
            "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
        ),
        "splits": MatFile(
            "setid.mat",
            14_989,
            "46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd",
        ),
    }
    addresses = ("https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",)
    bundled = COLOUR

    def __init__(self, folder: str | None, split: Literal["official", "joined"]) -> None:
        super().__init__(folder)
        self.split = split

    @property
    def fingerprint(self) -> str:
        facts = (*(file.sha256 for file in self.files.values()), self.split)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def load_at(self, split: str, resolution: int) -> Images:
        if resolution > SHORTER_SIDE:
            raise UserError(
                f"dataset.resolution={resolution}: must be at most {SHORTER_SIDE}, the shorter "
                "side of the photographs"
            )
        lists = self._read(self.files["splits"])
        numbers = np.concatenate([lists[name].ravel() for name in SPLITS[self.split][split]])
        labels = self._read(self.files["labels"])["labels"].ravel().astype(np.int64) - 1
        pictures = PackedPictures(lambda: self._path(self.files["images"]), in_tar)

        def decode(number: int) -> np.ndarray:
            name = f"jpg/image_{number:05d}.jpg"
            return square_of(pictures.read(name), name, None, resolution)

        made = decoded(
            f"{self.fingerprint} {split}",
            numbers.tolist(),
            decode,
            (3, resolution, resolution),
            f"flowers102, {split}",
        )
        own = labels[numbers[made.positions.numpy()].astype(np.int64) - 1]  # numbers are from 1
        return Images(made.images, torch.from_numpy(own), self.class_names, digests=made.digests)
