"""A long training with scores every few minutes: do memory, open files, speed and TensorBoard's log stay as they are?

    python benchmarks/long_run.py --minutes 120

Trains the default model on MNIST, and scores 500 samples every fourth epoch, until the time is over; then SIGTERM ends
the training, which must save its state. Every --period minutes it prints

- resident memory and open file descriptors of the training (from /proc, so this needs Linux);
- images per second: the median over the logged intervals that hold no validation;
- how many logged values TensorBoard's own reader finds in the log at that moment.

At the end: the slope of the memory by least squares, without the first ten minutes, in which the allocators settle, and
the largest deviation of the speed from its median.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TRAIN = Path(__file__).parents[1] / "train.py"
SETTLED = 600
"""Seconds after which memory is compared."""
BATCH, LOGGED_EVERY = 128, 50
OPTIONS = [
    "dataset=mnist",
    f"dataset.batch_size={BATCH}",
    "trainer.max_steps=1000000",
    f"trainer.log_every_n_steps={LOGGED_EVERY}",
    "trainer.val_check_interval=1.0",
    "trainer.check_val_every_n_epoch=1",
    "metrics.every_n_epochs=4",
    "metrics.num_samples=500",
    "name=long_run",
]


@dataclass(frozen=True)
class Moment:
    """What is measured at one moment.

    Attributes:
        seconds: since the start.
        step: last logged optimizer step.
        memory: resident memory in MB.
        files: open file descriptors.
        speed: images per second since the moment before; NaN if nothing was logged.
        values: values in TensorBoard's log.
    """

    seconds: float
    step: int
    memory: float
    files: int
    speed: float
    values: int


def measure(process: int, log: Path, began: float, last_step: int) -> Moment:
    """The present moment of a training."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    reader = EventAccumulator(str(log), size_guidance={"scalars": 0})
    reader.Reload()
    scalars = {tag: reader.Scalars(tag) for tag in reader.Tags()["scalars"]}
    losses = scalars.get("train/loss", [])
    intervals = [b.wall_time - a.wall_time for a, b in pairwise(losses) if a.step >= last_step]
    # A validation makes an interval longer; most have none.
    speed = BATCH * LOGGED_EVERY / statistics.median(intervals) if intervals else float("nan")
    return Moment(
        seconds=time.monotonic() - began,
        step=losses[-1].step if losses else 0,
        memory=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        files=len(list(Path(f"/proc/{process}/fd").iterdir())),
        speed=speed,
        values=sum(map(len, scalars.values())),
    )


def watch(process: "subprocess.Popen[bytes]", log: Path, minutes: float, period: float) -> list[Moment]:
    """Measures every `period` minutes, and prints each line at once."""
    began, moments = time.monotonic(), list[Moment]()
    print("| minutes | step | memory (MB) | descriptors | images/s | logged values |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    while time.monotonic() - began < 60 * minutes:
        time.sleep(60 * period)
        if process.poll() is not None:
            sys.exit(f"the training ended by itself with exit code {process.returncode}")
        moments.append(now := measure(process.pid, log, began, moments[-1].step if moments else 0))
        cells = (f"{now.seconds / 60:.0f}", now.step, f"{now.memory:.1f}", now.files, f"{now.speed:.1f}", now.values)
        print("|", " | ".join(map(str, cells)), "|", flush=True)
    return moments


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--period", type=float, default=10, help="minutes between two lines of the table")
    parser.add_argument("words", nargs="*", help="more options of train.py")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, str(TRAIN), *OPTIONS, f"paths.output_dir={name}", *arguments.words]
        with (Path(name) / "printed").open("wb") as printed:
            process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
        try:
            moments = watch(
                process, Path(name) / "default" / "long_run" / "tensorboard", arguments.minutes, arguments.period
            )
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=120)
        finally:
            process.kill()
    settled = [moment for moment in moments if moment.seconds >= SETTLED]
    slope = np.polyfit([m.step for m in settled], [m.memory for m in settled], 1)[0] * 1000
    typical = statistics.median(m.speed for m in settled)
    deviation = max(abs(m.speed / typical - 1) for m in settled)
    print(f"\nmemory {slope:+.2f} MB per 1,000 steps after the first {SETTLED // 60} minutes")
    print(f"descriptors {min(m.files for m in settled)} to {max(m.files for m in settled)}")
    print(f"images/s {typical:.1f} (median), at most {100 * deviation:.1f} % off; exit code after SIGTERM {code} (143)")


if __name__ == "__main__":
    main()
