"""A job's or a rank's process is started by the verb's own command."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from ddpm_lightning.runs.job_command import job_command

TRAIN = [sys.executable, "-P", "-m", "ddpm_lightning.verbs", "train"]


@pytest.mark.parametrize("name", ["run", "a b,c=d", "it's", 'say "a"', r"back\slash", "[brackets] {braces}", "müller"])
def test_the_command_runs_this_job_and_not_the_sweep(
    compose_verb: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "seed=1,2", "loss=mse,mae"])
    compose_verb("train", "seed=2", "loss=mae", f'paths.data_dir="{tmp_path}/my, data"')
    hydra = HydraConfig.get()
    command = job_command(hydra, hydra.overrides.task, tmp_path / name)
    assert command[: len(TRAIN)] == TRAIN
    words = command[len(TRAIN) :]
    parsed = {o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(words)}
    assert {key: getattr(value, "text", value) for key, value in parsed.items()} == {
        "seed": 2,
        "loss": "mae",
        "paths.data_dir": f"{tmp_path}/my, data",
        "hydra.run.dir": str(tmp_path / name),
        "hydra.output_subdir": None,
    }


def test_the_command_has_hydras_verb_and_an_absolute_folder(
    compose_verb: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    compose_verb("evaluate", "checkpoint=run")
    command = job_command(HydraConfig.get(), [], "here")
    assert command[: len(TRAIN)] == [*TRAIN[:-1], "evaluate"]
    assert command[len(TRAIN)] == f"hydra.run.dir='{tmp_path}/here'"


def test_the_users_own_yaml_is_found_by_the_job(compose_verb: Callable, tmp_path: Path) -> None:
    compose_verb("train")
    hydra = OmegaConf.create(OmegaConf.to_container(HydraConfig.instance().cfg.hydra))
    hydra.runtime.config_sources.append({"provider": "command-line", "schema": "file", "path": str(tmp_path)})
    hydra.overrides.hydra = ["hydra.searchpath=[file:///elsewhere]", "hydra.mode=MULTIRUN"]
    words = job_command(hydra, ["seed=1"], tmp_path / "run")[len(TRAIN) :]
    assert words[:3] == [f"--config-dir={tmp_path}", "hydra.searchpath=[file:///elsewhere]", "seed=1"]
    assert "hydra.mode=MULTIRUN" not in words
