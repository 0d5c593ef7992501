"""The average of the weights: its recurrence, its contents, and when training updates it."""

import copy

import pytest
import torch
from torch import nn

from ddpm_lightning.training.ema import ExponentialMovingAverage


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def set_all(network: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)


@pytest.mark.parametrize(
    ("warmup", "decays"),
    [(False, [0.7, 0.7, 0.7, 0.7]), (True, [1 / 10, 2 / 11, 3 / 12, 4 / 13])],
)
def test_the_average_follows_the_recurrence(network, warmup, decays):
    set_all(network, 5.0)
    ema = ExponentialMovingAverage(network, decay=0.7, warmup=warmup)
    expected = 5.0
    for value, decay in zip([1.0, -2.0, 4.0, 0.5], decays, strict=True):
        set_all(network, value)
        ema.update(network)
        expected = decay * expected + (1 - decay) * value
        for average in ema.network.parameters():
            torch.testing.assert_close(average, torch.full_like(average, expected))


def test_the_decay_warms_up_to_the_configured_one(network):
    ema = ExponentialMovingAverage(network, decay=0.5)
    for _ in range(30):  # (1 + 30) / (10 + 30) is above 0.5
        ema.update(network)
    assert ema.decay_now() == 0.5


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_an_impossible_decay_is_refused(network, decay):
    with pytest.raises(ValueError, match=r"ema\.decay must lie in \[0, 1\)"):
        ExponentialMovingAverage(network, decay=decay)


def test_the_average_shares_no_memory_with_the_network(network):
    before = [parameter.clone() for parameter in network.parameters()]
    ema = ExponentialMovingAverage(network)
    set_all(network, 9.0)
    assert all(torch.equal(a, b) for a, b in zip(ema.network.parameters(), before, strict=True))
    assert not any(parameter.requires_grad for parameter in ema.network.parameters())
    assert not ema.network.training and network.training


def test_running_statistics_are_averaged_and_counts_are_copied(network):
    ema = ExponentialMovingAverage(network, decay=0.9, warmup=False)
    mean, var = torch.zeros(2), torch.ones(2)
    for step in range(1, 4):
        network(torch.randn(8, 3) + 4)
        ema.update(network)
        mean = 0.9 * mean + 0.1 * network[1].running_mean
        var = 0.9 * var + 0.1 * network[1].running_var
        assert int(ema.network[1].num_batches_tracked) == step
    torch.testing.assert_close(ema.network[1].running_mean, mean)
    torch.testing.assert_close(ema.network[1].running_var, var)
    assert not torch.allclose(mean, network[1].running_mean)


def test_buffers_that_are_not_saved_are_copied(network):
    """An averaged constant could drift by rounding, and an average that is not saved would be lost on a resume."""
    network.register_buffer("constant", torch.tensor([0.1, 1e-30]), persistent=False)
    ema = ExponentialMovingAverage(network, decay=0.9, warmup=False)
    network.constant.mul_(3)
    ema.update(network)
    assert torch.equal(ema.network.constant, network.constant)


def test_the_state_survives_a_round_trip(network):
    ema = ExponentialMovingAverage(network)
    set_all(network, 2.0)
    network(torch.randn(8, 3) + 4)
    ema.update(network)
    state = copy.deepcopy(ema.state_dict())
    other = ExponentialMovingAverage(network)
    other.load_state_dict(state)
    set_all(network, -1.0)
    network(torch.randn(8, 3) - 4)
    for average in (ema, other):  # the number of updates is part of the state: it sets the next decay
        average.update(network)
    ours, theirs = ema.network.state_dict(), other.network.state_dict()
    assert {"0.weight", "1.running_mean", "1.running_var"} < ours.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(("accumulate", "updates"), [(1, 6), (2, 3), (3, 2)])
def test_training_updates_it_once_per_optimizer_step(tiny_run, accumulate, updates):
    run = tiny_run(
        f"trainer.accumulate_grad_batches={accumulate}", f"trainer.max_steps={updates}", "trainer.limit_val_batches=0"
    )
    assert run.fit().ema.num_updates == updates
    assert run.trainer.fit_loop.epoch_loop.batch_progress.total.ready == updates * accumulate


def test_training_averages_the_weights_of_every_step(tiny_run):
    run = tiny_run("ema.warmup=false", "ema.decay=0.5", "trainer.limit_val_batches=0")
    weights = []
    module = run.module
    step = module.optimizer_step
    start = [parameter.detach().clone() for parameter in module.network.parameters()]

    def recorded(*args, **kwargs):
        step(*args, **kwargs)
        weights.append([parameter.detach().clone() for parameter in module.network.parameters()])

    module.optimizer_step = recorded
    run.fit()
    assert len(weights) == 3
    for place, average in enumerate(module.ema.network.parameters()):
        first, second, third = (step[place] for step in weights)
        torch.testing.assert_close(average, start[place] / 8 + first / 8 + second / 4 + third / 2)


def test_it_is_not_a_submodule_but_moves_with_the_module(tiny_run):
    module = tiny_run().module
    own = list(module.network.parameters())
    assert len(list(module.parameters())) == len(own)
    assert len([key for key in module.state_dict() if key.startswith("denoiser.network.")]) == len(own)
    module.to(torch.float64)
    assert {parameter.dtype for parameter in module.ema.network.parameters()} == {torch.float64}
    module.to("meta")
    assert {parameter.device.type for parameter in module.ema.network.parameters()} == {"meta"}
