"""What the verbs share: Hydra started with this project's resolvers, and errors that name the choices."""

import difflib
import os
import re
import sys
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ddpm_lightning.config_hash import config_hash

UserError = (ValueError, OSError, FloatingPointError)
"""Errors whose message says all that a user needs; others are shown with a traceback."""
SHOW_WHERE = "(set DDPM_TRACEBACK=1 to see where)"


def verb(main: Callable[[DictConfig], Any], config_name: str) -> None:
    """Runs `main` with the config `conf/<config_name>.yaml` and the command line's overrides."""
    conf = Path(sys.argv[0]).resolve().parent / "conf"
    register_resolvers()
    # Hydra would print its errors and leave; raised, they can be told better.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        hydra.main(version_base="1.3", config_path=str(conf), config_name=config_name)(main)()
    except InstantiationException as error:  # an object that refuses its options does so inside Hydra's `instantiate`
        if "DDPM_TRACEBACK" in os.environ or not isinstance(error.__cause__, UserError):
            raise
        sys.exit(f"{sys.argv[0]}: {error.__cause__}\n{SHOW_WHERE}")
    except HydraException as error:
        sys.exit(f"{sys.argv[0]}: {_explain(error, conf, config_name)}")
    except OmegaConfBaseException as error:
        sys.exit(f"{sys.argv[0]}: {str(error).splitlines()[0]}")
    except UserError as error:
        if "DDPM_TRACEBACK" in os.environ:
            raise
        sys.exit(f"{sys.argv[0]}: {error}\n{SHOW_WHERE}")


def register_resolvers() -> None:
    """The folders' names, as interpolations for `conf/hydra/`."""
    resolvers = (
        ("run_folder", _run_folder),
        ("sweep_folder", _sweep_folder),
        ("job_folder", _job_folder),
        ("stamp", _stamp),
    )
    for name, resolver in resolvers:
        OmegaConf.register_new_resolver(name, resolver, replace=True)


@cache
def _now() -> str:
    """The time at which this process first asked for it."""
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def _hash(root: DictConfig) -> str:
    content = OmegaConf.to_container(root, resolve=False)
    assert isinstance(content, dict)
    return config_hash({str(key): value for key, value in content.items()})


def _stamp(*, _root_: DictConfig) -> str:
    """The time and a hash of the config: two runs begun in one second differ."""
    return f"{_now()}-{_hash(_root_)}"


def _run_folder(*, _root_: DictConfig) -> str:
    """A resumed run's own folder, the stable one of a named run, or a new one."""
    if _root_.resume:
        # Asked here, because Hydra makes the folder that it is told.
        if not (Path(_root_.resume) / "status").is_file():
            raise FileNotFoundError(
                f"resume={_root_.resume} is not the folder of a training: it holds no file `status`"
            )
        return str(Path(_root_.resume).resolve())
    if not _root_.name and int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1:
        raise ValueError("processes started from outside (torchrun, srun) must share a folder: give the run a name=")
    _check_writable(Path(_root_.paths.output_dir))
    return f"{_root_.paths.output_dir}/{_root_.experiment_name}/{_root_.name or _stamp(_root_=_root_)}"


def _check_writable(folder: Path) -> None:
    """Raises PermissionError if nothing can be made in a folder, or in the parent where it would be made."""
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    if not os.access(existing, os.W_OK):
        raise PermissionError(f"no permission to write to {existing}: choose another place with paths.output_dir=DIR")


def _sweep_folder() -> str:
    """The sweep's name, or a hash of what the command line asks for: the same for all its jobs."""
    overrides = sorted(word for word in sys.argv[1:] if not word.startswith("-"))
    names = [word.removeprefix("name=") for word in overrides if word.startswith("name=")]
    return names[-1] if names else config_hash({str(place): word for place, word in enumerate(overrides)})


def _job_folder(*, _root_: DictConfig) -> str:
    """A job's overrides, fit for a folder's name, and the hash of its config."""
    # No "=" and no ",": a job's folder is an option's value later on, as in checkpoint=FOLDER.
    words = re.sub(r"[^\w.-]+", "_", _root_.hydra.job.override_dirname.replace("=", "-"))[:150]
    return f"{words or 'job'}-{_hash(_root_)}"


def _explain(error: HydraException, conf: Path, config_name: str) -> str:
    """Hydra's message, with the choices or keys that do exist where it stumbled over one that does not."""
    message = str(error).strip()
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        close = difflib.get_close_matches(choice, error.options, n=1, cutoff=0.5)
        guess = f" Did you mean {group}={close[0]}?" if close else ""
        return f"unknown {group} {choice!r}: choose from {', '.join(error.options)}.{guess}"
    match = re.search(r"Could not override '([^']+)'|full_key: (\S+)", message)
    if match is None:
        return message
    key = (match.group(1) or match.group(2)).partition("@")[0]
    *parents, last = re.split(r"[./]", key)
    options = _existing(conf, config_name, parents)
    while parents and not options:  # the misspelt word is further to the left
        last = parents.pop()
        options = _existing(conf, config_name, parents)
    close = difflib.get_close_matches(last, options, n=1, cutoff=0.5)
    where = f" in {'.'.join(parents)}" if parents else ""
    guess = f" Did you mean {'.'.join([*parents, *close])}?" if close else ""
    return f"unknown option {key!r}.{guess}\nThere are{where}: {', '.join(options)}"


def _existing(conf: Path, config_name: str, parents: list[str]) -> list[str]:
    """The keys below `parents` in the config as the command line's group choices make it; at the top, groups too."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf), version_base="1.3"):
        groups = [o for o in sys.argv[1:] if re.match(r"^[\w/]+=[\w/]+$", o) and (conf / o.partition("=")[0]).is_dir()]
        node: Any = hydra.compose(config_name, overrides=groups)
        for parent in parents:
            node = node.get(parent) if isinstance(node, DictConfig) else None
    keys = {str(key) for key in node if key != "_target_"} if isinstance(node, DictConfig) else set()
    groups_of_none = {path.name for path in conf.iterdir() if path.is_dir()} if not parents else set()
    return sorted(keys | groups_of_none)
