"""Messages of dependencies that are hidden, and those that are not."""

import logging
import warnings
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.trainer import setup
from lightning.pytorch.trainer.connectors import data_connector
from torch.utils.data import DataLoader

from ddpm_lightning.runs.quiet import HIDDEN, hide_messages


@pytest.fixture
def shown():
    """The messages of warnings that are shown, of a process whose messages are hidden."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hide_messages()
        yield lambda: [str(warning.message) for warning in caught]


def test_lightning_is_silent_about_workers(shown, monkeypatch):
    monkeypatch.setattr(data_connector, "suggested_max_num_workers", lambda devices: 8)
    trainer = SimpleNamespace(num_devices=1, reload_dataloaders_every_n_epochs=0)
    data_connector._worker_check(trainer, DataLoader(torch.zeros(4), num_workers=0), "train_dataloader")
    assert shown() == []


def test_lightning_is_silent_about_an_unused_gpu(shown, monkeypatch):
    monkeypatch.setattr(setup.CUDAAccelerator, "is_available", lambda: True)
    trainer = SimpleNamespace(accelerator=None, num_devices=1)
    setup._log_device_info(trainer)
    assert shown() == []


@pytest.mark.parametrize("hidden", HIDDEN, ids=lambda hidden: hidden[2].replace("\\", ""))
def test_other_warnings_of_the_same_origin_are_shown(shown, hidden):
    _, category, module = hidden
    module = module.replace("\\", "").rstrip(".")
    warnings.warn_explicit("something else", category, f"{module}.py", 1, module=module)
    assert shown() == ["something else"]


def test_other_ranks_report_only_problems(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "0")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    log = logging.getLogger("ddpm_lightning.some")
    try:
        hide_messages()
        assert log.isEnabledFor(logging.WARNING) and not log.isEnabledFor(logging.INFO)
    finally:
        logging.getLogger("ddpm_lightning").setLevel(logging.NOTSET)


def test_the_first_rank_keeps_the_level_that_the_user_chose():
    log = logging.getLogger("ddpm_lightning")
    log.setLevel(logging.DEBUG)
    try:
        hide_messages()
        assert log.level == logging.DEBUG
    finally:
        log.setLevel(logging.NOTSET)
