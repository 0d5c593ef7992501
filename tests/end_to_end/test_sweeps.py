"""Sweeps whose jobs take several processes: each job is one run, whoever starts it and however it ends."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from ddpm_lightning.runs.run_folder import RunFolder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc to find processes left behind"),
]

TRAIN = Path(__file__).parents[2] / "train.py"
BATCH_SCRIPT = {
    "SLURM_JOB_ID": "1",
    "SLURM_JOB_NAME": "x",
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NNODES": "1",
    "SLURM_NODELIST": "localhost",
}
"""What a batch script sees, and no step that srun started."""


def train_losses(logged: Callable, folder: Path) -> dict[int, float]:
    return {step: float(value) for (step, name), value in logged(folder).items() if name == "train/loss"}


def samples(folder: Path) -> np.ndarray:
    with np.load(folder / "samples.npz") as file:
        return file["images"]


def assert_one_run_per_seed(place: Any, logged: Callable, expected: Any, ranks: int = 2) -> None:
    """Every job is in one folder, all of its ranks saw its config, and its losses are those of the place `expected`."""
    assert [path.name for path in place.folder.iterdir()] == ["multirun"]
    assert [path.name for path in (place.folder / "multirun").iterdir()] == ["sweep"]
    assert place.states() == {0: "done", 1: "done"}
    for seed, run in place.jobs().items():
        notes = place.notes(run)
        assert [note["rank"] for note in notes] == list(range(ranks))
        assert [note["world_size"] for note in notes] == [ranks] * ranks
        assert [note["config"] for note in notes] == [run.read_config()] * ranks
        losses = train_losses(logged, run.path)
        assert losses.keys() == set(range(5))
        assert losses[0] == pytest.approx(train_losses(logged, expected.jobs()[seed].path)[0], rel=1e-5)
    assert place.processes() == []


def test_all_ranks_of_a_job_make_one_run(by_two, by_one, logged):
    assert_one_run_per_seed(by_two, logged, expected=by_one)


def test_jobs_by_one_process_are_the_same_runs(by_one, by_two, logged):
    assert_one_run_per_seed(by_one, logged, expected=by_two, ranks=1)
    first, second = (train_losses(logged, run.path)[0] for run in by_one.jobs().values())
    assert first != pytest.approx(second, rel=1e-3)  # so that equal losses mean something


def test_under_torchrun_each_rank_runs_its_share_of_every_job(workplace, by_two, two_processes, logged):
    place = workplace(*two_processes, "callbacks=minimal")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", TRAIN, "-m")
    ended = place.run("seed=0,1", command=torchrun)
    assert ended.code == 0, ended.printed
    assert_one_run_per_seed(place, logged, expected=by_two)


@pytest.mark.parametrize("devices", [1, 2])
def test_the_variables_of_a_batch_script_start_no_ranks(workplace, by_one, logged, devices):
    place = workplace("callbacks=minimal", "trainer=ddp_cpu", "trainer.precision=32-true", f"trainer.devices={devices}")
    ended = place.run("seed=0", **BATCH_SCRIPT)
    assert ended.code == 0, ended.printed
    (run,) = (path.parent for path in place.sweep.glob("*/status"))
    expected = train_losses(logged, by_one.jobs()[0].path)
    assert train_losses(logged, run)[0] == pytest.approx(expected[0], rel=1e-5)
    ranks = [int(path.suffix[1:]) for path in (place.witness / "notes").iterdir()]
    assert sorted(ranks) == [*range(devices)]


@pytest.mark.parametrize("how", ["two processes", "pool"])
def test_jobs_find_the_users_own_yaml(workplace, two_processes, tmp_path, how):
    own = tmp_path / "own"
    (own / "schedule").mkdir(parents=True)
    (own / "schedule" / "mine.yaml").write_text((TRAIN.parent / "conf" / "schedule" / "linear.yaml").read_text())
    launcher = two_processes if how == "two processes" else ("hydra/launcher=pool", "hydra.launcher.jobs=1")
    place = workplace("callbacks=minimal", "schedule=mine", *launcher)
    ended = place.run("seed=0", f"--config-dir={own}")
    assert ended.code == 0, ended.printed
    assert place.jobs()[0].read_config()["hydra"]["choices"]["schedule"] == "mine"


def test_a_second_sweep_in_the_same_interpreter_is_as_the_first(workplace, two_processes, logged, tmp_path):
    place = workplace("callbacks=minimal")
    script = tmp_path / "twice.py"
    script.write_text(
        "import runpy, sys\n"
        "words = sys.argv[2:]\n"
        "codes = []\n"
        f"for extra in (['seed=0', 'name=first'], [*{list(two_processes)}, 'seed=0', 'name=second']):\n"
        "    sys.argv = [sys.argv[0], '-m', *words, *extra]\n"
        f"    sys.argv[0] = {str(TRAIN)!r}\n"
        "    try:\n"
        f"        runpy.run_path({str(TRAIN)!r}, run_name='__main__')\n"
        "    except SystemExit as end:\n"
        "        codes.append(end.code)\n"
        "sys.exit(codes != [0, 0])\n"
    )
    ended = place.run(command=(script, "-m"))
    assert ended.code == 0, ended.printed
    (first,), (second,) = (list((place.folder / "multirun" / name).glob("*/status")) for name in ("first", "second"))
    losses = [train_losses(logged, path.parent)[0] for path in (first, second)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert place.processes() == []


@pytest.fixture(scope="module")
def failing(workplace: Callable[..., Any], two_processes: tuple[str, ...]) -> tuple[Any, Any]:
    """A sweep in which rank 1 raises, rank 0 raises, rank 1 is killed, and the last job is well."""
    place = workplace(*two_processes, "callbacks=minimal")
    place.order("raise here at rank 1", "seed-0", 1, 2)
    place.order("raise here at rank 0", "seed-1", 0, 2)
    place.order("die", "seed-2", 1, 2)
    return place, place.run("seed=0,1,2,3")


def test_the_exit_code_counts_the_jobs_that_failed(failing):
    _, ended = failing
    assert ended.code == 3, ended.printed
    assert "1 done, 3 failed" in ended.printed


def test_a_failed_job_does_not_stop_the_sweep(failing):
    place, _ = failing
    assert place.states() == {0: "failed", 1: "failed", 2: "failed", 3: "done"}


@pytest.mark.parametrize("rank", [0, 1])
def test_a_job_reports_the_error_of_any_rank(failing, rank):
    place, ended = failing
    status = place.jobs()[1 - rank].read_status()
    assert status["error"] == f"RankError: rank {rank} of this job failed: RuntimeError: here at rank {rank}"
    assert "Traceback" in status["traceback"] and "in _follow" in status["traceback"]
    assert f"failed: RankError: rank {rank} of this job failed" in ended.printed


def test_a_killed_rank_is_reported_with_its_signal(failing):
    place, _ = failing
    assert "rank 1 of this job failed: Signal 9 (SIGKILL)" in place.jobs()[2].read_status()["error"]


def test_a_failure_is_on_record_before_the_next_job_begins(failing):
    place, ended = failing
    order = [(0, "running"), (0, "failed"), (1, "running"), (1, "failed"), (2, "running"), (2, "failed")]
    assert ended.states == [*order, (3, "running"), (3, "done")]
    jobs = place.jobs()
    for seed in range(3):
        assert jobs[seed].status_file.stat().st_mtime < jobs[seed + 1].config_file.stat().st_mtime


def test_no_rank_outlives_its_job(failing):
    place, _ = failing
    assert place.processes() == []


class Evaluations(NamedTuple):
    """The jobs' folders, what they held, what the same command again said of them, and what they held then."""

    jobs: list[Path]
    before: list[Any]
    again: Any
    after: list[Any]


@pytest.fixture(scope="module")
def evaluations(
    workplace: Callable[..., Any], by_two: Any, tiny_paths: list[str], snapshot: Callable[[Path], Any]
) -> Evaluations:
    """One process scores the runs that two made, with two numbers of steps and two etas, and does so again."""
    place = workplace()
    place.options = [*tiny_paths, "trainer.accelerator=cpu", "trust=witness"]
    words = [f"checkpoint={by_two.sweep}/*", "sampler.steps=2,3", "sampler.eta=0,1"]
    command = (TRAIN.with_name("evaluate.py"), "-m")
    first = place.run(*words, command=command)
    assert first.code == 0, first.printed
    (sweep,) = (place.folder / "multirun").iterdir()
    jobs = sorted(path.parent for path in sweep.glob("*/status"))
    before = [snapshot(job) for job in jobs]
    return Evaluations(jobs, before, place.run(*words, command=command), [snapshot(job) for job in jobs])


def test_every_checkpoint_is_scored_with_every_choice(evaluations, by_two):
    configs = [RunFolder(job).read_config() for job in evaluations.jobs]
    scored = {(Path(c["checkpoint"]["path"]).parents[1], c["sampler"]["steps"], c["sampler"]["eta"]) for c in configs}
    assert len(configs) == 8
    assert scored == {(run.path, steps, eta) for run in by_two.jobs().values() for steps in (2, 3) for eta in (0, 1)}


def test_a_sweep_of_evaluations_ends_in_quality_against_cost(evaluations):
    report = evaluations.jobs[0].parent / "report"
    assert (report / "cost_quality.png").is_file() and (report / "report.html").is_file()
    rows = pd.read_csv(report / "report.csv")
    assert sorted(zip(rows["sampler.steps"], rows["sampler.eta"], strict=True)) == [(2, 0), (2, 1), (3, 0), (3, 1)]
    assert (rows["kid_lenet_mnist_n"] == 2).all()
    assert (rows["sampling_seconds"] > 0).all()


def test_one_process_draws_the_samples_that_two_drew(evaluations, by_two):
    for run in by_two.jobs().values():
        theirs = samples(run.path)
        assert len(np.unique(theirs, axis=0)) == 64
        ours = {job.name.partition("_sampler")[2]: job for job in evaluations.jobs if run.path.name in job.name}
        same = [np.array_equal(samples(job), theirs) for _, job in sorted(ours.items())]
        assert same == [True, False, False, False]  # sorted by eta, then steps: as they were scored comes first


def test_an_evaluation_that_is_done_is_not_done_again(evaluations):
    assert evaluations.again.code == 0, evaluations.again.printed
    assert "8 done" in evaluations.again.printed
    assert all(len(files) > 4 for files in evaluations.before)
    assert evaluations.after == evaluations.before
