"""The progress bar."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar


class ImageProgressBar(RichProgressBar):
    """Rich's progress bar, with the images trained on per second by all devices together."""

    def __init__(self, refresh_rate: int = 10) -> None:
        super().__init__(refresh_rate=refresh_rate)
        self._clock = time.perf_counter()
        self._images = 0
        self._speed = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self._clock, self._images = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch.images) * trainer.world_size
        elapsed = time.perf_counter() - self._clock
        if elapsed > 1:
            self._speed = self._images / elapsed
            self._clock, self._images = time.perf_counter(), 0
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}
        return metrics | {"images/s": f"{self._speed:.0f}"}
