"""Images -> features of the Inception network, for metrics that compare with published ones."""

import hashlib
import io
import logging
import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.evaluation.extractors import Extractor, Features
from gdm.files import download, durable_replacement

log = logging.getLogger(__name__)

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # standard weights
BATCH_SIZE = 50  # images at a time: each is enlarged to 299 x 299


class Inception(Extractor):
    """The network that Frechet distances of photographs are published in (Heusel et al. 2017).

    The weights and the way images are enlarged are torch-fidelity's, whose figures agree with
    those of the original. The features are the 2,048 that are pooled last, and the probabilities
    the softmax of the logits without their bias; grey images are repeated into three channels.

    Args:
        weights: a file of the standard weights; None for torch-fidelity's, downloaded once.
        data, outputs, plugins: what every extractor is given; this one needs none of them.

    Raises:
        UserError: if torch-fidelity is not installed, or the weights cannot be had, or are none.
    """

    name = "inception"
    dimension = 2048

    def __init__(
        self,
        weights: str | None,
        data: ImageDataModule | None = None,
        outputs: Path | None = None,
        plugins: Sequence[str] = (),
    ) -> None:
        _refuse_without_library()
        path = Path(weights).expanduser() if weights else _standard_weights()
        try:
            packed = path.read_bytes()
        except OSError as error:
            raise UserError(f"extractor.weights={path}: cannot be read ({error})") from error
        sha256 = hashlib.sha256(packed).hexdigest()
        self.checksum = sha256[:16]
        self.network = _unpacked(packed, path)
        if sha256 != SHA256:
            log.warning(
                "%s does not hold the standard weights (its SHA-256 is %s..., theirs %s...): the "
                "metrics compare with no published ones", path, sha256[:8], SHA256[:8],
            )  # fmt: skip

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Features:
        images = images.expand(-1, 3, -1, -1)  # (N, 3, H, W)
        device = next(self.network.parameters()).device
        found = [self.network(part.to(device)) for part in images.split(BATCH_SIZE)]
        features, logits = (torch.cat(parts) for parts in zip(*found, strict=True))
        return Features(features, logits.softmax(1))

    def to(self, device: torch.device | str) -> "Inception":
        self.network.to(device)
        return self


def _refuse_without_library() -> None:
    try:
        import torch_fidelity  # noqa: F401
    except ImportError as error:
        raise UserError(
            "extractor=inception needs torch-fidelity, which cannot be imported "
            f"({error}): pip install -e '.[inception]', or leave it: extractor=classifier"
        ) from error


def _standard_weights() -> Path:
    """Return where torch-fidelity keeps the standard weights, downloaded if they are not there."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    path = Path(torch.hub.get_dir()) / "checkpoints" / URL_INCEPTION_V3.rsplit("/", 1)[-1]
    if not path.exists():
        try:
            _fetch(URL_INCEPTION_V3, path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"the weights of extractor=inception are not in {path}, and "
                f"{URL_INCEPTION_V3} could not be downloaded ({error}); name a copy of that file: "
                "extractor.weights=FILE, or evaluate by a small classifier: extractor=classifier"
            ) from error
    elif _sha256(path) != SHA256:
        raise UserError(
            f"{path} is damaged: its SHA-256 is not {SHA256}. Remove it to have it downloaded "
            "again"
        )
    return path


def _fetch(url: str, path: Path) -> None:
    """Download a file, which gets its name once it is verified."""
    log.info("downloading %s into %s", url, path.parent)
    with durable_replacement(path) as temporary:
        download(url, temporary)
        if _sha256(temporary) != SHA256:
            raise ValueError(f"what came has not the SHA-256 {SHA256}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _unpacked(packed: bytes, path: Path) -> nn.Module:
    """Return the network with the weights that are in a file.

    Raises:
        UserError: if these are damaged, or of another network.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        # torch-fidelity runs whatever a file holds: let it have only what has passed as tensors
        torch.load(io.BytesIO(packed), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"extractor.weights={path}: is damaged, or holds more than tensors ({reason})"
        ) from error
    try:
        return FeatureExtractorInceptionV3(
            "inception", ["2048", "logits_unbiased"], io.BytesIO(packed)
        )
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(
            f"extractor.weights={path}: holds the weights of another network; the standard ones "
            "are in torch-fidelity's weights-inception-2015-12-05-6726825d.pth"
        ) from error
