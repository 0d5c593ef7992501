"""A run that breaks off and is continued logs what an unbroken one logs, each value once."""

import csv
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

from ddpm_lightning.callbacks.checkpointing import Checkpointing
from ddpm_lightning.training.csv_log import CSVLogger
from ddpm_lightning.training.event_log import TensorBoardLogger
from ddpm_lightning.training.logged_once import LOGS_KEY

Logged = tuple[list[dict[str, str]], Counter]


class BreakOff(Callback):
    """Raises after `step` optimizer steps."""

    def __init__(self, hook: str, step: int) -> None:
        setattr(self, hook, lambda trainer, *_: self._raise_at(trainer, step))

    def _raise_at(self, trainer: Trainer, step: int) -> None:
        if trainer.global_step == step:
            raise KeyError("broken off")


@pytest.fixture
def logged(tiny_run: Callable[..., Any], tmp_path: Path) -> Callable[..., Logged]:
    """`logged(*breaks)`: what is logged by a run of 13 steps that breaks off at each of these places in turn."""

    def run(*breaks: tuple[str, int]) -> Logged:
        folder = tmp_path / "run"
        shutil.rmtree(folder, ignore_errors=True)
        for place in [*breaks, None]:
            loggers = [TensorBoardLogger(str(folder), name="", version="tensorboard"), CSVLogger(str(folder), "csv")]
            callbacks = [Checkpointing(every_n_steps=3), *([BreakOff(*place)] if place else [])]
            tiny = tiny_run("trainer.max_steps=13", "trainer.log_every_n_steps=1", callbacks=callbacks, loggers=loggers)
            last = folder / "checkpoints" / "last.ckpt"
            ckpt_path = str(last) if last.is_file() else None
            if place is None:
                tiny.trainer.fit(tiny.module, tiny.data, ckpt_path=ckpt_path)
                continue
            with pytest.raises(KeyError):
                tiny.trainer.fit(tiny.module, tiny.data, ckpt_path=ckpt_path)
        return rows(folder), events(folder)

    return run


def rows(folder: Path) -> list[dict[str, str]]:
    (file,) = folder.rglob("metrics.csv")
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def events(folder: Path) -> Counter:
    counts: Counter = Counter()
    for file in folder.rglob("events.out.tfevents.*"):
        for record in RawEventFileLoader(str(file)).Load():
            event = Event.FromString(record)
            counts.update((value.tag, event.step, value.SerializeToString()) for value in event.summary.value)
    return counts


def test_every_value_is_logged_once(logged: Callable[..., Logged]) -> None:
    whole = logged()
    broken = logged(
        ("on_train_batch_end", 2),  # before there is a checkpoint
        ("on_train_batch_end", 6),  # between a checkpoint and the log of its step
        ("on_train_batch_start", 8),
        ("on_validation_end", 10),
        ("on_train_end", 13),
    )
    assert {int(row["step"]) for row in whole[0] if row["train/loss"]} == set(range(13))
    assert any(row["val/loss"] for row in whole[0])
    assert broken == whole
    assert {count for (tag, *_), count in whole[1].items() if tag != "epoch"} == {1}  # that is added to each call


def test_a_table_is_whole_although_a_new_column_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = CSVLogger(str(tmp_path), "csv")
    for step in range(3):
        logger.log_metrics({"loss": step}, step)
        logger.save()
    before = rows(tmp_path)

    def fail(*_: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr(csv.DictWriter, "writerows", fail)
    logger.log_metrics({"loss": 3, "score": 1}, 3)
    with pytest.raises(OSError, match="no space"):
        logger.save()
    assert rows(tmp_path) == before
    assert len(before) == 3


def test_a_table_is_continued_after_its_last_whole_line(tmp_path: Path) -> None:
    first = CSVLogger(str(tmp_path), "csv")
    first.log_metrics({"loss": 1.25}, 0)
    first.save()
    (file,) = tmp_path.rglob("metrics.csv")
    file.write_bytes(file.read_bytes() + b"1.2")

    second = CSVLogger(str(tmp_path), "csv")
    assert second.position() == {"rows": 1}
    second.log_metrics({"loss": 2.5, "score": 3}, 1)
    assert second.position() == {"rows": 2}
    assert rows(tmp_path) == [
        {"loss": "1.25", "score": "", "step": "0"},
        {"loss": "2.5", "score": "3", "step": "1"},
    ]


def test_logs_of_a_logger_that_was_switched_off_stay(tiny_run: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for steps, logging in ((3, True), (6, False), (9, True)):
        loggers = [CSVLogger(str(folder), "csv")] if logging else []
        callbacks = [Checkpointing(every_n_steps=3)]
        tiny = tiny_run(
            f"trainer.max_steps={steps}", "trainer.log_every_n_steps=1", callbacks=callbacks, loggers=loggers
        )
        last = folder / "checkpoints" / "last.ckpt"
        tiny.trainer.fit(tiny.module, tiny.data, ckpt_path=str(last) if last.is_file() else None)
    assert [int(row["step"]) for row in rows(folder) if row["train/loss"]] == [0, 1, 2, 6, 7, 8]


@pytest.mark.parametrize("place", ["outside the run", "unknown to the checkpoint"])
def test_logs_of_others_stay(tiny_run: Callable[..., Any], tmp_path: Path, place: str) -> None:
    run = tmp_path / "run"
    theirs = {"outside the run": tmp_path / "shared", "unknown to the checkpoint": run}[place]
    for logger in (TensorBoardLogger(str(theirs), name="", version="others"), CSVLogger(str(theirs), "others")):
        logger.log_metrics({"theirs": 1.0}, 0)
        logger.save()
    for steps, others in ((3, place == "outside the run"), (6, True)):
        loggers = [TensorBoardLogger(str(theirs), name="", version="others"), CSVLogger(str(theirs), "others")]
        words = (f"trainer.max_steps={steps}", "trainer.log_every_n_steps=1")
        tiny = tiny_run(*words, callbacks=[Checkpointing(every_n_steps=3)], loggers=loggers if others else [])
        last = run / "checkpoints" / "last.ckpt"
        tiny.trainer.fit(tiny.module, tiny.data, ckpt_path=str(last) if last.is_file() else None)
    assert rows(theirs)[0]["theirs"] == "1.0"
    assert [key[:2] for key in events(theirs) if key[0] == "theirs"] == [("theirs", 0)]


def test_a_run_of_an_earlier_version_keeps_its_logs(tiny_run: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for steps in (3, 6):
        options = (f"trainer.max_steps={steps}", "trainer.log_every_n_steps=1")
        logger = CSVLogger(str(folder), "csv")
        tiny = tiny_run(*options, callbacks=[Checkpointing(every_n_steps=3)], loggers=[logger])
        last = folder / "checkpoints" / "last.ckpt"
        tiny.trainer.fit(tiny.module, tiny.data, ckpt_path=str(last) if last.is_file() else None)
        checkpoint = torch.load(last, weights_only=True)
        del checkpoint[LOGS_KEY]
        torch.save(checkpoint, last)
    assert [int(row["step"]) for row in rows(folder) if row["train/loss"]] == list(range(6))
