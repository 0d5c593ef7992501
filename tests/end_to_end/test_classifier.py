"""Runs of task=classifier are as exact as others: killed and resumed, by one process and by two, and reported."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.training.checkpoint import CONFIG_KEY, read_checkpoint
from ddpm_lightning.verbs.report import USAGE
from tiny_runs import of_classifier

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def train(shell: Callable, resumable: list[str], output: Path) -> Callable[..., Any]:
    """`train(name, *options, kill_at="")`: a run of 12 steps in the folder `name`."""
    options = [
        *of_classifier(resumable),
        f"paths.output_dir={output}",
        "trainer.max_steps=12",
        "callbacks.checkpointing.every_n_steps=3",
        "+callbacks.killer._target_=killer.Killer",
    ]

    def run(name: str, *more: str, kill_at: str = "") -> Any:
        words = [*options, *more, f"name={name}"]
        return shell("train.py", *words, PYTHONPATH=str(Path(__file__).parent), KILL_AT=kill_at)

    return run


@pytest.fixture(scope="module")
def whole(train: Callable[..., Any], output: Path) -> Path:
    """The run that nothing stops."""
    result = train("whole")
    assert result.returncode == 0, result.stderr
    return output / "default" / "whole"


def state_of(run: Path) -> dict[str, Any]:
    state = read_checkpoint(run / "checkpoints/last.ckpt")
    del state[CONFIG_KEY]
    return state


@pytest.mark.parametrize("moment", ["on_train_batch_start:8", "write:6"])
def test_a_killed_classifier_ends_as_an_uninterrupted_one(
    train: Callable[..., Any],
    whole: Path,
    output: Path,
    differences: Callable[[Any, Any], list[str]],
    logged: Callable[[Path], dict[tuple[int, str], str]],
    moment: str,
) -> None:
    name = f"killed-{moment.replace(':', '-')}"
    assert train(name, kill_at=moment).returncode == -signal.SIGKILL
    folder = output / "default" / name
    assert RunFolder(folder).read_status()["state"] == "running"
    again = train(name)
    assert again.returncode == 0, again.stderr
    assert "continuing from" in again.stdout
    assert differences(state_of(folder), state_of(whole)) == []
    assert differences(logged(folder), logged(whole)) == []
    reports = [json.loads((run / "metrics.json").read_text()) for run in (folder, whole)]
    assert differences(*reports) == []
    assert reports[0]["diagnostics"]["test/accuracy"] >= 0


def test_one_process_and_two_train_the_same_classifier(
    train: Callable[..., Any],
    output: Path,
    two_processes: tuple[str, ...],
    logged: Callable[[Path], dict[tuple[int, str], str]],
) -> None:
    for name, more in (("one", ()), ("two", two_processes)):
        result = train(name, "model.dropout=0", *more)  # dropout is what each process draws for itself
        assert result.returncode == 0, result.stderr
    one, two = (logged(output / "default" / name) for name in ("one", "two"))
    assert {(0, "train/loss"), (4, "val/loss"), (4, "val/accuracy")} <= one.keys() == two.keys()
    first = (0, "train/loss")
    assert float(two[first]) == pytest.approx(float(one[first]), rel=1e-5)
    values = {key for key in one if "accuracy" not in key[1]}
    assert {k: float(two[k]) for k in values} == pytest.approx({k: float(one[k]) for k in values}, rel=1e-3)
    cards = [json.loads((output / "default" / name / "metrics.json").read_text())["card"] for name in ("one", "two")]
    assert cards[0] == cards[1]


def test_a_sweep_of_classifiers_has_a_report_by_accuracy(shell: Callable, resumable: list[str], tmp_path: Path) -> None:
    repository = Path(__file__).parents[2]
    sweep = ["-m", "name=sweep", "schedule=linear,cosine", "seed=0,1", "trainer.max_steps=2"]
    result = shell(repository / "train.py", *of_classifier(resumable), *sweep, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    reported = shell(repository / "report.py", "multirun/sweep", cwd=tmp_path)
    assert reported.returncode == 0, reported.stderr
    assert "| schedule | accuracy " in reported.stdout and "Higher is better" in reported.stdout
    assert "8 noised images, test split of mnist; ema weights" in reported.stdout
    assert "accuracy" in USAGE
    assert (tmp_path / "multirun/sweep/report/report.html").is_file()
