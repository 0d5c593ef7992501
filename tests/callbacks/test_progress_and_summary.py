"""What a run says while it runs and when it ends."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from ddpm_lightning.callbacks.progress import ImageProgressBar
from ddpm_lightning.callbacks.run_summary import RunSummary


@pytest.fixture
def finished(tiny_run, tmp_path, capsys):
    """(trainer, what it printed) after a fit and a test with TensorBoard, the summary and the progress bar."""
    from lightning.pytorch.loggers import TensorBoardLogger

    logger = TensorBoardLogger(tmp_path / "run", name="", version="tensorboard", default_hp_metric=False)
    bar = ImageProgressBar(refresh_rate=1)
    run = tiny_run("trainer.enable_progress_bar=true", callbacks=[bar, RunSummary()], loggers=[logger])
    run.fit()
    run.trainer.test(run.module, run.data, verbose=False)
    return run.trainer, capsys.readouterr().out


def test_the_end_says_the_scores_and_what_to_open(finished, tmp_path):
    trainer, printed = finished
    last = [line for line in printed.splitlines() if line.strip()][-1]
    assert "run/samples.png, or: tensorboard --logdir " in last and last.startswith("Open ")
    assert f"{float(trainer.callback_metrics['test/loss']):.4f}" in printed
    assert "log_snr_" not in printed.replace(" ", "").split("Finalscores")[1]


def test_hparams_hold_the_choices_and_every_final_value(finished, tmp_path):
    trainer, _ = finished
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    choices = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert choices["sampler/steps"].number_value == 2
    assert choices["dataset/name"].string_value == "mnist"
    assert not [name for name in choices if name.startswith(("paths", "callbacks"))]
    content = events.SummaryMetadata("_hparams_/experiment").plugin_data.content
    infos = plugin_data_pb2.HParamsPluginData.FromString(content).experiment.metric_infos
    tested = {name for name in trainer.callback_metrics if name.startswith("test/")}
    assert {info.name.tag for info in infos} == tested != set()
    assert tested <= set(events.Tags()["scalars"])


def test_the_bar_counts_the_images_of_all_batches(tiny_run, monkeypatch):
    """A clock that moves 0.6 s per batch of 4: measured over every second batch, 8 images in 1.2 s."""
    from ddpm_lightning.callbacks import progress

    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])

    class Slow(ImageProgressBar):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            now[0] += 0.6
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    bar = Slow(refresh_rate=1)
    run = tiny_run("trainer.enable_progress_bar=true", "trainer.limit_val_batches=0", callbacks=[bar])
    run.fit()
    metrics = bar.get_metrics(run.trainer, run.module)
    assert metrics["images/s"] == "7"  # 8 / 1.2
    assert "train/loss" in metrics and "v_num" not in metrics
