"""Downloading the files of a data set, and checking their md5 sums."""

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

from ddpm_lightning.data.sources.source import DataFileError
from ddpm_lightning.shared_folder import shared_lock


def download(fetch: Callable[[], object], title: str, folder: Path, files: str) -> None:
    """Downloads a data set with torchvision; if several processes want it at once, one does and the others wait.

    Args:
        fetch: downloads the data set, or does nothing if its files are there.
        title: the data set's name, for the error.
        folder: where the files belong.
        files: the files that belong there, for the error.

    Raises:
        DataFileError: it cannot be downloaded; the message says how to get it by hand.
    """
    was_there = next(path for path in (folder, *folder.parents) if path.exists())
    lock = folder.with_name(f".{folder.name}.lock")
    had_lock = lock.exists()
    try:
        with shared_lock(lock), _harmless_extraction():
            fetch()
    except (RuntimeError, OSError, HTTPException, tarfile.TarError) as error:
        if not had_lock:
            lock.unlink(missing_ok=True)
        _remove_empty(folder, was_there)
        raise DataFileError(
            f"{title} is not complete in {folder} and could not be downloaded. Put {files} there, or set "
            f"paths.data_dir to a folder that has {folder.name}. The download said: {' '.join(str(error).split())}"
        ) from error


def _remove_empty(folder: Path, was_there: Path) -> None:
    """Removes the folders of a download that brought nothing, up to the folder that was there before."""
    with suppress(OSError):  # not empty, or not there
        if folder.is_dir():
            for below in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
                below.rmdir()
        for path in (folder, *folder.parents):
            if path == was_there:
                return
            path.rmdir()


@contextmanager
def _harmless_extraction() -> Iterator[None]:
    """Makes tarfile refuse members with `..` or absolute names, links that lead out, and devices.

    torchvision asks for none of it, and relies on the published sums alone.
    """
    usual = tarfile.TarFile.extraction_filter
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)  # type: ignore[assignment]
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = usual


def check_md5(path: Path, published: str, how_to_restore: str) -> None:
    """Checks that a file has the md5 sum that was published.

    Args:
        path: a file that is there.
        published: in hexadecimal digits.
        how_to_restore: a sentence for the error.

    Raises:
        DataFileError: the file has another sum, or cannot be read.
    """
    if (found := md5_sum(path)) != published:
        raise DataFileError(
            f"{path} is truncated or altered: its md5 is {found}, the published one {published}. {how_to_restore}"
        )


def md5_sum(path: Path) -> str:
    """The md5 sum of a file, in hexadecimal digits.

    Raises:
        DataFileError: the system does not let it be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise DataFileError(f"cannot read {path}: {error.strerror}") from error
