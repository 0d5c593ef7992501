"""Base class of feature extractors, and the features of many images."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ddpm_lightning.tracking import advance

_BATCH_SIZE = 16  # changes the features by rounding at most


class FeatureExtractor(nn.Module, ABC):
    """A frozen network that turns images into the vectors that FID and KID compare.

    It stays in evaluation mode even as a part of a module that trains, because batch statistics of a training must not
    change the scores. Its weights need no gradient. Keep it outside a module that is saved, or its weights enter every
    checkpoint.

    Attributes:
        name: part of every score's name ("inception", "lenet_mnist"), so that scores of different extractors are
            not confused.
        sha256: hash that identifies the weights.
        num_features: length D of a feature vector.
        resize: human-readable description of how images are resized first.
    """

    name: str
    sha256: str
    num_features: int
    resize: str

    @abstractmethod
    def check_images(self, shape: Sequence[int]) -> None:
        """Raises ValueError if the extractor cannot take images of `shape` (C, H, W)."""

    @abstractmethod
    def compute_features(self, images: Tensor) -> Tensor:
        """Features (B, num_features) float32 of images (B, C, H, W) uint8 that were checked."""

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, num_features) float32 of images (B, C, H, W) uint8 in [0, 255].

        Raises:
            ValueError: the images are not uint8, or have a shape that this extractor cannot take.
        """
        if images.dtype != torch.uint8:
            raise ValueError(f"{self.name} features need uint8 images in [0, 255], not {images.dtype}")
        if images.ndim != 4:
            raise ValueError(f"{self.name} features need images (B, C, H, W), not {tuple(images.shape)}")
        self.check_images(images.shape[1:])
        return self.compute_features(images)

    def train(self, mode: bool = True) -> "FeatureExtractor":
        """Sets evaluation mode, whatever `mode` is."""
        return super().train(False)


def extract_features(extractor: FeatureExtractor, images: np.ndarray | Tensor) -> Tensor:
    """Features of `images`, in their order, computed on the extractor's device; each image is a unit of `work`.

    Args:
        extractor: computes them.
        images: (N, C, H, W) uint8, possibly a read-only memory map; N may be 0.

    Returns:
        (N, num_features) float32 on the CPU. An autocast context around the call has no effect: half precision would
        change scores by more than the differences that they are to show.

    Raises:
        ValueError: images that the extractor cannot take.
    """
    device = next(extractor.parameters()).device
    features = torch.empty(len(images), extractor.num_features)
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        for start in range(0, len(images), _BATCH_SIZE):
            batch = images[start : start + _BATCH_SIZE]
            if isinstance(batch, np.ndarray):
                batch = torch.from_numpy(np.array(batch))  # a copy, because torch cannot share read-only memory
            features[start : start + len(batch)] = extractor(batch.to(device)).cpu()
            advance(len(batch))
    return features
