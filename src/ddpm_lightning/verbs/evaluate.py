"""Scores of a checkpoint."""

import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ddpm_lightning.runs.build import (
    build_callbacks,
    build_data,
    build_trainer,
    check_scoring,
    final_scores,
    measures_accuracy,
    open_loggers,
)
from ddpm_lightning.runs.config import RunConfig
from ddpm_lightning.runs.hardware import check_hardware
from ddpm_lightning.runs.job import run_job
from ddpm_lightning.runs.launch import ranks_to_start
from ddpm_lightning.runs.option_types import with_right_types
from ddpm_lightning.runs.restore import check_split, restore_run
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.runs.trust import WATCHERS

log = logging.getLogger(__name__)


def evaluate(command: DictConfig) -> dict[str, float]:
    """Scores a checkpoint as `metrics` says, and writes the files of a finished run.

    Raises:
        ValueError: for an option that the checkpoint's sampler, guidance or metrics do not have, or other data.
        FileExistsError: if the folder holds another evaluation.
    """
    command = with_right_types(command)
    if measures_accuracy(command):
        raise ValueError("metrics=accuracy is for python train.py task=classifier: leave it out")
    folder = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    run = restore_run(command, groups=("grid", "sampler", "guidance", "metrics"))
    # Keep interpolations, so that they resolve against the checkpoint's config.
    for section in WATCHERS:
        run.config[section] = OmegaConf.to_container(command[section])
    config = RunConfig.of(run.config)
    check_hardware(config.options)
    ranks = ranks_to_start(config.options.trainer)
    data = build_data(config.options)
    check_scoring(config.options)
    check_split(run.checkpoint, data)
    folder.check(config)
    status = folder.read_status()
    if status["state"] == "done":
        log.info("this evaluation is done: %s", folder.path)
        return dict(status["scores"])

    def score() -> dict[str, float]:
        with open_loggers(config.options, folder.path) as loggers:
            trainer = build_trainer(config.options, folder.path, build_callbacks(config.options), loggers)
            return final_scores(trainer, run.module, data)

    return run_job(folder, config, ranks, score)
