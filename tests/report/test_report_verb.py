"""`python report.py SWEEP`: its files and its error messages."""

import csv
import json
import shlex
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.runs.stored_config import CONFIG_VERSION
from ddpm_lightning.verbs.evaluate import evaluate
from ddpm_lightning.verbs.report import OPTIONS, main
from ddpm_lightning.verbs.train import train

Report = Callable[..., str]


@pytest.fixture
def sweep(make_run: Callable, tmp_path: Path) -> Path:
    """Two schedules with two seeds each: cosine is better, except in precision and noise MAE."""
    folder = tmp_path / "grid"
    for schedule, kid in (("linear", 0.4), ("cosine", 0.2)):
        for seed in (0, 1):
            card = make_run({}, seed).card
            run = RunFolder(folder / f"schedule-{schedule}_seed-{seed}")
            record = {"choices": {"schedule": schedule, "loss": "mse"}, "options": {}}
            run.write_config({"config_version": CONFIG_VERSION, "seed": seed, "hydra": record})
            run.write_status("done", scores={})
            values = {"kid_lenet_mnist": kid + 0.01 * seed, "fid_lenet_mnist": 10 * kid, "precision_lenet_mnist": kid}
            scores = {"card": card.to_dict(), "values": values, "diagnostics": {"test/noise_mae": 1 - kid}}
            (run.path / "metrics.json").write_text(json.dumps(scores))
    return folder


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Report:
    """`reported(*words)`: the output of the command."""

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["report.py", *map(str, words)])
        main()
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(reported: Report) -> Report:
    """`refused(*words)`: the error message of the command."""

    def run(*words: object) -> str:
        with pytest.raises(SystemExit) as raised:
            reported(*words)
        assert isinstance(raised.value.code, str)
        return raised.value.code

    return run


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "report.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_report_is_written_and_printed(reported: Report, sweep: Path) -> None:
    printed = reported(sweep)
    folder = sweep / "report"
    for name in ("report.md", "report.csv", "report.html"):
        assert (folder / name).stat().st_size > 0
    assert (folder / "report.md").read_text() in printed
    assert printed.rstrip().splitlines()[-1] == f"Open {folder / 'report.html'}"
    assert [row["schedule"] for row in rows(folder)] == ["cosine", "linear"]  # best first


def test_the_command_in_the_report_reproduces_it(reported: Report, sweep: Path) -> None:
    other = sweep.parent / "my grid"
    sweep.rename(other)
    text = reported(other, "by=schedule", "metric=fid")
    command = shlex.join(["python", "report.py", str(other), "metric=fid", "by=schedule"])
    assert command in text
    again = [word for word in shlex.split(command) if word not in ("python", "report.py")]
    assert reported(*again) == text


def test_metric_chooses_the_order_of_the_rows(reported: Report, sweep: Path) -> None:
    for metric in ("noise_mae", "precision"):
        reported(sweep, f"metric={metric}")
        assert [row["schedule"] for row in rows(sweep / "report")] == ["linear", "cosine"]


def test_by_chooses_the_columns(reported: Report, sweep: Path) -> None:
    reported(sweep, "by=loss,schedule")
    assert [(row["loss"], row["schedule"]) for row in rows(sweep / "report")] == [("mse", "cosine"), ("mse", "linear")]


def test_several_sweeps_become_one_table(reported: Report, sweep: Path, tmp_path: Path) -> None:
    parts = [sweep / f"schedule-{schedule}_seed-{seed}" for schedule in ("linear", "cosine") for seed in (0, 1)]
    reported(*parts, f"out={tmp_path / 'there'}")
    assert len(rows(tmp_path / "there")) == 2
    assert not (parts[0] / "report").exists()


def test_an_earlier_report_is_not_a_run_of_the_sweep(reported: Report, sweep: Path) -> None:
    assert reported(sweep) == reported(sweep)


def test_a_folder_may_be_named_like_an_option(reported: Report, sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sweep.parent)
    sweep.rename("by=hand")
    reported("by=hand", "by=schedule")
    assert len(rows(Path("by=hand/report"))) == 2


def test_warnings_are_printed_without_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sweep: Path
) -> None:
    RunFolder(sweep / "late").write_status("failed")
    monkeypatch.setattr(sys, "argv", ["report.py", str(sweep)])
    with warnings.catch_warnings():
        main()
    printed = capsys.readouterr().err
    assert printed == "warning: left out because unfinished: late (failed)\n"


def test_wrong_arguments_are_errors(refused: Report, sweep: Path, tmp_path: Path) -> None:
    assert "there is no file or folder 'nothing/here'" in refused("nothing/here")
    assert "there is no folder that matches nothing/*" in refused("nothing/*")
    assert "unknown option 'metrics'; the options are by=, metric=, out=" in refused(sweep, "metrics=kid")
    assert "Did you mean metric=fid?" in refused(sweep, "metrics=fid")
    assert "there is no file or folder 'bogus'" in refused(sweep, "bogus")
    assert "unknown argument '--by=loss'" in refused(sweep, "--by=loss")
    assert "by= is given twice" in refused(sweep, "by=loss", "by=schedule")
    assert "unknown metric 'kidd': these runs have kid, fid, precision, noise_mae" in refused(sweep, "metric=kidd")
    assert "no run has the option schedul of by=: these runs have schedule, loss" in refused(sweep, "by=schedul")
    assert "by=seed: seeds are never rows" in refused(sweep, "by=seed")
    assert refused("by=schedule") == "report.py: name the folder of a sweep, as in multirun/NAME"
    assert not (sweep / "report").exists()
    (tmp_path / "empty").mkdir()
    assert "there is no finished run with scores" in refused(tmp_path / "empty")


def test_an_output_that_is_not_a_folder_is_an_error(refused: Report, sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in refused(sweep, f"out={tmp_path / 'file'}")


def test_runs_on_different_data_are_an_error(refused: Report, sweep: Path, make_run: Callable) -> None:
    file = sweep / "schedule-cosine_seed-1" / "metrics.json"
    other = replace(make_run({}, 1).card, dataset="fashion_mnist").to_dict()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"card": other}))
    message = refused(sweep)
    assert "dataset is 'mnist' in 3 runs" in message and "'fashion_mnist' in 1 run (schedule-cosine_seed-1)" in message
    assert "report each data set separately" in message


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["-h"], 0), ([], 2)])
def test_help(shell_here: Callable, words: list[str], code: int) -> None:
    result = shell_here("report.py", *words)
    assert (result.returncode, result.stderr) == (code, "")
    assert all(f"{option}=" in result.stdout for option in OPTIONS)
    assert "SWEEP" in result.stdout


def test_a_sweep_of_evaluations(
    reported: Report, compose_verb: Callable, tiny_options: list[str], tiny_paths: list[str], tmp_path: Path
) -> None:
    training = tmp_path / "training"
    train(compose_verb("train", *tiny_options, "callbacks=minimal", "logger=none", folder=training))
    sweep = tmp_path / "steps"
    sizes = [f"metrics.{option}" for option in ("num_samples=16", "num_real=16", "kid_subset_size=8")]
    for steps in (2, 3):
        words = [*tiny_paths, *sizes, "trainer.accelerator=cpu", f"checkpoint={training}", f"sampler.steps={steps}"]
        evaluate(compose_verb("evaluate", *words, folder=sweep / f"steps-{steps}"))
    reported(sweep)
    table = rows(sweep / "report")
    assert sorted(row["sampler.steps"] for row in table) == ["2", "3"]
    for row in table:
        scores = json.loads((sweep / f"steps-{row['sampler.steps']}" / "metrics.json").read_text())["values"]
        assert float(row["fid_lenet_mnist_mean"]) == pytest.approx(scores["fid_lenet_mnist"], rel=1e-6)


def test_a_pattern_in_quotes_stands_for_the_folders_that_match(reported: Report, sweep: Path) -> None:
    one_by_one = reported(*sorted(sweep.glob("schedule-*")), f"out={sweep / 'a'}")
    assert reported(f"{sweep}/schedule-*", f"out={sweep / 'b'}").splitlines()[2] == one_by_one.splitlines()[2]
