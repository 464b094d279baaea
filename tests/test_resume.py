"""A run that was killed at any moment ends with the weights of the uninterrupted one."""

import shutil

import pytest
import torch
from conftest import BRIEF, ROOT, SHORT, SMALL_GAN, UNSEEN, composed, resumed, short, trained
from pytorch_lightning import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gdm.errors import UserError
from gdm.runs import catalogue, checkpoints
from gdm.training.saving import Checkpoints
from gdm.training.training import Training
from gdm.training.validation import Validation

MODELS = sorted(path.stem for path in (ROOT / "configs" / "model").glob("*.yaml"))


class KilledError(BaseException):
    """Stands for kill -9: nothing that is not on the disk survives it."""


def state(run: catalogue.Run) -> dict:
    """Return all that a run has learned: weights, average, density, optimizer."""
    checkpoint = checkpoints.read(run.checkpoints / checkpoints.LAST)
    return {key: checkpoint[key] for key in ("state_dict", "optimizer_states", "batches_seen")}


def assert_same_bits(left, right, key: str = "") -> None:
    """Compare nested containers, tensors bit by bit."""
    if isinstance(left, dict):
        assert left.keys() == right.keys(), key
        for name in left:
            assert_same_bits(left[name], right[name], f"{key}.{name}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), key
        for number, pair in enumerate(zip(left, right, strict=True)):
            assert_same_bits(*pair, f"{key}.{number}")
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right), key
    else:
        assert left == right, key


class KillAfter(Callback):
    """Kills the run at the end of a batch, before whoever evaluates and saves it."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        if model.batches_seen == self.batches:
            raise KilledError


class KillAtStart(Callback):
    def on_train_start(self, trainer, model) -> None:
        raise KilledError


class KillInValidation(Validation):
    def evaluate(self, trainer, model, saving) -> None:
        super().evaluate(trainer, model, saving)
        if model.batches_seen == 8:
            raise KilledError


class KillInSave(Checkpoints):
    """Dies with the new checkpoint half written."""

    def save(self, trainer, model) -> None:
        if model.batches_seen == 9:
            folder = catalogue.Run(trainer.default_root_dir).checkpoints
            (folder / ".last.ckpt.half").write_bytes(b"PK half a file")
            raise KilledError
        super().save(trainer, model)


class KillAfterSave(Checkpoints):
    def __init__(self, batches: int) -> None:
        super().__init__(times=4, every_minutes=5.0)
        self.batches = batches

    def save(self, trainer, model) -> None:
        super().save(trainer, model)
        if model.batches_seen == self.batches:
            raise KilledError


def killed(recipe: dict, folder, put_killer, plugins=()) -> catalogue.Run:
    """Train until the killer strikes."""
    recipe = recipe | {"outputs": str(folder)}
    training = Training(recipe, plugins)
    put_killer(training.callbacks)
    run = catalogue.create(recipe)
    run.write_recipe(recipe, [])
    with pytest.raises(KilledError):
        training.run(run)
    return run


def kill_again(run: catalogue.Run, put_killer) -> None:
    """Go on with a run until the killer strikes."""
    training = Training(run.recipe())
    put_killer(training.callbacks)
    with pytest.raises(KilledError):
        training.run(run, resume=True)


def by(killer):
    return lambda callbacks: callbacks.update(killer=killer)


def in_place_of(name, killer_class, *arguments):
    return lambda callbacks: callbacks.update({name: killer_class(*arguments)})


# a run of 12 batches, looked at after 4, 8 and 12, saved after 3, 6, 9 and 12; an epoch is 20
MOMENTS = {
    "before the first step": by(KillAtStart()),
    "after the first step, before anything is saved": by(KillAfter(1)),
    "between two saves": by(KillAfter(5)),
    "right after a save": in_place_of("checkpoints", KillAfterSave, 6),
    "during validation": in_place_of("validation", KillInValidation, 3, 60, None, None, None),
    "during a save": in_place_of("checkpoints", KillInSave, 4, 5.0),
    "on the last batch, before it is saved": by(KillAfter(12)),
    "on the last batch, after it is saved": in_place_of("checkpoints", KillAfterSave, 12),
}


NUM_HELD_OUT = 9000  # of 10,000: what a density is fitted to would take longest


def unseen(model: str) -> dict:
    """Return the recipe of a run of which no samples are evaluated or drawn, on few images."""
    recipe = short(model)
    recipe["dataset"]["validation_size"] = NUM_HELD_OUT
    recipe["callbacks"]["validation"] |= {"quality": None, "pictures": None}
    return recipe


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The final state of each model's uninterrupted run, trained once."""
    known = {}

    def of(model: str) -> dict:
        if model not in known:
            known[model] = state(trained(unseen(model), tmp_path_factory.mktemp(model)))
        return known[model]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("model", MODELS)
def test_resume_equals_uninterrupted(model, moment, uninterrupted, tmp_path):
    recipe = unseen(model)
    if moment == "before the first step":  # what is only seen changes no bit
        recipe["callbacks"] = short(model)["callbacks"]
    run = killed(recipe, tmp_path, MOMENTS[moment])
    assert run.manifest()["status"] != "finished"
    resumed(run)
    assert run.manifest()["status"] == "finished"
    assert_same_bits(state(run), uninterrupted(model))


@pytest.mark.parametrize("model", MODELS)
def test_a_run_killed_at_every_moment_in_turn_equals_uninterrupted(model, uninterrupted, tmp_path):
    """Whatever a moment costs is still there at the end; the slow test says which it was."""
    first, *others = MOMENTS.values()
    run = killed(unseen(model), tmp_path, first)
    for put_killer in others:
        kill_again(run, put_killer)
        assert run.manifest()["status"] != "finished"
    resumed(run)
    assert run.manifest()["status"] == "finished"
    assert_same_bits(state(run), uninterrupted(model))


def test_resume_in_the_middle_of_a_later_epoch_equals_uninterrupted(tmp_path):
    """Batches that reach from one epoch into the next are where a position is easily lost."""
    recipe = composed(*SHORT, *UNSEEN, "dataset.validation_size=9900", "dataset.batch_size=70",
                      "budget.epochs=6", "budget.images=null", "model.latent_dim=4")  # fmt: skip
    whole = trained(recipe, tmp_path / "whole")
    run = killed(recipe, tmp_path / "killed", by(KillAfter(8)))
    assert_same_bits(state(resumed(run)), state(whole))


def test_a_run_resumed_twice_equals_uninterrupted(uninterrupted, tmp_path):
    recipe = composed(*SHORT, f"dataset.validation_size={NUM_HELD_OUT}")
    run = killed(recipe, tmp_path, by(KillAfter(5)))
    kill_again(run, by(KillAfter(7)))
    assert_same_bits(state(resumed(run)), state_of_vae := uninterrupted("vae"))
    assert state_of_vae["batches_seen"] == 12


def test_an_augmentation_that_adapts_resumes_between_two_adjustments(tmp_path):
    recipe = composed(*BRIEF, *SMALL_GAN, *UNSEEN, "model=hinge_gan", "augmentation=ada",
                      f"dataset.validation_size={NUM_HELD_OUT}", "model.augmentation.every=2",
                      "model.augmentation.initial_p=0.3",
                      "model.augmentation.adjustment_images=1000")  # fmt: skip
    whole = trained(recipe, tmp_path / "whole")
    run = killed(recipe, tmp_path / "killed", in_place_of("checkpoints", KillAfterSave, 3))
    p = state(run)["state_dict"]["augmentation.p"]
    assert abs(float(p) - 0.3) == pytest.approx(0.1)  # after one adjustment and a half
    assert_same_bits(state(resumed(run)), state(whole))


class Shrink(Callback):
    """A user's own callback that has a hand in the weights."""

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        model.decoder[0].weight.data.mul_(0.9)


def test_what_a_users_own_callback_did_to_the_weights_is_saved_with_them(tmp_path):
    def training_of(recipe):
        training = Training(recipe)
        training.callbacks["mine"] = Shrink()
        return training

    states = []
    for name, killers in (("whole", ()), ("killed", (KillAfterSave(6),))):
        recipe = composed(*SHORT, *UNSEEN, f"outputs={tmp_path / name}")
        training, run = training_of(recipe), catalogue.create(recipe)
        run.write_recipe(recipe, [])
        for killer in killers:
            training.callbacks["checkpoints"] = killer
            with pytest.raises(KilledError):
                training.run(run)
        (training_of(recipe) if killers else training).run(run, resume=bool(killers))
        states.append(state(run))
    assert_same_bits(*states)


def test_rerun_gives_the_same_bits(short_vae, tmp_path):
    again = trained(short_vae.recipe(), tmp_path)
    assert_same_bits(state(again), state(short_vae))
    assert (again.samples / "final.png").read_bytes() == (
        short_vae.samples / "final.png"
    ).read_bytes()


def test_another_seed_gives_other_weights(short_vae, tmp_path):
    other = trained(unseen("vae") | {"seed": 1}, tmp_path)
    weight = "decoder.0.weight"
    assert not torch.equal(state(other)["state_dict"][weight],
                           state(short_vae)["state_dict"][weight])  # fmt: skip


def test_curves_and_records_of_a_resumed_run_do_not_double_back(short_vae, tmp_path):
    run = killed(composed(*SHORT), tmp_path, by(KillAfter(9)))
    resumed(run)
    curves = {}
    for each in (run, short_vae):
        events = EventAccumulator(str(each.tensorboard)).Reload()
        curves[each] = {
            tag: [(point.step, point.value) for point in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
            if "second" not in tag
        }
    for tag, points in curves[run].items():
        steps = [step for step, _ in points]
        assert steps == sorted(set(steps)), tag
    validation = "validation/elbo"
    assert curves[run][validation] == curves[short_vae][validation]
    assert run.records() == short_vae.records()


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_it_used(
    uninterrupted, tmp_path, caplog
):
    run = killed(unseen("vae"), tmp_path, by(KillAfter(8)))
    newest = run.checkpoints / checkpoints.LAST
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1  # one bit
    newest.write_bytes(data)
    resumed(run)
    assert str(newest) in caplog.text
    assert "damaged" in caplog.text
    assert_same_bits(state(run), uninterrupted("vae"))


def test_a_finished_run_is_extended_to_the_longer_run_under_a_constant_rate(tmp_path):
    constant = composed(
        *SHORT, *UNSEEN, "learning_rate=constant", "model.learning_rate.warmup_fraction=0"
    )
    longer = constant | {"budget": constant["budget"] | {"images": 900}}
    whole = trained(longer, tmp_path / "whole")
    run = trained(constant, tmp_path / "extended")
    resumed(run, run.recipe() | {"budget": longer["budget"]})
    assert_same_bits(state(run)["state_dict"], state(whole)["state_dict"])


def test_extending_a_decaying_rate_is_said_to_be_another_run(short_vae, tmp_path, caplog):
    copy = catalogue.Run(tmp_path / "copy")
    shutil.copytree(short_vae.path, copy.path)
    recipe = copy.recipe()
    resumed(copy, recipe | {"budget": recipe["budget"] | {"images": 700}})
    assert "not the run" in caplog.text


def test_a_run_is_not_resumed_on_other_data(short_vae):
    recipe = short_vae.recipe()
    other = recipe | {"dataset": recipe["dataset"] | {"binarize": True}}
    with pytest.raises(UserError, match="other data"):
        Training(other).run(short_vae, resume=True)


def test_minutes_are_not_measured_for_a_run_that_goes_on(short_vae):
    recipe = short_vae.recipe()
    in_minutes = recipe | {"budget": recipe["budget"] | {"images": None, "minutes": 1.0}}
    with pytest.raises(UserError, match=r"budget\.minutes=1: .* takes budget\.epochs"):
        Training(in_minutes).settle_budget(resume=True)


def test_a_run_is_not_resumed_to_less_than_it_has_seen(short_vae):
    recipe = short_vae.recipe()
    shorter = recipe | {"budget": recipe["budget"] | {"images": 300}}
    with pytest.raises(UserError, match="600 images, more than the budget of 300"):
        Training(shorter).run(short_vae, resume=True)
