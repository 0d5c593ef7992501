"""Train a diffusion model: `python train.py --help` says how."""

from omegaconf import DictConfig

from ddpm_lightning.cli import verb


def main(config: DictConfig) -> None:
    """One run, or one job of a sweep."""
    from ddpm_lightning.training.train import train  # torch is not needed for --help or a misspelt option

    train(config)


if __name__ == "__main__":
    verb(main, "train")
