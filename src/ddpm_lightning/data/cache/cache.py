"""The cache of data sets: one uint8 array per data set and image shape, memory-mapped by every run that uses it."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ddpm_lightning.atomic_files import atomic_path, sync_folder, write_json, write_text
from ddpm_lightning.data.cache.fill import fill
from ddpm_lightning.data.sources.source import DataFileError, ImageSource
from ddpm_lightning.shared_folder import share, shared_lock, writing
from ddpm_lightning.temporary_folder import remove_leftovers, temporary_folder

log = logging.getLogger(__name__)

_FORMAT_VERSION = 2
_IMAGES, _LABELS, _MANIFEST, _DAMAGED = "images.npy", "labels.npy", "manifest.json", "damaged.txt"
_CHUNK = 4096  # images hashed at one time
_MOST_NAMED = 3  # damaged files named in a message; the report names all


@dataclass(frozen=True)
class CacheEntry:
    """A data set as arrays.

    Attributes:
        images: uint8 (N, C, H, W), memory-mapped and read-only.
        labels: int64 (N,).
        readable: int64 (n,), increasing rows of the images that could be read; the others are zeros.
        fingerprint: hash of the arrays' contents: the same data gives the same hash on every machine.
        path: the file of `images`.
    """

    images: np.ndarray
    labels: np.ndarray
    readable: np.ndarray
    fingerprint: str
    path: Path


def cached_images(source: ImageSource, cache_dir: str | Path) -> CacheEntry:
    """Opens the cache entry of a data set, building it first if it is absent or a file of it has another size.

    Any number of processes may call this at once: one builds, the others wait for it. The entry's manifest says what
    it was made from, and the entry's name has a hash of that, so a changed source has another entry.

    Args:
        source: where the images come from.
        cache_dir: the folder of all cache entries. Where the entry is complete, nothing is written: it may be
            read-only. Users may share it.

    Raises:
        DataFileError: the source's files are missing, or an image is damaged and `source.skip_damaged` is false, or all
            are.
        OSError: the entry cannot be read (no permission), or not be written (no permission, disk full).
        MemoryError: an image is too large to be decoded.
        ValueError: the source has no labels, or they are not int64 (N,).
    """
    made_from = {
        "source": source.name,
        "files": source.fingerprint(),
        "transform": source.transform,
        "image_shape": list(source.image_shape),
        "format_version": _FORMAT_VERSION,
    }
    key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    channels, height, width = source.image_shape
    entry = Path(cache_dir) / f"{source.name}-{height}x{width}x{channels}-{key}"
    cached = _open(entry)
    if cached is None:
        with _locked(entry):
            cached = _open(entry)  # another process may have built it while this one waited
            if cached is None:
                _build(entry, source, made_from)
                cached = _open(entry)
    if cached is None:
        raise OSError(f"the cache entry {entry} cannot be read back after it was written: is the disk failing?")
    _report_damaged(source, entry, cached)
    return cached


def _open(entry: Path) -> CacheEntry | None:
    """The entry, or None if it is absent, incomplete or not what its manifest says."""
    try:
        manifest = json.loads((entry / _MANIFEST).read_text())
        if any((entry / name).stat().st_size != size for name, size in manifest["file_sizes"].items()):
            return None
        images = np.load(entry / _IMAGES, mmap_mode="r", allow_pickle=False)
        # Mapped first: a header that declares more than the file has is then an error, not an allocation.
        labels = np.array(np.load(entry / _LABELS, mmap_mode="r", allow_pickle=False))
        if list(images.shape) != manifest["shape"] or labels.shape != images.shape[:1]:
            return None
        readable = np.setdiff1d(np.arange(len(images)), np.array(manifest["damaged"], np.int64))
        return CacheEntry(images, labels, readable, manifest["fingerprint"], entry / _IMAGES)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None
    except PermissionError as error:
        raise OSError(
            error.errno,
            f"cannot read the image cache {entry} ({error.strerror}): whoever made it can share it with "
            f"`chmod -R a+rX {entry}`, or set paths.cache_dir to a folder of your own",
        ) from error


def _build(entry: Path, source: ImageSource, made_from: dict[str, Any]) -> None:
    """Writes the entry under another name, and renames it when it is whole. The caller holds the lock."""
    labels = _checked_labels(source)
    remove_leftovers(entry.parent)
    shutil.rmtree(entry.with_name(f".{entry.name}.building"), ignore_errors=True)  # an earlier version's, if killed
    with _writing(entry.parent), temporary_folder(entry) as temporary_place:
        building = temporary_place / entry.name
        building.mkdir()
        images = _allocate(building / _IMAGES, (len(labels), *source.image_shape))
        damaged = fill(source, images)
        images.flush()
        with atomic_path(building / _LABELS) as temporary:
            np.save(temporary, labels, allow_pickle=False)
        write_text(building / _DAMAGED, "".join(f"{reason}\n" for _, reason in sorted(damaged.items())))
        manifest = made_from | {
            "versions": {package: version(package) for package in ("ddpm-lightning", "numpy", "pillow", "torchvision")},
            "shape": list(images.shape),
            "damaged": sorted(damaged),
            "file_sizes": {name: (building / name).stat().st_size for name in (_IMAGES, _LABELS, _DAMAGED)},
            "fingerprint": _content_hash(images, labels, sorted(damaged)),
        }
        write_json(building / _MANIFEST, manifest)
        shutil.rmtree(entry, ignore_errors=True)  # only an incomplete entry can be here
        share(building, entry.parent)
        os.rename(building, entry)
        sync_folder(entry.parent)


def _allocate(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new memory-mapped array of zeros, uint8, with all its blocks on disk: a full disk must show here.

    Writing to a memory map for which the disk has no block left would kill the process without a message.
    """
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return images


def _checked_labels(source: ImageSource) -> np.ndarray:
    labels = source.labels()
    if labels.dtype != np.int64 or labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"source {source.name!r} must have labels int64 (N,), N at least 1, not {labels.dtype} {labels.shape}"
        )
    return labels


def _content_hash(images: np.ndarray, labels: np.ndarray, damaged: list[int]) -> str:
    digest = hashlib.sha256(repr((images.shape, damaged)).encode())
    for start in range(0, len(images), _CHUNK):
        digest.update(np.ascontiguousarray(images[start : start + _CHUNK]).reshape(-1).data)
    digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def _report_damaged(source: ImageSource, entry: Path, cached: CacheEntry) -> None:
    """Raises DataFileError if images are damaged, or warns if they are to be skipped."""
    count = len(cached.images) - len(cached.readable)
    if count == 0:
        return
    reasons = (entry / _DAMAGED).read_text().splitlines()
    named = "; ".join(reasons[:_MOST_NAMED]) + ("; ..." if count > _MOST_NAMED else "")
    problem = (
        f"{count} of {len(cached.images)} images of {source.name} cannot be read: {named} (all: {entry / _DAMAGED})"
    )
    if not source.skip_damaged or len(cached.readable) == 0:
        raise DataFileError(
            f"{problem}. Fix or restore them, or train with dataset.source.skip_damaged=true, which leaves them out"
        )
    log.warning("%s. They are left out", problem)


@contextlib.contextmanager
def _locked(entry: Path) -> Iterator[None]:
    """Holds the entry's lock; logs once that it waits for it."""
    with contextlib.ExitStack() as held:
        with _writing(entry.parent):
            held.enter_context(
                shared_lock(
                    entry.parent / f".{entry.name}.lock",
                    lambda: log.info("waiting for the process that builds the image cache %s", entry),
                )
            )
        yield


def _writing(cache_dir: Path) -> AbstractContextManager[None]:
    return writing(f"the image cache in {cache_dir}", "set paths.cache_dir to a writable folder with free space")
