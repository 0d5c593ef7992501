"""A logger whose table a restarted run cuts back to a checkpoint and continues."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch import loggers
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from ddpm_lightning.atomic_files import atomic_path, sync_file


class CSVLogger(loggers.CSVLogger):
    """Lightning's logger of a CSV file, as a `RewindableLogger`: its position is the number of rows.

    All starts of a run share one file, `NAME/version_0/metrics.csv`, unless `version` says otherwise.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The table, which is opened at the first use."""
        if self._experiment is None:
            self._experiment = CSVTable(self.log_dir)
        return self._experiment

    def position(self) -> dict[str, int]:
        """The number of rows, all of them on the disk."""
        self.save()
        table: CSVTable = self.experiment
        if table.file.is_file():
            sync_file(table.file)
        return {"rows": table.num_rows}

    def rewind(self, position: Mapping[str, int]) -> None:
        """Removes the rows after this position."""
        table: CSVTable = self.experiment
        table.keep(position.get("rows", 0))

    def _get_next_version(self) -> int:
        """The newest version that is there, since a run continues its table."""
        return max(0, super()._get_next_version() - 1)


class CSVTable(ExperimentWriter):
    """The rows in `metrics.csv` and those that are to be appended; an existing file is continued.

    Attributes:
        num_rows: rows in the file.
    """

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self.num_rows = 0
        if self.file.is_file():
            rows = self._read()
            self.num_rows = len(rows)
            self._write(rows)  # without a line that a kill has cut off

    @property
    def file(self) -> Path:
        """`metrics.csv`."""
        return Path(self.metrics_file_path)

    def save(self) -> None:
        """Appends the rows that were logged since the last call."""
        self.num_rows += len(self.metrics)
        self.file.parent.mkdir(parents=True, exist_ok=True)  # it may have vanished since
        super().save()

    def keep(self, count: int) -> None:
        """Removes all rows but the first `count`."""
        if count < self.num_rows:
            self._write(self._read()[:count])
            self.num_rows = count

    def _read(self) -> list[dict[str, str]]:
        with self.file.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(line for line in lines if line.endswith("\n"))
            rows = list(reader)
            self.metrics_keys = list(reader.fieldnames or [])
        return rows

    def _write(self, rows: list[dict[str, str]]) -> None:
        if not rows:
            self.file.unlink()
            self.metrics_keys = []
            return
        with atomic_path(self.file) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """Adds columns to the file; Lightning's own method loses all rows if it is killed."""
        rows = self._read()
        self.metrics_keys = fieldnames
        self._write(rows)

    def _check_log_dir_exists(self) -> None:
        """Leaves a file that is there, which Lightning's own method removes."""
