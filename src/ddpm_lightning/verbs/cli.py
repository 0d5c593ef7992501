"""Start of the commands that use Hydra, and their end: a message and an exit code."""

import os
import re
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ddpm_lightning.processes import end_with_parent, is_child
from ddpm_lightning.runs.home_folder import use_environment_at_home, words_at_home
from ddpm_lightning.runs.new_folders import remove_new_parents
from ddpm_lightning.runs.own_yaml import conf_folder
from ddpm_lightning.runs.ranks import global_rank, is_own_rank
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.sweep.checkpoint_pattern import expand_checkpoints, name_checkpoint
from ddpm_lightning.sweep.watch import CannotBeginError, end_sweep
from ddpm_lightning.verbs.check_options import check_options
from ddpm_lightning.verbs.explain import message_of
from ddpm_lightning.verbs.grammar import check_flags, misplaced, read_overrides
from ddpm_lightning.verbs.help.page import help_text
from ddpm_lightning.verbs.program import print_page, program_call, program_name
from ddpm_lightning.verbs.text_options import quote_text_options

LARGEST_EXIT_CODE = 100
"""Codes above 125 mean other things to a shell."""
INTERRUPTED = 130
"""As in shells: 128 + SIGINT."""

CONTINUES = {
    "train": ": the same command continues (a single run: with name=, or resume=RUN)",
    "evaluate": ": the same command evaluates again; a sweep continues",
    "sample": ": the same command draws the same images",
}
"""What to do after an interrupt of a verb."""


def run_verb(main: Callable[[DictConfig], Any], config_name: str) -> None:
    """Runs `main` with the config `conf/<config_name>.yaml` and the command line's overrides.

    The exit code is 0, 1 after an error, or the number of a sweep's jobs that failed.
    """
    conf = conf_folder()
    end_with_parent()
    import_from_current_folder()
    # Let Hydra raise, so that we can print a better message.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    errors: list[Exception] = []
    try:
        use_environment_at_home()
        words = words_at_home(sys.argv[1:])
        if config_name != "train":
            words = name_checkpoint(words)
        if {"-h", "--help"} & set(words):
            print_page(help_text(conf, config_name, _readable(words), program_call()))
            sys.exit(0)
        sys.argv[1:] = _readable(expand_checkpoints(_flags_first(words)))
        # A place for YAML files that does not exist, which Hydra passes over.
        warnings.filterwarnings("error", "provider=.* is not available", UserWarning)
        if not is_child():  # a job's words come from a command that is checked already
            check_options(conf, config_name, sys.argv[1:])
        task = _keeping_error(main, config_name, errors)
        hydra.main(version_base="1.3", config_path=str(conf), config_name=config_name)(task)()
        if errors:
            raise errors[0]
    except CannotBeginError as error:
        _exit_with_message(error.cause, conf, config_name)
    except SystemExit as end:
        if not is_own_rank() and isinstance(end.code, int) and end.code > 128:
            end_sweep()
            print(f"ended by {signal.Signals(end.code - 128).name}{CONTINUES[config_name]}", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        end_sweep()
        print(f"interrupted{CONTINUES[config_name]}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if is_own_rank():  # the process that started it has the error, and prints it
            sys.exit(1)
        if failed := end_sweep(has_failed=True):  # the jobs' own tracebacks are in their status
            print(f"{program_name()}: {message_of(error, conf, config_name) or repr(error)}", file=sys.stderr)
            sys.exit(min(failed, LARGEST_EXIT_CODE))
        _exit_with_message(error, conf, config_name)
    sys.exit(min(end_sweep() or 0, LARGEST_EXIT_CODE))


def _readable(words: Sequence[str]) -> list[str]:
    """The words with quotes where Hydra needs them.

    Raises:
        ValueError: it cannot read an option anyway.
    """
    quoted = quote_text_options(words)
    read_overrides(get_args_parser().parse_intermixed_args(quoted).overrides)
    return quoted


def _flags_first(words: Sequence[str]) -> list[str]:
    """The words with Hydra's flags in front, since it takes no flag between options, as in `seed=0 -m loss=mse,mae`.

    Raises:
        ValueError: a word is neither a flag nor an option, or a flag cannot be used.
    """
    check_flags(words)
    parser = get_args_parser()
    parser.error = _refuse_flag  # type: ignore[method-assign]
    arguments = parser.parse_intermixed_args(list(words))
    if arguments.experimental_rerun:
        raise ValueError("--experimental-rerun loads a pickle, which may run code: repeat the command instead")
    if arguments.package and not arguments.cfg:
        raise ValueError("--package selects what --cfg prints: add --cfg job, or leave it out")
    options: list[str] = arguments.overrides
    for place, word in enumerate(options):
        if not (re.search("[^=]=", word) or word.startswith("~")):
            hint = f" (resume={word} continues a run)" if word and Path(word).exists() else ""
            raise ValueError(misplaced(word, options[:place], options[place + 1 :]) + hint)
    left = list(options)
    flags = [word for word in words if not (left and word == left[0] and left.pop(0))]
    return [*flags, *options]


def _refuse_flag(message: str) -> NoReturn:
    raise ValueError(f"{message}; --help lists the flags, and options are written KEY=VALUE")


def _keeping_error(
    main: Callable[[DictConfig], Any], config_name: str, errors: list[Exception]
) -> Callable[[DictConfig], Any]:
    """`main`, with the error of a single run kept in `errors`, since Hydra prints those that it receives."""

    def task(config: DictConfig) -> Any:
        is_single = HydraConfig.get().mode is RunMode.RUN
        try:
            return main(config)
        except BaseException as error:
            if is_single:
                _remove_unused_folder(config_name)
            if not is_single or not isinstance(error, Exception):
                raise
            errors.append(error)
            return None

    return task


def _remove_unused_folder(config_name: str) -> None:
    """Removes the folder that Hydra has made for a command that was refused before it began, and those around it."""
    folder = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    if global_rank() == 0 and folder.is_unused(config_name):
        shutil.rmtree(folder.path, ignore_errors=True)
    if global_rank() == 0 and not folder.path.exists():
        remove_new_parents(folder.path)


def import_from_current_folder() -> None:
    """Makes classes of one's own importable that are in the current folder, whichever way the command is started."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def _exit_with_message(error: Exception, conf: Path, config_name: str) -> NoReturn:
    """Ends the process with the message of an error; with its traceback if that is needed."""
    message = message_of(error, conf, config_name)
    if message is None:
        raise error
    sys.exit(f"{program_name()}: {message}")
