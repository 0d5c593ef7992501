"""`kill -9` at the worst moments, then `python train.py resume=RUN`: the run ends as if nothing had happened."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from ddpm_lightning.runs.find_checkpoint import find_checkpoint
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.training.checkpoint import CONFIG_KEY, read_checkpoint

pytestmark = pytest.mark.slow

STEPS = ("trainer.max_steps=12",)
EPOCHS = (
    "trainer.max_steps=-1",
    "trainer.max_epochs=4",  # of 3 optimizer steps: 2 + 2 + 1 batches
    "trainer.accumulate_grad_batches=2",
    "dataset.num_workers=2",
    "self_conditioning=true",
)
KILLS = {
    "in mid-epoch": (STEPS, "on_train_batch_start:8", 6),
    "at an epoch's last batch": (STEPS, "on_train_batch_end:10", 9),
    "in a validation": (STEPS, "on_validation_batch_end:10", 9),
    "in a checkpoint's write": (STEPS, "write:6", 3),
    "in mid-epoch, accumulating": (EPOCHS, "on_train_batch_start:8", 6),
    "at an epoch's last batch, accumulating": (EPOCHS, "on_train_batch_end:9", 6),
    "in a checkpoint's write, accumulating": (EPOCHS, "write:9", 6),
}
"""Options, the moment of the kill, and the step of the checkpoint that is then the last."""


class Command:
    """`train.py` with the tiny options, in one output folder; run again it continues."""

    def __init__(self, shell: Callable, options: list[str], output: Path) -> None:
        self.shell, self.options, self.output = shell, options, output

    def __call__(self, name: str, *overrides: str, kill_at: str = "") -> Any:
        return self._run(*self.options, *overrides, f"name={name}", kill_at=kill_at)

    def resume(self, name: str) -> Any:
        paths = [word for word in self.options if word.startswith("paths.")]
        return self._run(f"resume={self.folder(name)}", *paths, "trust=killer", kill_at="")

    def folder(self, name: str) -> Path:
        return self.output / "default" / name

    def _run(self, *overrides: str, kill_at: str) -> Any:
        return self.shell("train.py", *overrides, PYTHONPATH=str(Path(__file__).parent), KILL_AT=kill_at)


@pytest.fixture(scope="module")
def train(shell: Callable, resumable: list[str], tmp_path_factory: pytest.TempPathFactory) -> Command:
    output = tmp_path_factory.mktemp("outputs")
    options = [
        *resumable,
        f"paths.output_dir={output}",
        "callbacks.checkpointing.every_n_steps=3",
        "+callbacks.killer._target_=killer.Killer",
    ]
    return Command(shell, options, output)


class Outcome(NamedTuple):
    """What a finished run leaves, apart from its name."""

    state: dict[str, Any]
    logged: dict[tuple[int, str], str]
    scores: dict[str, Any]
    samples: np.ndarray


@pytest.fixture(scope="module")
def outcome(logged: Callable[[Path], dict[tuple[int, str], str]]) -> Callable[[Path], Outcome]:
    def read(folder: Path) -> Outcome:
        state = read_checkpoint(folder / "checkpoints/last.ckpt")
        del state[CONFIG_KEY]
        with np.load(folder / "samples.npz") as file:
            samples = file["images"]
        return Outcome(state, logged(folder), json.loads((folder / "metrics.json").read_text()), samples)

    return read


@pytest.fixture(scope="module")
def uninterrupted(train: Command, outcome: Callable[[Path], Outcome]) -> Callable[[tuple[str, ...]], Outcome]:
    """The outcome of a run with these options that nothing stops; trained once."""

    def run(options: tuple[str, ...]) -> Outcome:
        name = "steps" if options == STEPS else "epochs"
        if not train.folder(name).exists():
            result = train(name, *options)
            assert result.returncode == 0, result.stderr
        return outcome(train.folder(name))

    return run


@pytest.mark.parametrize("case", KILLS)
def test_a_killed_run_ends_as_an_uninterrupted_one(
    train: Command,
    uninterrupted: Callable[[tuple[str, ...]], Outcome],
    outcome: Callable[[Path], Outcome],
    differences: Callable[[Any, Any], list[str]],
    case: str,
) -> None:
    options, moment, last_step = KILLS[case]
    whole = uninterrupted(options)
    name = f"killed-{moment.replace(':', '-')}-{len(options)}"

    assert train(name, *options, kill_at=moment).returncode == -signal.SIGKILL
    folder = train.folder(name)
    assert RunFolder(folder).read_status()["state"] == "running"
    halves = list((folder / "checkpoints").glob(".last.*"))
    assert len(halves) == moment.startswith("write")
    assert find_checkpoint(folder).name == "last.ckpt"
    assert read_checkpoint(find_checkpoint(folder))["global_step"] == last_step

    resumed = train.resume(name)
    assert resumed.returncode == 0, resumed.stderr
    assert f"continuing from {RunFolder(folder).last_checkpoint}" in resumed.stdout
    killed = outcome(folder)
    assert differences(killed.state, whole.state) == []
    assert differences(killed.logged, whole.logged) == []
    assert differences(killed.scores, whole.scores) == []
    assert np.array_equal(killed.samples, whole.samples)


def test_a_named_command_continues_its_run_until_it_is_done(
    train: Command,
    uninterrupted: Callable[[tuple[str, ...]], Outcome],
    outcome: Callable[[Path], Outcome],
    differences: Callable[[Any, Any], list[str]],
) -> None:
    assert train("named", *STEPS, kill_at="on_train_batch_end:4").returncode == -signal.SIGKILL
    again = train("named", *STEPS)
    assert again.returncode == 0, again.stderr
    assert f"continuing from {RunFolder(train.folder('named')).last_checkpoint}" in again.stdout
    assert differences(outcome(train.folder("named")).state, uninterrupted(STEPS).state) == []

    before = {path: path.stat().st_mtime_ns for path in train.folder("named").rglob("*") if path.name != "train.log"}
    third = train("named", *STEPS)
    assert third.returncode == 0, third.stderr
    assert f"this run is done: {train.folder('named')}" in third.stdout
    after = {path: path.stat().st_mtime_ns for path in train.folder("named").rglob("*") if path.name != "train.log"}
    assert after == before
