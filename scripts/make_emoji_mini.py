"""Make the bundled emoji from Debian's packages: python scripts/make_emoji_mini.py.

The same bytes each time: all images of dataset=emoji at 32 pixels, in the order of their names'
file, replace the file that comes with gdm, and its checksum is printed.
"""

import argparse

import numpy as np

from gdm.data.bundled import write_arrays
from gdm.data.cache import digest
from gdm.data.emoji import EmojiFont, EmojiMini, resized

RESOLUTION = 32


def main() -> None:
    """Write the file, and print the checksum that `EmojiMini` expects."""
    emoji, pen = EmojiFont(folder=None).emoji_and_pen()
    originals = [pen.draw(one.text) for one in emoji]
    images = [resized(original, RESOLUTION).transpose(1, 2, 0) for original in originals]
    arrays = {
        "emoji": np.frombuffer("\n".join(map("\t".join, emoji)).encode(), np.uint8),
        "images": np.stack(images),  # (N, H, W, 3), which packs smaller than planes do
        "digests": np.array([list(digest(original)) for original in originals], np.uint8),
    }
    print(write_arrays(arrays, EmojiMini.path))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, allow_abbrev=False).parse_args()
    main()
