"""The summary at the end of a run."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from ddpm_lightning.callbacks.cost import CostMeter
from ddpm_lightning.callbacks.progress import RunProgress
from ddpm_lightning.callbacks.run_summary import RunSummary, choices_and_options
from ddpm_lightning.readable_numbers import magnitude


@pytest.fixture
def finished(tiny_run, tmp_path, capsys):
    """(trainer, output) after a fit and a test with TensorBoard, the summary and the progress bar."""
    from lightning.pytorch.loggers import TensorBoardLogger

    logger = TensorBoardLogger(tmp_path / "run", name="", version="tensorboard", default_hp_metric=False)
    run = tiny_run(callbacks=[CostMeter(), RunProgress(), RunSummary()], loggers=[logger])
    run.fit()
    (tmp_path / "run" / "samples.png").touch()
    run.trainer.test(run.module, run.data, verbose=False)
    return run.trainer, capsys.readouterr().out


def test_without_samples_the_summary_names_the_folder(tiny_run, tmp_path, capsys):
    run = tiny_run(callbacks=[RunSummary()])
    run.trainer.test(run.module, run.data, verbose=False)
    assert capsys.readouterr().out.splitlines()[-1] == f"Open {tmp_path}/run"


def test_the_summary_has_the_scores_and_the_file_to_open(finished, tmp_path):
    trainer, printed = finished
    *_, costs, last = [line for line in printed.splitlines() if line.strip()]
    parameters = int(trainer.callback_metrics["cost/parameters"])
    assert costs.startswith(f"{magnitude(parameters)} parameters, ") and costs.endswith(" s")
    assert "cost/" not in printed
    assert "run/samples.png, or: tensorboard --logdir " in last and last.startswith("Open ")
    assert f"{float(trainer.callback_metrics['test/loss']):.4f}" in printed
    assert "log_snr_" not in printed.replace(" ", "").split("Finalscores")[1]


def hparams_of(folder):
    """({name: choice or option}, {name: value}) of a run in TensorBoard's HParams tab."""
    events = EventAccumulator(str(folder / "tensorboard")).Reload()

    def plugin(tag):
        content = events.SummaryMetadata(tag).plugin_data.content
        return plugin_data_pb2.HParamsPluginData.FromString(content)

    infos = plugin("_hparams_/experiment").experiment.metric_infos
    session = plugin("_hparams_/session_start_info").session_start_info.hparams
    choices = {name: getattr(value, value.WhichOneof("kind")) for name, value in session.items()}
    return choices, {info.name.tag: events.Scalars(info.name.tag)[-1].value for info in infos}


def test_hparams_have_the_values_of_metrics_json(run_with, tmp_path):
    run = run_with("callbacks=[nan_guard,cost,generative_metrics,summary]", "trainer.max_steps=8", "logger=tensorboard")
    run.fit()
    run.trainer.test(run.module, run.data, verbose=False)
    report = json.loads((tmp_path / "run" / "metrics.json").read_text())
    costs = {f"cost/{name}": cost for name, cost in report["cost"].items()}
    assert costs.keys() == {
        f"cost/{name}"
        for name in (
            "parameters",
            "train_images_per_second",
            "wall_seconds",
            "sampling_seconds",
            "network_evaluations",
        )
    }
    expected = {**report["values"], **report["diagnostics"], **costs}
    shown = hparams_of(tmp_path / "run")[1]
    assert shown == pytest.approx(expected, rel=1e-6, nan_ok=True)  # TensorBoard keeps float32


def test_hparams_without_scores_have_the_logged_values(finished, tmp_path):
    trainer, _ = finished
    choices, shown = hparams_of(tmp_path / "run")
    tested = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert "test/loss" in tested and "cost/parameters" in tested
    assert shown == pytest.approx(tested, rel=1e-6, nan_ok=True)
    assert choices["sampler/steps"] == 2 and choices["dataset/name"] == "mnist"


def test_choices_and_options_are_flat():
    config = {
        "schedule": {"_target_": "some.Cosine", "num_steps": 10},
        "metrics": {"features": {"_target_": "some.LeNet", "dataset": "mnist", "cache_dir": "${paths.cache_dir}"}},
        "model": {"channels": [16, 16], "num_classes": None},
        "loss": {"_target_": "some.SquaredError"},
        "seed": 3,
        "paths": {"data_dir": "here"},
        "callbacks": {"summary": {"wide": True}},
        "hydra": {
            "choices": {"schedule": "cosine", "loss": "mse", "metrics/features": "lenet", "experiment": None,
                        "callbacks": "default", "hydra/launcher": "basic"},
            "overrides": ["seed=3"],
        },
    }  # fmt: skip
    assert choices_and_options(config) == {
        "schedule": "cosine", "schedule/num_steps": 10, "loss": "mse", "metrics/features": "lenet",
        "metrics/features/dataset": "mnist", "model/channels": [16, 16], "model/num_classes": None, "seed": 3,
    }  # fmt: skip
    before = {key: value for key, value in config.items() if key != "hydra"}
    assert choices_and_options(before).keys().isdisjoint({"schedule", "loss", "metrics/features"})
