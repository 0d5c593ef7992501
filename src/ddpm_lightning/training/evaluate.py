"""Scores of a checkpoint."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ddpm_lightning.training.build import build_callbacks, build_trainer, final_scores
from ddpm_lightning.training.launch import release_processes
from ddpm_lightning.training.plain_config import plain, settled
from ddpm_lightning.training.restore import check_split, restore_run
from ddpm_lightning.training.run_folder import RunFolder, find_checkpoint


def evaluate(command: DictConfig) -> dict[str, float]:
    """Samples from a checkpoint and scores the samples; leaves what the end of a training leaves.

    Raises:
        ValueError: for an option that the checkpoint's sampler, guidance or metrics do not have, or other data.
        FileExistsError: if the folder holds another evaluation.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    run = restore_run(command, groups=("sampler", "guidance", "metrics"))
    check_split(run.checkpoint, run.data)
    # Unresolved, so that what they refer to is the checkpoint's.
    run.config.callbacks = OmegaConf.to_container(command.callbacks)
    run.config.checkpoint = {"path": str(find_checkpoint(command.checkpoint)), "step": run.checkpoint["global_step"]}
    RunFolder(folder).claim(plain(settled(run.config)))
    trainer = build_trainer(run.config, folder, build_callbacks(run.config), [])
    try:
        return final_scores(trainer, run.module, run.data)
    finally:
        release_processes()
