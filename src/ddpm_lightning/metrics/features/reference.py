"""Features of the real images: the choice of the images, and a cache on disk."""

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ddpm_lightning.metrics.features.extractor import FeatureExtractor, extract_features
from ddpm_lightning.metrics.features.tensor_files import content_sha256, save_tensors
from ddpm_lightning.tracking import work

_FORMAT_VERSION = 1
"""To be raised when the features of the same images by the same extractor become others."""


def choose_real_indices(num_available: int, num_wanted: int, seed: int) -> np.ndarray:
    """Random choice of `num_wanted` out of range(num_available) without replacement: sorted, (num_wanted,) int64.

    A function of its arguments only; no global generator is used. Duplicates would bias KID.

    Raises:
        ValueError: `num_wanted` is negative or above `num_available`.
    """
    if not 0 <= num_wanted <= num_available:
        raise ValueError(
            f"cannot choose {num_wanted} real images out of {num_available}: lower metrics.num_real, and "
            "metrics.kid_subset_size where it is higher"
        )
    return np.sort(np.random.default_rng(seed).choice(num_available, num_wanted, replace=False))


def reference_features(
    extractor: FeatureExtractor, images: np.ndarray | Tensor, cache_dir: str | Path, data_fingerprint: str
) -> Tensor:
    """Features of the real images, cached for each choice of images and extractor.

    Several processes may call this at once: each computes the features if they are not in the cache, and the file
    appears whole.

    Args:
        extractor: its name, weights and resize are part of the cache's key.
        images: (N, C, H, W) uint8; not read if the cache has the features.
        cache_dir: folder of the cache; made if it is missing. Nothing is written if it has the features.
        data_fingerprint: identifies the images: the data set, its preprocessing, and the images chosen.

    Returns:
        (N, num_features) float32 on the CPU.
    """
    identity = [
        _FORMAT_VERSION,
        data_fingerprint,
        extractor.name,
        extractor.sha256,
        extractor.resize,
        list(images.shape),
    ]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    path = Path(cache_dir) / f"features-{extractor.name}-{key[:16]}.safetensors"
    if path.is_file():
        try:
            return _read_features(path, key)
        except (SafetensorError, ValueError, OSError) as error:
            warnings.warn(f"cached features {path} cannot be read ({error}); they are computed again", stacklevel=2)
    with work(f"computing the {extractor.name} features of {len(images)} real images", len(images)):
        features = extract_features(extractor, images)
    # The hash of the content detects a damaged byte; the format itself does not.
    metadata = {"key": key, "content_sha256": content_sha256({"features": features})}
    try:
        save_tensors(path, {"features": features}, metadata)
    except OSError as error:
        warnings.warn(
            f"the features of the real images cannot be cached in {path.parent} ({error.strerror or error}), and are "
            "computed again each time: set paths.cache_dir to a writable folder",
            stacklevel=2,
        )
    return features


def _read_features(path: Path, key: str) -> Tensor:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("key") != key:
            raise ValueError("it holds the features of other images")
        features: Tensor = file.get_tensor("features")
    if content_sha256({"features": features}) != metadata.get("content_sha256"):
        raise ValueError("its hash does not match")
    return features
