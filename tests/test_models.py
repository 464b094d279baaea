"""Every model on every kind of image: it learns, samples, encodes and decodes."""

import inspect

import pytest
import torch
from conftest import ROOT, composed, small
from pytorch_lightning import Callback, Trainer
from sklearn.datasets import load_digits, load_sample_images
from torch.utils.data import DataLoader

from gdm.data.batches import Batch
from gdm.recipes.build import build, locate
from gdm.theory.images import to_float

MODELS = sorted(path.stem for path in (ROOT / "configs" / "model").glob("*.yaml"))
COUNT = 32
ONLY_CONFIGURED = {"autoguidance"}  # needs a guide, which is kept in the course of a run


def photographs(resolution: int) -> torch.Tensor:
    """Return square pieces of two colour photographs: (N, 3, R, R) uint8."""
    photograph = torch.from_numpy(load_sample_images().images[0].copy()).permute(
        2, 0, 1
    )  # (3, H, W)
    pieces = photograph.unfold(1, resolution, resolution).unfold(2, resolution, resolution)
    return pieces.permute(1, 2, 0, 3, 4).flatten(0, 1)[:COUNT].contiguous()


def digits() -> torch.Tensor:
    """Return handwritten digits, 8 x 8 on black: (N, 1, 13, 13) uint8, an odd border."""
    images = torch.from_numpy(load_digits().images[:COUNT] * 15.9).to(torch.uint8)
    return torch.nn.functional.pad(images.unsqueeze(1), (2, 3, 2, 3))


# kind of image -> images, what the networks see
KINDS = {
    "grey and padded": (digits(), 16),
    "black and white": (digits().gt(127).to(torch.uint8) * 255, 16),
    "colour": (photographs(32), 32),
    "colour, large and padded": (photographs(60), 64),
}


def model_for(model: str, kind: str):
    """Return a small model for a kind of image, and a batch of these."""
    images, resolution = KINDS[kind]
    recipe = composed(f"model={model}", *small(model))["model"]
    recipe["facts"] |= {
        "channels": images.shape[1],
        "resolution": resolution,
        "native_resolution": images.shape[-1],
    }
    if "latent_dim" in recipe:
        recipe["latent_dim"] = 4
    torch.manual_seed(0)
    label = torch.arange(len(images)) % 10
    batch = Batch(to_float(images), label, torch.arange(len(images)))
    return build(recipe, "model"), batch


class Losses(Callback):
    """What the model minimises: a discriminator that is only shown the same images wins."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        self.values.append(
            float(outputs[model.progress_metrics[0] if "loss" not in outputs else "loss"])
        )


def losses_of(model, batch: Batch, num_batches: int) -> list[float]:
    """Train a model on one batch, again and again, and return its losses."""
    losses = Losses()
    model.set_progress(seed=0, batch_size=len(batch.x), num_batches=num_batches, batches_seen=0)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
        callbacks=[losses], enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, DataLoader([batch] * num_batches, batch_size=None))
    return losses.values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", MODELS)
def test_a_model_learns_samples_encodes_and_decodes(model, kind):
    model, batch = model_for(model, kind)
    in_last_phase = list(model.phases(25).values())[-1]  # losses of other sizes do not compare
    first, *_, last = losses_of(model, batch, 25)[in_last_phase:]
    if getattr(model, "max_weight", None):  # the critic starts outside of its bound
        first = 0.0  # and tells nothing apart
    assert last < first

    with model.evaluating():
        metrics = model.metrics(batch)
    assert all(len(values) == len(batch.x) for values in metrics.values())
    assert all(torch.isfinite(values).all() for values in metrics.values())
    if not model.makes_images:
        return
    with model.evaluating():
        model.prepare_sampling([batch])
        samples = model.sample(range(5))
    assert samples.shape == (5, *batch.x.shape[1:])
    assert samples.abs().max() <= 1
    if not model.encodes:
        return
    with model.evaluating():
        condition = model.condition_of(batch)
        reconstructions = model.decode(model.encode(batch.x, condition), condition)
    assert reconstructions.shape == batch.x.shape


@pytest.mark.parametrize("model", MODELS)
def test_what_networks_see_is_the_padded_image_and_what_users_see_is_not(model):
    model, batch = model_for(model, "grey and padded")
    padded = model.pad(batch.x)
    assert padded.shape[-1] == model.resolution > 13
    assert torch.equal(model.crop(padded), batch.x)
    border, before = padded.clone(), (model.resolution - 13) // 2
    border[..., before : before + 13, before : before + 13] = -1
    assert (border == -1).all()


def test_metrics_do_not_depend_on_the_batch_that_they_are_computed_in():
    model, batch = model_for("vae", "grey and padded")
    with model.evaluating():
        whole = model.metrics(batch)
        single = [model.metrics(Batch(*(part[i : i + 1] for part in batch[:3]))) for i in range(9)]
    for name in ("elbo", "kl", "reconstruction"):
        parts = torch.cat([metrics[name] for metrics in single])
        torch.testing.assert_close(whole[name][:9], parts, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "adam_vae", "sgd", "rmsprop"])
def test_every_optimizer_trains_the_default_model(optimizer):
    recipe = composed(f"optimizer={optimizer}", "model.width=8")["model"]
    torch.manual_seed(0)
    model = build(recipe, "model")
    optimizer = model.configure_optimizers()
    images = torch.nn.functional.pad(digits(), (7, 8, 7, 8))  # (N, 1, 28, 28)
    batch = Batch(to_float(images), torch.zeros(len(images)).long(), torch.arange(len(images)))
    losses = []
    for number in range(30):
        loss = model.training_step(batch, number)["loss"]
        optimizer.zero_grad()
        loss.backward()
        model.on_before_optimizer_step(optimizer)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_gradients_are_clipped_to_their_norm():
    recipe = composed("model.max_gradient_norm=0.5", "model.width=8")["model"]
    model = build(recipe, "model")
    optimizer = model.configure_optimizers()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.on_before_optimizer_step(optimizer)
    squared = sum(float(p.grad.square().sum()) for p in model.parameters() if p.requires_grad)
    assert squared**0.5 == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("model", ["vae", "autoencoder", "ddpm", "dcgan", "classifier"])
def test_a_models_numbers_in_python_are_those_of_its_options(model):
    node = composed(f"model={model}")["model"]
    target = locate(node)
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(target.__init__).parameters.items()
        if isinstance(parameter.default, bool | int | float) and name not in ONLY_CONFIGURED
    }
    assert defaults
    assert {name: node[name] for name in defaults} == defaults


@pytest.mark.parametrize("model", MODELS)
def test_a_constructor_has_at_most_12_arguments_of_its_own(model):
    target = locate(composed(f"model={model}")["model"])
    own = set(inspect.signature(target.__init__).parameters) - {"self", "shared"}
    assert len(own) <= 12


# As Python ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def conditional():
    return [
        model_for(name, "grey and padded")[0] for name in ("conditional_vae", "conditional_gan")
    ]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (8, [8, 8, 8]),
        ([1, 2, 3], [1, 2, 3]),
        (torch.tensor([4, 0, 9]), [4, 0, 9]),
        (torch.tensor([4, 0, 9], dtype=torch.uint8), [4, 0, 9]),
        (torch.tensor(7), [7, 7, 7]),
        (None, [5, 6, 2]),
    ],
)
def test_labels_are_taken_in_every_form(conditional, label, expected):
    for model in conditional:
        with model.evaluating():
            assert model.conditions_for([5, 6, 12], label).tolist() == expected
            found = model.sample([5, 6, 12], label)
            assert torch.equal(found, model.sample([5, 6, 12], torch.tensor(expected)))


@pytest.mark.parametrize(
    "label", ["Bag", 10, -1, 2.5, True, [1, 2], [1, 2, 10], [[1, 2, 3]], [0.5] * 3]
)
def test_what_is_no_label_is_one_clear_line(conditional, label):
    for model in conditional:
        with pytest.raises(
            ValueError, match=r"condition.*: must be a class's number, 0 to 9, or 3 of"
        ):
            model.sample(range(3), condition=label)


@pytest.mark.parametrize("name", MODELS)
def test_a_number_of_samples_is_no_list_of_indices_and_sampling_is_explained(name):
    model, batch = model_for(name, "grey and padded")
    if not model.makes_images:
        return
    assert "GenerativeModel.sample" in type(model).sample.__doc__
    with model.evaluating():
        model.prepare_sampling([batch])
        with pytest.raises(
            TypeError, match=r"indices=16: must be .*; the first 16 are range\(16\)"
        ):
            model.sample(16)


def test_rooms_and_models_are_there_without_naming_their_files():
    import gdm
    from gdm import models

    assert gdm.runs.catalogue.find
    assert {"runs", "models", "pictures"} <= set(dir(gdm))
    assert {name for name in models.MODELS if getattr(models, name).__name__ == name} == set(
        models.MODELS
    )
    targets = {
        composed(f"model={name}")["model"]["_target_"].rpartition(".")[2] for name in MODELS
    }
    assert targets <= models.MODELS.keys() <= set(dir(models))
    assert gdm.models.vae.VAE is models.VAE
    with pytest.raises(AttributeError, match="gdm has no 'nothing'; it has cli, data, err"):
        _ = gdm.nothing
    with pytest.raises(AttributeError, match=r"gdm\.models has no 'VQVAE'; it has Autoencoder, "):
        _ = models.VQVAE
