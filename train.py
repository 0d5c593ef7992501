"""Train a diffusion model: `python train.py --help` says how."""

from omegaconf import DictConfig

from ddpm_lightning.cli import verb
from ddpm_lightning.training.optimized_score import train_for_sweeper


def main(config: DictConfig) -> float | None:
    """One run, or one job of a sweep."""
    return train_for_sweeper(config)


if __name__ == "__main__":
    verb(main, "train")
