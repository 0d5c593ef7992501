"""Curves of the loss and of the errors against the log SNR."""

from dataclasses import dataclass

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from ddpm_lightning.callbacks.periodic_picture import PeriodicPicture
from ddpm_lightning.data.order import spread_indices
from ddpm_lightning.diffusion.forward_process import noise_batch
from ddpm_lightning.diffusion.randomness import Purpose, keyed_normal
from ddpm_lightning.process_pictures.figure import figure_picture, new_figure
from ddpm_lightning.training.module import DiffusionModule
from ddpm_lightning.training.training_module import VALIDATION_SEED


@dataclass(eq=False)
class NoiseLevelCurves(PeriodicPicture):
    """The loss, and the mean absolute errors of eps and of x_0, at evenly spaced times, against their log SNR.

    The same images, evenly spaced in the validation split, with the same noise, at every time and in every picture. The
    loss is that of the training, with its weights; the errors are those of the validation.

    Args:
        num_images: images at each time.
        num_times: number of times.

    Raises:
        ValueError: an option is below 1.
    """

    name = "noise_levels"

    num_images: int = 32
    num_times: int = 24

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("num_images", "num_times"):
            if (value := getattr(self, option)) < 1:
                raise ValueError(f"callbacks.noise_level_curves.{option} must be at least 1, not {value}")

    def draw(self, trainer: Trainer, module: DiffusionModule) -> Tensor:
        log_snr, means = self.curves(trainer, module)
        figure = new_figure(9, 3)
        titles = ("loss", "error of eps", "error of x_0")
        for axes, title, curve in zip(figure.subplots(1, 3), titles, means, strict=True):
            axes.plot(log_snr.cpu().numpy(), curve.cpu().numpy(), marker=".", linewidth=1)
            axes.set(title=title, xlabel="log SNR", yscale="log")
            axes.grid(linewidth=0.4, alpha=0.5)
        return figure_picture(figure)

    def curves(self, trainer: Trainer, module: DiffusionModule) -> tuple[Tensor, Tensor]:
        """The log SNR of each time, (T,), and the means over the images of the loss and the two errors, (3, T)."""
        split = trainer.datamodule.split("val")  # type: ignore[attr-defined]  # ours, set by fit
        indices = spread_indices(len(split), self.num_images)
        x_0 = module.normalizer.to_model(torch.from_numpy(split.images_at(indices)).to(module.device))
        denoiser = module.evaluation_denoiser()
        label = None
        if denoiser.num_classes is not None:
            label = torch.from_numpy(split.labels_at(indices)).to(module.device)
        slots = torch.arange(len(x_0), device=module.device)
        eps = keyed_normal(VALIDATION_SEED, Purpose.VALIDATION_NOISE, slots, tuple(x_0.shape[1:]))
        times = module.validation_times((torch.arange(self.num_times, device=module.device) + 0.5) / self.num_times)
        means = []
        for t in times:
            noised = noise_batch(denoiser.schedule, x_0, eps, t.expand(len(x_0)))
            prediction = module.predict(denoiser, noised.x_t, noised.t, label)
            values = [module.loss(prediction, noised), *module.errors(prediction, noised).values()]
            means.append(torch.stack([value.mean() for value in values]))
        return denoiser.schedule.log_snr(times), torch.stack(means, dim=1)
