"""The folder of a run: where things are in it, and the state of the run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from filelock import FileLock, Timeout
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader

from ddpm_lightning.atomic_files import write_json, write_text
from ddpm_lightning.json_files import read_json
from ddpm_lightning.runs.config import RunConfig
from ddpm_lightning.runs.find_checkpoint import LAST_CHECKPOINT, PREVIOUS_CHECKPOINT
from ddpm_lightning.runs.identity import differences, without_length
from ddpm_lightning.runs.stored_config import modernized
from ddpm_lightning.runs.trust import Trust

STATES = ("running", "done", "failed", "interrupted")
"""States of a run that has begun."""
MOST_SHOWN = 5
"""Maximum number of options named in a message; another class differs in all of them."""


@dataclass(frozen=True)
class RunFolder:
    """`outputs/<experiment>/<time>-<hash>/` and its contents."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def last_checkpoint(self) -> Path:
        """The newest state, from which the run resumes."""
        return self.path / LAST_CHECKPOINT

    @property
    def previous_checkpoint(self) -> Path:
        """The state that `last_checkpoint` has replaced."""
        return self.path / PREVIOUS_CHECKPOINT

    @property
    def best_checkpoint(self) -> Path:
        """The state with the best monitored value."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def status_file(self) -> Path:
        """The state of the run, as JSON."""
        return self.path / "status"

    @property
    def lock_file(self) -> Path:
        """Locked by the process that works here."""
        return self.path / ".lock"

    def read_status(self) -> dict[str, Any]:
        """{"state": "new" | "running" | "done" | "failed" | "interrupted", ...}; "new" where no run has begun.

        Raises:
            ValueError: the file is damaged.
        """
        if not self.status_file.is_file():
            return {"state": "new"}
        status = read_json(self.status_file, ["state"], "delete it, and the run continues from its last checkpoint")
        if (state := status["state"]) not in STATES:
            raise ValueError(f"{self.status_file} has an unknown state {state!r}: there are {', '.join(STATES)}")
        return status

    def write_status(self, state: str, **details: Any) -> None:
        """Writes the state of the run, atomically."""
        write_json(self.status_file, {"state": state, **details})

    def read_config(self, trust: Trust | None = None) -> dict[str, Any]:
        """The run's config as plain values, converted to this version's form.

        Args:
            trust: whose classes it may name; None to compare it and to show it, but to build nothing of it.

        Raises:
            FileNotFoundError: if no run is there.
            ValueError: if a newer version made it, it is not the config of a run, or holds what is refused.
        """
        if not self.config_file.is_file():
            raise FileNotFoundError(f"{self.path} is not the folder of a run: it has no config.yaml")
        return modernized(self._content(), self.path, trust)

    def _content(self) -> Any:
        """What `config.yaml` holds, by YAML's rules for text and numbers that OmegaConf has; nothing is resolved."""
        try:
            return yaml.load(self.config_file.read_text(encoding="utf-8"), Loader=get_yaml_loader())
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(
                f"{self.config_file} is damaged, or not the config of a run ({' '.join(str(error).split())}): restore "
                "it from a copy, or choose another folder"
            ) from error

    def is_unused(self, verb: str) -> bool:
        """Whether it holds nothing but the log of this verb, as when a command has just begun."""
        return self.path.is_dir() and {path.name for path in self.path.iterdir()} <= {f"{verb}.log"}

    @property
    def holds_results(self) -> bool:
        """Whether a run has left anything here that another one must not replace."""
        if not self.config_file.is_file():
            return False
        if self.read_status()["state"] == "done":
            return True
        # Leading dot: an interrupted write.
        return any(not path.name.startswith(".") for path in (self.path / "checkpoints").glob("*.ckpt"))

    def check(self, config: RunConfig) -> None:
        """Raises FileExistsError if another run is in the folder; one that left no results does not hold it."""
        if not self.holds_results:
            return
        differ = differences(self.read_config(), config.stored, config.changed)
        if config.changes_length:
            differ = without_length(differ)
        if differ:
            shown = [f"{option} ({how})" for option, how in list(differ.items())[:MOST_SHOWN]]
            more = f" and {len(differ) - MOST_SHOWN} more" if len(differ) > MOST_SHOWN else ""
            here = shown_path(self.path)
            # One with a checkpoint is an evaluation, or a set of images.
            way = (
                "To keep it, "
                if "checkpoint" in config.stored
                else f"Continue a training there with resume={here}, or "
            )
            raise FileExistsError(
                f"{here} holds another run, which differs in {', '.join(shown)}{more}. {way}choose another name= (or "
                "hydra.run.dir=), or move that folder away"
            )

    def set_aside_other(self, config: RunConfig) -> None:
        """Moves the logs and pictures of a run without results into a folder of their own, if another run begins.

        Nothing else is touched: the folder may be one that holds more than a run, as with hydra.run.dir=.
        """
        if not self.config_file.is_file() or self._is_stored(config):
            return
        aside = self.path / f"failed-{datetime.now():%Y-%m-%d_%H-%M-%S}"
        loggers = self.read_config().get("logger") or {}  # each writes to a folder of its name
        for name in ("pictures", *loggers):
            folder = self.path / name
            if Path(name).name == name and folder.is_dir():  # a file's text must not reach what is not in the folder
                aside.mkdir(exist_ok=True)
                folder.rename(aside / name)

    def store(self, config: RunConfig) -> None:
        """Writes the run's config, unless it is there already."""
        if not self._is_stored(config):
            self.write_config(config.stored)

    def _is_stored(self, config: RunConfig) -> bool:
        return self.config_file.is_file() and self._content() == config.stored

    def write_config(self, stored: Mapping[str, Any]) -> None:
        """Writes `config.yaml`, atomically."""
        write_text(self.config_file, OmegaConf.to_yaml(OmegaConf.create(dict(stored))))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder for this process; the system unlocks it when the process ends, however it ends.

        Raises:
            ValueError: if another process has locked it.
        """
        try:
            with FileLock(self.lock_file, timeout=2):  # a reader of the status may hold it for a moment
                yield
        except Timeout as error:
            raise ValueError(
                f"another process is working in {self.path}: wait for it, or choose another name="
            ) from error


def shown_path(path: Path) -> str:
    """The path as messages show it: relative to the current folder for what is below it."""
    whole, here = path.absolute(), Path.cwd()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)
