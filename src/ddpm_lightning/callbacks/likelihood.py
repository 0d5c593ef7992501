"""Callback that measures the likelihood of held-out images under a module, on any number of devices."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ddpm_lightning.atomic_files import write_arrays
from ddpm_lightning.callbacks.bound_figure import bound_figure
from ddpm_lightning.callbacks.periodic_picture import show_picture
from ddpm_lightning.callbacks.scored_run import module_and_data, write_scores
from ddpm_lightning.data.image_dataset import ImageDataset
from ddpm_lightning.diffusion.guidance import Guidance
from ddpm_lightning.metrics.features.reference import choose_real_indices
from ddpm_lightning.metrics.likelihood.bound import BoundLikelihood, BoundTerms
from ddpm_lightning.metrics.likelihood.card import LikelihoodCard
from ddpm_lightning.metrics.likelihood.images import LabelledImages, mean_of_images
from ddpm_lightning.metrics.likelihood.ode import ODELikelihood
from ddpm_lightning.metrics.likelihood.plan import LikelihoodPlan
from ddpm_lightning.metrics.scores import Scores
from ddpm_lightning.pictures import save_picture
from ddpm_lightning.runs.drawing import gathered_rows
from ddpm_lightning.samplers.generation import chunk_indices
from ddpm_lightning.tracking import work
from ddpm_lightning.training.module import DiffusionModule

BOUND, ODE = "bits_per_dim_bound", "bits_per_dim_ode"
"""Names of the values, and of the arrays with those of each image."""
DEFAULT_STEPS = 1000
"""T of the bound of a model whose training has no number of steps."""


class LikelihoodMetrics(Callback):
    """Measures bits per dimension of images of the test split, in a test.

    All noise is a function of (seed, index of the image in the split), and ranks take whole chunks of images, so the
    values are the same on any number of devices. A test writes to the run's folder:

    - `metrics.json`, with the means over images and their 95 % intervals;
    - `likelihood.npz`: `image_indices` (N,), the indices of the images in the split; `bits_per_dim_bound` and
      `bits_per_dim_ode` (N,), of each image; `bound_times` (T,), t_i = i/T, and `bound_terms` (T,), the mean L_{i-1} of
      the step from t_i to t_{i-1};
    - `likelihood.png`: the terms of the bound over t.

    Args:
        plan: which likelihoods of which images are measured.
        guidance: of the samples; only a model without guidance has a likelihood.
        dataset: name of the data set, for the card.
        seeds: seeds of the training by name, for the card.
    """

    def __init__(self, plan: LikelihoodPlan, guidance: Guidance, dataset: str, seeds: Mapping[str, int]) -> None:
        self.plan = plan
        self.guidance = guidance
        self.dataset = dataset
        self.seeds = dict(seeds)
        self._scores: Scores | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Raises ValueError before any work if the model or the data do not have these likelihoods."""
        module, data = module_and_data(trainer, pl_module)
        denoiser = module.evaluation_denoiser()
        if self.guidance(denoiser) is not denoiser:
            raise ValueError(
                "metrics=likelihood measures the model itself, because guided predictions are not those of a "
                "distribution: set guidance=none"
            )
        if (available := len(data.split("test"))) < self.plan.num_images:
            raise ValueError(
                f"metrics.num_images={self.plan.num_images}, but the test split has {available} images: lower it"
            )
        if self.plan.bound is not None:
            self.plan.bound.bound(denoiser, own_steps(module))
        if self.plan.ode is not None:
            self.plan.ode.check(denoiser)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module, data = module_and_data(trainer, pl_module)
        split, folder = data.split("test"), Path(trainer.default_root_dir)
        arrays = {"image_indices": self._indices(split)}
        values: dict[str, float] = {}
        if self.plan.bound is not None:
            terms = self._bound_terms(self.plan.bound, trainer, module, split)
            bits, mean_terms = terms.prior + terms.steps.sum(1), terms.steps.mean(0)
            values |= _with_interval(BOUND, bits) | {
                f"{BOUND}_prior": float(terms.prior.mean()),
                f"{BOUND}_steps": float(mean_terms[1:].sum()),
                f"{BOUND}_decoder": float(mean_terms[0]),
            }
            times = (torch.arange(len(mean_terms)) + 1).double() / len(mean_terms)
            arrays |= {BOUND: bits.numpy(), "bound_times": times.numpy(), "bound_terms": mean_terms.numpy()}
            if trainer.is_global_zero:
                picture = bound_figure(times, mean_terms)
                save_picture(picture, folder / "likelihood.png")
                show_picture(trainer, "likelihood", picture)
        if self.plan.ode is not None:
            bits = self._ode_bits(self.plan.ode, trainer, module, split)
            values |= _with_interval(ODE, bits)
            arrays[ODE] = bits.numpy()
        if trainer.is_global_zero:
            write_arrays(folder / "likelihood.npz", **arrays)
        self._scores = Scores(values, self._card(module, split))
        module.log_shared({f"test/{name}": value for name, value in values.items()})

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes `metrics.json`, which also holds what is logged after this callback's `on_test_epoch_end`."""
        assert self._scores is not None
        write_scores(trainer, self._scores)

    def _indices(self, split: ImageDataset) -> np.ndarray:
        """(num_images,) int64, the indices of the images in the split."""
        return choose_real_indices(len(split), self.plan.num_images, self.plan.real_seed)

    def _bound_terms(
        self, likelihood: BoundLikelihood, trainer: Trainer, module: DiffusionModule, split: ImageDataset
    ) -> BoundTerms:
        denoiser = module.evaluation_denoiser()
        bound = likelihood.bound(denoiser, own_steps(module))
        predict = partial(module.predict, denoiser)

        def measure(images: LabelledImages) -> Tensor:
            terms = likelihood.terms(bound, denoiser.schedule, predict, images, self.plan.seed)
            return torch.cat([terms.prior[:, None], terms.steps], dim=1)

        rows = self._rows("the variational bound", measure, len(bound), 1 + len(bound), trainer, module, split)
        return BoundTerms(rows[:, 0], rows[:, 1:])

    def _ode_bits(
        self, likelihood: ODELikelihood, trainer: Trainer, module: DiffusionModule, split: ImageDataset
    ) -> Tensor:
        denoiser, steps = module.evaluation_denoiser(), likelihood.steps * likelihood.dequantizations

        def measure(images: LabelledImages) -> Tensor:
            return likelihood.bits(denoiser, images, self.plan.seed)[:, None]

        return self._rows("the likelihood by the ODE", measure, steps, 1, trainer, module, split)[:, 0]

    def _rows(
        self,
        what: str,
        measure: Callable[[LabelledImages], Tensor],
        steps: int,
        width: int,
        trainer: Trainer,
        module: DiffusionModule,
        split: ImageDataset,
    ) -> Tensor:
        """What `measure` gives for each image, (N, width), float64, on the CPU, the same on every rank.

        Each rank measures its own chunks, in `steps` units of work each.
        """
        indices, device = torch.from_numpy(self._indices(split)), module.device
        rows = torch.zeros(len(indices), width, dtype=torch.float64, device=device)
        chunks = chunk_indices(len(indices), self.plan.chunk_size, trainer.global_rank, trainer.world_size)
        progress = work(f"computing {what} of {len(indices)} images in {steps} steps", steps * len(chunks))
        with torch.no_grad(), trainer.precision_plugin.forward_context(), progress:
            for chunk in chunks:
                chosen = indices[chunk].numpy()
                images = LabelledImages(
                    x_0=module.normalizer.to_model(torch.from_numpy(split.images_at(chosen)).to(device)),
                    indices=indices[chunk].to(device),
                    label=torch.from_numpy(split.labels_at(chosen)).to(device) if _has_classes(module) else None,
                    value_range=module.normalizer.value_range,
                )
                rows[chunk] = measure(images)
        return gathered_rows(trainer, rows).cpu()

    def _card(self, module: DiffusionModule, split: ImageDataset) -> LikelihoodCard:
        plan, denoiser = self.plan, module.evaluation_denoiser()
        return LikelihoodCard(
            num_images=plan.num_images,
            seed=plan.seed,
            real_seed=plan.real_seed,
            seeds=self.seeds,
            labels="own" if _has_classes(module) else None,
            bound=plan.bound.describe(denoiser, own_steps(module)) if plan.bound else None,
            ode=plan.ode.describe(denoiser) if plan.ode else None,
            weights=module.weights,
            split="test",
            dataset=self.dataset,
            real_images=split.fingerprint[:16],
        )


def own_steps(module: DiffusionModule) -> int:
    """T as the module's training has it: that of its loss, of the times it draws, or of its schedule."""
    part = module.objective.loss.bound_part
    numbers = [getattr(owner, "num_steps", None) for owner in (part, module.timesteps, module.denoiser.schedule)]
    return next((number for number in numbers if number is not None), DEFAULT_STEPS)


def _has_classes(module: DiffusionModule) -> bool:
    return module.denoiser.num_classes is not None


def _with_interval(name: str, bits: Tensor) -> dict[str, float]:
    """The mean over images (N,) under this name, and the ends of its interval."""
    mean, low, high = mean_of_images(bits)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}
