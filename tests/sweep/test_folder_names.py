"""A run's folder is named by its config, and a sweep finds each of its jobs where it left it."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf.errors import InterpolationResolutionError

from ddpm_lightning.sweep.status import SweepFolder
from ddpm_lightning.sweep.watch import SweepWatch, end_sweep

CONF = Path(__file__).parents[2] / "conf"
STAMP = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-([0-9a-f]{8})"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    for variable in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(variable, raising=False)
    yield tmp_path
    GlobalHydra.instance().clear()


def run_folder(*overrides: str, verb: str = "train") -> Path:
    """The folder of a run of the verb."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return Path(compose(verb, list(overrides), return_hydra_config=True).hydra.run.dir)


def identity(*overrides: str) -> str:
    """The hash in the name of a run's folder."""
    match = re.fullmatch(STAMP, run_folder(*overrides).name)
    assert match
    return match.group(1)


@pytest.fixture(scope="module")
def unchanged() -> str:
    """The hash of the config as it is without a word on the command line."""
    return identity()


@pytest.fixture
def sweep_jobs(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[Path]]:
    """`sweep_jobs(*overrides)`: the folders of the sweep's jobs, in their order."""

    def plan(*overrides: str, verb: str = "train") -> list[Path]:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            config = loader.load_configuration(verb, overrides=list(overrides), run_mode=RunMode.MULTIRUN)
            SweepWatch().on_multirun_start(config)
            end_sweep()
            sweep = Path(config.hydra.sweep.dir)
            return [sweep / name for name in SweepFolder(sweep).read_plan()["jobs"]]

    return plan


def test_a_runs_folder_is_named_by_the_time_and_its_config() -> None:
    assert run_folder().parent == Path("outputs/default")
    assert identity() == identity("name=null") != identity("seed=1")  # so runs begun in one second do not meet
    assert run_folder("experiment_name=mine").parent == Path("outputs/mine")


@pytest.mark.parametrize(
    "change",
    ["seed=1", "schedule=linear", "optimizer.lr=0.1", "dataset.batch_size=8", "ema.decay=0.5", "model.dropout=0.2",
     "weights=raw", "sampler.steps=3", "trainer.max_steps=5", "metrics.num_samples=9",
     "dataset=fashion_mnist", "label_dropout=0.5"],
)  # fmt: skip
def test_every_option_of_a_run_counts(change: str, unchanged: str) -> None:
    assert identity(change) != unchanged


@pytest.mark.parametrize(
    "change",
    ["paths.output_dir=elsewhere", "paths.data_dir=there", "paths.cache_dir=away", "optimize.score=test/loss",
     "trainer.devices=2", "dataset.num_workers=2", "trainer.log_every_n_steps=1", "compile=true"],
)  # fmt: skip
def test_where_a_run_lives_and_what_watches_it_does_not_count(change: str, unchanged: str) -> None:
    assert identity(change) == unchanged


def test_a_named_runs_folder_is_its_name() -> None:
    assert [run_folder("name=mine", f"seed={seed}") for seed in (0, 1)] == [Path("outputs/default/mine")] * 2


def test_a_resumed_runs_folder_is_its_own(here: Path) -> None:
    run = here / "any where" / "run"
    run.mkdir(parents=True)
    (run / "status").write_text("{}")
    assert run_folder("resume='any where/run'") == run
    (here / "empty").mkdir()
    with pytest.raises(InterpolationResolutionError, match="resume=empty is not the folder of a run"):
        run_folder("resume=empty")
    with pytest.raises(InterpolationResolutionError, match="resume=nothing: there is no such folder"):
        run_folder("resume=nothing")
    assert not (here / "nothing").exists()


@pytest.mark.parametrize(
    "ranks", [{"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2"}, {"SLURM_STEP_NUM_TASKS": "2"}], ids=["torchrun", "srun"]
)
def test_ranks_from_outside_need_a_name_to_meet_at(monkeypatch: pytest.MonkeyPatch, ranks: dict[str, str]) -> None:
    for variable, value in ranks.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(InterpolationResolutionError, match="must share a folder: give the run a name="):
        run_folder()
    assert run_folder("name=mine") == Path("outputs/default/mine")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_without_permission_is_refused_at_once(here: Path) -> None:
    (here / "locked").mkdir(mode=0o500)
    with pytest.raises(InterpolationResolutionError, match=r"locked: choose another place with paths\.output_dir=DIR"):
        run_folder("paths.output_dir=locked/deep/down")


class TestSweeps:
    def test_a_sweep_is_named_by_what_it_asks_for_in_any_order(self, sweep_jobs: Callable, here: Path) -> None:
        first, again, other = (
            sweep_jobs(*words)
            for words in (["seed=0,1", "loss=mse,mae"], ["loss=mse,mae", "seed=0,1"], ["seed=0,1,2", "loss=mse,mae"])
        )
        assert first[0].parent == again[0].parent != other[0].parent
        assert first[0].parent.parent == here / "multirun"
        assert sweep_jobs("seed=0,1", "name=mine")[0].parent == here / "multirun" / "mine"

    def test_a_jobs_name_says_how_it_differs_from_the_others(self, sweep_jobs: Callable) -> None:
        names = [job.name for job in sweep_jobs("loss=mse,mae", "seed=0,1", "schedule=linear", "optimizer.lr=0.01")]
        assert [re.sub(r"-[0-9a-f]{8}$", "", name) for name in names] == [
            "loss-mse_seed-0",
            "loss-mse_seed-1",
            "loss-mae_seed-0",
            "loss-mae_seed-1",
        ]

    def test_what_a_recipe_sweeps_over_is_in_the_names(self, sweep_jobs: Callable) -> None:
        jobs = sweep_jobs("experiment=mnist_ablation", "seed=0")
        assert len({*jobs}) == 8
        assert all(re.fullmatch(r"loss-\w+_loss_on-\w+_schedule-\w+-\w{8}", job.name) for job in jobs)

    def test_a_job_is_found_again_by_another_sweep(self, sweep_jobs: Callable) -> None:
        first = sweep_jobs("name=grid", "seed=0,1", "loss=mse")
        for job in first:
            job.mkdir()
        second = sweep_jobs("name=grid", "seed=0,1", "loss=mse,mae")
        assert set(first) < set(second)
        assert [job.name.startswith("loss-mae_seed") for job in second if job not in first] == [True, True]

    def test_only_the_last_part_of_a_path_is_in_the_name(self, sweep_jobs: Callable) -> None:
        names = [job.name[:-9] for job in sweep_jobs("checkpoint=/some/where/a,'b/c d'", verb="evaluate")]
        assert names == ["checkpoint-a", "checkpoint-c_d_"]

    def test_every_name_is_fit_for_a_folder_and_for_an_options_value(self, sweep_jobs: Callable) -> None:
        odd = "model.channels=[16,32],[32,64]", "+note='a=b, c','" + "x" * 300 + "'"
        names = [job.name for job in sweep_jobs(*odd)]
        assert len({*names}) == 4
        assert all(re.fullmatch(r"[\w.-]+", name) and len(name) < 200 for name in names)


@pytest.mark.parametrize("verb", ["evaluate", "sample"])
def test_an_evaluation_and_its_sweep_may_have_a_name(verb: str, sweep_jobs: Callable, here: Path) -> None:
    assert run_folder("checkpoint=run", "name=mine", verb=verb) == Path(f"outputs/{verb}/mine")
    jobs = sweep_jobs("checkpoint=run", "name=mine", "sampler.steps=5,10", verb=verb)
    assert {job.parent for job in jobs} == {here / "multirun" / f"{verb}-mine"}
