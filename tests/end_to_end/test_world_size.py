"""One process and two make the same run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.training.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow

TWO_PROCESSES = ["trainer=ddp_cpu", "trainer.devices=2", "trainer.precision=32-true"]


class Workplace:
    """An empty folder to start commands in, so that everything they leave is seen."""

    def __init__(self, shell: Callable, folder: Path) -> None:
        self.shell, self.folder = shell, folder

    def run(self, verb: str, *overrides: str) -> None:
        script = Path(__file__).resolve().parents[2] / verb
        result = self.shell(script, *overrides, f"paths.output_dir={self.path()}", cwd=self.folder)
        assert result.returncode == 0, result.stderr

    def path(self, *parts: str) -> Path:
        return self.folder.joinpath("runs", *parts)


@pytest.fixture(scope="module")
def options(resumable: list[str]) -> list[str]:
    return [
        *resumable,
        "model.dropout=0",  # the one thing that each process draws for itself
        "metrics.num_samples=64",
        "metrics.chunk_size=16",
        "trainer.max_steps=5",
        "self_conditioning=true",
        "timesteps=importance",
        "timesteps.num_steps=4",
        "timesteps.history=1",
    ]


@pytest.fixture(scope="module")
def place(
    shell: Callable, options: list[str], tiny_paths: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Workplace:
    """The same run made by one process and by two, and the first one's checkpoint scored and drawn from by two.

    The 8 images of a validation are one batch, so the second process has none.
    """
    place = Workplace(shell, tmp_path_factory.mktemp("workplace"))
    place.run("train.py", *options, "name=one")
    place.run("train.py", *options, *TWO_PROCESSES, "name=two")
    checkpoint = f"checkpoint={place.path('default', 'one')}"
    place.run("evaluate.py", *tiny_paths, checkpoint, *TWO_PROCESSES, f"hydra.run.dir={place.path('evaluated')}")
    drawn = [*tiny_paths, checkpoint, *TWO_PROCESSES, "num=50", "chunk_size=16", "format=npz", "trajectory=true"]
    place.run("sample.py", *drawn, f"hydra.run.dir={place.path('drawn')}")
    return place


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def samples(folder: Path) -> np.ndarray:
    with np.load(folder / "samples.npz") as file:
        return file["images"]


def test_the_first_loss_is_the_same(place: Workplace, logged: Callable[[Path], dict[tuple[int, str], str]]) -> None:
    one, two = (logged(place.path("default", name)) for name in ("one", "two"))
    first = (0, "train/loss")
    assert float(two[first]) == pytest.approx(float(one[first]), rel=1e-5)


def test_everything_logged_is_the_same_to_rounding(
    place: Workplace, logged: Callable[[Path], dict[tuple[int, str], str]]
) -> None:
    one, two = (logged(place.path("default", name)) for name in ("one", "two"))
    assert {(4, "val/loss"), (4, "val/noise_mae"), (4, "val/image_mae"), (4, "val/fid_lenet_mnist")} < one.keys()
    assert one.keys() == two.keys()
    assert {k: float(v) for k, v in two.items()} == pytest.approx({k: float(v) for k, v in one.items()}, rel=1e-3)


def test_two_processes_remember_the_same_losses(place: Workplace) -> None:
    one, two = (
        read_checkpoint(RunFolder(place.path("default", name)).last_checkpoint)["state_dict"] for name in ("one", "two")
    )
    counts, losses = "timestep_memory.counts", "timestep_memory.losses"
    assert one[counts].sum() == 5 * 4 and one[counts].min() > 0
    assert one[counts].max() > one[counts].min() + 1, "the losses should have had an effect"
    assert torch.equal(two[counts], one[counts])
    torch.testing.assert_close(two[losses], one[losses], rtol=1e-3, atol=0)


def test_two_processes_draw_the_same_samples_from_a_checkpoint(place: Workplace) -> None:
    one, two = samples(place.path("default", "one")), samples(place.path("evaluated"))
    assert one.shape == (64, 1, 28, 28)
    assert len(np.unique(one, axis=0)) == 64
    assert np.array_equal(one, two)


def test_two_processes_of_sample_draw_the_same_images(place: Workplace) -> None:
    one, two = samples(place.path("default", "one")), samples(place.path("drawn"))
    assert len(two) == 50  # no whole number of chunks for each
    assert np.array_equal(one[:48], two[:48])
    assert abs(one[48:50].astype(int) - two[48:]).max() <= 1  # computed with fewer others
    run = RunFolder(place.path("drawn"))
    assert (run.path / "trajectory.gif").is_file() and run.read_status()["state"] == "done"


def test_two_processes_give_a_checkpoint_the_same_scores(place: Workplace) -> None:
    one, two = report(place.path("default", "one")), report(place.path("evaluated"))
    assert one["card"] == two["card"]
    assert len(one["values"]) == 6
    assert one["values"] == two["values"]
    assert one["diagnostics"] == two["diagnostics"]


def test_two_processes_measure_the_same_likelihood(place: Workplace, tiny_paths: list[str], tmp_path: Path) -> None:
    words = [f"checkpoint={place.path('default', 'one')}", "metrics=likelihood", "metrics.num_images=10"]
    # Self-conditioning has no ODE.
    words += ["metrics.chunk_size=4", "metrics.bound.num_steps=3", "metrics.ode=null", *tiny_paths]
    one, two = tmp_path / "one", tmp_path / "two"
    place.run("evaluate.py", *words, "trainer.precision=32-true", f"hydra.run.dir={one}")
    place.run("evaluate.py", *words, *TWO_PROCESSES, f"hydra.run.dir={two}")
    assert report(one)["values"] == report(two)["values"]
    assert report(one)["card"] == report(two)["card"]
    with np.load(one / "likelihood.npz") as first, np.load(two / "likelihood.npz") as second:
        assert set(first.files) == set(second.files)
        assert all(np.array_equal(first[name], second[name]) for name in first.files)


def test_two_processes_leave_one_run(place: Workplace) -> None:
    assert sorted(path.name for path in place.folder.iterdir()) == ["runs"]
    assert sorted(path.name for path in place.path().iterdir()) == ["default", "drawn", "evaluated"]
    assert sorted(path.name for path in place.path("default").iterdir()) == ["one", "two"]
    one, two = (place.path("default", name) for name in ("one", "two"))
    assert {path.relative_to(two) for path in two.rglob("*")} == {path.relative_to(one) for path in one.rglob("*")}
    assert RunFolder(two).read_status()["state"] == "done"


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc to list processes")
def test_no_process_is_left_behind(place: Workplace) -> None:
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [command for command in commands if str(place.folder).encode() in command]
