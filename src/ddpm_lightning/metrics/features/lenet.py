"""Features of small grey images: the last hidden layer of a frozen classifier of the same data set.

Inception was trained on photographs, says little about 28x28 digits, and takes seconds per hundred images. This network
was trained on the data set's own classes, takes a three-hundredth of the time, and its weights are part of the package
(`train_lenet.py` made them). The scores of the two have different scales and must never be compared.
"""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from ddpm_lightning.metrics.features.extractor import FeatureExtractor

WEIGHTS_DIR = Path(__file__).parent / "weights"
# Scores are comparable only if the weights are bit-identical.
WEIGHTS_SHA256 = {
    "mnist": "854bafce22609dcc6a0bfe20817c1c0d1518ba0d61e9baa3070da76f1d14def8",
    "fashion_mnist": "b6a2bfbd0063de85a2cae682895b98a97b33ac733ec63db60a630d201e7a8708",
}


class LeNet(nn.Module):
    """Classifier of (B, 1, 28, 28) images in [0, 1] into 10 classes: five convolutions, three poolings, two layers.

    After LeCun et al. 1998, fig. 2; with batch norm and ReLU it trains in minutes.
    """

    num_features = 128

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_convolution(1, 16),
            nn.MaxPool2d(2),  # 14 x 14
            *_convolution(16, 32),
            *_convolution(32, 32),
            nn.MaxPool2d(2),  # 7 x 7
            *_convolution(32, 64),
            *_convolution(64, 64),
            nn.MaxPool2d(2),  # 3 x 3
            nn.Flatten(),
        )
        self.hidden = nn.Sequential(nn.Linear(64 * 3 * 3, self.num_features), nn.ReLU())
        self.classes = nn.Linear(self.num_features, 10)

    def features(self, images: Tensor) -> Tensor:
        """Features (B, 128), at least 0, of images (B, 1, 28, 28) in [0, 1]."""
        features: Tensor = self.hidden(self.convolutions(images))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 10) of images (B, 1, 28, 28) in [0, 1]."""
        logits: Tensor = self.classes(self.features(images))
        return logits


def _convolution(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]


class LeNetFeatures(FeatureExtractor):
    """128 features of a (1, 28, 28) grey image, from the committed classifier of `dataset`.

    Args:
        dataset: "mnist" or "fashion_mnist".

    Raises:
        FileNotFoundError: the package's weights file is missing.
        ValueError: there are no weights for `dataset`, or the weights file is not the published one.
    """

    def __init__(self, dataset: str) -> None:
        super().__init__()
        if dataset not in WEIGHTS_SHA256:
            raise ValueError(f"no LeNet features for {dataset!r}: choose from {', '.join(sorted(WEIGHTS_SHA256))}")
        self.name = f"lenet_{dataset}"
        self.sha256 = WEIGHTS_SHA256[dataset]
        self.num_features = LeNet.num_features
        self.resize = "none (28x28)"
        self.network = LeNet()
        self.network.load_state_dict(_read_weights(WEIGHTS_DIR / f"{self.name}.safetensors", self.sha256))
        self.requires_grad_(False)
        self.eval()

    def check_images(self, shape: Sequence[int]) -> None:
        if tuple(shape) != (1, 28, 28):
            raise ValueError(
                f"{self.name} features need images (1, 28, 28), not {tuple(shape)}: use metrics/features=inception"
            )

    def compute_features(self, images: Tensor) -> Tensor:
        return self.network.features(images.float() / 255)


shared_lenet_features = functools.cache(LeNetFeatures)
"""`LeNetFeatures`, made once in a process for each data set: the jobs of a sweep share it."""


def _read_weights(path: Path, expected_sha256: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing from the package: install ddpm-lightning again")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != expected_sha256:
        raise ValueError(
            f"{path} is not the published file (sha256 {found}, expected {expected_sha256}), so its scores would not "
            "be comparable with others: install ddpm-lightning again, or restore the file from the repository"
        )
    return safetensors.torch.load(content)
