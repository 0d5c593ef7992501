"""What a feature extractor is, and how images are put through one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn


class FeatureExtractor(nn.Module, ABC):
    """A frozen network that turns images into the vectors which FID and KID compare.

    It stays in evaluation mode even as a part of a module that trains: the batch statistics of a training run must not
    leak into the measure. Its weights need no gradient. Keep it outside a module that is saved, or its weights go into
    every checkpoint.

    Attributes:
        name: a part of every metric's name ("inception", "lenet_mnist"), so that values of different extractors are
            never taken for each other.
        sha256: the hash that names the weights.
        num_features: length D of a feature vector.
        resize: in words, what happens to an image before the network sees it.
    """

    name: str
    sha256: str
    num_features: int
    resize: str

    @abstractmethod
    def check_images(self, shape: Sequence[int]) -> None:
        """Raise ValueError when images of `shape` (C, H, W) cannot be taken."""

    @abstractmethod
    def compute_features(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) uint8, already checked -> features (B, num_features) float32."""

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) uint8 in [0, 255] -> features (B, num_features) float32.

        Raises:
            ValueError: the images are not uint8, or of a shape that this extractor cannot take.
        """
        if images.dtype != torch.uint8:
            raise ValueError(f"{self.name} features need uint8 images in [0, 255], not {images.dtype}")
        if images.ndim != 4:
            raise ValueError(f"{self.name} features need images (B, C, H, W), not {tuple(images.shape)}")
        self.check_images(images.shape[1:])
        return self.compute_features(images)

    def train(self, mode: bool = True) -> "FeatureExtractor":
        """Stay in evaluation mode, whatever is asked."""
        return super().train(False)


def extract_features(
    extractor: FeatureExtractor,
    images: np.ndarray | Tensor,
    batch_size: int = 16,
    device: torch.device | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Features of `images`, in their order.

    Args:
        extractor: moved to `device` when one is given.
        images: (N, C, H, W) uint8; a read-only memory map will do, N = 0 too.
        batch_size: how many images are computed together; it changes the features by rounding at most.
        device: where to compute; by default where the extractor is.
        progress: called as `progress(done, N)` after every batch.

    Returns:
        (N, num_features) float32 on the CPU. An autocast context around the call has no effect: scores computed in
        half precision differ by more than what they are to tell apart.

    Raises:
        ValueError: `batch_size` below 1, or images that the extractor cannot take.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: at least 1 image must be computed at a time")
    if images.ndim != 4:
        raise ValueError(f"{extractor.name} features need images (N, C, H, W), not {tuple(images.shape)}")
    extractor.check_images(images.shape[1:])
    if device is not None:
        extractor.to(device)
    device = next(extractor.parameters()).device
    features = torch.empty(len(images), extractor.num_features)
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            if isinstance(batch, np.ndarray):
                batch = torch.from_numpy(np.array(batch))  # A copy: torch cannot share memory that is read-only.
            features[start : start + len(batch)] = extractor(batch.to(device)).cpu()
            if progress is not None:
                progress(start + len(batch), len(images))
    return features
