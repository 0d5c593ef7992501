"""Runs with the callbacks of their configs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from lightning.pytorch import Callback
from torch import nn

from ddpm_lightning.runs.build import build_callbacks, build_loggers
from ddpm_lightning.verbs.train import train
from tiny_runs import of_classifier


@pytest.fixture
def run_with(tiny_run: Callable) -> Callable:
    """`run_with("callbacks=...", ...)`: a tiny run with the callbacks and loggers of its config, and `extra` first."""

    def make(*overrides: str, extra: list[Callback] | None = None):
        run = tiny_run("trainer.num_sanity_val_steps=0", *overrides)
        run.trainer.callbacks[:0] = [*(extra or []), *build_callbacks(run.config)]
        run.trainer.loggers = build_loggers(run.config, run.trainer.default_root_dir)
        return run

    return make


@pytest.fixture
def words_of_guidance(compose_verb: Callable, tiny_options: list[str], tmp_path: Path) -> Callable[[str], list[str]]:
    """`words_of_guidance(choice)`: options of a tiny run with this guidance; for `classifier`, with a trained one."""

    def words(guidance: str) -> list[str]:
        own = [f"guidance={guidance}", "model.num_classes=10"]
        if guidance != "classifier":
            return own
        folder = tmp_path / "classifier"
        quiet = ["callbacks=[checkpointing,accuracy]", "logger=none", "trainer.max_steps=1"]
        train(compose_verb("train", *of_classifier(tiny_options), *quiet, folder=folder))
        return [*own, f"guidance.classifier={folder}"]

    return words


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
