"""The LightningModule: one training step, one validation step, and what a checkpoint holds."""

import math
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric

from ddpm_lightning.data.batch import Batch
from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.forward_process import q_sample
from ddpm_lightning.diffusion.objective import Objective
from ddpm_lightning.diffusion.randomness import Purpose, keyed_normal
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.timesteps import TimestepLaw
from ddpm_lightning.training.checkpoint import CONFIG_KEY
from ddpm_lightning.training.diagnostics import BucketedMean, bucket_names, fixed_log_snr, spread, within_reach
from ddpm_lightning.training.draws import StepDraws
from ddpm_lightning.training.ema import ExponentialMovingAverage
from ddpm_lightning.training.optimizer import AdamW

VALIDATION_SEED = 0
"""Of the noise in validation: the same for every run, so that runs compare."""


class DiffusionModule(LightningModule):
    """Trains a network to denoise.

    Args:
        network: `network(x, noise_level, label)`, with an attribute `conditioning`.
        schedule: the noise schedule.
        objective: what is predicted, and how errors count.
        timesteps: the law from which t is drawn.
        optimizer: builds optimizer and learning-rate schedule.
        ema: makes the moving average of a network, or None to train without.
        normalizer: between uint8 and the model's range; what it learnt of the training split is in the checkpoints.
        seed: of every random draw of training, in [0, 2^32).
        flip: whether images are mirrored at random.
        label_dropout: probability with which a class label is withheld, for classifier-free guidance.
        weights: which weights are validated, sampled from and scored, "ema" or "raw"; the average where there is one
            if None.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        objective: Objective,
        timesteps: TimestepLaw,
        optimizer: AdamW,
        ema: Callable[[nn.Module], ExponentialMovingAverage] | None,
        normalizer: Normalizer,
        seed: int = 0,
        flip: bool = False,
        label_dropout: float = 0.1,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.denoiser = Denoiser(
            network.to(memory_format=torch.channels_last),
            schedule,
            objective.parameterization,  # type: ignore[call-overload]
        )
        self.ema = None if ema is None else ema(network)
        self.objective = objective
        self.timesteps = timesteps
        self.normalizer = normalizer
        self.seed = seed
        self.flip = flip
        self.label_dropout = label_dropout
        self.num_classes: int | None = network.num_classes  # type: ignore[assignment]
        self.run_config: dict[str, Any] = {}  # the resolved config of the run, as plain values; checkpoints hold it
        choices = ("raw",) if self.ema is None else ("ema", "raw")
        if weights not in (None, *choices):
            raise ValueError(f"unknown weights {weights!r}: this model has {', '.join(choices)}")
        self.weights = weights or ("raw" if self.ema is None else "ema")
        self._optimizer = optimizer
        self.diagnostics = nn.ModuleDict(
            {"loss": MeanMetric(), "noise_mae": BucketedMean(), "image_mae": BucketedMean()}
        )

    @property
    def network(self) -> nn.Module:
        """The network in training."""
        return self.denoiser.network

    def evaluation_denoiser(self) -> Denoiser:
        """The denoiser with the weights that are validated, sampled from and scored."""
        if self.weights == "raw" or self.ema is None:
            return self.denoiser
        return Denoiser(self.ema.network, self.denoiser.schedule, self.denoiser.parameterization)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One micro-batch: images (B, C, H, W) uint8 to the mean loss, ()."""
        micro_batch = batch_idx % self.trainer.accumulate_grad_batches
        draws = StepDraws(self.seed, self.global_step, micro_batch, batch.slots)
        draws.seed_dropout(self.global_rank)
        x_0 = self.normalizer.to_model(batch.images)
        if self.flip:
            mirrored = draws.uniform(Purpose.FLIP) < 0.5
            x_0 = torch.where(mirrored[:, None, None, None], x_0.flip(-1), x_0)
        t = self.timesteps(
            draws.uniform(Purpose.TIME),
            draws.shared_uniform(Purpose.SHARED_TIME),
            batch.slots,
            len(batch.slots) * self.trainer.world_size,
        )
        label = None
        if self.num_classes is not None:
            withheld = draws.uniform(Purpose.LABEL_DROPOUT) < self.label_dropout
            label = torch.where(withheld, self.num_classes, batch.labels)
        noise = draws.normal(Purpose.NOISE, tuple(x_0.shape[1:]))
        loss = self._loss(self.denoiser, x_0, noise, t, label).mean()
        self.log("train/loss", loss.detach(), prog_bar=True, sync_dist=True)
        return loss

    def _loss(self, denoiser: Denoiser, x_0: Tensor, noise: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        """The objective per sample, (B,)."""
        rates, log_snr = denoiser.schedule.rates(t), denoiser.schedule.log_snr(t)
        output = denoiser.output(q_sample(x_0, noise, rates), t, label)
        with torch.autocast(x_0.device.type, enabled=False):
            return self.objective(output, x_0, noise, rates, log_snr)

    def on_validation_epoch_start(self) -> None:
        self._reset_diagnostics()

    def on_test_epoch_start(self) -> None:
        self._reset_diagnostics()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._diagnose(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._diagnose(batch)

    def on_validation_epoch_end(self) -> None:
        self._log_diagnostics("val")

    def on_test_epoch_end(self) -> None:
        self._log_diagnostics("test")

    def _reset_diagnostics(self) -> None:
        for metric in self.diagnostics.values():
            metric.reset()  # type: ignore[operator]

    @torch.no_grad()
    def _diagnose(self, batch: Batch) -> None:
        """The loss at times spread over [1/T, 1], and the errors at log SNRs spread over the buckets.

        Times, log SNRs and noise depend on an image's place in the pass alone, so that epochs and runs compare.
        """
        if len(batch.images) == 0:  # what a rank is given that has no share of the pass
            return
        denoiser = self.evaluation_denoiser()
        schedule = denoiser.schedule
        x_0 = self.normalizer.to_model(batch.images)
        label = None if self.num_classes is None else batch.labels
        noise = keyed_normal(VALIDATION_SEED, Purpose.VALIDATION_NOISE, batch.slots, tuple(x_0.shape[1:]))

        t_min = 1 / schedule.num_steps
        t = t_min + spread(batch.slots) * (1 - t_min)
        self.diagnostics["loss"].update(self._loss(denoiser, x_0, noise, t, label))  # type: ignore[operator]

        log_snr = fixed_log_snr(batch.slots)
        t, reached = schedule.time_of_log_snr(log_snr), within_reach(schedule, log_snr)
        prediction = denoiser(q_sample(x_0, noise, schedule.rates(t)), t, label)
        # Clipped as a sampler would: where the signal vanishes, an unclipped image says nothing but the rate.
        image = self.normalizer.clamp(prediction.image)
        low, high = self.normalizer.value_range
        image_error = (image - x_0) * (2 / (high - low))  # on the scale of -1 to 1 with every normaliser
        for name, error in (("noise_mae", prediction.noise - noise), ("image_mae", image_error)):
            per_sample = error.abs().flatten(1).mean(1)
            self.diagnostics[name].update(per_sample[reached], log_snr[reached])  # type: ignore[operator]

    def _log_diagnostics(self, stage: str) -> None:
        # The metrics have summed over the devices themselves.
        self.log(f"{stage}/loss", self.diagnostics["loss"].compute(), prog_bar=True)  # type: ignore[operator]
        for name in ("noise_mae", "image_mae"):
            means: Tensor = self.diagnostics[name].compute()  # type: ignore[operator]
            self.log(f"{stage}/{name}", means[-1])
            for bucket, mean, missing in zip(bucket_names(), means[:-1], means[:-1].isnan().tolist(), strict=True):
                # A bucket that the schedule does not wholly reach has no mean. A network that gives NaN shows in the
                # loss.
                if not missing:
                    self.log(f"{stage}/{name}/{bucket}", mean)

    def configure_optimizers(self) -> Any:
        total_steps = self.trainer.estimated_stepping_batches
        if math.isinf(total_steps):
            raise ValueError("a training needs an end: set trainer.max_steps or trainer.max_epochs")
        optimizer, schedule = self._optimizer.build(self.network.parameters(), int(total_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """The optimizer's step, then the average's: once per step, not per micro-batch."""
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

        Lightning's own refuses every fused optimizer under mixed precision, though only a gradient scaler (float16)
        would be in the way.
        """
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val and gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(self.network.parameters(), gradient_clip_val)
        elif gradient_clip_val:
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip_val)
            self.log("train/gradient_norm", norm)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "DiffusionModule":
        """Moves the averaged network along, which is no submodule."""
        if self.ema is not None:
            self.ema.network._apply(fn)
        super()._apply(fn, recurse)
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[CONFIG_KEY] = self.run_config
        if self.ema is not None:
            checkpoint["ema"] = self.ema.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.ema is not None:
            self.ema.load_state_dict(checkpoint["ema"])
