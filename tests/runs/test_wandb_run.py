"""One W&B run per job: its id, name, group and config, its continuation, and its end. W&B itself is a stand-in."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hydra.errors import InstantiationException

from ddpm_lightning.runs.build import build_loggers, open_loggers
from ddpm_lightning.runs.plain_config import resolved
from ddpm_lightning.runs.sweep_folder import SweepFolder
from ddpm_lightning.runs.wandb_run import WandbRun


class Server:
    """What W&B has received: the calls of `wandb.init`, and the rows and the config of each run by its id."""

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.rows: dict[str, list[dict[str, float]]] = {}
        self.ended: list[tuple[str, int]] = []
        self.config: dict[str, dict[str, Any]] = {}
        self.logged_in = True


class Config:
    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def update(self, new: dict[str, Any], allow_val_change: bool) -> None:
        self.values |= new


class Run:
    def __init__(self, server: Server, options: dict[str, Any]) -> None:
        self.server, self.id = server, options["id"]
        self.rows = server.rows.setdefault(self.id, [])
        self.config = Config(server.config.setdefault(self.id, {}))

    @property
    def step(self) -> int:
        return len(self.rows)

    def log(self, row: dict[str, float]) -> None:
        self.rows.append(row)

    def define_metric(self, *_: object, **__: object) -> None:
        """Which axis a curve has."""

    def finish(self, exit_code: int) -> None:
        self.server.ended.append((self.id, exit_code))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """The package wandb, which need not be installed."""
    server = Server()

    def init(**options: Any) -> Run:
        server.begun.append(options)
        return Run(server, options)

    modules = {name: ModuleType(name) for name in ("wandb", "wandb.sdk", "wandb.sdk.lib", "wandb.wandb_run")}
    modules["wandb"].__dict__.update(
        __spec__=sys.__spec__, run=None, init=init, login=lambda: server.logged_in, errors=ModuleType("errors")
    )
    modules["wandb"].errors.Error = RuntimeError
    modules["wandb.sdk.lib"].RunDisabled = type("RunDisabled", (), {})
    modules["wandb.wandb_run"].Run = Run
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("lightning.pytorch.loggers.wandb._WANDB_AVAILABLE", True)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return server


@pytest.fixture
def job(compose_verb: Callable, tmp_path: Path) -> Callable[..., Any]:
    """`with job(folder, *overrides) as logger`: the logger while a job works."""

    class Job:
        def __init__(self, folder: Path, *overrides: str) -> None:
            self.opened = open_loggers(resolved(compose_verb("train", "logger=wandb", *overrides)), folder)

        def __enter__(self) -> WandbRun:
            return self.opened.__enter__()[0]

        def __exit__(self, *error: Any) -> None:
            self.opened.__exit__(*error)

    return Job


def values(server: Server) -> list[tuple[int, dict[str, float]]]:
    (rows,) = server.rows.values()
    return [(row["trainer/global_step"], {k: v for k, v in row.items() if k != "trainer/global_step"}) for row in rows]


def test_a_job_is_one_run_with_its_config(server: Server, job: Callable, tmp_path: Path) -> None:
    with job(tmp_path / "mine", "schedule=linear", "seed=3") as logger:
        logger.log_metrics({"train/loss": 0.5}, 9)
        logger.log_metrics({"val/loss": 0.25}, 9)
    (options,) = server.begun
    assert (options["name"], options["group"], options["project"]) == ("mine", None, "ddpm-lightning")
    assert options["dir"] == str(tmp_path / "mine")
    config = server.config[options["id"]]
    assert config["seed"] == 3 and config["schedule"]["_target_"].endswith("LinearSchedule")
    assert values(server) == [(9, {"train/loss": 0.5}), (9, {"val/loss": 0.25})]
    assert server.ended == [(options["id"], 0)]


def test_a_resumed_job_continues_its_run_without_a_row_twice(server: Server, job: Callable, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), job(tmp_path / "run") as logger:
        for step in (10, 20, 30):
            logger.log_metrics({"train/loss": float(step), "epoch": 0}, step)
        logger.log_metrics({"val/loss": 1.0, "epoch": 0}, 20)
        raise KeyboardInterrupt
    with job(tmp_path / "run", "trainer.max_steps=7") as logger:  # from a checkpoint of step 15
        for step in (20, 30, 40):
            logger.log_metrics({"train/loss": float(step), "epoch": 0}, step)
        logger.log_metrics({"val/loss": 1.0, "epoch": 0}, 30)
    first, second = server.begun
    assert first["id"] == second["id"] and second["resume"] == "allow"
    assert [row for row in values(server) if "train/loss" in row[1]] == [
        (step, {"train/loss": float(step), "epoch": 0}) for step in (10, 20, 30, 40)
    ]
    assert [step for step, row in values(server) if "val/loss" in row] == [20, 30]
    assert server.config[first["id"]]["trainer"]["max_steps"] == 7
    assert server.ended == [(first["id"], 0), (first["id"], 0)]


def test_rows_that_a_kill_has_lost_are_logged_again(server: Server, job: Callable, tmp_path: Path) -> None:
    with job(tmp_path / "run") as logger:
        for step in (10, 20, 30):
            logger.log_metrics({"train/loss": float(step)}, step)
    del server.rows[server.begun[0]["id"]][1:]  # never received
    for _ in range(2):
        with job(tmp_path / "run") as logger:
            for step in (20, 30, 40):
                logger.log_metrics({"train/loss": float(step)}, step)
    assert [step for step, _ in values(server)] == [10, 20, 30, 40]


def test_offline_rows_are_not_logged_twice_either(server: Server, job: Callable, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    server.logged_in = False  # nobody has to be
    for steps in ((10, 20, 30), (20, 30, 40)):
        server.rows.clear()  # each start writes a file of its own
        with job(tmp_path / "run") as logger:
            for step in steps:
                logger.log_metrics({"train/loss": float(step)}, step)
    assert [step for step, _ in values(server)] == [40]
    assert [options["resume"] for options in server.begun] == [None, None]


def test_a_line_that_a_kill_has_cut_is_no_obstacle(server: Server, job: Callable, tmp_path: Path) -> None:
    with job(tmp_path / "run") as logger:
        logger.log_metrics({"train/loss": 1.0}, 10)
    with (tmp_path / "run" / "wandb" / "logged.jsonl").open("a") as file:
        file.write('{"step": 2')
    server.rows[server.begun[0]["id"]].append({"trainer/global_step": 20, "train/loss": 2.0})
    with job(tmp_path / "run") as logger:
        logger.log_metrics({"train/loss": 3.0}, 30)
    lines = (tmp_path / "run" / "wandb" / "logged.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 30 and [step for step, _ in values(server)] == [10, 20, 30]


def test_each_job_of_a_sweep_has_a_run_in_its_group(server: Server, job: Callable, tmp_path: Path) -> None:
    (tmp_path / "grid").mkdir()
    SweepFolder(tmp_path / "grid").write_plan(["a", "b"], [])
    for name in ("a", "b"):
        with job(tmp_path / "grid" / name) as logger:
            logger.log_metrics({"train/loss": 1.0}, 10)
    assert [(options["name"], options["group"]) for options in server.begun] == [("a", "grid"), ("b", "grid")]
    assert len({options["id"] for options in server.begun}) == 2
    assert [code for _, code in server.ended] == [0, 0]


def test_other_ranks_have_no_run(server: Server, job: Callable, tmp_path: Path, monkeypatch) -> None:
    from lightning.pytorch.utilities import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with job(tmp_path / "run") as logger:
        logger.log_metrics({"train/loss": 1.0}, 10)
    assert not server.begun and not server.ended and not [*tmp_path.rglob("*")]


def test_the_users_own_words_come_first(server: Server, job: Callable, tmp_path: Path) -> None:
    with job(tmp_path / "run", "logger.wandb.name=best", "logger.wandb.group=tries", "+logger.wandb.id=abc") as logger:
        logger.log_metrics({"train/loss": 1.0}, 10)
    assert [(o["name"], o["group"], o["id"]) for o in server.begun] == [("best", "tries", "abc")]


def test_an_id_that_is_none_is_refused(server: Server, job: Callable, tmp_path: Path) -> None:
    (tmp_path / "run" / "wandb").mkdir(parents=True)
    (tmp_path / "run" / "wandb" / "id").write_text("../../elsewhere")
    with pytest.raises(ValueError, match="does not hold the id of a W&B run"), job(tmp_path / "run") as logger:
        logger.log_metrics({"train/loss": 1.0}, 10)


class TestWithoutWhatItNeeds:
    @pytest.fixture
    def loggers(self, compose_verb: Callable, tmp_path: Path) -> Callable[[], Any]:
        config = resolved(compose_verb("train", "logger=wandb"))
        return lambda: build_loggers(config, tmp_path / "run")

    def test_the_package_to_install_is_named(self, loggers: Callable, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "wandb", None)
        with pytest.raises(InstantiationException, match=r"logger=wandb needs: pip install 'ddpm-lightning\[wandb\]'"):
            loggers()

    def test_the_login_is_asked_for(self, server: Server, loggers: Callable, tmp_path: Path) -> None:
        server.logged_in = False
        with pytest.raises(InstantiationException, match="Run `wandb login`, or set WANDB_MODE=offline"):
            loggers()
        server.logged_in = True
        assert loggers() and os.listdir(tmp_path) == []
