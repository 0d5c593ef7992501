"""The folder a run leaves: where things are in it, and what state the run is in."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from ddpm_lightning.atomic_files import write_json, write_text
from ddpm_lightning.runs.config_hash import config_hash


@dataclass(frozen=True)
class RunFolder:
    """`outputs/<experiment>/<time>-<hash>/` and what it holds."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def last_checkpoint(self) -> Path:
        """The newest state, from which the run resumes."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """The state with the best monitored value."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def status_file(self) -> Path:
        """What `read_status` reads."""
        return self.path / "status"

    @property
    def lock_file(self) -> Path:
        """Held by the process that is at work here."""
        return self.path / ".lock"

    def read_status(self) -> dict[str, Any]:
        """{"state": "new" | "running" | "done" | "failed" | "interrupted", ...}; "new" where no run has begun."""
        if not self.status_file.is_file():
            return {"state": "new"}
        status: dict[str, Any] = json.loads(self.status_file.read_text())
        return status

    def write_status(self, state: str, **details: Any) -> None:
        """Records the state of the run, atomically."""
        write_json(self.status_file, {"state": state, **details})

    def read_config(self) -> dict[str, Any]:
        """The resolved config of the run that is in this folder, as plain values.

        Raises:
            FileNotFoundError: if no run is there.
        """
        if not self.config_file.is_file():
            raise FileNotFoundError(f"{self.path} is not the folder of a run: it has no config.yaml")
        config = OmegaConf.to_container(OmegaConf.load(self.config_file))
        assert isinstance(config, dict)
        return {str(key): value for key, value in config.items()}

    def check(self, config: dict[str, Any]) -> None:
        """Raises FileExistsError if another run is in the folder."""
        if not self.config_file.is_file():
            return
        theirs, ours = config_hash(self.read_config()), config_hash(config)
        if theirs != ours:
            raise FileExistsError(
                f"{self.path} holds another run (config {theirs}, this one is {ours}). Continue a training there "
                f"with resume={self.path}, choose another name= (or hydra.run.dir=), or move that folder away"
            )

    def claim(self, config: dict[str, Any]) -> None:
        """Makes the folder this run's own, by writing the config, or finds that it is already.

        Raises:
            FileExistsError: if another run is there; nothing is changed.
        """
        self.check(config)
        if not self.config_file.is_file():
            self.write_config(config)

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes `config.yaml`, atomically."""
        write_text(self.config_file, OmegaConf.to_yaml(OmegaConf.create(config)))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder for this process; the system lets go of it when the process ends, however it ends.

        Raises:
            ValueError: if another process holds it.
        """
        try:
            with FileLock(self.lock_file, timeout=2):  # a reader of the status may try it for a moment
                yield
        except Timeout as error:
            raise ValueError(
                f"another process is at work in {self.path}: wait for it, or choose another name="
            ) from error


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint that a path means: a file itself, or a run folder's last one.

    Raises:
        FileNotFoundError: if there is none; says what the folder holds.
    """
    path = Path(path)
    if path.is_file():
        return path
    if path.is_dir():
        last = RunFolder(path).last_checkpoint
        if last.is_file():
            return last
        # A name with a dot is what a kill left of a write.
        found = sorted(str(p.relative_to(path)) for p in path.rglob("*.ckpt") if not p.name.startswith("."))
        hint = f"it holds {', '.join(found[:5])}: name one of these" if found else "it holds no checkpoint"
        raise FileNotFoundError(f"{path} is not the folder of a run with checkpoints/last.ckpt: {hint}")
    raise FileNotFoundError(f"there is no checkpoint or run folder {path}")
