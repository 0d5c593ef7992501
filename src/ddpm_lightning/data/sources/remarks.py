"""Oddities of image files that are used all the same, collected so that each is reported once."""

import logging
from collections import defaultdict
from threading import Lock

from ddpm_lightning.data.sources.names import named

log = logging.getLogger(__name__)


class Remarks:
    """What is odd about the images of a folder. Its methods may be called from several threads."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files: dict[str, list[str]] = defaultdict(list)
        self._count = 0
        self._lock = Lock()

    def add(self, remark: str, file: str) -> None:
        """Notes what is odd about a file."""
        with self._lock:
            self._files[remark].append(file)

    def count(self, images: int, of: int) -> None:
        """Counts images as read; when all are, there is one warning for each remark, with its number of images.

        Args:
            images: images read since the last call, in this thread.
            of: all images of the folder.
        """
        with self._lock:
            self._count += images
            if self._count < of:
                return
            found, self._files, self._count = self._files, defaultdict(list), 0
        for remark, files in sorted(found.items()):
            log.warning("%d of %d images in %s: %s (%s)", len(files), of, self._folder, remark, named(sorted(files)))
