"""The names of logged values are known before they are logged, and an option may name no other."""

from collections.abc import Callable

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping

from ddpm_lightning.callbacks.checkpointing import Checkpointing
from ddpm_lightning.runs.build import build_callbacks
from ddpm_lightning.runs.logged_values import UnknownValueError, check_named_values, logged_values


class Keys(Callback):
    """Notes the names of what has been logged."""

    def __init__(self) -> None:
        self.seen: dict[str, set[str]] = {}

    def on_train_batch_end(self, trainer, *_):
        self.seen["train"] = {name for name in trainer.callback_metrics if name.startswith("train/")}

    def on_validation_end(self, trainer, *_):
        self.seen["val"] = {name for name in trainer.callback_metrics if name.startswith("val/")}

    def on_test_end(self, trainer, *_):
        self.seen["test"] = set(trainer.callback_metrics)


class Own(Callback):
    """Of a user, who does not say what it logs."""


class OwnThatSays(Callback):
    def logged_values(self, module, stage):
        return {"val/own"} if stage == "val" else set()


@pytest.mark.parametrize("schedule", ["cosine", "flow"])
def test_the_names_are_those_that_a_run_logs(tiny_run: Callable, schedule: str) -> None:
    options = [
        f"schedule={schedule}",
        "trainer.max_steps=8",
        "trainer.val_check_interval=4",
        "metrics.every_n_epochs=1",
    ]
    config = tiny_run(*options, "callbacks=[cost,generative_metrics]").config
    keys, callbacks = Keys(), build_callbacks(config)
    run = tiny_run(*options, callbacks=[*callbacks, keys])
    run.fit()
    run.trainer.test(run.module, run.data, verbose=False)
    for stage in ("train", "val", "test"):
        assert logged_values(run.module, callbacks, [stage]) == keys.seen[stage], stage


def check(tiny_run: Callable, *overrides: str, more: tuple[Callback, ...] = ()) -> None:
    run = tiny_run(*overrides)
    check_named_values(run.config, run.module, [*build_callbacks(run.config), *more])


@pytest.mark.parametrize(
    "overrides",
    [
        ["callbacks.checkpointing.monitor=val/noise_mae/log_snr_0_3"],
        ["callbacks.checkpointing.monitor=train/loss"],
        ["callbacks.checkpointing.monitor=val/kid_lenet_mnist", "metrics.every_n_epochs=5"],
        ["optimize.score=test/kid_lenet_mnist"],
        ["optimize.score=cost/wall_seconds"],
    ],
    ids=" ".join,
)
def test_what_is_logged_at_some_time_may_be_named(tiny_run: Callable, overrides: list[str]) -> None:
    check(tiny_run, *overrides)


@pytest.mark.parametrize(
    ("overrides", "option"),
    [
        (["callbacks.checkpointing.monitor=val/kid"], "callbacks.checkpointing.monitor=val/kid"),
        (["callbacks.checkpointing.monitor=test/loss"], "callbacks.checkpointing.monitor=test/loss"),
        (
            ["callbacks.checkpointing.monitor=val/kid_lenet_mnist"],
            "callbacks.checkpointing.monitor=val/kid_lenet_mnist",
        ),
        (["optimize.score=test/kid_inception"], "optimize.score=test/kid_inception"),
        (["callbacks=minimal", "optimize.score=test/kid_lenet_mnist"], "optimize.score=test/kid_lenet_mnist"),
        (
            [f"+callbacks.stop._target_={EarlyStopping.__module__}.EarlyStopping", "+callbacks.stop.monitor=val/los"],
            "callbacks.stop.monitor=val/los",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_never_logged_is_refused(tiny_run: Callable, overrides: list[str], option: str) -> None:
    with pytest.raises(UnknownValueError, match=rf"^{option}.* names a value that this run does not log: .*loss"):
        check(tiny_run, *overrides)


def test_a_callback_of_ones_own_may_log_anything_unless_it_says(tiny_run: Callable) -> None:
    check(tiny_run, "callbacks.checkpointing.monitor=val/any", more=(Own(),))
    check(tiny_run, "callbacks.checkpointing.monitor=val/own", more=(OwnThatSays(),))
    with pytest.raises(UnknownValueError, match="val/own"):
        check(tiny_run, "callbacks.checkpointing.monitor=val/any", more=(OwnThatSays(),))


class TestAtTheFirstValidation:
    """Where a callback of a user's own might have logged it."""

    def test_a_value_that_nobody_logs_is_an_error(self, tiny_run: Callable) -> None:
        run = tiny_run("trainer.max_steps=20", callbacks=[Own(), Checkpointing(1000, monitor="val/los")])
        with pytest.raises(UnknownValueError, match=r"monitor=val/los names .*: it logs .*val/loss, val/noise_mae"):
            run.fit()
        assert run.trainer.global_step == 10  # an epoch of the tiny data

    def test_a_value_that_comes_later_is_waited_for(self, tiny_run: Callable) -> None:
        run = tiny_run("trainer.max_steps=10", callbacks=[OwnThatSays(), Checkpointing(1000, monitor="val/own")])
        run.fit()

    def test_a_resumed_run_has_seen_it(self, tiny_run: Callable) -> None:
        checkpointing = Checkpointing(1000, monitor="val/sometimes")
        checkpointing.load_state_dict({"best_value": 0.5, "monitor": "val/sometimes"})
        run = tiny_run("trainer.max_steps=10", callbacks=[Own(), checkpointing])
        run.fit()

    def test_another_value_than_before_has_no_best_yet(self) -> None:
        checkpointing = Checkpointing(monitor="val/noise_mae")
        checkpointing.load_state_dict({"best_value": 0.5, "monitor": "val/loss"})
        assert checkpointing.best_value is None
        checkpointing.load_state_dict({"best_value": 0.5})  # of an earlier version
        assert checkpointing.best_value == 0.5
