"""AdamW's learning rate against its closed form, and gradient clipping in a real run."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from ddpm_lightning.training.optimizer import AdamW, warmup_then_cosine


def test_the_learning_rate_rises_and_falls_as_the_formula_says():
    optimizer, schedule = AdamW(lr=0.2, warmup_steps=4, final_fraction=0.1).build([nn.Parameter(torch.ones(1))], 14)
    rates = []
    for _ in range(17):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:4] == pytest.approx([0.05, 0.1, 0.15, 0.2])
    falling = [0.2 * (0.1 + 0.9 * math.cos(math.pi * k / 20) ** 2) for k in range(11)]  # cos^2(x/2) = (1 + cos x) / 2
    assert rates[4:15] == pytest.approx(falling)
    assert rates[15:] == pytest.approx([0.02, 0.02])


def test_without_warmup_training_starts_at_the_peak():
    assert warmup_then_cosine(0, warmup_steps=0, total_steps=10, final_fraction=0.0) == 1
    assert warmup_then_cosine(10, warmup_steps=0, total_steps=10, final_fraction=0.0) == pytest.approx(0)


def test_a_final_fraction_of_one_does_not_decay():
    assert {warmup_then_cosine(step, 0, 10, 1.0) for step in range(12)} == {1.0}


def test_options_reach_the_optimizer_fused_where_it_can_be():
    options = AdamW(lr=0.1, weight_decay=0.3, betas=(0.5, 0.6))
    (group,) = options.build([nn.Parameter(torch.ones(1))], 1)[0].param_groups
    assert (group["weight_decay"], group["betas"], group["fused"]) == (0.3, (0.5, 0.6), True)
    (group,) = options.build([nn.Parameter(torch.ones(1, device="meta"))], 1)[0].param_groups
    assert group["fused"] is False


def test_a_run_decays_over_its_optimizer_steps(tiny_run):
    run = tiny_run(
        "trainer.max_steps=4", "trainer.accumulate_grad_batches=2", "optimizer.lr=1e-3", "trainer.limit_val_batches=0"
    )
    run.fit()
    assert run.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(("limit", "clips"), [(1e-4, True), (1e6, False)])
def test_gradients_are_clipped_to_the_norm(tiny_run, precision, limit, clips):
    run = tiny_run(
        f"trainer.precision={precision}", f"trainer.gradient_clip_val={limit}", "trainer.max_steps=1",
        "trainer.limit_val_batches=0",
    )  # fmt: skip
    norms = []

    def norm() -> float:
        gradients = [p.grad.flatten() for p in run.module.network.parameters() if p.grad is not None]
        return float(torch.cat(gradients).norm())

    run.module.on_before_optimizer_step = lambda optimizer: norms.append(norm())  # before clipping
    clip = run.module.configure_gradient_clipping
    run.module.configure_gradient_clipping = lambda *a, **k: (clip(*a, **k), norms.append(norm()))
    run.fit()
    before, after = norms
    assert before > 1e-3
    assert after == pytest.approx(limit if clips else before, rel=1e-3)


def test_a_warm_up_longer_than_the_training_is_said(caplog: pytest.LogCaptureFixture) -> None:
    options = AdamW(lr=0.2, warmup_steps=10)
    options.build([nn.Parameter(torch.ones(1))], 10)
    assert not caplog.messages
    options.build([nn.Parameter(torch.ones(1))], 5)
    (warning,) = caplog.messages
    assert "ends at step 5, before optimizer.warmup_steps=10 are over" in warning
    assert "rises only to 0.1 of optimizer.lr=0.2" in warning


@pytest.mark.parametrize(
    ("option", "value"),
    [("lr", -1e-3), ("lr", math.inf), ("weight_decay", math.nan), ("warmup_steps", -1), ("betas", (0.9, 1.0))],
)
def test_an_option_out_of_range_is_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"optimizer\.{option} must "):
        AdamW(**{option: value})
