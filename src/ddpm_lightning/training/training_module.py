"""Base class of modules that are trained: the course of a step and of a validation, weights, optimizer, checkpoints."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric

from ddpm_lightning.data.batch import Batch
from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.diffusion.forward_process import Noised, noise_batch
from ddpm_lightning.diffusion.randomness import Purpose, golden_spread, keyed_normal
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.timesteps import TimestepDistribution
from ddpm_lightning.training.checkpoint import CONFIG_KEY, IMAGES_KEY
from ddpm_lightning.training.diagnostics import (
    BucketedMean,
    bucket_names,
    covered_buckets,
    covers_bucket,
    fixed_log_snr,
)
from ddpm_lightning.training.draws import StepDraws
from ddpm_lightning.training.ema import ExponentialMovingAverage
from ddpm_lightning.training.optimizer import AdamW

VALIDATION_SEED = 0
"""Seed of the validation noise; fixed so that runs are comparable."""


class TrainingModule(LightningModule, ABC):
    """A LightningModule that trains a network on noised images; a subclass says what the network learns from them.

    Args:
        network: the network to train, with an attribute `conditioning`.
        image_shape: (C, H, W) of the images; stored in checkpoints, so that using the network needs no data.
        num_classes: classes of the images, 0 for images without labels; stored in checkpoints too.
        timesteps: the distribution from which t is drawn.
        optimizer: builds the optimizer and the learning-rate schedule.
        ema: makes the moving average of a network, or None to train without.
        normalizer: converts between uint8 and the model's range; its statistics of the training split are stored in
            checkpoints.
        seed: seed of every random draw in training, in [0, 2^32).
        flip: whether images are mirrored at random.
        weights: which weights are validated, scored and used, "ema" or "raw"; None for the average if there is one.

    Raises:
        ValueError: the model does not have these weights.
    """

    measured: ClassVar[tuple[str, ...]]
    """Names of the values that `measure` returns."""

    def __init__(
        self,
        network: nn.Module,
        image_shape: tuple[int, int, int],
        num_classes: int,
        timesteps: TimestepDistribution,
        optimizer: AdamW,
        ema: Callable[[nn.Module], ExponentialMovingAverage] | None,
        normalizer: Normalizer,
        seed: int,
        flip: bool,
        weights: str | None,
    ) -> None:
        super().__init__()
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = None if ema is None else ema(network)
        self.timesteps = timesteps
        self.timestep_memory = timesteps.memory  # registered here, so that checkpoints hold it and it changes devices
        self.normalizer = normalizer
        self.image_shape = image_shape
        self.num_classes = num_classes
        self.seed = seed
        self.flip = flip
        self.run_config: dict[str, Any] = {}  # the run's resolved config, as plain values; stored in checkpoints
        choices = ("raw",) if self.ema is None else ("ema", "raw")
        if weights not in (None, *choices):
            raise ValueError(f"unknown weights {weights!r}: this model has {', '.join(choices)}")
        self.weights = weights or ("raw" if self.ema is None else "ema")
        self._optimizer = optimizer
        self.diagnostics = nn.ModuleDict({"loss": MeanMetric(), **{name: BucketedMean() for name in self.measured}})

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """The network in training."""

    @property
    @abstractmethod
    def schedule(self) -> Schedule:
        """The noise schedule."""

    @abstractmethod
    def training_loss(self, noised: Noised, labels: Tensor, draws: StepDraws) -> Tensor:
        """The loss of each sample of a training batch, (B,); labels: (B,) int64."""

    @abstractmethod
    def validation_loss(self, noised: Noised, labels: Tensor) -> Tensor:
        """The loss of each sample of a validation batch, (B,), by the weights that are validated."""

    @abstractmethod
    def measure(self, noised: Noised, labels: Tensor) -> Mapping[str, Tensor]:
        """Further values of each sample of a validation batch by name, (B,), which depend on its log SNR."""

    def evaluation_network(self) -> nn.Module:
        """The network with the weights that are validated, scored and used."""
        return self.network if self.weights == "raw" or self.ema is None else self.ema.network

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Sets the weights of the network, by name, and lets the average start from them.

        Raises:
            RuntimeError: they are not those of this network.
        """
        self.network.load_state_dict(weights)
        if self.ema is not None:
            self.ema.network.load_state_dict(weights)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean loss, (), of one micro-batch of images (B, C, H, W), uint8."""
        micro_batch = batch_idx % self.trainer.accumulate_grad_batches
        draws = StepDraws(self.seed, self.global_step, micro_batch, batch.slots)
        draws.seed_dropout(self.global_rank)
        x_0 = self.normalizer.to_model(batch.images)
        if self.flip:
            mirrored = draws.uniform(Purpose.FLIP) < 0.5
            x_0 = torch.where(mirrored[:, None, None, None], x_0.flip(-1), x_0)
        t = self.timesteps(
            self.schedule,
            draws.uniform(Purpose.TIME),
            draws.shared_uniform(Purpose.SHARED_TIME),
            batch.slots,
            len(batch.slots) * self.trainer.world_size,
        )
        eps = draws.normal(Purpose.NOISE, tuple(x_0.shape[1:]))
        losses = self.training_loss(noise_batch(self.schedule, x_0, eps, t), batch.labels, draws)
        loss = (self.timesteps.weights(t) * losses).mean()
        self._record_losses(batch.slots, t, losses.detach())
        self.log("train/loss", loss.detach(), sync_dist=True)
        return loss

    def _record_losses(self, slots: Tensor, t: Tensor, losses: Tensor) -> None:
        """Shows the losses of the whole batch, on all ranks, to a distribution of times that learns from them."""
        if self.timestep_memory is None:
            return
        own = torch.stack([slots.double(), t.double(), losses.double()], 1)
        rows = self.all_gather(own).reshape(-1, 3)  # type: ignore[union-attr]  # (ranks, B, 3) where there are several
        _, t, losses = rows[rows[:, 0].argsort()].unbind(1)
        self.timesteps.record(t, losses)

    def on_validation_epoch_start(self) -> None:
        for metric in self.diagnostics.values():
            metric.reset()  # type: ignore[operator]

    def on_validation_epoch_end(self) -> None:
        self._log_diagnostics("val")

    def on_test_epoch_end(self) -> None:
        self._log_diagnostics("test")

    @torch.no_grad()
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measures the loss at times spread over those of training, and more at log SNRs spread over the buckets.

        Times, log SNRs and noise depend only on an image's position in the pass, so that epochs and runs are
        comparable.
        """
        if len(batch.images) == 0:  # on a rank without a share of the pass
            return
        x_0 = self.normalizer.to_model(batch.images)
        eps = keyed_normal(VALIDATION_SEED, Purpose.VALIDATION_NOISE, batch.slots, tuple(x_0.shape[1:]))
        t = self.validation_times(golden_spread(batch.slots))
        loss = self.validation_loss(noise_batch(self.schedule, x_0, eps, t), batch.labels)
        self.diagnostics["loss"].update(loss)  # type: ignore[operator]

        log_snr = fixed_log_snr(batch.slots)
        t, covered = self.schedule.time_of_log_snr(log_snr), covers_bucket(self.schedule, log_snr)
        for name, value in self.measure(noise_batch(self.schedule, x_0, eps, t), batch.labels).items():
            self.diagnostics[name].update(value[covered], log_snr[covered])  # type: ignore[operator]

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def validation_times(self, spread: Tensor) -> Tensor:
        """The times, (B,), at which the loss is measured: `spread`, (B,), in [0, 1), over [t_min, 1]."""
        return self.schedule.t_min + spread * (1 - self.schedule.t_min)

    def _log_diagnostics(self, stage: str) -> None:
        values: dict[str, Tensor] = {"loss": self.diagnostics["loss"].compute()}  # type: ignore[operator]
        for name in self.measured:
            means: Tensor = self.diagnostics[name].compute()  # type: ignore[operator]
            values[name] = means[-1]
            for bucket, mean, missing in zip(bucket_names(), means[:-1], means[:-1].isnan().tolist(), strict=True):
                # Skip buckets outside the schedule's range; a diverged network shows in the loss.
                if not missing:
                    values[f"{name}/{bucket}"] = mean
        self.log_shared({f"{stage}/{name}": value for name, value in values.items()})

    def logged_values(self, stage: str) -> set[str]:
        """The names of all values that are logged in a stage: "train", "val" or "test"."""
        if stage == "train":
            return {"train/loss", "train/gradient_norm"}
        ends = ("", *(f"/{bucket}" for bucket in covered_buckets(self.schedule)))
        return {f"{stage}/{name}" for name in ("loss", *(f"{name}{end}" for name in self.measured for end in ends))}

    def log_shared(self, values: Mapping[str, Tensor | float]) -> None:
        """Logs, at the end of an epoch, values that are the same on every rank; all ranks must call it.

        Their maximum over the ranks is each of them to the bit; their mean, which Lightning computes by default, is not
        for three ranks.
        """
        self.log_dict(dict(values), sync_dist=True, reduce_fx="max")

    def configure_optimizers(self) -> Any:
        total_steps = self.trainer.estimated_stepping_batches
        if math.isinf(total_steps):
            raise ValueError("training needs an end: set trainer.max_steps or trainer.max_epochs")
        optimizer, schedule = self._optimizer.build(self.network.parameters(), int(total_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Steps the optimizer, then updates the average: once per step, not per micro-batch."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.ema is not None:
            self.ema.update(self.network)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the gradient, by norm unless `trainer.gradient_clip_algorithm=value`.

        Lightning's own method refuses every fused optimizer under mixed precision, although only a gradient scaler
        (float16) prevents clipping.
        """
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val and gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(self.network.parameters(), gradient_clip_val)
        elif gradient_clip_val:
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip_val)
            self.log("train/gradient_norm", norm)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Also moves the EMA network, which is deliberately not a submodule."""
        if self.ema is not None:
            self.ema.network._apply(fn)
        super()._apply(fn, recurse)
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[CONFIG_KEY] = self.run_config
        checkpoint[IMAGES_KEY] = {"shape": list(self.image_shape), "num_classes": self.num_classes}
        if self.ema is not None:
            checkpoint["ema"] = self.ema.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.ema is not None:
            self.ema.load_state_dict(checkpoint["ema"])
