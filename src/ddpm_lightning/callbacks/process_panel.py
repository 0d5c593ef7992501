"""Panel of noised, predicted and reconstructed images of the validation split."""

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from ddpm_lightning.callbacks.periodic_picture import PeriodicPicture
from ddpm_lightning.data.order import spread_indices
from ddpm_lightning.diffusion.randomness import Purpose, keyed_normal
from ddpm_lightning.process_pictures.panel import process_panel
from ddpm_lightning.training.module import DiffusionModule
from ddpm_lightning.training.training_module import VALIDATION_SEED

NUM_COLUMNS = 10


class ProcessPanel(PeriodicPicture):
    """`process_panel` of `NUM_COLUMNS` images, from little noise on the left to much on the right.

    The images are evenly spaced in the validation split; a split with fewer images gives fewer columns.
    """

    name = "process"

    def draw(self, trainer: Trainer, module: DiffusionModule) -> Tensor:
        split = trainer.datamodule.split("val")  # type: ignore[attr-defined]  # ours, set by fit
        indices = spread_indices(len(split), NUM_COLUMNS)
        images = torch.from_numpy(split.images_at(indices)).to(module.device)
        slots = torch.arange(len(indices), device=module.device)
        eps = keyed_normal(VALIDATION_SEED, Purpose.VALIDATION_NOISE, slots, tuple(images.shape[1:]))
        denoiser = module.evaluation_denoiser()
        label = (
            torch.from_numpy(split.labels_at(indices)).to(module.device) if denoiser.num_classes is not None else None
        )
        return process_panel(denoiser, module.normalizer, images, eps, label)
