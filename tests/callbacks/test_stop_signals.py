"""A signal ends a training at a step from which it continues exactly."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ddpm_lightning.callbacks.checkpointing import Checkpointing
from ddpm_lightning.callbacks.stop_signals import SIGNALS, StopSignals
from ddpm_lightning.training.checkpoint import read_checkpoint

EXIT = {signal.SIGINT: (SystemExit, 1), signal.SIGTERM: (SystemExit, 143), signal.SIGUSR1: (SystemExit, 138)}
"""What leaves the trainer; Lightning turns Ctrl-C into exit code 1."""


class Sender(Callback):
    """Sends this process a signal in the middle of an optimizer step."""

    def __init__(self, number: int, step: int) -> None:
        self._number, self._step = number, step

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if trainer.global_step == self._step:
            os.kill(os.getpid(), self._number)


@pytest.fixture(autouse=True)
def default_handlers() -> Any:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_the_step_is_finished_and_saved(tiny_run: Callable, tmp_path: Path, number: int) -> None:
    run = tiny_run("trainer.max_steps=9", callbacks=[Sender(number, 2), Checkpointing(every_n_steps=100)])
    error, code = EXIT[number]
    with pytest.raises(error) as ended:
        run.fit()
    assert ended.value.code == code
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == 3


def test_it_continues_as_if_it_had_not_ended(tiny_run: Callable, tmp_path: Path) -> None:
    whole = tiny_run("trainer.max_steps=9", callbacks=[Checkpointing(every_n_steps=100)]).fit()
    stopped = tiny_run("trainer.max_steps=9", callbacks=[Sender(signal.SIGTERM, 4), Checkpointing(every_n_steps=100)])
    with pytest.raises(SystemExit):
        stopped.fit()
    again = tiny_run("trainer.max_steps=9", callbacks=[Checkpointing(every_n_steps=100)])
    again.trainer.fit(again.module, again.data, ckpt_path=str(tmp_path / "run" / "checkpoints" / "last.ckpt"))
    ours, theirs = again.module.state_dict(), whole.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_handlers_are_given_back(tiny_run: Callable) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    tiny_run("trainer.max_steps=2", callbacks=[Checkpointing()]).fit()
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert signal.alarm(0) == 0


def test_a_second_signal_ends_at_once() -> None:
    signals = StopSignals()
    signals.install()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit) as ended:
            os.kill(os.getpid(), signal.SIGTERM)
        assert ended.value.code == 143
    finally:
        signals.restore()


def test_a_step_that_does_not_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ddpm_lightning.callbacks.stop_signals.SECONDS_OF_GRACE", 1)
    signals = StopSignals()
    signals.install()
    try:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.pause()
    finally:
        signals.restore()


def test_a_listener_of_another_is_left_alone() -> None:
    def theirs(number: int, frame: Any) -> None: ...

    signal.signal(signal.SIGUSR1, theirs)
    signals = StopSignals()
    signals.install()
    try:
        assert signal.getsignal(signal.SIGUSR1) is theirs
    finally:
        signals.restore()
