"""Inception features of the published FID and KID: torch-fidelity's network, weights and resize."""

import functools
import io
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ddpm_lightning.metrics.features.extractor import FeatureExtractor
from ddpm_lightning.metrics.features.inception_weights import find_inception_weights, load_inception_weights
from ddpm_lightning.metrics.features.tensor_files import content_sha256


class InceptionFeatures(FeatureExtractor):
    """2048 features of an RGB or grey image of any size: torch-fidelity's "inception-v3-compat", layer "2048".

    The features equal torch-fidelity's up to float32 rounding and take about half the time on a CPU: batch norms are
    folded into the convolutions before them, and the memory format is channels-last.

    Args:
        weights: file of the weights; None to search for them as `find_inception_weights` does.
        cache_dir: folder for converted weights.

    Raises:
        FileNotFoundError: there are no weights.
        ValueError: the weights do not fit this network.
    """

    def __init__(self, weights: str | Path | None = None, cache_dir: str | Path | None = None) -> None:
        super().__init__()
        path = find_inception_weights(weights, cache_dir)
        tensors = load_inception_weights(path)
        self.name = "inception"
        self.sha256 = content_sha256(tensors)
        self.num_features = 2048
        self.resize = "299x299 bilinear as TensorFlow 1, antialias off"
        try:
            self.network = _torch_fidelity_network(tensors)
        except RuntimeError as error:
            raise ValueError(
                f"{path} does not hold the weights of torch-fidelity's Inception network: {str(error)[:300]}"
            ) from error
        _fold_batch_norms(self.network)
        self.network.to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.eval()

    def check_images(self, shape: Sequence[int]) -> None:
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ValueError(f"inception features need images (1, H, W) or (3, H, W), not {tuple(shape)}")

    def compute_features(self, images: Tensor) -> Tensor:
        # torch-fidelity's forward pass resizes as TensorFlow 1 and maps [0, 255] to [-1, 1).
        features: Tensor = self.network(images.expand(-1, 3, -1, -1))[0]
        return features


shared_inception_features = functools.cache(InceptionFeatures)
"""`InceptionFeatures`, made once in a process for the same options: the jobs of a sweep share it."""


def _torch_fidelity_network(tensors: dict[str, Tensor]) -> nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # The constructor always loads a file, with an unsafe torch.load. So it gets an in-memory file that we have just
    # written from safely read tensors. The classifier is never evaluated, so it may be zero.
    state = io.BytesIO()
    torch.save(tensors | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}, state)
    state.seek(0)
    with torch.random.fork_rng(devices=[]):  # drawing initial weights must not change the training's random numbers
        network: nn.Module = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=state
        )
    network.fc = nn.Identity()
    return network


def _fold_batch_norms(network: nn.Module) -> None:
    """Folds each batch norm into the convolution before it, in place; in float64, so that values are rounded once."""
    for block in network.modules():
        convolution, batch_norm = getattr(block, "conv", None), getattr(block, "bn", None)
        if isinstance(convolution, nn.Conv2d) and isinstance(batch_norm, nn.BatchNorm2d):
            block.conv = fuse_conv_bn_eval(convolution, batch_norm.double())
            block.bn = nn.Identity()
