"""Make the bundled emoji from Debian's packages: python scripts/make_emoji_mini.py.

The same bytes each time: all images of dataset=emoji at 32 pixels, in the order of their names'
file, replace the file that comes with gdm, and its checksum is printed.
"""

import argparse

import numpy as np
from PIL import Image

from gdm.data.bundled import write_arrays
from gdm.data.cache import digest
from gdm.data.decoding import squared
from gdm.data.emoji import EmojiFont, EmojiMini

RESOLUTION = 32


def main() -> None:
    """Write the file, and print the checksum that `EmojiMini` expects."""
    source = EmojiFont(folder=None)
    emoji, pen = source.emoji, source.pen
    originals = [pen.draw(one.text) for one in emoji]
    images = [squared(Image.fromarray(original), RESOLUTION) for original in originals]
    arrays = {
        "emoji": np.frombuffer("\n".join(map("\t".join, emoji)).encode(), np.uint8),
        "images": np.stack(images).transpose(0, 2, 3, 1),  # (N, H, W, 3), which packs smaller
        "digests": np.array([list(digest(original)) for original in originals], np.uint8),
    }
    print(write_arrays(arrays, EmojiMini.path))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, allow_abbrev=False).parse_args()
    main()
