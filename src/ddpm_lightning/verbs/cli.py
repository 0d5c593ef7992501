"""Entry point of all commands: starts Hydra, turns errors into messages that list the valid choices."""

import difflib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ddpm_lightning.processes import end_with_parent
from ddpm_lightning.sweep.checkpoint_pattern import expand_checkpoints, name_checkpoint
from ddpm_lightning.sweep.watch import CannotBeginError, end_sweep

UserError = (ValueError, OSError, FloatingPointError)
"""Errors whose message says all that a user needs; others come with a traceback."""
LARGEST_EXIT_CODE = 100
"""Codes above 125 mean other things to a shell."""
INTERRUPTED = 130
"""As in shells: 128 + SIGINT."""
SHOW_WHERE = "(set DDPM_TRACEBACK=1 to see where)"


def verb(main: Callable[[DictConfig], Any], config_name: str) -> None:
    """Runs `main` with the config `conf/<config_name>.yaml` and the command line's overrides.

    The exit code is 0, 1 after an error, or the number of a sweep's jobs that failed.
    """
    conf = Path(sys.argv[0]).resolve().parent / "conf"
    end_with_parent()
    # Let Hydra raise, so that we can print a better message.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        words = sys.argv[1:] if config_name == "train" else name_checkpoint(sys.argv[1:])
        sys.argv[1:] = expand_checkpoints(words)
        hydra.main(version_base="1.3", config_path=str(conf), config_name=config_name)(main)()
    except CannotBeginError as error:
        _exit_with_message(error.cause, conf, config_name)
    except KeyboardInterrupt:
        end_sweep()
        print("interrupted: the same command continues (a single run: with name=, or resume=RUN)", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if failed := end_sweep():  # the jobs' own tracebacks are in their status
            print(f"{sys.argv[0]}: {_message(error, conf, config_name) or repr(error)}", file=sys.stderr)
            sys.exit(min(failed, LARGEST_EXIT_CODE))
        _exit_with_message(error, conf, config_name)
    sys.exit(min(end_sweep() or 0, LARGEST_EXIT_CODE))


def _exit_with_message(error: Exception, conf: Path, config_name: str) -> NoReturn:
    """Ends the process with the message of an error; with its traceback if that is needed."""
    message = _message(error, conf, config_name)
    if message is None:
        raise error
    sys.exit(f"{sys.argv[0]}: {message}")


def _message(error: Exception, conf: Path, config_name: str) -> str | None:
    """All that a user needs to know about an error; None for one that needs its traceback."""
    if isinstance(error, OmegaConfBaseException):
        message = re.sub(r"^\w+ raised while resolving interpolation: ", "", str(error).splitlines()[0])
        missing = re.search(r"Missing mandatory value: (\S+)", message)
        return f"give {missing.group(1)}=..., which has no default" if missing else message
    if isinstance(error, HydraException) and not isinstance(error, InstantiationException):
        return _explain(error, conf, config_name)
    if "DDPM_TRACEBACK" in os.environ:
        return None
    # An object that refuses its options does so inside Hydra's `instantiate`.
    cause = error.__cause__ if isinstance(error, InstantiationException) else error
    if isinstance(cause, UserError):
        return f"{cause}\n{SHOW_WHERE}"
    if isinstance(error, InstantiationException) and isinstance(cause, TypeError):
        return f"{_explain_type_error(str(error), cause, conf, config_name)}\n{SHOW_WHERE}"
    return None


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
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        for extra in ("submitit", "optuna"):
            if choice.startswith(extra):
                return f"{group}={choice} needs: pip install -e '.[{extra}]'"
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
    where = f" of {'.'.join(parents)}" if parents else ""
    valid = f"Options{where}: {', '.join(options)}"
    if not parents and (conf / last).is_dir():
        if last in options:
            return f"{key!r} is not an option of the selected {last}: choose another one with {last}=..."
        return f"{key!r} cannot be changed here: {last} comes from the checkpoint.\n{valid}"
    close = difflib.get_close_matches(last, options, n=1, cutoff=0.5)
    guess = f" Did you mean {'.'.join([*parents, *close])}?" if close else ""
    return f"unknown option {key!r}.{guess}\n{valid}"


def _existing(conf: Path, config_name: str, parents: list[str]) -> list[str]:
    """The keys below `parents` in the config as the command line's group choices make it; at the top, groups too."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf), version_base="1.3"):
        groups = hydra.compose(config_name, return_hydra_config=True).hydra.runtime.choices
        chosen = [o for o in sys.argv[1:] if re.match(r"^[\w/]+=[\w/]+$", o) and o.partition("=")[0] in groups]
        node: Any = hydra.compose(config_name, overrides=chosen)
        for parent in parents:
            node = node.get(parent) if isinstance(node, DictConfig) else None
    keys = {str(key) for key in node if key != "_target_"} if isinstance(node, DictConfig) else set()
    return sorted(keys | ({group.partition("/")[0] for group in groups} if not parents else set()))
