"""TensorBoard's logger, whose files a restarted run can cut back to a checkpoint."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch import loggers

from ddpm_lightning.atomic_files import sync_file


class TensorBoardLogger(loggers.TensorBoardLogger):
    """Lightning's logger for TensorBoard, as a `RewindableLogger`: its position is the length of each of its files.

    Each start of a run begins a file of its own, which is only ever appended to.
    """

    _earlier: tuple[Path, ...] = ()
    """Files of earlier starts."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of this start's file, which is begun at the first use."""
        if self._experiment is None:
            self._earlier = self._files()
        # It may have vanished since, and the writer opens its file for each event.
        Path(self.log_dir).mkdir(parents=True, exist_ok=True)
        return super().experiment

    def position(self) -> dict[str, int]:
        """Bytes in each file by name, all of them on the disk."""
        self.experiment.flush()
        files = self._files()
        for file in files:
            sync_file(file)
        return {file.name: file.stat().st_size for file in files}

    def rewind(self, position: Mapping[str, int]) -> None:
        """Removes what earlier starts have written since this position."""
        for file in self._earlier:
            if file.name not in position:
                file.unlink()
            elif file.stat().st_size > position[file.name]:
                os.truncate(file, position[file.name])

    def _files(self) -> tuple[Path, ...]:
        folder = Path(self.log_dir)
        hyperparameters = folder / self.NAME_HPARAMS_FILE
        return (*folder.glob("events.out.tfevents.*"), *([hyperparameters] if hyperparameters.is_file() else []))
