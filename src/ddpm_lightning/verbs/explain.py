"""What a user needs to know about an error: one message, with the choices that exist."""

import difflib
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ddpm_lightning.runs.failure import RankError, cause_of
from ddpm_lightning.runs.from_checkpoint import needs_checkpoint
from ddpm_lightning.runs.system_errors import explain_system_error
from ddpm_lightning.verbs.composition import Composition
from ddpm_lightning.verbs.guesses import guess_option

USER_ERRORS = (ValueError, OSError, FloatingPointError, UserWarning)
"""Errors whose message says all that a user needs; others come with a traceback."""
EXTRAS = {"submitit_slurm": "submitit", "submitit_local": "submitit", "optuna": "optuna"}
"""Choice that a plugin brings -> the extra that installs it."""
SHOW_WHERE = "(set DDPM_TRACEBACK=1 to see where)"


def message_of(error: Exception, conf: Path, config_name: str) -> str | None:
    """All that a user needs to know about an error; None for one that needs its traceback."""
    if isinstance(error, OmegaConfBaseException):
        return _explain_config(error)
    if isinstance(error, HydraException) and not isinstance(error, InstantiationException):
        return _explain(error, conf, config_name)
    if "DDPM_TRACEBACK" in os.environ:
        return None
    cause = cause_of(error)  # an object that refuses its options does so inside Hydra's `instantiate`
    if isinstance(cause, RankError):
        return str(cause)
    if explained := explain_system_error(cause):
        return explained
    if isinstance(cause, MemoryError) or re.search("can't allocate memory|out of memory", str(cause)):
        asked = re.search(r"tried to allocate ([^.]*)\.", str(cause))
        return (
            f"there is not enough memory{f' for {asked.group(1)}' if asked else ''}: lower the number of images "
            "computed together (dataset.batch_size, chunk_size, metrics.chunk_size), their number, or the model's size"
        )
    if isinstance(cause, USER_ERRORS):
        return str(cause) if _is_ours(cause) else f"{cause}\n{SHOW_WHERE}"
    if missing := re.match(r"Error locating target '([^']+)'(?s:.*)full_key: (\S+)", str(error)):
        target, key = missing.groups()
        return (
            f"{key} names {target}, which cannot be imported: {cause.__cause__ or cause}. Start the command in the "
            "folder of its module, set PYTHONPATH, or install its package"
        )
    if isinstance(error, InstantiationException) and isinstance(cause, ImportError):  # a library that is optional
        return str(cause)
    if isinstance(error, InstantiationException) and isinstance(cause, TypeError):
        return f"{_explain_type_error(str(error), cause, conf, config_name)}\n{SHOW_WHERE}"
    return None


def _explain_config(error: OmegaConfBaseException) -> str:
    """OmegaConf's message in one sentence, with the option that it is about."""
    message = re.sub(r"^\w+ raised while resolving interpolation: ", "", str(error).splitlines()[0])
    if missing := re.search(r"Missing mandatory value: (\S+)", message):
        return f"give {missing.group(1)}=..., which has no default"
    ours = (c for c in _causes(error) if _is_ours(c) and not isinstance(c, OmegaConfBaseException))
    if cause := next(ours, None):
        return str(cause)  # one of our own, raised while Hydra asked for the name of a folder
    if unknown := re.fullmatch(r"Interpolation key '([^']+)' not found", message):
        message = f"${{{unknown.group(1)}}} refers to an option that does not exist"
    where = f"{error.full_key}: " if error.full_key and error.full_key not in message else ""
    return where + message.strip('"')


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The errors that led to an error."""
    while following := error.__cause__ or error.__context__:
        error = following
        yield error


def _is_ours(error: BaseException) -> bool:
    """Whether this package raised the error, so that its message says where."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    package = Path(__file__).parents[1]
    return traceback is not None and Path(traceback.tb_frame.f_code.co_filename).is_relative_to(package)


def _explain_type_error(message: str, cause: TypeError, conf: Path, config_name: str) -> str:
    """The message for an object that does not have an option, or cannot use its value."""
    where = re.search(r"full_key: (\S+)", message)
    group = where.group(1) if where else "the config"
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
    if unknown is None:
        return f"{group} cannot be made with these options: {cause}"
    options = ", ".join(_existing(conf, config_name, group.split("."))) or "none"
    return f"{group} has no option {unknown.group(1)!r}; it has {options}"


def _explain(error: HydraException, conf: Path, config_name: str) -> str:
    """Hydra's message, with the choices or keys that exist where it met one that does not."""
    message = str(error).strip()
    group, _, choice = (getattr(error, "missing_cfg_file", None) or "").rpartition("/")
    if choice in EXTRAS:
        return f"{group}={choice} needs: pip install 'ddpm-lightning[{EXTRAS[choice]}]'"
    if isinstance(error, MissingConfigException) and error.options and choice:
        options = [o for o in error.options if config_name != "train" or not needs_checkpoint(group, o)]
        close = difflib.get_close_matches(choice, options, n=1, cutoff=0.5)
        guess = f" Did you mean {group}={close[0]}?" if close else ""
        return f"unknown {group} {choice!r}: choose from {', '.join(options)}.{guess}"
    if isinstance(error, MissingConfigException) and (name := re.match(r"Cannot find primary config '(.*?)'", message)):
        return (
            f"there is no config {name.group(1)!r}: leave out --config-name, or name a YAML file in the folder of "
            "--config-dir"
        )
    if merging := re.match(r"Error merging override ([^=]+)=(.*)", message):
        why = f": {str(error.__cause__).splitlines()[0]}" if error.__cause__ else ""
        return f"{merging.group(1)}={merging.group(2)} is not possible{why}"
    if removed := re.match(r"Could not delete from config. '(?:(\S+)\.)?(\S+)' does not exist", message):
        section, last = removed.groups(default="")
        existing = _existing(conf, config_name, section.split(".") if section else [])
        return f"there is no {section}.{last} to remove: {section or 'the config'} has {', '.join(existing)}"
    match = re.search(r"Could not override '([^']+)'|full_key: (\S+)", message)
    if match is None:
        return " ".join(line.strip() for line in message.splitlines())
    key = (match.group(1) or match.group(2)).partition("@")[0]
    outer = key.rpartition("/")[0]
    if outer and (chosen := next((word for word in sys.argv[1:] if word.startswith(f"{outer}=")), None)):
        return f"{chosen} has no group {key}: leave out {key}=..."
    *parents, last = re.split(r"[./]", key)
    options = _existing(conf, config_name, parents)
    while parents and not options:  # the misspelt word is further to the left
        last = parents.pop()
        options = _existing(conf, config_name, parents)
    if not parents and (task := _task_without(key, last, conf, config_name)):
        return f"{key!r} has no effect with task={task}: leave it out, or choose another task"
    where = f" of {'.'.join(parents)}" if parents else ""
    valid = f"Options{where}: {', '.join(options)}"
    if not parents and (conf / last).is_dir():
        if last in _composition(conf, config_name).chosen:
            return f"{key!r} is not an option of the selected {last}: choose another one with {last}=..."
        if last not in options:
            return f"{key!r} cannot be changed here: {last} comes from the checkpoint.\n{valid}"
        return f"{key!r} cannot be changed here: of {last}, only single options can.\n{valid}"
    config = _composition(conf, config_name).config
    return f"unknown option {key!r}.{guess_option(key, parents, options, config, config_name)}\n{valid}"


def _task_without(key: str, section: str, conf: Path, config_name: str) -> str | None:
    """The task on the command line, if the default task has an option, or its section, that this one has not."""
    tasks = [word.partition("=")[2] for word in sys.argv[1:] if re.match(r"task=\w+$", word)]
    if not tasks or "task" not in _composition(conf, config_name).chosen:
        return None
    default, chosen = (_composition(conf, config_name, *words).config for words in ((), (f"task={tasks[-1]}",)))
    lost = any(
        OmegaConf.select(default, option, throw_on_resolution_failure=False) is not None
        and OmegaConf.select(chosen, option, throw_on_resolution_failure=False) is None
        for option in (key.replace("/", "."), section)
    )
    return tasks[-1] if lost else None


def _existing(conf: Path, config_name: str, parents: list[str]) -> list[str]:
    """The keys below `parents` in the config as the command line's group choices make it; at the top, groups too."""
    groups = _composition(conf, config_name).chosen
    choices = [w for w in sys.argv[1:] if re.match(r"^[\w/]+=[\w/]+$", w) and w.partition("=")[0] in groups]
    node: Any = _composition(conf, config_name, *choices).config
    for parent in parents:
        node = node.get(parent) if isinstance(node, DictConfig) else None
    keys = {str(key) for key in node if key != "_target_"} if isinstance(node, DictConfig) else set()
    return sorted(keys | ({group.partition("/")[0] for group in groups} if not parents else set()))


def _composition(conf: Path, config_name: str, *choices: str) -> Composition:
    """The config without the command line's options, but with its folders and these choices."""
    return _composed(conf, config_name, (*_own_folders(), *choices))


@cache
def _composed(conf: Path, config_name: str, words: tuple[str, ...]) -> Composition:
    return Composition(conf, config_name, words)


def _own_folders() -> list[str]:
    """The words of the command line that name folders of the user's own YAML files."""
    flag = r"(--config-dir|-cd)"
    return [
        word
        for before, word in pairwise(sys.argv)
        if re.match(rf"{flag}(=|$)|hydra\.searchpath=", word) or re.fullmatch(flag, before)
    ]
