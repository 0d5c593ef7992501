"""A sweep continues after a failure, reports it, and belongs to one process at a time."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig

from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.sweep.status import SweepFolder
from ddpm_lightning.sweep.watch import SweepWatch, end_sweep

CONF = Path(__file__).parents[2] / "conf"
SCHEDULES = ", ".join(sorted(path.stem for path in (CONF / "schedule").iterdir()))
TORCHRUN = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2", "RANK": "0"}
PROBE = """
from pathlib import Path
from hydra.core.hydra_config import HydraConfig
from ddpm_lightning.verbs.cli import run_verb
from ddpm_lightning.runs.run_folder import RunFolder

def main(config):
    run = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    print("RAN", run.path.name)
    if config.optimizer.outcome == "fails":
        run.write_status("failed", error="ValueError: the loss is NaN")
        raise ValueError("the loss is NaN")
    if config.optimizer.outcome == "crashes":
        raise KeyError("no status")
    run.write_config({"config_version": 2, "seed": config.seed})
    run.write_status("done", scores={})

run_verb(main, "train")
"""


@pytest.fixture
def probe(shell_here: Callable, tmp_path: Path) -> Callable:
    """A verb with train.py's config, whose jobs do nothing but end well or not."""
    (tmp_path / "conf").symlink_to(CONF)
    (tmp_path / "train.py").write_text(PROBE)
    return lambda *overrides: shell_here(tmp_path / "train.py", *overrides, cwd=tmp_path)


class TestAtTheCommandLine:
    def test_the_exit_code_counts_the_jobs_that_failed(self, probe) -> None:
        result = probe("-m", "name=grid", "+optimizer.outcome=fails,crashes,well", "seed=0,1")
        assert result.returncode == 4
        assert result.stdout.count("RAN ") == 6
        assert "Traceback" not in result.stderr
        # Each once, whether the job kept a record or not.
        assert re.findall(r"outcome-(\w+)_seed-(\d)-\w{8} failed: (.*)", result.stderr) == [
            ("fails", "0", "ValueError: the loss is NaN"),
            ("fails", "1", "ValueError: the loss is NaN"),
            ("crashes", "0", "KeyError: 'no status'"),
            ("crashes", "1", "KeyError: 'no status'"),
        ]
        assert result.stdout.splitlines()[-1] == "2 done, 4 failed"
        well = probe("-m", "name=grid", "+optimizer.outcome=well", "seed=0,1")
        assert well.returncode == 0
        assert "no report: there is no finished run with scores" in well.stdout

    def test_a_sweep_where_another_one_is_at_work_is_refused(self, probe, tmp_path) -> None:
        folder = tmp_path / "multirun" / "grid"
        folder.mkdir(parents=True)
        with FileLock(folder / ".lock"):
            result = probe("-m", "name=grid", "seed=0,1")
        assert result.returncode == 1
        assert f"another sweep is running in {folder}" in result.stderr and "name=" in result.stderr
        assert "RAN " not in result.stdout
        assert not (folder / "sweep.json").exists()

    def test_a_sweep_that_cannot_begin_runs_no_job(self, probe, tmp_path) -> None:
        (tmp_path / "multirun").write_text("a file where the folder should be")
        result = probe("-m", "name=grid", "seed=0,1")
        assert result.returncode == 1
        assert "Traceback" not in result.stderr and f"{tmp_path / 'multirun'}" in result.stderr
        assert "RAN " not in result.stdout

    def test_a_misspelt_word_in_what_varies_is_told(self, probe, tmp_path) -> None:
        for words, message in (
            ("schedule=cosin,linear", f"unknown schedule 'cosin': choose from {SCHEDULES}. Did you mean"),
            ("optimizer.lrr=1,2", "unknown option 'optimizer.lrr'. Did you mean optimizer.lr?"),
        ):
            result = probe("-m", words)
            assert result.returncode == 1
            assert message in result.stderr and "Traceback" not in result.stderr
            assert not (tmp_path / "multirun").exists()


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., DictConfig]]:
    """`begin(*overrides)`: begins the sweep in this process, and gives Hydra's config of it."""
    monkeypatch.chdir(tmp_path)
    for variable in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"):
        monkeypatch.delenv(variable, raising=False)

    def make(*overrides: str) -> DictConfig:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            config = loader.load_configuration("train", overrides=list(overrides), run_mode=RunMode.MULTIRUN)
            SweepWatch().on_multirun_start(config)
        return config

    yield make
    end_sweep()
    GlobalHydra.instance().clear()


def test_the_plan_has_all_jobs_in_the_order_in_which_they_are_run(begin: Callable, tmp_path: Path) -> None:
    before = time.time()
    begin("name=grid", "seed=0,1", "loss=mse,mae")
    plan = SweepFolder(tmp_path / "multirun" / "grid").read_plan()
    assert plan["command"] == ["name=grid", "seed=0,1", "loss=mse,mae"]
    assert before <= plan["began"] <= time.time()
    assert [name[:-9] for name in plan["jobs"]] == [
        "loss-mse_seed-0",
        "loss-mae_seed-0",
        "loss-mse_seed-1",
        "loss-mae_seed-1",
    ]


def test_a_sweeper_that_samples_leaves_its_plan_open(begin: Callable, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    begin("experiment=search", "name=search")
    assert SweepFolder(tmp_path / "multirun" / "search").read_plan()["jobs"] is None


@pytest.mark.parametrize(
    "ranks", [TORCHRUN, {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}], ids=["torch", "slurm"]
)
def test_a_sweeper_that_samples_is_refused_on_several_ranks(
    begin: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranks: dict[str, str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    for variable, value in ranks.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match="a sweeper that samples needs one process"):
        begin("experiment=search", "name=search")
    assert not (tmp_path / "multirun").exists()


def test_ranks_start_no_other_processes(begin: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in TORCHRUN.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match="under torchrun or srun jobs run in these very processes"):
        begin("hydra/launcher=pool", "name=grid", "seed=0,1")
    assert not (tmp_path / "multirun").exists()


def test_of_several_ranks_the_first_keeps_the_record(
    begin: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {**TORCHRUN, "RANK": "1"}.items():
        monkeypatch.setenv(variable, value)
    other = begin("name=grid", "seed=0,1")
    assert not (tmp_path / "multirun").exists()
    assert end_sweep() is None
    monkeypatch.setenv("RANK", "0")
    first = begin("name=grid", "seed=0,1")
    assert (tmp_path / "multirun" / "grid" / "sweep.json").is_file()
    assert other.hydra.sweep.dir == first.hydra.sweep.dir
    assert other.hydra.overrides.hydra == first.hydra.overrides.hydra  # so their jobs have the same names


def test_the_folder_is_held_until_the_sweep_ends(begin: Callable, tmp_path: Path) -> None:
    begin("name=grid", "seed=0,1")
    with pytest.raises(SystemExit, match="the sweep cannot begin: another sweep is running"):
        begin("name=grid", "seed=0,1")
    end_sweep()
    begin("name=grid", "seed=0,1")


def test_a_sweep_that_has_not_begun_has_no_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert end_sweep() is None
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "failed"),  # it was refused before it could begin
        ({"state": "failed", "error": "of an earlier try"}, "failed"),
        ({"state": "done", "scores": {}}, "done"),  # of another run, to which the folder belongs
    ],
    ids=["no_record", "an_earlier_one", "another_runs"],
)
def test_a_failure_is_on_record_wherever_a_launcher_runs_the_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: dict | None, after: str
) -> None:
    run = RunFolder(tmp_path / "job")
    if before is not None:
        run.write_status(**before)
    grid = {"_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"}
    config = DictConfig({"hydra": {"runtime": {"output_dir": str(run.path)}, "sweeper": grid}})
    for _ in range(2):  # the second time it is on record, as if the job itself had put it there
        failed = JobReturn(status=JobStatus.FAILED, _return_value=ValueError("steps=0 cannot be"))
        SweepWatch().on_job_end(config, failed)
        status = run.read_status()
        assert status["state"] == after
        if after == "failed":
            assert status["error"] == "ValueError: steps=0 cannot be" and status["error"] in status["traceback"]
        assert capsys.readouterr().err == "job failed: ValueError: steps=0 cannot be\n"
        # Hydra prints errors that it receives; one that is not on record must reach the sweep's process.
        assert failed.status is (JobStatus.COMPLETED if after == "failed" else JobStatus.FAILED)


def test_an_error_that_is_no_users_is_fatal_too(
    begin: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("ddpm_lightning.sweep.watch._begin", broken)
    with pytest.raises(SystemExit, match="the sweep cannot begin: 'a bug'"):
        begin("name=grid", "seed=0,1")


def test_changes_are_printed_if_jobs_are_other_processes(
    begin: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin("name=grid", "seed=0,1", "hydra/launcher=pool")
    folder = tmp_path / "multirun" / "grid"
    printed = ""
    time.sleep(0.3)  # it looks once at the start
    RunFolder(folder / SweepFolder(folder).read_plan()["jobs"][0]).write_status("done")
    for _ in range(100):
        printed += capsys.readouterr().out
        if "1 done, 1 to do" in printed:
            break
        time.sleep(0.1)
    assert "1 done, 1 to do" in printed
