"""A folder of your own images, in any tree."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities import rank_zero_only

from ddpm_lightning.data.sources.decode import image_suffixes
from ddpm_lightning.data.sources.image_files import ImageFiles
from ddpm_lightning.data.sources.names import named
from ddpm_lightning.data.sources.source import DataFileError
from ddpm_lightning.data.sources.split_folders import check_split_folders, split_folders, splits_by_folder

log = logging.getLogger(__name__)

_LEFT_OUT = (".", "__MACOSX")
_MOST_KINDS = 10


class FolderSource(ImageFiles):
    """All images below a folder, sorted by path.

    The top-level sub-folders are the classes, in alphabetical order, if every image is in one; otherwise there are no
    labels. After `take_split_folders`, those are the splits, and the folders below them the classes. Hidden files and
    folders are left out, and so is `__MACOSX`, which macOS adds to its archives.
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
        self._has_split_folders = False

    def take_split_folders(self) -> None:
        """Makes the top-level folders train, val (valid, validation) and test the official splits.

        To be called before the folder is listed. If there is only one of val and test, it is both.
        """
        self._has_split_folders = True

    @cached_property
    def num_classes(self) -> int:  # type: ignore[override]  # found when it is first asked for
        return len(self._classes)

    @cached_property
    def _classes(self) -> list[str]:
        if not self._use_classes:
            return []
        names = {self._class_of(file) for file in self._files}
        if "" not in names:
            return sorted(names)
        if len(names) > 2:  # at least two classes, but for these files
            loose = named([file for file in self._files if not self._class_of(file)])
            classes = named(sorted(names - {""}))
            _warn(
                f"{self._folder}: no classes, since {loose} is in none of their folders ({classes}): move or delete it"
            )
        return []

    def _class_of(self, file: str) -> str:
        """The sub-folder that an image's class is named after; "" if it is in none."""
        folders = file.split("/")[:-1]
        above = int(self._has_split_folders)
        return folders[above] if len(folders) > above else ""

    def list_files(self) -> Sequence[str]:
        """The paths of all images below the folder, sorted.

        Raises:
            DataFileError: there is no such folder, it has no images, or its images are not in the folders of splits
                that are to be taken.
        """
        self._check_folder()
        suffixes = image_suffixes()
        images, others = [], Counter[str]()
        for name in _walk(self._folder, ()):
            suffix = os.path.splitext(name)[1].lower()
            if suffix in suffixes:
                images.append(name)
            else:
                others[suffix or "without suffix"] += 1
        most_first = sorted(others.items(), key=lambda kind_and_count: (-kind_and_count[1], kind_and_count[0]))
        kinds = named([f"{count} {kind}" for kind, count in most_first], _MOST_KINDS)
        if not images:
            raise DataFileError(
                f"{self._folder} has no images (other files: {kinds or 'none'}): put images there, with one of the "
                f"suffixes {' '.join(sorted(suffixes))}"
            )
        if others:
            _warn(
                f"{self._folder}: files of kinds that are not read are left out ({kinds}): convert those that are "
                "images to JPEG or PNG"
            )
        images.sort()
        if self._has_split_folders:
            check_split_folders(self._folder, images)
        elif folders := split_folders(images):
            _warn(
                f"{self._folder}: the images of {named(folders)} are mixed and divided at random: "
                "dataset/split=folders takes these folders as the split that they are"
            )
        return images

    def labels(self) -> np.ndarray:
        numbers = {name: number for number, name in enumerate(self._classes)}
        return np.array([numbers.get(self._class_of(file), 0) for file in self._files], np.int64)

    def official_splits(self) -> dict[str, np.ndarray]:
        if not self._has_split_folders:
            return {}
        return splits_by_folder(self._files)

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
            _warn(f"dataset.path={self._path} is {found[0]}, not {found[-1]}, which also exists")


@cache
@rank_zero_only
def _warn(message: str) -> None:
    """Once per process, since a command lists the folder twice: when it checks its options and when it reads images."""
    log.warning(message)


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
