"""Other launchers and sweepers than Hydra's own: several jobs at once, jobs sent elsewhere, a search."""

import os
from typing import Any

import pytest
from omegaconf import OmegaConf

from ddpm_lightning.runs.run_folder import RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pool(workplace: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, dict[str, Any]]:
    """Two jobs at once on GPUs that nobody has; the first waits until the failure of the second has been reported."""
    go = tmp_path_factory.mktemp("signal") / "go"
    place = workplace(
        "callbacks=minimal", "dataset.num_workers=2", "hydra/launcher=pool", "hydra.launcher.devices=[0,1]"
    )
    place.order(f"wait {go}", "seed-0", 0, 3)
    place.order("raise no luck", "seed-1", 0, 3)
    process = place.start("seed=0,1,2", OMP_NUM_THREADS="", CUDA_VISIBLE_DEVICES="")
    place.until(lambda: "failed: RuntimeError: no luck" in place.printed())
    meanwhile = {"states": place.states(), "notes": place.notes(place.jobs()[0])}
    go.touch()
    return place, place.wait(process), meanwhile


def test_a_pool_reports_a_failure_while_another_job_runs(pool):
    _, _, meanwhile = pool
    assert len(meanwhile["notes"]) == 1
    assert (meanwhile["states"][0], meanwhile["states"][1]) == ("running", "failed")


def test_a_pool_does_the_other_jobs_and_counts_the_failed_one(pool):
    place, ended, _ = pool
    assert ended.code == 1, ended.printed
    assert place.states() == {0: "done", 1: "failed", 2: "done"}
    assert place.jobs()[1].read_status()["error"] == "RuntimeError: no luck"
    assert "2 done, 1 failed" in ended.printed
    assert "no luck" in (place.jobs()[1].path / "console.log").read_text()


def test_jobs_of_a_pool_share_the_devices_and_the_cores(pool):
    place, _, _ = pool
    environments = {seed: place.notes(run)[0]["environment"] for seed, run in place.jobs().items()}
    share = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert {environment["OMP_NUM_THREADS"] for environment in environments.values()} == {share}
    devices = {seed: environment["CUDA_VISIBLE_DEVICES"] for seed, environment in environments.items()}
    assert {devices[0], devices[1]} == {"0", "1"}
    assert devices[2] == devices[1]  # which the failed job left free


def test_submitit_runs_the_same_jobs_in_the_same_folders(workplace, pool):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    place = workplace("callbacks=minimal", "hydra/launcher=submitit_local", "dataset.num_workers=2")
    place.order("raise no luck", "seed-1", 0, 3)
    ended = place.run("seed=0,1")
    assert ended.code == 1, ended.printed
    assert place.states() == {0: "done", 1: "failed"}
    assert place.jobs()[1].read_status()["error"] == "RuntimeError: no luck"
    assert "1 done, 1 failed" in ended.printed
    names = {seed: run.path.name for seed, run in pool[0].jobs().items()}
    assert {seed: run.path.name for seed, run in place.jobs().items()} == {seed: names[seed] for seed in (0, 1)}


@pytest.fixture(scope="module")
def search(workplace: Any, two_processes: tuple[str, ...]) -> tuple[Any, Any]:
    """Three trials by two processes each: the first fails, the second's score is not a number, the third is well."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    place = workplace(
        "experiment=search",
        *two_processes,
        "callbacks=minimal",
        "hydra.sweeper.n_trials=3",
        "optimize.score=test/witness",
    )
    place.order("raise no luck", "trial-0", 1, 3)
    place.order("nan", "trial-1", "score")
    place.order("0.5", "trial-2", "score")
    return place, place.run("optimize.penalty=7")


def trials(place: Any) -> list[RunFolder]:
    """In the order in which they were tried."""
    starts = sorted((place.witness / "starts").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return [RunFolder(place.sweep / path.name) for path in starts]


def test_all_ranks_of_a_trial_try_the_same_parameters(search):
    place, _ = search
    tried = []
    for run in trials(place):
        notes = place.notes(run)
        assert [note["rank"] for note in notes] == [0, 1]
        assert notes[0]["config"] == notes[1]["config"] == run.read_config()
        tried.append(notes[0]["config"]["optimizer"]["lr"])
    assert len(set(tried)) == 3


def test_trials_without_a_score_do_not_end_the_search(search):
    place, ended = search
    assert [run.read_status()["state"] for run in trials(place)] == ["failed", "done", "done"]
    assert ended.code == 1, ended.printed
    assert best(place) == (0.5, trials(place)[2].read_config()["optimizer"]["lr"])


def best(place: Any) -> tuple[float, float]:
    """The best score and its learning rate, as the sweeper wrote them."""
    results = OmegaConf.load(place.sweep / "optimization_results.yaml")
    return results.best_value, results.best_params["optimizer.lr"]


def test_the_same_search_again_runs_only_what_failed(search, snapshot):
    """The penalty does not define a trial; now it is the best, so that the sweeper is seen to get it."""
    place, _ = search
    place.forget_orders()
    place.order("0.9", "trial-0", "score")
    failed, *done = trials(place)
    before = [snapshot(run.path) for run in done]
    again = place.run("optimize.penalty=0.1")
    assert again.code == 0, again.printed
    assert [snapshot(run.path) for run in done] == before
    assert trials(place) == [failed, *done]
    assert failed.read_status()["resumed"]
    assert best(place) == (0.1, done[0].read_config()["optimizer"]["lr"])
