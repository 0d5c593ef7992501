"""A folder of your own images, in any tree."""

import logging
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from ddpm_lightning.data.sources.decode import image_suffixes
from ddpm_lightning.data.sources.image_files import ImageFiles
from ddpm_lightning.data.sources.source import DataFileError

log = logging.getLogger(__name__)

_LEFT_OUT = (".", "__MACOSX")


class FolderSource(ImageFiles):
    """All images below a folder, sorted by path.

    The top-level sub-folders are the classes, in alphabetical order, if every image is in one; otherwise there are no
    labels. Hidden files and folders are left out, and so is `__MACOSX`, which macOS adds to its archives.
    """

    name = "folder"

    def __init__(
        self,
        root: str | Path,
        path: str | Path,
        image_size: int = 64,
        channels: int = 3,
        use_classes: bool = True,
        skip_damaged: bool = False,
    ) -> None:
        """As `ImageFiles`.

        Args:
            root: where `path` is looked for, if it is relative and not below the working directory.
            path: the folder.
            use_classes: whether the top-level sub-folders are classes.
        """
        self._path = Path(path).expanduser()
        self._candidates = list(dict.fromkeys([self._path.absolute(), (Path(root) / self._path).absolute()]))
        folder = next((folder for folder in self._candidates if folder.is_dir()), self._candidates[0])
        super().__init__(folder, image_size, channels, skip_damaged)
        self._use_classes = use_classes

    @cached_property
    def num_classes(self) -> int:  # type: ignore[override]  # found when it is first asked for
        return len(self._classes)

    @cached_property
    def _classes(self) -> list[str]:
        tops = {_top(file) for file in self._files}
        return sorted(tops) if self._use_classes and "" not in tops else []

    def list_files(self) -> Sequence[str]:
        """The paths of all images below the folder, sorted.

        Raises:
            DataFileError: there is no such folder, or it has no images.
        """
        self._check_folder()
        suffixes = image_suffixes()
        images, others = [], 0
        for name in _walk(self._folder, ()):
            if os.path.splitext(name)[1].lower() in suffixes:
                images.append(name)
            else:
                others += 1
        if not images:
            raise DataFileError(
                f"{self._folder} has no images, but {others} other files: put images there, with one of the suffixes "
                f"{' '.join(sorted(suffixes))}"
            )
        if others:
            log.info("%s: %d images; %d files with other suffixes are left out", self._folder, len(images), others)
        return sorted(images)

    def labels(self) -> np.ndarray:
        numbers = {name: number for number, name in enumerate(self._classes)}
        return np.array([numbers.get(_top(file), 0) for file in self._files], np.int64)

    def official_splits(self) -> dict[str, np.ndarray]:
        return {}

    def _check_folder(self) -> None:
        """Raises DataFileError if the folder is not there; warns if there are two, and says which one is used."""
        found = [folder for folder in self._candidates if folder.is_dir()]
        if not found:
            elsewhere = (
                "" if self._path.is_absolute() else f", or give the folder that has {self._path} as paths.data_dir"
            )
            if file := next((candidate for candidate in self._candidates if candidate.exists()), None):
                raise DataFileError(f"dataset.path={self._path} must be a folder, and {file} is a file")
            raise DataFileError(
                f"dataset.path={self._path} is not a folder: looked for {' and '.join(map(str, self._candidates))}. "
                f"If it was moved, put it or a link to it back{elsewhere}"
            )
        if not found[0].samefile(found[-1]):
            log.warning("dataset.path=%s is %s, not %s, which also exists", self._path, *found)


def _top(file: str) -> str:
    """The top-level sub-folder of a path; "" for a file in none."""
    return file.rpartition("/")[0].partition("/")[0]


def _walk(folder: Path, above: tuple[tuple[int, int], ...], prefix: str = "") -> Iterator[str]:
    """Paths of all files below a folder, relative to it, through links; broken links to files are among them.

    Args:
        folder: where to look.
        above: device and inode of the folders on the way here; links back to them are not followed.
        prefix: of the paths.
    """
    try:
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(_LEFT_OUT)]
    except OSError as error:
        raise DataFileError(f"cannot list {folder}: {error.strerror}") from error
    for entry in entries:
        if entry.is_dir():
            yield from _walk(folder / entry.name, (*above, here), f"{prefix}{entry.name}/")
        elif entry.is_file() or not os.path.exists(entry):  # a pipe or a socket is neither
            yield prefix + entry.name
