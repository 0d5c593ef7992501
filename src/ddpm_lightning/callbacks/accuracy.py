"""Callback that writes the accuracy of a classifier to the file that reports read."""

from collections.abc import Mapping

from lightning.pytorch import Callback, LightningModule, Trainer

from ddpm_lightning.callbacks.scored_run import write_scores
from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.metrics.classifier_card import ClassifierCard
from ddpm_lightning.metrics.scores import Scores
from ddpm_lightning.training.classifier_module import ClassifierModule


class AccuracyReport(Callback):
    """Writes `metrics.json` after a test: the card, in `diagnostics` all that the test measured, and the cost.

    Args:
        dataset: name of the data set, for the card.
        seeds: seeds of the training by name, for the card.
    """

    def __init__(self, dataset: str, seeds: Mapping[str, int]) -> None:
        self.dataset = dataset
        self.seeds = dict(seeds)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Raises ValueError unless the module is a classifier."""
        if not isinstance(pl_module, ClassifierModule):
            raise ValueError("callbacks.accuracy is for task=classifier: leave it out")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file, with what is logged after other callbacks' `on_test_epoch_end` as well."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # set by fit and test
        assert isinstance(pl_module, ClassifierModule)
        assert isinstance(data, ImageDataModule)
        split = data.split("test")
        card = ClassifierCard(
            num_images=min(len(split), data.diagnostic_size),
            seeds=self.seeds,
            weights=pl_module.weights,
            split="test",
            dataset=self.dataset,
            real_images=split.fingerprint[:16],
        )
        write_scores(trainer, Scores({}, card))
