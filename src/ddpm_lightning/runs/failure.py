"""How the error of a job is recorded and printed."""

from hydra.errors import InstantiationException

from ddpm_lightning.runs.system_errors import explain_system_error


class RankError(RuntimeError):
    """A rank of a job failed.

    Attributes:
        details: its traceback, if it could record one.
    """

    def __init__(self, message: str, details: str) -> None:
        super().__init__(message)
        self.details = details


def cause_of(error: BaseException) -> BaseException:
    """The error itself, or the one of the class that Hydra's `instantiate` was making, which wraps it in its own."""
    return (error.__cause__ or error) if isinstance(error, InstantiationException) else error


def failure_message(error: BaseException) -> str:
    """The kind of the error and its message, as in "ValueError: attention_levels [7] do not exist".

    One of the operating system is explained instead.
    """
    cause = cause_of(error)
    return explain_system_error(cause) or f"{type(cause).__name__}: {cause}"
