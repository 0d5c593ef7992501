"""Commands that are started to be killed, in new interpreters or forked from one that has imported everything."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

REPOSITORY = Path(__file__).parents[2]
TRAIN = str(REPOSITORY / "train.py")


class Started(ABC):
    """A running command.

    Attributes:
        pid: its process.
    """

    pid: int

    @abstractmethod
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""

    def kill(self) -> None:
        """Kills it, and waits until it has ended."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Waits for its end."""
        while (code := self.code()) is None:
            time.sleep(0.005)
        return code


Start = Callable[[Sequence[str], Path, Mapping[str, str], Path], Started]
"""`start(words, folder, environment, log)`: `train.py` with these words."""


class Cold(Started):
    """A command in a new interpreter, as a user starts it."""

    def __init__(self, words: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, TRAIN, *words], cwd=folder, env=dict(environment), stdout=file, stderr=file
            )
        self.pid = self._process.pid

    def code(self) -> int | None:
        return self._process.poll()


class Warm(Started):
    """A command whose process is forked by a `WarmServer`, which answers with its number and later its exit code."""

    def __init__(self, answers: "SimpleQueue[int]") -> None:
        self._answers = answers
        self._code: int | None = None
        self.pid = answers.get()

    def code(self) -> int | None:
        if self._code is None:
            with suppress(Empty):
                self._code = self._answers.get_nowait()
        return self._code


class WarmServer:
    """A process that has imported what a training needs, and forks one command after the other.

    It saves the seconds that imports take, which is most of the time of a tiny run.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        program = [sys.executable, str(Path(__file__).with_name("warm_server.py"))]
        self._process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(environment)
        )
        self._answers: SimpleQueue[int] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(int(line))

    def start(self, words: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> Started:
        """Starts the command; the one before must have ended."""
        assert self._process.stdin is not None
        request = {"words": [TRAIN, *words], "folder": str(folder), "environment": dict(environment), "log": str(log)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Warm(self._answers)

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
