"""Features of the real images: which images they are, and a cache on disk."""

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ddpm_lightning.metrics.features.extractor import FeatureExtractor, extract_features
from ddpm_lightning.metrics.features.tensor_files import content_sha256, save_tensors


def choose_real_indices(num_available: int, num_wanted: int, seed: int) -> np.ndarray:
    """Random choice of `num_wanted` out of range(num_available), without replacement: sorted, (num_wanted,) int64.

    A function of its arguments alone; no global generator is read or moved. Duplicates would bias KID, hence without
    replacement.

    Raises:
        ValueError: more wanted than available, or fewer than none.
    """
    if not 0 <= num_wanted <= num_available:
        raise ValueError(
            f"cannot choose {num_wanted} real images out of {num_available}: lower metrics.num_real, and "
            "metrics.kid_subset_size where it is higher"
        )
    return np.sort(np.random.default_rng(seed).choice(num_available, num_wanted, replace=False))


def reference_features(
    extractor: FeatureExtractor,
    images: np.ndarray | Tensor,
    cache_dir: str | Path,
    data_fingerprint: str,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Features of the real images, computed once for each choice of images and extractor.

    Several processes may call it at once: each computes what it does not find, and the file appears whole.

    Args:
        extractor: its name, weights and resize are part of the cache's key.
        images: (N, C, H, W) uint8; not looked at when the cache has the features.
        cache_dir: folder of the cache; made when absent.
        data_fingerprint: whatever names the images: the data set, how it was made, and which images were chosen.
        batch_size: images computed together.
        progress: called as `progress(done, N)`, only when features are computed.

    Returns:
        (N, num_features) float32 on the CPU.
    """
    what = [data_fingerprint, extractor.name, extractor.sha256, extractor.resize, list(images.shape)]
    key = hashlib.sha256(json.dumps(what).encode()).hexdigest()
    path = Path(cache_dir) / f"features-{extractor.name}-{key[:16]}.safetensors"
    if path.is_file():
        try:
            return _read_features(path, key)
        except (SafetensorError, ValueError) as error:
            warnings.warn(f"cached features {path} are damaged ({error}); they are computed again", stacklevel=2)
    features = extract_features(extractor, images, batch_size, progress=progress)
    # The hash of the content finds a damaged byte, which the format itself would not notice.
    metadata = {"key": key, "content_sha256": content_sha256({"features": features})}
    try:
        save_tensors(path, {"features": features}, metadata)
    except OSError as error:
        warnings.warn(f"the features of the real images could not be kept in {path}: {error}", stacklevel=2)
    return features


def _read_features(path: Path, key: str) -> Tensor:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("key") != key or "features" not in file.keys():  # noqa: SIM118 (not a mapping)
            raise ValueError("it belongs to other data")
        features: Tensor = file.get_tensor("features")
    if content_sha256({"features": features}) != metadata.get("content_sha256"):
        raise ValueError("its hash does not match")
    return features
