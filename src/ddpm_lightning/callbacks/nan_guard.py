"""Callback that stops a training which has become NaN, before it overwrites a good checkpoint."""

import shlex
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ddpm_lightning.runs.run_folder import RunFolder

CHECK_EVERY_N_STEPS = 50
"""Optimizer steps between two checks, each of which synchronises with the device."""


class NanGuard(Callback):
    """Raises FloatingPointError after a loss was NaN or infinite, and before such weights would be saved.

    The first bad step is recorded on the device. The host reads it every `CHECK_EVERY_N_STEPS` steps and before every
    checkpoint, and does not wait for the device in between. List this callback before the one that saves.
    """

    def __init__(self) -> None:
        self._first_bad_step: Tensor | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"].detach()
        if self._first_bad_step is None:
            self._first_bad_step = torch.full((), -1, device=loss.device)
        fresh = (self._first_bad_step < 0) & ~torch.isfinite(loss)
        self._first_bad_step = torch.where(fresh, trainer.global_step, self._first_bad_step)
        if trainer.global_step % CHECK_EVERY_N_STEPS == 0:
            self._check(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check(trainer)
        # A finite loss can have an infinite gradient.
        if not all(bool(torch.isfinite(parameter).all()) for parameter in pl_module.parameters()):
            self._stop(trainer, "the weights", trainer.global_step)

    def _check(self, trainer: Trainer) -> None:
        step = -1 if self._first_bad_step is None else int(self._first_bad_step)
        if step >= 0:
            self._stop(trainer, "the loss", step)

    def _stop(self, trainer: Trainer, culprit: str, step: int) -> NoReturn:
        last = RunFolder(Path(trainer.default_root_dir)).last_checkpoint
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        remedy = "a lower optimizer.lr, a longer optimizer.warmup_steps or trainer.precision=32-true"
        if last.is_file():
            again = shlex.quote(f"init_from={last}")
            advice = f"the last good checkpoint is {last}. Start a new run from it with {again} and {remedy}"
        else:
            advice = f"no checkpoint was written before. Try {remedy}"
        raise FloatingPointError(
            f"{culprit} became NaN or infinite at optimizer step {step} (learning rate now {rates[0]:.3g}); {advice}"
        )
