"""Signals that ask a training to end, kept until it can be continued exactly."""

import signal
from types import FrameType
from typing import Any

from lightning.pytorch import Trainer

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; the end of a process or of a SLURM job; SLURM's warning before that (`--signal=USR1@60`)."""
SECONDS_OF_GRACE = 20
"""After this time the training ends where it is; torch's agent kills a rank after 30 seconds."""
STEPS_BETWEEN_AGREEMENTS = 10
"""Several ranks have to agree on the step at which they end, which costs a synchronisation."""


class StopSignals:
    """Notes the first signal; a second one, or 20 seconds, end the process as if nobody had noted it.

    Handlers of others are left alone, except Lightning's for SIGTERM.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Takes the signals over, in the main thread only, where Python allows it."""
        self._received = None
        try:
            for number in SIGNALS:
                before = signal.getsignal(number)
                if number != signal.SIGUSR1 or before == signal.SIG_DFL:  # submitit, too, may listen to that
                    self._before[number] = before
                    signal.signal(number, self._note)
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._end)
        except ValueError:  # not the main thread
            self.restore()

    def restore(self) -> None:
        """Gives the signals back."""
        signal.alarm(0)
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    def agreed(self, trainer: Trainer, every: int = 1) -> bool:
        """Whether the training has to end after this step; the same on all ranks, which all must call it.

        Args:
            trainer: of the training.
            every: steps between those at which several ranks agree; at the others they do not end.
        """
        if trainer.world_size == 1:
            return self._received is not None
        if trainer.global_step % every:
            return False
        return bool(trainer.strategy.reduce_boolean_decision(self._received is not None, all=False))

    def end(self) -> None:
        """Ends the process as the signal would have."""
        self._end(self._received or signal.SIGTERM, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            self._end(number, frame)
        self._received = number
        signal.alarm(SECONDS_OF_GRACE)

    def _end(self, number: int, frame: FrameType | None) -> None:
        if (self._received or number) == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + (self._received or number))
