"""Runs with the callbacks of their configs."""

from collections.abc import Callable

import pytest
from lightning.pytorch import Callback
from torch import nn

from ddpm_lightning.runs.build import build_callbacks, build_loggers


@pytest.fixture
def run_with(tiny_run: Callable) -> Callable:
    """`run_with("callbacks=...", ...)`: a tiny run with the callbacks and loggers of its config, and `extra` first."""

    def make(*overrides: str, extra: list[Callback] | None = None):
        run = tiny_run("trainer.num_sanity_val_steps=0", *overrides)
        run.trainer.callbacks[:0] = [*(extra or []), *build_callbacks(run.config)]
        run.trainer.loggers = build_loggers(run.config, run.trainer.default_root_dir)
        return run

    return make


class PoisonedGradient(Callback):
    """Makes a gradient NaN at one step; the loss of that step stays finite."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_optimizer_step(self, trainer, pl_module: nn.Module, optimizer) -> None:
        if trainer.global_step == self.step:
            next(pl_module.parameters()).grad.fill_(float("nan"))


@pytest.fixture
def poison() -> type[PoisonedGradient]:
    return PoisonedGradient
