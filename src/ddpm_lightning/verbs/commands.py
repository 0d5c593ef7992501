"""The commands: `train.py` at the root of a checkout, `ddpm-train` of an installed package, and so on.

Each imports its verb only when it runs: `--help` and a misspelt option do not wait for torch.
"""

from pathlib import Path

from omegaconf import DictConfig

from ddpm_lightning.verbs.cli import run_verb


def train() -> None:
    """Trains a diffusion model: one run, or the jobs of a sweep."""
    run_verb(_train, "train")


def evaluate() -> None:
    """Scores samples of a checkpoint."""
    run_verb(_evaluate, "evaluate")


def sample() -> None:
    """Draws images from a checkpoint."""
    run_verb(_sample, "sample")


def report() -> None:
    """Writes the table of a sweep."""
    from ddpm_lightning.verbs.report import main

    main()


def export() -> None:
    """Writes a checkpoint's model as safetensors and JSON, or for diffusers."""
    from ddpm_lightning.verbs.export import main

    main()


def _train(config: DictConfig) -> float | None:
    from ddpm_lightning.verbs.train import train_for_sweeper

    return train_for_sweeper(config)


def _evaluate(config: DictConfig) -> dict[str, float]:
    from ddpm_lightning.verbs.evaluate import evaluate

    return evaluate(config)


def _sample(config: DictConfig) -> Path:
    from ddpm_lightning.verbs.sample import sample

    return sample(config)
