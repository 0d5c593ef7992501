"""Scores of a checkpoint."""

import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ddpm_lightning.runs.build import build_callbacks, build_trainer, final_scores
from ddpm_lightning.runs.config import plain, resolved
from ddpm_lightning.runs.job import run_job
from ddpm_lightning.runs.launch import ranks_to_start
from ddpm_lightning.runs.restore import check_split, restore_run
from ddpm_lightning.runs.run_folder import RunFolder, find_checkpoint

log = logging.getLogger(__name__)


def evaluate(command: DictConfig) -> dict[str, float]:
    """Samples from a checkpoint and scores the samples; leaves what the end of a training leaves.

    Raises:
        ValueError: for an option that the checkpoint's sampler, guidance or metrics do not have, or other data.
        FileExistsError: if the folder holds another evaluation.
    """
    folder = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    run = restore_run(command, groups=("grid", "sampler", "guidance", "metrics"))
    check_split(run.checkpoint, run.data)
    # Unresolved, so that what they refer to is the checkpoint's.
    run.config.callbacks = OmegaConf.to_container(command.callbacks)
    run.config.checkpoint = {"path": str(find_checkpoint(command.checkpoint)), "step": run.checkpoint["global_step"]}
    config = plain(resolved(run.config))
    folder.check(config)
    status = folder.read_status()
    if status["state"] == "done":
        log.info("this evaluation is done: %s", folder.path)
        return dict(status["scores"])

    def score() -> dict[str, float]:
        trainer = build_trainer(run.config, folder.path, build_callbacks(run.config), [])
        return final_scores(trainer, run.module, run.data)

    return run_job(folder, config, ranks_to_start(run.config.trainer), score)
