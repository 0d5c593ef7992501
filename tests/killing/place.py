"""A folder in which one sweep is started, killed and started again, and everything it leaves can be seen."""

import os
from pathlib import Path

from killing.beats import VARIABLE, Beat, read_beats
from killing.commands import Start, Started
from tiny_runs import TINY_OPTIONS

STEPS = 20
OPTIONS = (
    *TINY_OPTIONS,
    "+callbacks.beats._target_=killing.beats.Beats",
    "dataset.flip=true",
    "model.num_classes=10",
    "model.dropout=0.1",
    "callbacks.sample_grid.num_samples=4",
    "callbacks.checkpointing.every_n_steps=3",
    "metrics.every_n_epochs=1",
    f"trainer.max_steps={STEPS}",
    "trainer.check_val_every_n_epoch=null",
    "trainer.val_check_interval=8",
    "trainer.log_every_n_steps=1",
    "logger=[tensorboard,csv]",
    "name=sweep",
)
"""Every kind of randomness, pictures, scores in validations, two loggers; checkpoints in mid-epoch and elsewhere."""
JOBS = 2


class Place:
    """The folders of one sweep, with more options if there are some; `data` is shared by all."""

    def __init__(self, folder: Path, data: Path, *options: str) -> None:
        self.data, self.options = data, options
        self.work, self.cache, self.temporary = folder / "work", folder / "cache", folder / "tmp"
        self.sweep = self.work / "multirun" / "sweep"
        self.log, self._beats = folder / "printed", folder / "beats"
        for path in (self.work, self.temporary):
            path.mkdir(parents=True)

    def start(self, start: Start) -> Started:
        """Starts the sweep's command, always the same."""
        words = ["-m", *OPTIONS, f"paths.data_dir={self.data}", f"paths.cache_dir={self.cache}"]
        words += [f"seed={','.join(map(str, range(JOBS)))}", *self.options]
        changes = {"OMP_NUM_THREADS": "1", "TMPDIR": str(self.temporary), VARIABLE: str(self._beats)}
        return start(words, self.work, environment(**changes), self.log)

    def beats(self) -> list[Beat]:
        """All beats of all starts."""
        return read_beats(self._beats)

    def done_jobs(self) -> int:
        """How many jobs are done."""
        return sum('"done"' in path.read_text() for path in self.sweep.glob("*/status"))

    def files(self) -> set[str]:
        """Every file and folder that the commands have left, with event files by one name."""
        roots = [self.work, self.cache, self.temporary]
        found = [(root.name / path.relative_to(root)) for root in roots for path in root.rglob("*")]
        return {str(path.with_name("events") if path.name.startswith("events.out.") else path) for path in found}


def environment(**changes: str) -> dict[str, str]:
    """The environment of commands, in which they find the callback `Beats`."""
    modules = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": modules, "COLUMNS": "200", **changes}
