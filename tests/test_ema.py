"""The average of weights against closed forms."""

import pytest
import torch
from torch import nn

from gdm.networks.ema import EMA


def followed(half_life_images=1000, warmup_fraction=1.0):
    network = nn.Linear(2, 1, bias=False)
    ema = EMA(half_life_images, warmup_fraction)
    with torch.no_grad():
        network.weight.fill_(0.0)
    ema.follow([network])
    return network, ema


def test_a_weight_counts_half_after_the_half_life():
    network, ema = followed(half_life_images=1000)
    network.weight.data.fill_(1.0)
    for step in range(10):  # 10 batches of 100 images, long after the warm-up
        ema.update(images_seen=1_000_000 + 100 * step, batch_size=100)
    with ema.applied():
        torch.testing.assert_close(network.weight, torch.full_like(network.weight, 0.5))


def test_the_average_does_not_depend_on_the_batch_size():
    averages = []
    for batch_size in (50, 100, 200):
        network, ema = followed()
        network.weight.data.fill_(1.0)
        for _ in range(400 // batch_size):
            ema.update(images_seen=1_000_000, batch_size=batch_size)
        ema.give()
        averages.append(network.weight.clone())
    torch.testing.assert_close(averages[0], averages[1])
    torch.testing.assert_close(averages[0], averages[2])


def test_the_half_life_starts_as_a_fraction_of_the_images_seen():
    _, ema = followed(half_life_images=1000, warmup_fraction=0.1)
    assert ema.decay(images_seen=0, batch_size=10) == 0.0
    assert ema.decay(images_seen=100, batch_size=10) == pytest.approx(0.5)
    assert ema.decay(images_seen=10**9, batch_size=1000) == pytest.approx(0.5)


def test_networks_get_their_own_weights_back_even_after_an_exception():
    network, ema = followed()
    network.weight.data.fill_(3.0)

    def fail():
        with ema.applied():
            assert (network.weight == 0).all()
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert (network.weight == 3).all()


def test_the_average_is_saved_and_restored_with_no_further_code():
    network, ema = followed()
    network.weight.data.fill_(1.0)
    ema.update(images_seen=500, batch_size=100)
    other_network, other = followed()
    other.load_state_dict(ema.state_dict())
    ema.give()
    other.give()
    assert torch.equal(network.weight, other_network.weight)
