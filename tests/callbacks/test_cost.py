"""Costs of a run: measured by a fake clock, added up over restarts, and written with the scores."""

import json
from pathlib import Path

import pytest
from lightning.pytorch import Callback

from choices import choices
from ddpm_lightning.callbacks import cost, training_clock
from ddpm_lightning.callbacks.checkpointing import Checkpointing
from ddpm_lightning.callbacks.cost import CostMeter, describe_costs
from ddpm_lightning.runs.run_folder import RunFolder

BATCH_SIZE = 4  # of the tiny runs; epochs of 10 batches


class Clock(Callback):
    """A clock that advances in the hooks only."""

    def __init__(self, batch: float = 0.5, waiting: float = 0.25, other: float = 1000.0, warmup: float = 70.0) -> None:
        self.now, self.batches = 0.0, 0
        self.batch, self.waiting, self.other, self.warmup = batch, waiting, other, warmup

    def on_fit_start(self, trainer, pl_module):
        self.now += 3

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches += 1
        self.now += self.warmup if self.batches <= cost.WARMUP_BATCHES else self.batch

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.now += self.waiting

    def on_validation_start(self, trainer, pl_module):
        self.now += self.other

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        self.now += self.other

    def on_train_epoch_start(self, trainer, pl_module):
        self.now += self.other


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    for module in (cost, training_clock):
        monkeypatch.setattr(module, "perf_counter", lambda: clock.now)
    return clock


def costs_of(run) -> dict[str, float]:
    """The costs that a test logs after the fit."""
    run.trainer.test(run.module, run.data, verbose=False)
    return cost.logged_costs(run.trainer)


def test_speed_counts_only_batches_and_their_data(tiny_run, clock):
    """Epochs of 10 batches, a validation after the 5th and a checkpoint after every 3rd step.

    The uninterrupted stretches of batches (from 0) are 5, 6-8, 9 | 0-1, 2-4, 5-7, 8-9: the first five batches are
    warm-up, and a checkpoint due at a validation or an epoch's end is written then.
    """
    run = tiny_run(
        "trainer.max_steps=20",
        "trainer.val_check_interval=5",
        "trainer.num_sanity_val_steps=0",
        callbacks=[CostMeter(), clock, Checkpointing(every_n_steps=3)],
    )
    run.fit()
    batches, stretches = 15, 7
    seconds = batches * clock.batch + (batches - stretches) * clock.waiting
    assert costs_of(run)["train_images_per_second"] == pytest.approx(batches * BATCH_SIZE / seconds)


def test_wall_seconds_include_everything(tiny_run, clock):
    callbacks = [CostMeter(), clock]
    run = tiny_run("trainer.limit_train_batches=3", "trainer.num_sanity_val_steps=0", callbacks=callbacks)
    run.fit()
    costs = costs_of(run)
    epoch_and_validation, batches = 2 * clock.other, 3 * (clock.warmup + clock.waiting)
    assert costs["wall_seconds"] == pytest.approx(3 + epoch_and_validation + batches)
    assert "train_images_per_second" not in costs  # 3 steps, all of them warm-up


@pytest.mark.parametrize("copies", ["default", "none"])
def test_parameters_are_those_of_the_network(tiny_run, copies):
    run = tiny_run(f"ema={copies}", callbacks=[CostMeter()])
    expected = sum(parameter.numel() for parameter in run.module.network.parameters())
    assert costs_of(run) == {"parameters": expected}


def test_a_large_number_is_not_rounded(tiny_run):
    run = tiny_run(callbacks=[CostMeter()])
    callback = Callback()
    callback.on_test_epoch_end = lambda trainer, module: cost.log_costs(trainer, module, {"large": 2**24 + 1})
    run.trainer.callbacks.append(callback)
    assert costs_of(run)["large"] == 2**24 + 1


def test_the_parts_of_a_resumed_run_add_up(tiny_run, clock, tmp_path):
    """Eight steps, a restart, then eight more, with their own warm-up."""

    def fit_until(steps: int, **options) -> dict[str, float]:
        clock.batches = 0
        callbacks = [CostMeter(), clock, Checkpointing(every_n_steps=1000)]
        run = tiny_run(
            f"trainer.max_steps={steps}",
            "trainer.limit_val_batches=0",
            "optimizer.final_fraction=1",
            callbacks=callbacks,
        )
        run.trainer.fit(run.module, run.data, **options)
        return costs_of(run)

    last = RunFolder(tmp_path / "run").last_checkpoint
    first = fit_until(8)
    saved = clock.now
    whole = fit_until(16, ckpt_path=last)
    # The time after the last checkpoint before a restart is not counted: here that of the save itself.
    assert whole["wall_seconds"] == pytest.approx(first["wall_seconds"] - clock.other + clock.now - saved)
    # After each warm-up of 5 batches, 3 batches in one stretch.
    seconds = 3 * clock.batch + 2 * clock.waiting
    assert first["train_images_per_second"] == pytest.approx(3 * BATCH_SIZE / seconds)
    assert whole["train_images_per_second"] == pytest.approx(6 * BATCH_SIZE / (2 * seconds))


def test_a_saver_before_it_does_no_harm(tiny_run):
    steps = cost.WARMUP_BATCHES + 3
    run = tiny_run(f"trainer.max_steps={steps}", callbacks=[Checkpointing(every_n_steps=1), CostMeter()])
    run.fit()
    assert run.trainer.global_step == steps


def test_the_report_holds_what_was_measured(run_with, tmp_path):
    run = run_with("callbacks=[cost,generative_metrics]")
    run.trainer.test(run.module, run.data, verbose=False)
    costs = json.loads((tmp_path / "run" / "metrics.json").read_text())["cost"]
    assert costs.keys() == {"parameters", "sampling_seconds", "network_evaluations"}
    assert costs["sampling_seconds"] > 0 and costs["network_evaluations"] == 2


def test_sampling_is_timed_from_its_start_to_its_end(run_with, tmp_path, monkeypatch):
    from ddpm_lightning.callbacks import generative_metrics

    now = [0.0]
    monkeypatch.setattr(generative_metrics, "perf_counter", lambda: now[0])
    run = run_with("callbacks=generative_metrics")
    callback = run.trainer.callbacks[0]
    generate, score = callback._generate, callback._score

    def slow(function, seconds):
        def wrapped(*arguments):
            now[0] += seconds
            return function(*arguments)

        return wrapped

    callback._generate, callback._score = slow(generate, 7.0), slow(score, 100.0)
    run.trainer.test(run.module, run.data, verbose=False)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["cost"] == {
        "sampling_seconds": 7.0,
        "network_evaluations": 2.0,
    }


class CountedCalls(Callback):
    """Counts the images that the network is given while a test draws samples, per sample."""

    def __init__(self, num_samples: int) -> None:
        self.asked, self.num_samples = 0, num_samples

    def on_test_epoch_end(self, trainer, pl_module):
        network = pl_module.evaluation_denoiser().network
        self.hook = network.register_forward_pre_hook(lambda module, inputs: self.count(len(inputs[0])))

    def count(self, images: int) -> None:
        self.asked += images

    def on_test_end(self, trainer, pl_module):
        self.hook.remove()
        assert self.asked % self.num_samples == 0
        self.asked //= self.num_samples


@pytest.mark.parametrize("sampler", choices("sampler"))
@pytest.mark.parametrize("guidance", choices("guidance"))
def test_network_evaluations_are_those_of_the_network(run_with, words_of_guidance, tmp_path, sampler, guidance):
    counter, words = CountedCalls(16), words_of_guidance(guidance)
    run = run_with("callbacks=generative_metrics", f"sampler={sampler}", "sampler.steps=3", *words, extra=[counter])
    run.trainer.test(run.module, run.data, verbose=False)
    report = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert report["cost"]["network_evaluations"] == report["card"]["nfe"] == counter.asked > 0


@pytest.mark.parametrize(
    ("costs", "line"),
    [
        (
            {"sampling_seconds": 20.4, "parameters": 886_209.0, "train_images_per_second": 399.6, "wall_seconds": 316},
            "886 k parameters, training 5 min 16 s, 400 images/s, sampling 20.4 s",
        ),
        (
            {"network_evaluations": 50.0, "sampling_seconds": 1.25},
            "sampling 1.25 s, 50 network evaluations per sample",
        ),
        ({"parameters": 6403.0, "sampling_seconds": 1.25}, "6.40 k parameters, sampling 1.25 s"),
        ({"wall_seconds": 59.97}, "training 1 min 00 s"),
        ({"wall_seconds": 7384.0}, "training 2 h 03 min"),
        ({}, ""),
    ],
)
def test_costs_are_described_in_one_line(costs, line):
    assert describe_costs(costs) == line


@pytest.mark.slow
def test_two_processes_log_the_same_costs(shell, tiny_options, tmp_path):
    """Each rank has its own clock; all log the first one's times."""
    options = [
        *tiny_options,
        f"paths.output_dir={tmp_path}",
        "name=two",
        "trainer=ddp_cpu",
        "trainer.devices=2",
        "trainer.precision=32-true",
        "trainer.max_steps=10",
        "callbacks=[cost,generative_metrics]",
        f"+callbacks.witness={{_target_:cost_witness.CostWitness,folder:'{tmp_path}'}}",
    ]
    result = shell("train.py", *options, PYTHONPATH=str(Path(__file__).parent))
    assert result.returncode == 0, result.stderr
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(2))
    assert first == second
    measured = {"parameters", "train_images_per_second", "wall_seconds", "sampling_seconds", "network_evaluations"}
    assert first.keys() == measured
    assert json.loads((tmp_path / "default" / "two" / "metrics.json").read_text())["cost"] == first
