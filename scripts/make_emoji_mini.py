"""Make the bundled emoji from Debian's packages: python scripts/make_emoji_mini.py.

The same bytes each time: all images of dataset=emoji at 32 pixels, in the order of their names'
file, replace the file that comes with gdm, and its checksum is printed.
"""

import argparse
import hashlib
import io
import zipfile

import numpy as np
from PIL import Image

from gdm.data.cache import digest
from gdm.data.decoding import squared
from gdm.data.emoji import EmojiFont, EmojiMini
from gdm.files import durable_replacement

RESOLUTION = 32


def main() -> None:
    """Write the file, and print the checksum that `EmojiMini` expects."""
    emoji, pen = EmojiFont(folder=None).emoji_and_pen()
    originals = [pen.draw(one.text) for one in emoji]
    images = [squared(Image.fromarray(original), RESOLUTION) for original in originals]
    arrays = {
        "emoji": np.frombuffer("\n".join(map("\t".join, emoji)).encode(), np.uint8),
        "images": np.stack(images).transpose(0, 2, 3, 1),  # (N, H, W, 3), which packs smaller
        "digests": np.array([list(digest(original)) for original in originals], np.uint8),
    }
    with (
        durable_replacement(EmojiMini.path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_LZMA) as archive,
    ):
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            entry = zipfile.ZipInfo(f"{name}.npy")  # without the time, for equal bytes each time
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_LZMA)
    packed = EmojiMini.path.read_bytes()
    print(f"{len(packed):,} bytes, SHA-256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, allow_abbrev=False).parse_args()
    main()
