"""A finished run: its options, scores, features and samples."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from ddpm_lightning.archives import check_declared_sizes
from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.metrics.cards import Card


class RunFeatures(NamedTuple):
    """The features that a run's scores were computed from.

    Attributes:
        generated: features of the samples, (N, D) float32, in the order of the sample indices.
        real: features of the real images, (M, D) float32.
        real_indices: indices of the real images in their split, (M,) int64.
    """

    generated: Tensor
    real: Tensor
    real_indices: np.ndarray


@dataclass(frozen=True)
class FinishedRun:
    """A finished training or evaluation.

    Attributes:
        folder: the run's folder.
        options: the options set on its command lines, "schedule" -> "cosine", "optimizer.lr" -> "0.001", except the
            seed.
        seed: the seed of the training.
        values: scores by name: kid_NAME, precision_NAME, ... for features named NAME; bits_per_dim_bound, ...
        card: how the scores were made.
        diagnostics: errors, or the accuracy, on held-out images by name: noise_mae, image_mae, loss, ...
        cost: measured costs by name: parameters, train_images_per_second, wall_seconds, sampling_seconds,
            network_evaluations (per sample).
    """

    folder: Path
    options: dict[str, str]
    seed: int
    values: dict[str, float]
    card: Card
    diagnostics: dict[str, float]
    cost: dict[str, float]

    @property
    def sample_seed(self) -> int | None:
        """Seed of the samples that were scored; None if the scores are not of samples."""
        return self.card.seed if isinstance(self.card, MetricCard) else None

    def load_features(self) -> RunFeatures:
        """The features that the scores were computed from, read from `features.npz`.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: it is damaged, or has no features of the real images.
        """
        generated, real, indices = self._load("features.npz", "features", "real_features", "real_indices")
        return RunFeatures(torch.from_numpy(generated), torch.from_numpy(real), indices)

    def load_likelihoods(self, metric: str) -> tuple[Tensor, np.ndarray]:
        """A likelihood of each image, (N,) float64, and the images' indices in their split, from `likelihood.npz`.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: it is damaged.
        """
        bits, indices = self._load("likelihood.npz", metric, "image_indices")
        return torch.from_numpy(bits), indices

    def load_samples(self) -> np.ndarray:
        """The samples, (N, C, H, W) uint8, in the order of their indices, read from `samples.npz`.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: it is damaged.
        """
        (images,) = self._load("samples.npz", "images")
        return images

    def _load(self, file: str, *names: str) -> list[np.ndarray]:
        path = self.folder / file
        try:
            with np.load(path, allow_pickle=False) as arrays:
                check_declared_sizes(path)
                return [arrays[name] for name in names]
        except FileNotFoundError:
            raise
        except (BadZipFile, EOFError, KeyError, OSError, ValueError, zlib.error) as error:
            raise ValueError(f"{path} cannot be used ({error}): evaluate the run again") from error
