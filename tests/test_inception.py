"""The Inception network with random weights: what it sees and says, and weights that are none."""

import hashlib
import logging
import pickle
import sys
from pathlib import Path

import pytest
import torch

from gdm.data.mnist import FashionMNISTMini
from gdm.errors import UserError
from gdm.evaluation import inception
from gdm.evaluation.inception import Inception

NEEDED = "torch-fidelity is not installed: pip install -e '.[inception]'"


@pytest.fixture(scope="module")
def library():
    pytest.importorskip("torch_fidelity", reason=NEEDED)
    return pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason=NEEDED)


@pytest.fixture(scope="module")
def weights(library, tmp_path_factory):
    """A file of random weights, each layer of which keeps the size of what passes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(library.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.manual_seed(0)
        network = library.FeatureExtractorInceptionV3("inception", ["2048"])
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.fill_(6**0.5)  # where initial weights and a ReLU shrink it
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def extractor(weights):
    return Inception(str(weights))


@pytest.fixture(scope="module")
def images():
    return FashionMNISTMini().load("test").images[:3]


@pytest.fixture(scope="module")
def found(extractor, images):
    return extractor(images)


@pytest.fixture
def cache(library, monkeypatch, tmp_path):
    """Where torch-fidelity's download would be kept, with no way to the network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(library, "URL_INCEPTION_V3", f"{tmp_path.as_uri()}/server/weights.pth")
    (tmp_path / "server").mkdir()
    return tmp_path / "hub" / "checkpoints" / "weights.pth"


def test_features_and_probabilities_are_torch_fidelitys(found, weights, images, library):
    network = library.FeatureExtractorInceptionV3(
        "inception", ["2048", "logits_unbiased"], str(weights)
    )
    features, logits = network(images.repeat(1, 3, 1, 1))
    torch.testing.assert_close(found.features, features)
    torch.testing.assert_close(found.probabilities, logits.softmax(1))
    assert found.features.shape == (3, Inception.dimension)
    assert found.features.std(0).mean() > 1e-3


def test_an_image_has_the_same_features_in_any_batch_and_grey_or_in_colour(
    extractor, found, images, monkeypatch
):
    monkeypatch.setattr(inception, "BATCH_SIZE", 2)
    again = extractor(images.expand(-1, 3, -1, -1))
    torch.testing.assert_close(again.features, found.features)
    torch.testing.assert_close(again.probabilities, found.probabilities)


def test_the_checksum_is_that_of_the_file_and_its_classes_are_not_the_datas(extractor, weights):
    assert extractor.checksum == hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    assert extractor.class_names is None


def test_weights_that_are_not_the_standard_ones_are_warned_of(weights, caplog):
    with caplog.at_level(logging.WARNING):
        Inception(str(weights))
    assert "does not hold the standard weights" in caplog.text


def test_the_download_is_verified_and_kept(weights, cache, library, monkeypatch, caplog):
    monkeypatch.setattr(library, "URL_INCEPTION_V3", weights.as_uri())
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(weights.read_bytes()).hexdigest())
    Inception(None)
    assert cache.exists()
    monkeypatch.setattr(library, "URL_INCEPTION_V3", "file:///nowhere/weights.pth")
    Inception(None)
    assert "standard weights" not in caplog.text
    cache.unlink()


def test_without_a_network_the_ways_out_are_named(cache):
    with pytest.raises(UserError, match=r"server/weights\.pth could not be downloaded") as error:
        Inception(None)
    assert "extractor.weights=FILE" in str(error.value)
    assert "extractor=classifier" in str(error.value)


def test_a_download_of_something_else_is_refused_and_not_kept(cache, tmp_path):
    (tmp_path / "server" / "weights.pth").write_bytes(b"<html>please log in</html>")
    with pytest.raises(UserError, match="what came has not the SHA-256 6726825d"):
        Inception(None)
    assert list(cache.parent.iterdir()) == []


def test_a_damaged_download_of_another_program_is_named_and_left_alone(cache):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"half of it")
    with pytest.raises(UserError, match=r"checkpoints/weights\.pth is damaged.*Remove it"):
        Inception(None)
    assert cache.read_bytes() == b"half of it"


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:1_000_000],
        lambda packed: packed[:50_000] + b"\xff" * 100 + packed[50_100:60_000],
        lambda packed: b"\x89PNG\r\n",
        lambda packed: b"",
    ],
)
def test_damaged_weights_are_named(weights, tmp_path, damage):
    path = tmp_path / "damaged.pth"
    with weights.open("rb") as file:
        path.write_bytes(damage(file.read(2_000_000)))
    with pytest.raises(UserError, match=r"^extractor\.weights=.*damaged\.pth: is damaged"):
        Inception(str(path))


@pytest.mark.parametrize("held", [{"fc.weight": torch.zeros(3)}, {}, [torch.zeros(3)], 5])
def test_weights_of_another_network_are_named(library, tmp_path, held):
    torch.save(held, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: holds the weights of another network"):
        Inception(str(tmp_path / "other.pth"))


def as_bare_pickle(value: dict, path: Path) -> None:
    path.write_bytes(pickle.dumps(value, protocol=2))


@pytest.mark.parametrize("write", [torch.save, as_bare_pickle])
def test_a_file_that_would_run_code_is_refused_unrun(library, tmp_path, write):
    write({"fc.weight": Touch(tmp_path / "ran")}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="holds more than tensors"):
        Inception(str(tmp_path / "weights.pth"))
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_not_there_is_named(library):
    with pytest.raises(UserError, match=r"^extractor\.weights=nowhere\.pth: cannot be read"):
        Inception("nowhere.pth")


def test_without_torch_fidelity_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[inception\]'"):
        Inception(None)
