"""Each (source, split, image size) is stored once as one uint8 array, memory-mapped by every run that uses it."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddpm_lightning.atomic import atomic_path, sync_folder, write_json
from ddpm_lightning.data.source import ImageSource, Split

_FORMAT_VERSION = 1
_IMAGES, _LABELS, _MANIFEST = "images.npy", "labels.npy", "manifest.json"


@dataclass(frozen=True)
class CachedImages:
    """A split as arrays.

    Attributes:
        images: uint8 (N, C, H, W), memory-mapped and read-only.
        labels: int64 (N,).
        fingerprint: hash of the two arrays' contents: the same data gives the same hash on every machine.
    """

    images: np.ndarray
    labels: np.ndarray
    fingerprint: str


def cached_arrays(source: ImageSource, split: Split, cache_dir: str | Path) -> CachedImages:
    """Open the cache entry of a split, building it first if it is absent or damaged.

    Any number of processes may call this at once: one builds, the others wait for it.

    Args:
        source: where the images come from.
        split: "train" or "test", as the authors of the data set made them.
        cache_dir: the folder of all cache entries; a complete entry in a read-only folder is fine.

    Raises:
        DataFileError: the source's files are missing or damaged.
        OSError: the cache cannot be written (no permission, disk full).
        ValueError: the source returned arrays of the wrong type or shape.
    """
    made_from = {
        "source": source.name,
        "files": source.fingerprint(split),
        "split": split,
        "image_size": source.image_size,
        "channels": source.channels,
        "format_version": _FORMAT_VERSION,
    }
    key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    entry = Path(cache_dir) / f"{source.name}-{split}-{source.image_size}-{key}"
    cached = _open(entry)
    if cached is None:
        with _locked(entry):
            cached = _open(entry)  # another process may have built it while this one waited
            if cached is None:
                images, labels = source.read(split)
                _check(source, images, labels)
                _build(entry, images, labels, made_from)
                cached = _open(entry)
    if cached is None:
        raise OSError(f"the cache entry {entry} cannot be read back after it was written: is the disk failing?")
    return cached


def _open(entry: Path) -> CachedImages | None:
    """The entry, or None if it is absent, incomplete or not what its manifest says."""
    try:
        manifest = json.loads((entry / _MANIFEST).read_text())
        if any((entry / name).stat().st_size != size for name, size in manifest["file_sizes"].items()):
            return None
        images = np.load(entry / _IMAGES, mmap_mode="r", allow_pickle=False)
        labels = np.load(entry / _LABELS, allow_pickle=False)
        if list(images.shape) != manifest["shape"] or labels.shape != images.shape[:1]:
            return None
        return CachedImages(images, labels, manifest["fingerprint"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None


def _build(entry: Path, images: np.ndarray, labels: np.ndarray, made_from: dict[str, Any]) -> None:
    """Write the entry beside its place and rename it there. The caller holds the lock."""
    building = entry.with_name(f".{entry.name}.building")
    with _explained(entry.parent):
        shutil.rmtree(building, ignore_errors=True)  # left by a process that was killed
        building.mkdir()
        try:
            for name, array in ((_IMAGES, images), (_LABELS, labels)):
                with atomic_path(building / name) as temporary:
                    np.save(temporary, np.ascontiguousarray(array), allow_pickle=False)
            manifest = made_from | {
                "shape": list(images.shape),
                "file_sizes": {name: (building / name).stat().st_size for name in (_IMAGES, _LABELS)},
                "fingerprint": _content_hash(images, labels),
            }
            write_json(building / _MANIFEST, manifest)
            shutil.rmtree(entry, ignore_errors=True)  # only a damaged one can be here
            os.rename(building, entry)
            sync_folder(entry.parent)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise


def _check(source: ImageSource, images: np.ndarray, labels: np.ndarray) -> None:
    wanted = (len(labels), source.channels, source.image_size, source.image_size)
    if images.dtype != np.uint8 or images.shape != wanted or labels.dtype != np.int64:
        raise ValueError(
            f"source {source.name!r} must return images uint8 {wanted} and labels int64 {wanted[:1]}, it returned "
            f"images {images.dtype} {images.shape} and labels {labels.dtype} {labels.shape}"
        )


def _content_hash(images: np.ndarray, labels: np.ndarray) -> str:
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(np.ascontiguousarray(images).reshape(-1).data)
    digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _locked(entry: Path) -> Iterator[None]:
    """Hold an advisory lock on the entry; the system releases it when the process ends, however it ends."""
    with _explained(entry.parent):
        entry.parent.mkdir(parents=True, exist_ok=True)
        lock = (entry.parent / f".{entry.name}.lock").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _explained(cache_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write the image cache in {cache_dir} ({error.strerror or error}): "
            "set paths.cache_dir to a writable folder with free space",
        ) from error
