"""Draw images from a checkpoint: `python sample.py --help` says how."""

from omegaconf import DictConfig

from ddpm_lightning.verbs.cli import verb


def main(config: DictConfig) -> None:
    """One set of images."""
    from ddpm_lightning.verbs.sample import sample  # torch is not needed for --help or a misspelt option

    sample(config)


if __name__ == "__main__":
    verb(main, "sample")
