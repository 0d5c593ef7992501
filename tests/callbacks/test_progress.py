"""Progress of a run on the console: bars on a terminal, lines elsewhere."""

import io
import logging
import re
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from ddpm_lightning.callbacks import training_clock
from ddpm_lightning.callbacks.progress import RunProgress
from ddpm_lightning.console import display as console
from ddpm_lightning.console import pace
from ddpm_lightning.console.display import console_progress
from ddpm_lightning.diffusion.guidance import unguided
from ddpm_lightning.runs.build import build_callbacks, build_trainer
from ddpm_lightning.runs.drawing import draw_images, sample_stream
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.tracking import Display, advance, shown_on, work

FIRST_RANK = True


@pytest.fixture
def lines(caplog):
    """`lines()`: the lines about progress in the log."""
    caplog.set_level(logging.INFO)
    return lambda: [record.message for record in caplog.records if record.name == console.__name__]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def open_terminal(monkeypatch):
    """`open_terminal()`: puts a terminal with 100 columns in the place of stdout, until the end of the test."""

    def make():  # not in the fixture itself, because pytest replaces stdout between the two
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        return stream

    return make


def steps(lines):
    return [re.match(r"training: step (\d+)/(\d+)", line).groups() for line in lines]


def test_lines_have_step_and_total_of_the_run(tiny_run, lines):
    tiny_run(callbacks=[RunProgress()]).fit()
    assert steps(lines()) == [("0", "3"), ("1", "3"), ("2", "3"), ("3", "3")]
    assert re.fullmatch(r"training: step 2/3, loss \d\.\d+, \d+ images/s, \d+ s left", lines()[2])
    assert re.fullmatch(r"training: step 3/3, loss \d\.\d+, \d+ images/s", lines()[3])


def test_the_total_counts_all_epochs(tiny_run, lines):
    tiny_run("trainer.max_steps=-1", "trainer.max_epochs=2", callbacks=[RunProgress()]).fit()
    assert steps(lines())[-1] == ("20", "20")


def test_the_total_counts_optimizer_steps(tiny_run, lines):
    tiny_run("trainer.accumulate_grad_batches=2", callbacks=[RunProgress()]).fit()
    assert steps(lines()) == [("0", "3"), ("1", "3"), ("2", "3"), ("3", "3")]


def test_a_resumed_run_starts_at_its_step(tiny_run, lines, tmp_path):
    before = tiny_run()
    before.fit()
    before.trainer.save_checkpoint(tmp_path / "last.ckpt")
    run = tiny_run("trainer.max_steps=5", callbacks=[RunProgress()])
    run.trainer.fit(run.module, run.data, ckpt_path=tmp_path / "last.ckpt")
    assert steps(lines()) == [("3", "5"), ("4", "5"), ("5", "5")]


def test_a_long_run_has_a_line_at_each_tenth(tiny_run, lines, monkeypatch):
    read = []
    status = RunProgress._status
    monkeypatch.setattr(RunProgress, "_status", lambda *arguments: read.append(1) or status(*arguments))
    tiny_run("trainer.max_steps=50", callbacks=[RunProgress()]).fit()
    assert [int(step) for step, _ in steps(lines())] == list(range(0, 51, 5))
    assert len(read) == 11  # the loss stays on the device otherwise


def test_the_loss_is_that_of_the_last_step(tiny_run, lines):
    run = tiny_run(callbacks=[RunProgress()])
    run.fit()
    loss = float(run.trainer.callback_metrics["train/loss"])
    assert float(re.search(r"loss ([\d.]+)", lines()[-1]).group(1)) == pytest.approx(loss, rel=0.01)


def test_images_of_all_devices_are_counted_from_the_second_batch(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(training_clock, "perf_counter", lambda: now[0])
    bar, trainer, batch = RunProgress(), SimpleNamespace(world_size=2), SimpleNamespace(images=[0] * 4)

    def train(seconds):
        bar.on_train_batch_start(trainer, None, batch, 0)
        now[0] += seconds
        bar.on_train_batch_end(trainer, None, None, batch, 0)

    train(100)  # memory is allocated
    assert bar._clock.images_per_second is None
    train(0.5)
    now[0] += 0.5  # the wait for data
    train(1)
    bar.on_train_epoch_end(trainer, None)
    now[0] += 50
    train(2)
    assert bar._clock.images_per_second == pytest.approx(2 * 4 * 3 / 4)


def test_a_run_with_a_terminal_shows_bars(tiny_run, open_terminal, lines):
    terminal = open_terminal()
    run = tiny_run(callbacks=[RunProgress()])
    run.fit()
    run.trainer.test(run.module, run.data, verbose=False)
    shown = terminal.getvalue()
    assert re.search(r"Training .*━.* step 3/3, loss", shown)
    assert "Validating" not in shown and "Testing" in shown
    assert shown.index("step 3/3") < shown.index("Testing")
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 2  # the cursor is shown again
    assert lines() == []


def test_a_validation_has_a_bar_of_its_own(tiny_run, open_terminal):
    terminal = open_terminal()
    tiny_run("trainer.max_steps=10", callbacks=[RunProgress()]).fit()
    shown = terminal.getvalue()
    assert re.search(r"Validating .*100 %", shown)
    assert "Validating" not in shown.rpartition("\x1b[2K")[2]  # it has disappeared


def test_log_lines_appear_above_the_bars(open_terminal):
    terminal = open_terminal()
    log = logging.getLogger("some.module")
    log.addHandler(handler := logging.StreamHandler(terminal))  # as Hydra's, which keeps its stream
    try:
        with console_progress(FIRST_RANK), work("drawing", 2):
            log.error("a line of [the] log with %s", "word " * 30)
            print("printed")
            advance()
        assert handler.stream is terminal
    finally:
        log.removeHandler(handler)
    shown = terminal.getvalue()
    assert re.search(rf"\x1b\[2Ka line of \[the\] log with {'word ' * 30}\n", shown)  # the bar was erased before
    assert re.search(r"\x1b\[2Kprinted\n", shown)
    assert shown.rindex("Drawing") > shown.index("printed")


def test_a_file_gets_no_control_characters(tiny_run, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in CI systems, whose logs are files
    tiny_run("trainer.max_steps=10", callbacks=[RunProgress()]).fit()
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err and "\r" not in printed.out + printed.err


def test_other_ranks_show_nothing(lines, open_terminal):
    terminal = open_terminal()
    with console_progress(False) as display, work("drawing", 1):
        advance()
    assert display is None and terminal.getvalue() == "" and lines() == []


@pytest.fixture
def clock(monkeypatch):
    """`clock(seconds)`: lets time pass."""
    now = [0.0]
    for module in (console, pace):
        monkeypatch.setattr(module, "perf_counter", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_short_work_gets_no_line_and_long_work_a_few(lines, clock):
    with console_progress(FIRST_RANK):
        with work("drawing a picture", 10):
            for _ in range(10):
                clock(1)
                advance()
        with work("scoring", 100):
            for _ in range(100):
                clock(10)
                advance()
    # At the first estimate, and a quarter of an hour later.
    assert lines() == ["scoring: 2 %, 16 min 20 s left", "scoring: 92 %, 1 min 20 s left"]


def test_a_slow_training_has_a_line_each_quarter_of_an_hour(lines, clock):
    with console_progress(FIRST_RANK) as display:
        advance_training = display.run("training", pace.Pace(1000), lambda pace: f"step {pace.done}")
        for _ in range(10):
            clock(400)
            advance_training(1)
    assert lines() == ["training: step 0", "training: step 3", "training: step 6", "training: step 9"]


@pytest.mark.parametrize("overrides", [["callbacks=minimal"], ["~callbacks.progress_bar"]], ids=lambda o: o[0])
def test_without_the_callback_there_is_no_bar(tiny_run, lines, capsys, overrides):
    run = tiny_run("logger=none", *overrides)
    trainer = build_trainer(run.config, run.trainer.default_root_dir, build_callbacks(run.config), [])
    assert trainer.progress_bar_callback is None
    trainer.fit(run.module, run.data)
    assert lines() == [] and "step" not in capsys.readouterr().out


def test_the_default_has_the_callback(tiny_run):
    run = tiny_run()
    trainer = build_trainer(run.config, run.trainer.default_root_dir, build_callbacks(run.config), [])
    assert isinstance(trainer.progress_bar_callback, RunProgress)


def test_the_bar_is_closed_after_an_error(tiny_run, open_terminal):
    terminal = open_terminal()

    class Broken(RunProgress):
        def on_train_batch_end(self, *arguments):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        tiny_run(callbacks=[Broken()]).fit()
    assert sys.stdout is terminal and terminal.getvalue().count("\x1b[?25h") == 1


class Recorder(Display):
    """Counts the units of all work."""

    def __init__(self):
        self.totals, self.done = {}, {}

    @contextmanager
    def work(self, what, total):
        self.totals[what], self.done[what] = total, 0

        def count(amount):
            self.done[what] += amount

        yield count


def test_all_work_of_a_scoring_is_counted_to_its_end(run_with):
    run = run_with("callbacks=generative_metrics", "metrics.chunk_size=5", "metrics.real_seed=77")
    recorder = Recorder()
    with shown_on(recorder):
        run.trainer.test(run.module, run.data, verbose=False)
    assert recorder.totals == {
        "drawing 16 samples with ddim in 2 steps": 4 * 2,
        "computing the lenet_mnist features of 16 samples": 16,
        "computing the lenet_mnist features of 16 real images": 16,
        "comparing the lenet_mnist features": 4,
    }
    assert recorder.done == recorder.totals


def test_progress_changes_no_sample(tiny_run):
    run = tiny_run()
    stream = sample_stream(run.module, DDIM(steps=2), unguided, seed=0, chunk_size=5)
    with shown_on(Recorder()):
        watched = draw_images(stream, 7, run.module, run.trainer)
    drawn = [run.module.normalizer.to_uint8(stream.draw(indices)) for indices in torch.arange(7).split(5)]
    assert torch.equal(watched, torch.cat(drawn))
