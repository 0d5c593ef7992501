"""Finished runs, as a report needs them."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from ddpm_lightning.metrics.card import MetricCard


class RunFeatures(NamedTuple):
    """What the scores of a run were computed from.

    Attributes:
        generated: (N, D) float32, in the order of the sample indices.
        real: (M, D) float32.
        real_indices: (M,) int64, which images of the split the real ones are.
    """

    generated: Tensor
    real: Tensor
    real_indices: np.ndarray


@dataclass(frozen=True)
class FinishedRun:
    """One training, or one evaluation, that is done.

    Attributes:
        folder: where it is.
        options: what its command lines chose, "schedule" -> "cosine", "optimizer.lr" -> "0.001"; without the seed.
        seed: of the training.
        values: scores by name: kid_NAME, precision_NAME, ... for features named NAME.
        card: how the scores were made.
        diagnostics: noise_mae, image_mae, loss and others, by name.
        cost: parameters, train_images_per_second, wall_seconds, sampling_seconds, network_evaluations (per sample);
            only those that were measured.
    """

    folder: Path
    options: dict[str, str]
    seed: int
    values: dict[str, float]
    card: MetricCard
    diagnostics: dict[str, float]
    cost: dict[str, float]

    def load_features(self) -> RunFeatures:
        """What the scores were computed from, out of `features.npz`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, or holds no features of the real images.
        """
        generated, real, indices = self._load("features.npz", "features", "real_features", "real_indices")
        return RunFeatures(torch.from_numpy(generated), torch.from_numpy(real), indices)

    def load_samples(self) -> np.ndarray:
        """The samples, (N, C, H, W) uint8, in the order of their indices, out of `samples.npz`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged.
        """
        (images,) = self._load("samples.npz", "images")
        return images

    def _load(self, file: str, *names: str) -> list[np.ndarray]:
        path = self.folder / file
        try:
            with np.load(path) as arrays:
                return [arrays[name] for name in names]
        except FileNotFoundError:
            raise
        except (BadZipFile, EOFError, KeyError, OSError, ValueError, zlib.error) as error:
            raise ValueError(f"{path} cannot be used ({error}): evaluate the run again") from error
