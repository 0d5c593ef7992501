"""Names of the folders of runs and sweeps, as interpolations for `conf/hydra/`.

They are registered on import, so that they also exist in a process to which a launcher sends a job.
"""

import os
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError

from ddpm_lightning.runs.find_checkpoint import find_checkpoint
from ddpm_lightning.runs.identity import changed_options, differences, job_hash, short_hash
from ddpm_lightning.runs.places import check_links
from ddpm_lightning.runs.plain_config import plain, resolved, without_hydra
from ddpm_lightning.runs.ranks import num_ranks
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.runs.stored_config import CONFIG_VERSION
from ddpm_lightning.sweep.checkpoint_pattern import pattern_as_typed


@cache
def _now() -> str:
    """The time at which this process first asked for it."""
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def _stamp(*, _root_: DictConfig) -> str:
    """The run's name, or the time and a hash of the config: two runs begun in one second differ."""
    return str(_root_.get("name") or f"{_now()}-{job_hash(_root_)}")


def _run_folder(*, _root_: DictConfig) -> str:
    """A resumed run's own folder, the stable one of a named run, or a new one."""
    if _root_.resume:
        if not Path(_root_.resume).is_dir():
            raise FileNotFoundError(f"resume={_root_.resume}: there is no such folder")
        # Checked here, because Hydra makes the folder that this returns.
        if not (Path(_root_.resume) / "status").is_file():
            raise FileNotFoundError(f"resume={_root_.resume} is not the folder of a run: it has no file `status`")
        return _checked_links(str(Path(_root_.resume).resolve()), _root_)
    if not _root_.name and num_ranks() > 1:
        raise ValueError("processes started from outside (torchrun, srun) must share a folder: give the run a name=")
    _check_writable(Path(_root_.paths.output_dir))
    return _checked_links(f"{_root_.paths.output_dir}/{_root_.experiment_name}/{_stamp(_root_=_root_)}", _root_)


def _checked_links(folder: str, root: DictConfig) -> str:
    """The run's folder, if no link leads out of it: Hydra opens its log there before a verb begins."""
    check_links(Path(folder), list(root.paths.values()))
    return folder


def _check_writable(folder: Path) -> None:
    """Raises PermissionError if nothing can be made in a folder, or in the parent where it would be made."""
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    if not os.access(existing, os.W_OK):
        raise PermissionError(f"no permission to write to {existing}: choose another place with paths.output_dir=DIR")


def _sweep_folder(*, _root_: DictConfig) -> str:
    """The sweep's name, or a hash of what the command line asks for."""
    if name := _root_.get("name"):
        return str(name)
    overrides = sorted(pattern_as_typed(word).rstrip("/") for word in _root_.hydra.overrides.task)
    return short_hash({str(place): word for place, word in enumerate(overrides)})


def _job_folder(*, _root_: DictConfig) -> str:
    """The name of a job's folder: the options that vary in its sweep, and the hash of its config.

    The hash identifies the job: a folder with the same hash is this job's, even if it is named differently. So is the
    folder of the same run that an earlier version, with another hash, has made.
    """
    identity, sweep = job_hash(_root_), Path(_root_.hydra.sweep.dir)
    # No "=" and no ",": a job's folder is an option's value later on, as in checkpoint=FOLDER.
    varied = [word.split("=", 1) for word in re.split(",(?=[^,=]+=)", _root_.hydra.job.override_dirname) if word]
    words = ",".join("-".join(Path(part).name for part in word) for word in varied)  # the last part of a path
    words = re.sub(r"[^\w.-]+", "_", words)[:150] or "job"
    same = sorted(path.name for path in sweep.glob(f"*-{identity}")) or _of_earlier_version(_root_, sweep, words)
    return same[0] if same else f"{words}-{identity}"


def _of_earlier_version(root: DictConfig, sweep: Path, words: str) -> list[str]:
    """The folders in a sweep in which an earlier version, which hashed otherwise, has made this run.

    An evaluation's config is not known before its checkpoint is read, so evaluations are matched by
    name and checkpoint.
    """
    files = {path.parent.name: path for path in sorted(sweep.glob("*/config.yaml"))}
    stored = {name: config for name, path in files.items() if (config := _stored_earlier(path)) is not None}
    if not stored:
        return []
    composed = without_hydra(root)
    try:
        ours = plain(resolved(composed))
    except InterpolationKeyError:
        path = str(find_checkpoint(root.checkpoint))
        return [
            name
            for name, theirs in stored.items()
            if name.rpartition("-")[0] == words and theirs.get("checkpoint", {}).get("path") == path
        ]
    changed = changed_options(composed, root.hydra)
    return [name for name, theirs in stored.items() if not differences(theirs, ours, changed)]


@cache
def _stored_earlier(config_file: Path) -> dict[str, Any] | None:
    """The config of a run that an earlier version made; None for one of this version, or one that cannot be read."""
    if f"config_version: {CONFIG_VERSION}\n" in config_file.read_text():
        return None
    try:
        return RunFolder(config_file.parent).read_config()
    except ValueError:
        return None


for _name, _resolver in (
    ("run_folder", _run_folder),
    ("sweep_folder", _sweep_folder),
    ("job_folder", _job_folder),
    ("stamp", _stamp),
):
    OmegaConf.register_new_resolver(_name, _resolver, replace=True)
