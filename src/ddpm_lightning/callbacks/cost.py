"""Callback that measures the costs of a run: parameters, training speed, wall-clock time."""

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ddpm_lightning.callbacks.training_clock import TrainingClock
from ddpm_lightning.data.batch import Batch
from ddpm_lightning.readable_numbers import duration, magnitude
from ddpm_lightning.training.training_module import TrainingModule

PREFIX = "cost/"
"""Prefix of logged costs."""
WARMUP_BATCHES = 5
"""Batches after each start that are not timed: in them memory is allocated and kernels are chosen or compiled."""


class CostMeter(Callback):
    """Logs the costs of a training, with the values of the test.

    - `cost/parameters`: number of parameters of the network, without its averaged copy.
    - `cost/train_images_per_second`: speed of all devices together, including the wait for data; without validations,
      pictures, checkpoints, the time between epochs and the first `WARMUP_BATCHES` batches.
    - `cost/wall_seconds`: duration of the whole fit.

    The latter two are logged only after a training, and add up over restarts of a run. Steps lost to a kill, those
    since the last checkpoint, are not counted. List this callback before those whose work at the end of a batch is
    part of the training.
    """

    def __init__(self) -> None:
        self._clock = TrainingClock(WARMUP_BATCHES)
        self._wall_seconds = 0.0  # before this start
        self._fit_start: float | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._fit_start = perf_counter()
        self._clock.start(pl_module.device)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._wall_seconds = self._wall_seconds_now()
        self._fit_start = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self._clock.begin_batch()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._clock.end_batch(len(batch.images) * trainer.world_size)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clock.interrupt()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clock.interrupt()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        costs = {"parameters": float(sum(parameter.numel() for parameter in pl_module.network.parameters()))}
        if speed := self._clock.images_per_second:
            costs["train_images_per_second"] = speed
        if self._wall_seconds:
            costs["wall_seconds"] = self._wall_seconds
        log_costs(trainer, pl_module, costs)

    def logged_values(self, module: TrainingModule, stage: str) -> set[str]:
        """The names of all values that it may log in a stage: "train", "val" or "test"."""
        costs = ("parameters", "train_images_per_second", "wall_seconds")
        return {f"{PREFIX}{name}" for name in costs} if stage == "test" else set()

    def _wall_seconds_now(self) -> float:
        running = 0.0 if self._fit_start is None else perf_counter() - self._fit_start
        return self._wall_seconds + running

    def state_dict(self) -> dict[str, Any]:
        self._clock.interrupt()  # Lightning asks for the state of callbacks before `on_save_checkpoint`
        return {
            "images": self._clock.images,
            "train_seconds": self._clock.seconds,
            "wall_seconds": self._wall_seconds_now(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._clock.images = state_dict["images"]
        self._clock.seconds = state_dict["train_seconds"]
        self._wall_seconds = state_dict["wall_seconds"]


def log_costs(trainer: Trainer, module: TrainingModule, costs: Mapping[str, float]) -> None:
    """Logs the first rank's values under `cost/` on every rank, since each rank has its own clock.

    All ranks must call it.
    """
    of_first_rank = trainer.strategy.broadcast(dict(costs))
    # float32 would round the parameter count of a large network.
    values = {name: torch.tensor(cost, dtype=torch.float64) for name, cost in of_first_rank.items()}
    module.log_shared({PREFIX + name: value.to(module.device) for name, value in values.items()})


def logged_costs(trainer: Trainer) -> dict[str, float]:
    """The costs logged in this fit or test, by name without `cost/`."""
    return {
        name.removeprefix(PREFIX): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith(PREFIX)
    }


def describe_costs(costs: Mapping[str, float]) -> str:
    """One line with the known costs: "856 k parameters, training 5 min 16 s, 400 images/s, sampling 20.0 s, ..."."""
    descriptions = {
        "parameters": lambda count: f"{magnitude(count)} parameters",
        "wall_seconds": lambda seconds: f"training {duration(seconds)}",
        "train_images_per_second": lambda speed: f"{speed:.0f} images/s",
        "sampling_seconds": lambda seconds: f"sampling {duration(seconds)}",
        "network_evaluations": lambda count: f"{count:.0f} network evaluations per sample",
    }
    return ", ".join(describe(costs[name]) for name, describe in descriptions.items() if name in costs)
