"""The W&B run of a job."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from ddpm_lightning.atomic_files import write_text
from ddpm_lightning.runs.ranks import global_rank
from ddpm_lightning.runs.sweep_folder import PLAN_FILE


class WandbRun(WandbLogger):
    """Lightning's logger to Weights & Biases, with one W&B run per job.

    The run has the job's config, the name of the job's folder, and the sweep's as its group. When the job is resumed,
    the same W&B run continues: `wandb/id` in the job's folder has its id, and `wandb/logged.jsonl` a line for each row
    that was logged, so that the steps between the last checkpoint and an interruption are not logged again. Rows that
    W&B has not received before a kill are, except offline, where nobody knows which those are.

    Args:
        save_dir: the job's folder.
        project: the project there that the run belongs to.
        name: name of the run there; by default that of the folder.
        group: group of the run there; by default the name of the sweep's folder, none for a single run.
        offline: whether to write into the job's folder only.
        options: others of Lightning's logger and of `wandb.init`.

    Attributes:
        run_config: the job's config as plain values, to be set before anything is logged.

    Raises:
        ValueError: wandb is not installed, or nobody is logged in and the mode is not offline.
    """

    def __init__(
        self,
        save_dir: str,
        project: str,
        name: str | None = None,
        group: str | None = None,
        offline: bool = False,
        **options: Any,
    ) -> None:
        if find_spec("wandb") is None:
            raise ValueError("logger=wandb needs: pip install 'ddpm-lightning[wandb]'")
        folder = Path(save_dir).absolute()
        if group is None and (folder.parent / PLAN_FILE).is_file():
            group = folder.parent.name
        super().__init__(
            name=name or folder.name, save_dir=save_dir, project=project, group=group, offline=offline, **options
        )
        if self._wandb_init.get("anonymous") is None:  # which W&B warns about even so
            self._wandb_init.pop("anonymous", None)
        self.run_config: dict[str, Any] = {}
        self._folder = folder / "wandb"
        self._logged_before: dict[str, int] = {}
        self._check_login()

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run; it begins, or continues, when it is first asked for."""
        if self._experiment is None:
            self._wandb_init["id"] = self._wandb_init["id"] or self._own_id()
            if self._is_offline:  # where nobody knows whether there is a run to resume
                self._wandb_init["resume"] = None
            run = super().experiment
            run.config.update(self.run_config, allow_val_change=True)
            rows = self._log_file.read_text().splitlines() if self._log_file.is_file() else []
            received = rows if self._is_offline else rows[: run.step]
            write_text(self._log_file, "".join(f"{row}\n" for row in received))
            self._logged_before = _last_steps(received)
        return super().experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs what is not there yet, from before an interruption."""
        _ = self.experiment  # which finds out what there is
        new = {name: v for name, v in metrics.items() if step is None or step > self._logged_before.get(name, -1)}
        if new.keys() - {"epoch"}:
            super().log_metrics(new, step)
            self._folder.mkdir(parents=True, exist_ok=True)  # it may have vanished since
            with self._log_file.open("a") as file:
                file.write(json.dumps({"step": step, "names": sorted(new)}) + "\n")

    @rank_zero_only
    def close(self, failed: bool) -> None:
        """Ends the W&B run, so that the next job of a sweep gets one of its own."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=int(failed))
            self._experiment = None

    @property
    def _log_file(self) -> Path:
        return self._folder / "logged.jsonl"

    @property
    def _is_offline(self) -> bool:
        mode = self._wandb_init.get("mode") or os.environ.get("WANDB_MODE", "online")
        return self._offline or mode != "online"

    def _own_id(self) -> str:
        """The id of the job's W&B run, kept in the job's folder."""
        file = self._folder / "id"
        if not file.is_file():
            write_text(file, uuid4().hex[:8])
        own_id = file.read_text().strip()
        if not re.fullmatch(r"[\w-]+", own_id):
            raise ValueError(f"{file} does not hold the id of a W&B run: remove it to begin another one")
        return own_id

    def _check_login(self) -> None:
        """Asks for a key on a terminal, before anything else begins."""
        if self._is_offline or global_rank() > 0:
            return
        import wandb

        try:
            logged_in = wandb.login()
        except wandb.errors.Error:
            logged_in = False
        if not logged_in:
            raise ValueError("logger=wandb: nobody is logged in. Run `wandb login`, or set WANDB_MODE=offline")


def _last_steps(rows: Sequence[str]) -> dict[str, int]:
    """The last step at which each value was logged, from lines of `logged.jsonl`; a kill may have cut the last one."""
    steps: dict[str, int] = {}
    for text in rows:
        with suppress(json.JSONDecodeError):
            row = json.loads(text)
            if row["step"] is not None:
                steps |= dict.fromkeys(row["names"], row["step"])
    return steps
