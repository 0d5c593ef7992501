"""Base class of data sets with one file per image."""

import hashlib
import os
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from ddpm_lightning.data.sources.decode import SQUARE, UnreadableImageError, read_square
from ddpm_lightning.data.sources.names import printable
from ddpm_lightning.data.sources.remarks import Remarks
from ddpm_lightning.data.sources.resize import check_image_size
from ddpm_lightning.data.sources.source import DataFileError, ImageSource


class ImageFiles(ImageSource):
    """Images in files of any format and size, cropped to squares and resized."""

    transform = SQUARE
    slow_to_read = True

    def __init__(self, folder: Path, image_size: int, channels: int = 3, skip_damaged: bool = False) -> None:
        """
        Args:
            folder: the folder to which the images' paths are relative.
            image_size: height and width of the resized images.
            channels: 1 for greyscale, 3 for colour.
            skip_damaged: whether images that cannot be read are left out; otherwise they are an error.

        Raises:
            ValueError: image_size is not positive, or another number of channels.
        """
        check_image_size(image_size)
        if channels not in (1, 3):
            raise ValueError(f"dataset.source.channels must be 1 (greyscale) or 3 (colour), not {channels}")
        self.image_shape = (channels, image_size, image_size)
        self.skip_damaged = skip_damaged
        self._folder = folder
        self._remarks = Remarks(str(folder))

    @abstractmethod
    def list_files(self) -> Sequence[str]:
        """The images' paths below the folder, in the order of `labels`.

        Raises:
            DataFileError: the list of the images is missing or damaged.
        """

    @cached_property
    def _files(self) -> Sequence[str]:
        return self.list_files()

    def fingerprint(self) -> str:
        """Hash of the folder, of each file's name, size and times, and of the labels.

        Hashing the contents would take as long as decoding them.

        Files of other contents may agree in name, size and time of modification, which programs can set. They cannot
        set the system's own time of change, and the folder distinguishes files that were written at the same time.
        """
        digest = hashlib.sha256(os.fsencode(f"{self._folder.resolve()}\n"))
        for name in self._files:
            try:
                status = os.stat(self._folder / name)
                times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
                digest.update(os.fsencode(f"{name} {status.st_size} {times}\n"))
            except FileNotFoundError:  # reported with the images that cannot be read
                digest.update(os.fsencode(f"{name} missing\n"))
        digest.update(self.labels().tobytes())
        return digest.hexdigest()

    def read(self, rows: range, images: np.ndarray) -> dict[int, str]:
        damaged = {}
        channels, size, _ = self.image_shape
        for image, row in zip(images, rows, strict=True):
            name = self._files[row]
            path = self._folder / name
            try:
                image[:] = read_square(path, channels, size, partial(self._remarks.add, file=name))
            except UnreadableImageError as error:
                damaged[row] = printable(f"{path}: {error}")
            except OSError as error:  # not damage: the file may be readable the next time
                raise DataFileError(f"cannot read {printable(str(path))}: {error.strerror}") from error
        self._remarks.count(len(rows), of=len(self._files))
        return damaged
