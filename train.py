"""Train a diffusion model: `python train.py --help` says how."""

from omegaconf import DictConfig

from ddpm_lightning.verbs.cli import verb


def main(config: DictConfig) -> float | None:
    """One run, or one job of a sweep."""
    from ddpm_lightning.verbs.train import train_for_sweeper  # no torch for --help or a misspelt option

    return train_for_sweeper(config)


if __name__ == "__main__":
    verb(main, "train")
