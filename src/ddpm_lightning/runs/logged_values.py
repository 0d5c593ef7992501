"""The names of the values that a run logs, known before it logs them: what an option that names one of them may name.

The module and our callbacks say what they log, even if not at each validation (`LogsValues`). So may a callback of a
user's own; one that does not may log anything.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, cast, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig

from ddpm_lightning.training.training_module import TrainingModule

STAGES_OF_MONITORS = ("train", "val")


@runtime_checkable
class LogsValues(Protocol):
    """A callback that says which values it logs."""

    def logged_values(self, module: TrainingModule, stage: str) -> set[str]:
        """The names of all values that it may log in a stage: "train", "val" or "test"."""


class UnknownValueError(ValueError):
    """An option names a value that the run never logs."""


def logged_values(module: TrainingModule, callbacks: Iterable[Callback], stages: Sequence[str]) -> set[str]:
    """The names that the module and those callbacks that say so may log in these stages."""
    declaring = [callback for callback in callbacks if isinstance(callback, LogsValues)]
    return {
        name
        for stage in stages
        for names in (module.logged_values(stage), *(callback.logged_values(module, stage) for callback in declaring))
        for name in names
    }


def check_named_values(config: DictConfig, module: TrainingModule, callbacks: Sequence[Callback]) -> None:
    """Checks the options of a run that name a logged value: each `callbacks.*.monitor`, and `optimize.score`.

    A run with callbacks that do not say what they log is not checked here.

    Raises:
        UnknownValueError: one names a value that is never logged.
    """
    if not all(map(_says_what_it_logs, callbacks)):
        return
    for key, options in config.callbacks.items():
        if options and (monitor := options.get("monitor")) is not None:
            known = logged_values(module, callbacks, STAGES_OF_MONITORS)
            check_name(f"callbacks.{key}.monitor", monitor, known)
    if config.get("optimize") and (score := config.optimize.score) is not None:
        check_name("optimize.score", score, logged_values(module, callbacks, ["test"]))


def check_logged(option: str, name: str, trainer: Trainer, module: LightningModule) -> None:
    """Checks, at the end of a validation, an option that names a value that was not logged in it.

    Raises:
        UnknownValueError: no part of the run says that it logs the value at another one.
    """
    assert isinstance(module, TrainingModule)
    callbacks = cast(list[Callback], trainer.callbacks)  # type: ignore[attr-defined]
    check_name(option, name, logged_values(module, callbacks, STAGES_OF_MONITORS) | {*trainer.callback_metrics})


def check_name(option: str, name: str, known: Iterable[str]) -> None:
    """Raises UnknownValueError if the option's value is not among the known names."""
    if name not in known:
        raise UnknownValueError(f"{option}={name} names a value that this run does not log: it logs {_listed(known)}")


def _says_what_it_logs(callback: Callback) -> bool:
    own = type(callback).__module__.partition(".")[0] not in ("ddpm_lightning", "lightning")
    return not own or isinstance(callback, LogsValues)


def _listed(names: Iterable[str]) -> str:
    """The names in order, those of single noise levels by an example."""
    whole = sorted(name for name in names if name.count("/") < 2)
    single = min((name for name in names if name.count("/") > 1), default=None)
    return ", ".join(whole) + (f", and errors at single noise levels, as {single}" if single else "")
