"""Score a checkpoint's samples: `python evaluate.py --help` says how."""

from omegaconf import DictConfig

from ddpm_lightning.verbs.cli import verb


def main(config: DictConfig) -> None:
    """One evaluation, or one job of a sweep."""
    from ddpm_lightning.verbs.evaluate import evaluate  # torch is not needed for --help or a misspelt option

    evaluate(config)


if __name__ == "__main__":
    verb(main, "evaluate")
