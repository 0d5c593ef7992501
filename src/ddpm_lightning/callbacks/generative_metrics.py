"""KID, FID, precision and recall of a module's samples, in training and at its end, on any number of devices."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ddpm_lightning.atomic_files import write_arrays, write_json
from ddpm_lightning.callbacks.cost import log_costs, logged_costs, wait_for
from ddpm_lightning.callbacks.periodic_picture import show_picture
from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.data.image_dataset import SplitImages
from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.diffusion.guidance import Guidance
from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.metrics.features.extractor import FeatureExtractor, extract_features
from ddpm_lightning.metrics.features.reference import choose_real_indices, reference_features
from ddpm_lightning.metrics.precision_recall import NEIGHBORHOOD
from ddpm_lightning.metrics.scores import Scores, compare_features
from ddpm_lightning.pictures import image_grid, save_picture
from ddpm_lightning.runs.drawing import draw_images, gathered_rows, sample_stream
from ddpm_lightning.samplers.labels import LabelsOf, proportional_labels
from ddpm_lightning.samplers.sampler import Sampler
from ddpm_lightning.training.module import DiffusionModule

log = logging.getLogger(__name__)

LABELS = ("uniform", "as_in_data")
"""How often each class may be drawn."""


class Scored(NamedTuple):
    """A report and what it was computed from, the same on every rank.

    Attributes:
        report: the scores.
        features: of the samples, (N, D) float32, on the CPU.
        real_features: (M, D) float32, on the CPU.
        real_indices: (M,) int64, which images of the split the real ones are.
    """

    report: Scores
    features: Tensor
    real_features: Tensor
    real_indices: np.ndarray


class GenerativeMetrics(Callback):
    """Scores samples against real images: of the validation split in training, of the test split in a test.

    Sample i depends on (seed, i) alone and ranks take whole chunks of indices, so the samples and the scores are the
    same on any number of devices. A test leaves `metrics.json`, `samples.png`, `samples.npz` and `features.npz` in the
    run's folder, in the order of the sample indices, and logs `cost/sampling_seconds`, the time of drawing them all,
    and `cost/network_evaluations`, how many each of them took.

    `metrics.json` has the sections values, card, diagnostics (what else the test logged) and cost; `features.npz` has
    `features` (N, D), `real_features` (M, D), both float32, and `real_indices` (M,), int64, which images of the split
    the real ones are.

    Args:
        extractor: gives the features that are compared. It is no part of the module, so it enters no checkpoint.
        sampler: the method to sample with.
        guidance: wraps the denoiser.
        dataset: the data set's name, for the card.
        cache_dir: where features of real images are kept.
        num_samples: generated images.
        num_real: real images, chosen at random.
        seed: of the samples.
        real_seed: of the choice of real images and of KID's subsets.
        seeds: those of the training by name, for the card.
        labels: how often each class is drawn, of a model that knows classes: "uniform", or "as_in_data" for the
            frequencies of the split that is compared with.
        kid_subsets: subsets of torch-fidelity's KID.
        kid_subset_size: their size, at most num_samples and num_real.
        every_n_epochs: in training, score at the validations of every n-th epoch; None for the test alone.
        chunk_size: samples computed together.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        sampler: Sampler,
        guidance: Guidance,
        dataset: str,
        cache_dir: str,
        num_samples: int = 1000,
        num_real: int = 1000,
        seed: int = 0,
        real_seed: int = 0,
        seeds: Mapping[str, int] | None = None,
        labels: str = "uniform",
        kid_subsets: int = 100,
        kid_subset_size: int = 500,
        every_n_epochs: int | None = None,
        chunk_size: int = 250,
    ) -> None:
        at_least = {
            "kid_subsets": (kid_subsets, 1),
            "kid_subset_size": (kid_subset_size, 2),
            "chunk_size": (chunk_size, 1),
        }
        if every_n_epochs is not None:
            at_least["every_n_epochs"] = (every_n_epochs, 1)
        for option, (value, least) in at_least.items():
            if value < least:
                raise ValueError(f"metrics.{option} must be at least {least}, not {value}")
        if labels not in LABELS:
            raise ValueError(f"unknown metrics.labels {labels!r}: choose from {', '.join(LABELS)}")
        if min(num_samples, num_real) < kid_subset_size:
            raise ValueError(
                f"metrics.num_samples={num_samples} and metrics.num_real={num_real} must be at least "
                f"metrics.kid_subset_size={kid_subset_size}: raise them or lower it"
            )
        if min(num_samples, num_real) <= NEIGHBORHOOD:
            raise ValueError(
                f"metrics.num_samples={num_samples} and metrics.num_real={num_real} must be at least "
                f"{NEIGHBORHOOD + 1}: precision and recall look at {NEIGHBORHOOD} neighbours of each"
            )
        self.extractor = extractor
        self.sampler = sampler
        self.guidance = guidance
        self.dataset = dataset
        self.cache_dir = Path(cache_dir)
        self.num_samples = num_samples
        self.num_real = num_real
        self.seed = seed
        self.real_seed = real_seed
        self.seeds = dict(seeds or {})
        self.labels = labels
        self.kid_subsets = kid_subsets
        self.kid_subset_size = kid_subset_size
        self.every_n_epochs = every_n_epochs
        self.chunk_size = chunk_size
        self._report: Scores | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds out before any work whether the scores can be computed."""
        _, data = _module_and_data(trainer, pl_module)
        self.extractor.check_images(data.image_shape)
        for split in ("test",) if self.every_n_epochs is None else ("val", "test"):
            choose_real_indices(len(data.split(split)), self.num_real, self.real_seed)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or self.every_n_epochs is None or (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        module, data = _module_and_data(trainer, pl_module)
        images = self._generate(trainer, module, data, "val")
        report = self._score(trainer, module, data, images, "val").report
        module.log_dict({f"val/{name}": value for name, value in report.values.items()})

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module, data = _module_and_data(trainer, pl_module)
        wait_for(module.device)
        start = perf_counter()
        images = self._generate(trainer, module, data, "test")
        wait_for(module.device)
        evaluations = self.sampler.evaluations(self._denoiser(module))
        log_costs(trainer, module, {"sampling_seconds": perf_counter() - start, "network_evaluations": evaluations})
        scored = self._score(trainer, module, data, images, "test")
        self._report = scored.report
        module.log_dict({f"test/{name}": value for name, value in self._report.values.items()})
        if trainer.is_global_zero:
            self._save(trainer, images, scored)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes `metrics.json`: the module and others log their values only after this one's `on_test_epoch_end`."""
        assert self._report is not None
        if trainer.is_global_zero:
            scores = {f"test/{name}" for name in self._report.values}
            diagnostics = {
                name: float(value)
                for name, value in trainer.callback_metrics.items()
                if name.startswith("test/") and name not in scores
            }
            path = Path(trainer.default_root_dir) / "metrics.json"
            write_json(path, {**self._report.to_dict(), "diagnostics": diagnostics, "cost": logged_costs(trainer)})

    def _generate(self, trainer: Trainer, module: DiffusionModule, data: ImageDataModule, split: str) -> Tensor:
        """All samples, (N, C, H, W), uint8, in order, on every rank."""
        log.info("drawing %d samples with %s in %d steps", self.num_samples, self.sampler.name, self.sampler.steps)
        stream = sample_stream(
            module,
            data.image_shape,
            self.sampler,
            self.guidance,
            self.seed,
            self.chunk_size,
            self._labels_of(module, data.split(split)),
        )
        return draw_images(stream, self.num_samples, module, trainer)

    def _denoiser(self, module: DiffusionModule) -> DenoiserLike:
        """The denoiser that is scored, guided."""
        return self.guidance(module.evaluation_denoiser())

    def _labels_of(self, module: DiffusionModule, images: SplitImages) -> LabelsOf | None:
        num_classes = self._denoiser(module).num_classes
        if num_classes is None or self.labels == "uniform":
            return None
        labels = images.labels_at(np.arange(len(images)))
        return proportional_labels(torch.from_numpy(np.bincount(labels, minlength=num_classes)))

    def _score(
        self, trainer: Trainer, module: DiffusionModule, data: ImageDataModule, images: Tensor, split: str
    ) -> Scored:
        self.extractor.to(module.device)
        features = self._features_of_samples(trainer, images)
        real_indices = choose_real_indices(len(data.split(split)), self.num_real, self.real_seed)
        real_features = self._features_of_real_images(trainer, data.split(split), real_indices)
        report = compare_features(
            real_features,
            features,
            self._card(module, data, split),
            kid_subsets=self.kid_subsets,
            kid_subset_size=self.kid_subset_size,
            seed=self.real_seed,
        )
        return Scored(report, features, real_features, real_indices)

    def _features_of_samples(self, trainer: Trainer, images: Tensor) -> Tensor:
        """(N, D), float32, on the CPU, in order; each rank computes those of its own chunks."""
        features = torch.zeros(self.num_samples, self.extractor.num_features, device=images.device)
        chunks = torch.arange(self.num_samples).split(self.chunk_size)
        for indices in chunks[trainer.global_rank :: trainer.world_size]:
            features[indices] = extract_features(self.extractor, images[indices]).to(features.device)
        return gathered_rows(trainer, features).cpu()

    def _features_of_real_images(self, trainer: Trainer, images: SplitImages, chosen: np.ndarray) -> Tensor:
        """(num_real, D), float32, on the CPU; the first rank computes and caches them, the others read."""
        with _first_rank_first(trainer):
            return reference_features(
                self.extractor, images.images_at(chosen), self.cache_dir, f"{images.fingerprint}-{self.real_seed}"
            )

    def _card(self, module: DiffusionModule, data: ImageDataModule, split: str) -> MetricCard:
        denoiser = self._denoiser(module)
        return MetricCard(
            features=self.extractor.name,
            features_sha256=self.extractor.sha256,
            resize=self.extractor.resize,
            num_generated=self.num_samples,
            num_real=self.num_real,
            seed=self.seed,
            real_seed=self.real_seed,
            seeds=self.seeds,
            labels=None if denoiser.num_classes is None else self.labels,
            sampler=self.sampler.describe(denoiser),
            guidance=denoiser.describe(),
            nfe=self.sampler.evaluations(denoiser),
            weights=module.weights,
            split=split,
            dataset=self.dataset,
            real_images=data.split(split).fingerprint[:16],
        )

    def _save(self, trainer: Trainer, images: Tensor, scored: Scored) -> None:
        folder = Path(trainer.default_root_dir)
        grid = image_grid(images[:64])
        save_picture(grid, folder / "samples.png")
        show_picture(trainer, "samples_final", grid)
        write_arrays(folder / "samples.npz", images=images.cpu().numpy())
        write_arrays(
            folder / "features.npz",
            features=scored.features.numpy(),
            real_features=scored.real_features.numpy(),
            real_indices=scored.real_indices,
        )


def _module_and_data(trainer: Trainer, module: LightningModule) -> tuple[DiffusionModule, ImageDataModule]:
    data = trainer.datamodule  # type: ignore[attr-defined]  # set by fit and test
    assert isinstance(module, DiffusionModule)
    assert isinstance(data, ImageDataModule)
    return module, data


@contextmanager
def _first_rank_first(trainer: Trainer) -> Iterator[None]:
    """The first rank goes through the block before the others."""
    if not trainer.is_global_zero:
        trainer.strategy.barrier()
    yield
    if trainer.is_global_zero:
        trainer.strategy.barrier()
