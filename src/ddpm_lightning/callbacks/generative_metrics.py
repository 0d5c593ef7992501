"""Callback that scores a module's samples by KID, FID, precision and recall, on any number of devices."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ddpm_lightning.atomic_files import write_arrays
from ddpm_lightning.callbacks.cost import PREFIX, log_costs
from ddpm_lightning.callbacks.periodic_picture import show_picture
from ddpm_lightning.callbacks.scored_run import module_and_data, write_scores
from ddpm_lightning.callbacks.training_clock import wait_for
from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.data.image_dataset import ImageDataset
from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.diffusion.guidance import Guidance
from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.metrics.features.extractor import extract_features
from ddpm_lightning.metrics.features.reference import choose_real_indices, reference_features
from ddpm_lightning.metrics.scores import Scores, compare_features, score_names
from ddpm_lightning.metrics.scoring_plan import ScoringPlan
from ddpm_lightning.pictures import grid_by_class, save_picture
from ddpm_lightning.runs.drawing import draw_images, gathered_rows, sample_stream
from ddpm_lightning.samplers.generation import chunk_indices
from ddpm_lightning.samplers.labels import LabelsOf, proportional_labels
from ddpm_lightning.samplers.sampler import Sampler
from ddpm_lightning.tracking import work
from ddpm_lightning.training.module import DiffusionModule

SHOWN = 64
"""Maximum number of samples in `samples.png`."""


class ScoredSamples(NamedTuple):
    """Scores with the arrays of `features.npz` that they were computed from, on the CPU, the same on every rank."""

    scores: Scores
    features: Tensor
    real_features: Tensor
    real_indices: np.ndarray


class GenerativeMetrics(Callback):
    """Scores samples against real images: of the validation split in training, of the test split in a test.

    Sample i depends on (seed, i) alone and ranks take whole chunks of indices, so the samples and the scores are the
    same on any number of devices. A test writes `metrics.json`, `samples.png`, `samples.npz` and `features.npz` to the
    run's folder, in the order of the sample indices. It logs `cost/sampling_seconds`, the time to draw all samples, and
    `cost/network_evaluations`, the number of network evaluations per sample.

    `metrics.json` has the sections values, card, diagnostics (everything else that the test logged) and cost.
    `features.npz` has `features` (N, D) and `real_features` (M, D), both float32, and `real_indices` (M,), int64, the
    indices of the real images in the split.

    Args:
        plan: the options of `metrics`, those of `ScoringPlan`. The extractor is not a part of the module, so it enters
            no checkpoint.
        sampler: the method to sample with.
        guidance: wraps the denoiser.
        dataset: name of the data set, for the card.
        seeds: seeds of the training by name, for the card.
        cache_dir: folder where features of real images are kept.

    Raises:
        ValueError: an option of the plan is out of range.
    """

    def __init__(
        self,
        plan: Mapping[str, Any],
        sampler: Sampler,
        guidance: Guidance,
        dataset: str,
        seeds: Mapping[str, int],
        cache_dir: str,
    ) -> None:
        self.plan = ScoringPlan(**plan)
        self.sampler = sampler
        self.guidance = guidance
        self.dataset = dataset
        self.seeds = dict(seeds)
        self.cache_dir = Path(cache_dir)
        self._scores: Scores | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Raises ValueError before any work if the scores cannot be computed."""
        _, data = module_and_data(trainer, pl_module)
        self.plan.features.check_images(data.image_shape)
        for split in ("test",) if self.plan.every_n_epochs is None else ("val", "test"):
            self._choose_real_images(data.split(split))

    def logged_values(self, module: DiffusionModule, stage: str) -> set[str]:
        """The names of all values that it may log in a stage: "train", "val" or "test"."""
        if stage == "train" or (stage == "val" and self.plan.every_n_epochs is None):
            return set()
        costs = (
            {f"{PREFIX}{name}" for name in ("sampling_seconds", "network_evaluations")} if stage == "test" else set()
        )
        return costs | {f"{stage}/{name}" for name in score_names(self.plan.features.name)}

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not self.plan.scores_epoch(trainer.current_epoch):
            return
        module, data = module_and_data(trainer, pl_module)
        images = self._generate(trainer, module, data, "val")
        scores = self._score(trainer, module, data, images, "val").scores
        module.log_shared({f"val/{name}": value for name, value in scores.values.items()})

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module, data = module_and_data(trainer, pl_module)
        wait_for(module.device)
        start = perf_counter()
        images = self._generate(trainer, module, data, "test")
        wait_for(module.device)
        evaluations = self.sampler.evaluations(self._denoiser(module))
        log_costs(trainer, module, {"sampling_seconds": perf_counter() - start, "network_evaluations": evaluations})
        scored = self._score(trainer, module, data, images, "test")
        self._scores = scored.scores
        module.log_shared({f"test/{name}": value for name, value in scored.scores.values.items()})
        if trainer.is_global_zero:
            # Only uniform labels go through the classes in turn.
            row_classes = self._denoiser(module).num_classes if self.plan.labels == "uniform" else None
            self._save(trainer, grid_by_class(images[:SHOWN], row_classes), images, scored)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes `metrics.json`, which also holds what is logged after this callback's `on_test_epoch_end`."""
        assert self._scores is not None
        write_scores(trainer, self._scores)

    def _generate(self, trainer: Trainer, module: DiffusionModule, data: ImageDataModule, split: str) -> Tensor:
        """All samples, (N, C, H, W), uint8, in order, on every rank."""
        plan = self.plan
        labels_of = self._labels_of(module, data.split(split))
        stream = sample_stream(module, self.sampler, self.guidance, plan.seed, plan.chunk_size, labels_of)
        return draw_images(stream, plan.num_samples, module, trainer)

    def _denoiser(self, module: DiffusionModule) -> DenoiserLike:
        """The guided denoiser that is scored."""
        return self.guidance(module.evaluation_denoiser())

    def _labels_of(self, module: DiffusionModule, images: ImageDataset) -> LabelsOf | None:
        num_classes = self._denoiser(module).num_classes
        if num_classes is None or self.plan.labels == "uniform":
            return None
        labels = images.labels_at(np.arange(len(images)))
        return proportional_labels(torch.from_numpy(np.bincount(labels, minlength=num_classes)))

    def _score(
        self, trainer: Trainer, module: DiffusionModule, data: ImageDataModule, images: Tensor, split: str
    ) -> ScoredSamples:
        self.plan.features.to(module.device)
        features = self._features_of_samples(trainer, images)
        real_indices = self._choose_real_images(data.split(split))
        real_features = self._features_of_real_images(trainer, data.split(split), real_indices)
        scores = compare_features(
            real_features,
            features,
            self._card(module, data, split),
            kid_subsets=self.plan.kid_subsets,
            kid_subset_size=self.plan.kid_subset_size,
            seed=self.plan.real_seed,
        )
        return ScoredSamples(scores, features, real_features, real_indices)

    def _choose_real_images(self, images: ImageDataset) -> np.ndarray:
        """(num_real,) int64, indices in the split."""
        return choose_real_indices(len(images), self.plan.num_real, self.plan.real_seed)

    def _features_of_samples(self, trainer: Trainer, images: Tensor) -> Tensor:
        """(N, D), float32, on the CPU, in order; each rank computes those of its own chunks."""
        extractor = self.plan.features
        features = torch.zeros(len(images), extractor.num_features, device=images.device)
        chunks = chunk_indices(len(images), self.plan.chunk_size, trainer.global_rank, trainer.world_size)
        with work(f"computing the {extractor.name} features of {len(images)} samples", sum(map(len, chunks))):
            for indices in chunks:
                features[indices] = extract_features(extractor, images[indices]).to(features.device)
        return gathered_rows(trainer, features).cpu()

    def _features_of_real_images(self, trainer: Trainer, images: ImageDataset, chosen: np.ndarray) -> Tensor:
        """(num_real, D), float32, on the CPU; the first rank computes and caches them, the others read."""
        with _first_rank_first(trainer):
            fingerprint = f"{images.fingerprint}-{self.plan.real_seed}"
            return reference_features(self.plan.features, images.images_at(chosen), self.cache_dir, fingerprint)

    def _card(self, module: DiffusionModule, data: ImageDataModule, split: str) -> MetricCard:
        plan, denoiser = self.plan, self._denoiser(module)
        return MetricCard(
            features=plan.features.name,
            features_sha256=plan.features.sha256,
            resize=plan.features.resize,
            num_generated=plan.num_samples,
            num_real=plan.num_real,
            seed=plan.seed,
            real_seed=plan.real_seed,
            seeds=self.seeds,
            labels=None if denoiser.num_classes is None else plan.labels,
            sampler=self.sampler.describe(denoiser),
            guidance=denoiser.describe(),
            nfe=self.sampler.evaluations(denoiser),
            weights=module.weights,
            split=split,
            dataset=self.dataset,
            real_images=data.split(split).fingerprint[:16],
        )

    def _save(self, trainer: Trainer, grid: Tensor, images: Tensor, scored: ScoredSamples) -> None:
        folder = Path(trainer.default_root_dir)
        save_picture(grid, folder / "samples.png")
        show_picture(trainer, "samples_final", grid)
        write_arrays(folder / "samples.npz", images=images.cpu().numpy())
        write_arrays(
            folder / "features.npz",
            features=scored.features.numpy(),
            real_features=scored.real_features.numpy(),
            real_indices=scored.real_indices,
        )


@contextmanager
def _first_rank_first(trainer: Trainer) -> Iterator[None]:
    """The first rank goes through the block before the others."""
    if not trainer.is_global_zero:
        trainer.strategy.barrier()
    yield
    if trainer.is_global_zero:
        trainer.strategy.barrier()
