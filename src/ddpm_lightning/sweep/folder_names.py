"""Names of the folders of runs and sweeps, as interpolations for `conf/hydra/`.

They are registered when this module is imported, so that they exist as well in a process to which a launcher sends a
job.
"""

import os
import re
from datetime import datetime
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError

from ddpm_lightning.runs.config import plain, resolved
from ddpm_lightning.runs.config_hash import config_hash
from ddpm_lightning.runs.ranks import num_ranks
from ddpm_lightning.sweep.checkpoint_pattern import as_typed


@cache
def _now() -> str:
    """The time at which this process first asked for it."""
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def job_hash(root: DictConfig) -> str:
    """The hash of a composed config, that of Hydra left out: what identifies a job wherever it runs."""
    config = OmegaConf.masked_copy(root, [str(key) for key in root if key != "hydra"])
    try:
        return config_hash(plain(resolved(config)))
    except InterpolationKeyError:  # an evaluation's options may refer to what only its checkpoint has
        return config_hash(plain(config))


def _stamp(*, _root_: DictConfig) -> str:
    """The time and a hash of the config: two runs begun in one second differ."""
    return f"{_now()}-{job_hash(_root_)}"


def _run_folder(*, _root_: DictConfig) -> str:
    """A resumed run's own folder, the stable one of a named run, or a new one."""
    if _root_.resume:
        # Asked here, because Hydra makes the folder that it is told.
        if not (Path(_root_.resume) / "status").is_file():
            raise FileNotFoundError(
                f"resume={_root_.resume} is not the folder of a training: it holds no file `status`"
            )
        return str(Path(_root_.resume).resolve())
    if not _root_.name and num_ranks() > 1:
        raise ValueError("processes started from outside (torchrun, srun) must share a folder: give the run a name=")
    _check_writable(Path(_root_.paths.output_dir))
    return f"{_root_.paths.output_dir}/{_root_.experiment_name}/{_root_.name or _stamp(_root_=_root_)}"


def _check_writable(folder: Path) -> None:
    """Raises PermissionError if nothing can be made in a folder, or in the parent where it would be made."""
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    if not os.access(existing, os.W_OK):
        raise PermissionError(f"no permission to write to {existing}: choose another place with paths.output_dir=DIR")


def _sweep_folder(*, _root_: DictConfig) -> str:
    """The sweep's name, or a hash of what the command line asks for."""
    if name := _root_.get("name"):
        return str(name)
    overrides = sorted(as_typed(word) for word in _root_.hydra.overrides.task)
    return config_hash({str(place): word for place, word in enumerate(overrides)})


def _job_folder(*, _root_: DictConfig) -> str:
    """What distinguishes a job in its sweep, fit for a folder's name, and the hash of its config.

    The hash is what identifies the job: a folder that an earlier sweep of other options named otherwise is its own.
    """
    identity = job_hash(_root_)
    earlier = sorted(path.name for path in Path(_root_.hydra.sweep.dir).glob(f"*-{identity}"))
    if earlier:
        return earlier[0]
    # No "=" and no ",": a job's folder is an option's value later on, as in checkpoint=FOLDER.
    words = re.sub(r"[^=,]*/", "", _root_.hydra.job.override_dirname)  # of a path the last part
    words = re.sub(r"[^\w.-]+", "_", words.replace("=", "-"))[:150]
    return f"{words or 'job'}-{identity}"


for _name, _resolver in (
    ("run_folder", _run_folder),
    ("sweep_folder", _sweep_folder),
    ("job_folder", _job_folder),
    ("stamp", _stamp),
):
    OmegaConf.register_new_resolver(_name, _resolver, replace=True)
