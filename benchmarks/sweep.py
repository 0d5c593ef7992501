"""Overhead of a sweep per job, and speed-up from running two jobs at once on one machine.

    python benchmarks/sweep.py

Overhead: the time from the end of one job to the end of the next, minus the job's own time for training and sampling.
It includes composing the config, building data, network and trainer, the pass over the test split, features and scores
of the samples, and writing all files.

Two at once: the time of the whole command with `hydra/launcher=pool`, where two jobs share the cores, divided by its
time with one job after the other. The two alternate; the result is the median of the ratios.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

TRAIN = Path(__file__).parents[1] / "train.py"
ROUNDS = 3
SHORT = ["trainer.max_steps=200", "trainer.val_check_interval=200"]


def run(folder: Path, *overrides: str) -> float:
    """Runs a sweep in a folder, and returns its duration in seconds."""
    began = time.perf_counter()
    command = [sys.executable, str(TRAIN), "-m", *SHORT, f"hydra.sweep.dir={folder}", *overrides]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def overheads(folder: Path) -> list[float]:
    """The overhead in seconds of all jobs except the first, which also pays for the imports."""
    jobs = sorted(folder.glob("*/status"), key=lambda path: path.stat().st_mtime)
    costs = [json.loads((job.parent / "metrics.json").read_text())["cost"] for job in jobs]
    spent = [cost["wall_seconds"] + cost["sampling_seconds"] for cost in costs]
    between = [after.stat().st_mtime - before.stat().st_mtime for before, after in pairwise(jobs)]
    return [whole - own for whole, own in zip(between, spent[1:], strict=True)]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        run(root / "overhead", "seed=0,1,2,3")
        found = overheads(root / "overhead")
        print(f"overhead per job: {', '.join(f'{seconds:.2f}' for seconds in found)} s", flush=True)
        ratios = []
        for number in range(ROUNDS):
            one = run(root / f"one-{number}", "callbacks=minimal", "seed=0,1")
            two = run(root / f"two-{number}", "callbacks=minimal", "seed=0,1", "hydra/launcher=pool")
            ratios.append(two / one)
            print(f"one after the other {one:.1f} s, at once {two:.1f} s, ratio {two / one:.2f}", flush=True)
        print(f"two jobs at once take {statistics.median(ratios):.2f} times as long as one after the other (median)")


if __name__ == "__main__":
    main()
