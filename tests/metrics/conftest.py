"""Fixtures of the metrics: real images, weights, and an extractor that costs nothing."""

import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Subset
from torch_fidelity import calculate_metrics

from ddpm_lightning.metrics.features.extractor import FeatureExtractor, extract_features
from ddpm_lightning.metrics.features.inception import InceptionFeatures

REPOSITORY = Path(__file__).parents[2]


def read_idx(path: Path, header: int) -> np.ndarray:
    """The bytes after `header` of an idx file, packed or not."""
    packed = path.with_name(path.name + ".gz")
    content = path.read_bytes() if path.is_file() else gzip.decompress(packed.read_bytes())
    return np.frombuffer(content, np.uint8, offset=header)


def read_images_and_labels(raw: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(N, 1, 28, 28) uint8 images and (N,) labels of "train" or "t10k"."""
    images = read_idx(raw / f"{split}-images-idx3-ubyte", header=16).reshape(-1, 1, 28, 28)
    return images, read_idx(raw / f"{split}-labels-idx1-ubyte", header=8)


@pytest.fixture(scope="session")
def mnist_raw() -> Path:
    raw = REPOSITORY / "data" / "MNIST" / "raw"
    if not list(raw.glob("t10k-images*")):
        pytest.skip(f"the MNIST archives are not in {raw}")
    return raw


@pytest.fixture(scope="session")
def fashion_mnist_test() -> tuple[np.ndarray, np.ndarray]:
    if "DDPM_DATA_DIR" not in os.environ:
        pytest.skip("DDPM_DATA_DIR is not set: FashionMNIST is not part of the repository")
    raw = Path(os.environ["DDPM_DATA_DIR"]) / "FashionMNIST" / "raw"
    if not list(raw.glob("t10k-images*")):
        pytest.skip(f"FashionMNIST is not in {raw}")
    return read_images_and_labels(raw, "t10k")


@pytest.fixture(scope="session")
def mnist_test(mnist_raw: Path) -> tuple[np.ndarray, np.ndarray]:
    return read_images_and_labels(mnist_raw, "t10k")


@pytest.fixture(scope="session")
def mnist_train_images(mnist_raw: Path) -> np.ndarray:
    return read_images_and_labels(mnist_raw, "train")[0]


@pytest.fixture(scope="session")
def inception_weights() -> Path:
    if "DDPM_INCEPTION_WEIGHTS" not in os.environ:
        pytest.skip("DDPM_INCEPTION_WEIGHTS is not set: the Inception weights are not part of the repository")
    return Path(os.environ["DDPM_INCEPTION_WEIGHTS"])


class SameImages(NamedTuple):
    """Results of torch-fidelity's program for two sets of images, and our features of them, each (16, 2048)."""

    theirs: dict[str, float]
    generated: Tensor
    real: Tensor


@pytest.fixture(scope="session")
def same_images(inception_weights: Path, mnist_test: tuple[np.ndarray, np.ndarray]) -> SameImages:
    """Digits; half of the generated ones are upside down."""
    real, generated = (torch.from_numpy(mnist_test[0][chosen].copy()) for chosen in (slice(16), slice(16, 32)))
    generated[8:] = generated[8:].flip(2)
    theirs = calculate_metrics(
        input1=Subset(generated.expand(-1, 3, -1, -1), range(16)),
        input2=Subset(real.expand(-1, 3, -1, -1), range(16)),
        cuda=False,
        fid=True,
        kid=True,
        kid_subsets=6,
        kid_subset_size=10,
        prc=True,
        batch_size=8,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(inception_weights),
        save_cpu_ram=True,  # no worker processes
        cache=False,
        verbose=False,
    )
    extractor = InceptionFeatures(inception_weights)
    return SameImages(theirs, *(extract_features(extractor, images) for images in (generated, real)))


class MeanColours(FeatureExtractor):
    """Features that a test can compute by hand: the mean of each channel, times a weight of one."""

    def __init__(self, num_channels: int = 3) -> None:
        super().__init__()
        self.name = "mean_colours"
        self.sha256 = "0" * 64
        self.num_features = num_channels
        self.resize = "none"
        self.mix = nn.Linear(num_channels, num_channels, bias=False)
        nn.init.eye_(self.mix.weight)
        self.calls = 0

    def check_images(self, shape: Sequence[int]) -> None:
        if shape[0] != self.num_features:
            raise ValueError(f"mean_colours takes {self.num_features} channels, not {shape[0]}")

    def compute_features(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.mix(images.float().mean(dim=(2, 3)))


@pytest.fixture
def mean_colours() -> MeanColours:
    return MeanColours()


@pytest.fixture
def colour_images() -> np.ndarray:
    """(7, 3, 4, 4) uint8."""
    return np.random.default_rng(0).integers(0, 256, (7, 3, 4, 4), dtype=np.uint8)


@pytest.fixture
def random_features() -> tuple[Tensor, Tensor]:
    """Correlated features (50, 8) and (40, 8) of different distributions."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(8, 8, generator=generator)
    real = torch.randn(50, 8, generator=generator) @ mix
    return real, torch.randn(40, 8, generator=generator) @ mix * 1.3 + 0.4
