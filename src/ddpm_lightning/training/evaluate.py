"""Scores of a checkpoint."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ddpm_lightning.atomic import write_text
from ddpm_lightning.training.build import build_callbacks, build_trainer
from ddpm_lightning.training.launch import release_processes
from ddpm_lightning.training.restore import restore_run


def evaluate(command: DictConfig) -> dict[str, float]:
    """Samples from a checkpoint and scores the samples; leaves what the end of a training leaves."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    run = restore_run(command, groups=("sampler", "guidance", "metrics"))
    # Unresolved, so that what they refer to is the checkpoint's.
    run.config.callbacks = OmegaConf.to_container(command.callbacks)
    write_text(folder / "config.yaml", OmegaConf.to_yaml(run.config, resolve=True))
    trainer = build_trainer(run.config, folder, build_callbacks(run.config), [])
    try:
        (scores,) = trainer.test(run.module, run.data, verbose=False)
    finally:
        release_processes()
    return {name: float(value) for name, value in scores.items()}
