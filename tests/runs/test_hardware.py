"""The device, their number and the precision that `auto` means."""

import pytest
import torch
from lightning.pytorch import Trainer

from ddpm_lightning.runs.hardware import fastest_precision, resolve_auto


@pytest.mark.parametrize("accelerator", ["cpu", "auto", "gpu"])
def test_the_answer_is_one_that_lightning_takes(accelerator):
    precision = fastest_precision(accelerator)
    trainer = Trainer(accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False)
    assert trainer.precision == precision


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"amx_bf16": True}, "bf16-mixed"), ({"avx512_bf16": True}, "bf16-mixed"), ({"avx2": True}, "32-true")],
)
def test_bf16_only_where_the_processor_multiplies_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert fastest_precision("cpu") == expected


def test_the_config_says_what_auto_became(compose_verb):
    config = compose_verb("train", "trainer.accelerator=cpu")
    resolve_auto(config)
    assert config.trainer.precision == fastest_precision("cpu")
    config.trainer.precision = "64-true"
    resolve_auto(config)
    assert config.trainer.precision == "64-true"


def test_auto_devices_are_counted(compose_verb, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    config = compose_verb("train", "trainer.accelerator=cpu", "trainer.devices=auto")
    resolve_auto(config)
    assert config.trainer.devices == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    config.trainer.update(accelerator="gpu", devices="auto", precision="32-true")
    resolve_auto(config)
    assert config.trainer.devices == 4


def test_a_rank_leaves_the_devices_to_whoever_started_it(compose_verb, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    config = compose_verb("train", "trainer.accelerator=cpu", "trainer.devices=auto")
    resolve_auto(config)
    assert config.trainer.devices == "auto"
