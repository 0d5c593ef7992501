"""Panel of noised, predicted and reconstructed images: the truth above, the model below."""

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from ddpm_lightning.callbacks.periodic_picture import PeriodicPicture
from ddpm_lightning.data.order import spread_indices
from ddpm_lightning.diffusion.forward_process import noise_batch
from ddpm_lightning.diffusion.randomness import Purpose, keyed_normal
from ddpm_lightning.pictures import image_grid
from ddpm_lightning.training.module import DiffusionModule
from ddpm_lightning.training.training_module import VALIDATION_SEED

NUM_COLUMNS = 10


class ProcessPanel(PeriodicPicture):
    """Six rows of `NUM_COLUMNS` noise levels, evenly spaced in t, from little noise on the left to much on the right.

    Rows 1 to 3 are the truth: the noised image (scaled down to unit variance if it has more), the network's target
    (noise, image, velocity, ...), the image. Rows 4 to 6 are the model's: the same noised image, the network's output,
    the image reconstructed from it. Each column has its own image, evenly spaced in the validation split; a split with
    fewer images gives fewer columns.
    """

    name = "process"

    def draw(self, trainer: Trainer, module: DiffusionModule) -> Tensor:
        split = trainer.datamodule.split("val")  # type: ignore[attr-defined]  # ours, set by fit
        indices = spread_indices(len(split), NUM_COLUMNS)
        slots = torch.arange(len(indices), device=module.device)
        x_0 = module.normalizer.to_model(torch.from_numpy(split.images_at(indices)).to(module.device))
        denoiser = module.evaluation_denoiser()
        labels = torch.from_numpy(split.labels_at(indices)).to(module.device)
        eps = keyed_normal(VALIDATION_SEED, Purpose.VALIDATION_NOISE, slots, tuple(x_0.shape[1:]))
        noised = noise_batch(denoiser.schedule, x_0, eps, (slots + 0.5) / len(slots))

        label = None if denoiser.num_classes is None else labels
        prediction = module.predict(denoiser, noised.x_t, noised.t, label)
        shown = noised.rates.input_scale()[:, None, None, None] * noised.x_t
        truth = [shown, denoiser.target(x_0, eps, noised.rates), x_0]
        predicted = [shown, denoiser.target(prediction.x_0, prediction.eps, noised.rates), prediction.x_0]
        rows = torch.cat([*truth, *predicted])
        return image_grid(module.normalizer.to_uint8(rows), columns=len(slots))
