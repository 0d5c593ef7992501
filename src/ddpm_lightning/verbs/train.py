"""One training run, from its config to its final scores."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ddpm_lightning.runs.build import (
    build_callbacks,
    build_data,
    build_fitted_module,
    build_loggers,
    build_module,
    build_trainer,
    final_scores,
)
from ddpm_lightning.runs.config import command_record, plain, resolved
from ddpm_lightning.runs.hardware import resolve_auto
from ddpm_lightning.runs.job import run_job
from ddpm_lightning.runs.launch import ranks_to_start
from ddpm_lightning.runs.optimized_score import optimises, optimized_score
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.runs.stored_config import modernized

log = logging.getLogger(__name__)

RESUMABLE_OVERRIDES = (
    "trainer.max_steps=",
    "trainer.max_epochs=",
    "trainer.accelerator=",
    "trainer.devices=",
    "trainer.num_nodes=",
    "trainer.enable_progress_bar=",
    "dataset.num_workers=",
    "dataset.in_memory=",
    "paths.",
)
"""Options that may change when a run is resumed: where and how long it runs, not what it computes."""


def train(cfg: DictConfig) -> dict[str, float]:
    """Runs or continues the run that Hydra's output folder belongs to.

    Returns the final scores; those on record if the run was done already.

    Raises:
        ValueError: if another process is at work in the folder, among many things that a config can have wrong.
        FileExistsError: if the folder holds another run.
    """
    _refuse_from_checkpoint(HydraConfig.get().runtime.choices)
    run = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    if cfg.resume:
        stored = modernized(run.read_config(), run.path)
        config = _resumed_config(stored, list(HydraConfig.get().overrides.task))
        resolve_auto(config)
        wants_more = _trains_longer(config, stored)
    else:
        config = resolved(cfg)
        resolve_auto(config)
        config.hydra = command_record(config)
        run.check(plain(config))
        wants_more = False
    status = run.read_status()
    if status["state"] == "done" and not wants_more:
        log.info("this run is done: %s", run.path)
        return dict(status["scores"])
    ranks = ranks_to_start(config.trainer)
    return run_job(run, plain(config), ranks, lambda: _fit_and_test(config, run), reconfigured=bool(cfg.resume))


def _refuse_from_checkpoint(choices: Mapping[str, str]) -> None:
    """Raises ValueError if a group is to be taken from a checkpoint, which only the other verbs have."""
    for group, choice in choices.items():
        if choice == "from_checkpoint":
            raise ValueError(f"{group}=from_checkpoint is for evaluate.py and sample.py: choose another {group}")


def _fit_and_test(config: DictConfig, run: RunFolder) -> dict[str, float]:
    data = build_data(config)
    resuming = run.last_checkpoint.is_file()
    # What the normaliser has learnt is in the checkpoint.
    module = build_module(config, data.image_shape, data.num_classes) if resuming else build_fitted_module(config, data)
    module.run_config = plain(config)
    trainer = build_trainer(config, run.path, build_callbacks(config), build_loggers(config, run.path))
    if "checkpointing" not in config.callbacks:
        log.warning("callbacks without `checkpointing`: this run keeps no weights and cannot be resumed")
    if resuming:
        log.info("continuing from %s", run.last_checkpoint)
    trainer.fit(module, data, ckpt_path=str(run.last_checkpoint) if resuming else None)
    return final_scores(trainer, module, data)


def _resumed_config(stored: dict[str, Any], overrides: list[str]) -> DictConfig:
    """The stored config of a run, with the overrides that a resumed run may have.

    Raises:
        ValueError: for an override that would make it another run.
    """
    changes = [override for override in overrides if not override.startswith("resume=")]
    refused = [change for change in changes if not change.startswith(RESUMABLE_OVERRIDES)]
    if refused:
        raise ValueError(
            f"resume continues a run as it was configured; {', '.join(refused)} would make it another run. "
            f"With resume only these may change: {', '.join(RESUMABLE_OVERRIDES)}"
        )
    config = OmegaConf.merge(DictConfig(stored), OmegaConf.from_dotlist(changes))
    assert isinstance(config, DictConfig)
    return config


def _trains_longer(config: DictConfig, stored: dict[str, Any]) -> bool:
    return any(config.trainer[limit] != stored["trainer"][limit] for limit in ("max_steps", "max_epochs"))


def train_for_sweeper(config: DictConfig) -> float | None:
    """Trains, and returns the optimised score; in a sweep that optimises, a run that fails has one too."""
    hydra = HydraConfig.get()
    run = RunFolder(Path(hydra.runtime.output_dir))
    try:
        train(config)
    except Exception:
        in_sweep = not OmegaConf.is_missing(hydra.job, "num")
        if not in_sweep or not optimises(config) or run.read_status()["state"] != "failed":
            raise
    return optimized_score(config, run)
