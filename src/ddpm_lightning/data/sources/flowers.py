"""Oxford 102 Flowers, found where torchvision puts it: `<root>/flowers-102`."""

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.io import loadmat, whosmat
from torchvision.datasets import Flowers102

from ddpm_lightning.data.sources.download import download
from ddpm_lightning.data.sources.image_files import ImageFiles
from ddpm_lightning.data.sources.source import DataFileError

_MAX_NUMBERS = 10**6
"""Numbers in a table; the published ones have 8,189."""


class FlowersSource(ImageFiles):
    """8,189 photographs of flowers of 102 kinds (Nilsback and Zisserman 2008), in three official splits."""

    name = "flowers"
    num_classes = 102

    def __init__(self, root: str | Path, image_size: int = 64, channels: int = 3, skip_damaged: bool = False) -> None:
        """As `ImageFiles`; `root` is the folder above `flowers-102/`."""
        self._root = Path(root)
        super().__init__(self._root / "flowers-102", image_size, channels, skip_damaged)

    def list_files(self) -> Sequence[str]:
        return [f"jpg/image_{number:05d}.jpg" for number in range(1, len(self.labels()) + 1)]

    def labels(self) -> np.ndarray:
        return self._tables["labels"].astype(np.int64) - 1

    def official_splits(self) -> dict[str, np.ndarray]:
        keys = {"train": "trnid", "val": "valid", "test": "tstid"}
        return {split: self._tables[key].astype(np.int64) - 1 for split, key in keys.items()}

    @cached_property
    def _tables(self) -> dict[str, np.ndarray]:
        """Labels and official splits, both counted from 1."""
        paths = [self._folder / "imagelabels.mat", self._folder / "setid.mat"]
        if not (all(path.is_file() for path in paths) and (self._folder / "jpg").is_dir()):
            self._download()
        tables: dict[str, np.ndarray] = {}
        for path in paths:
            try:
                _check_sizes(path)
                tables |= {key: np.atleast_1d(table.squeeze()) for key, table in loadmat(path).items() if key[0] != "_"}
            except Exception as error:  # a damaged table raises many kinds of errors
                raise DataFileError(f"{path} is damaged ({error}): delete it to have it downloaded again") from error
        if missing := {"labels", "trnid", "valid", "tstid"} - tables.keys():
            raise DataFileError(
                f"{self._folder} has no table {', '.join(sorted(missing))} in its .mat files: delete them to have "
                "them downloaded again"
            )
        return tables

    def _download(self) -> None:
        files = "imagelabels.mat, setid.mat and the folder jpg (the files of 102flowers.tgz)"
        download(lambda: Flowers102(self._root, download=True), "Oxford flowers", self._folder, files)


def _check_sizes(path: Path) -> None:
    """Raises ValueError if a table declares far more numbers than there are flowers, before any memory is taken."""
    for name, shape, _ in whosmat(path):
        if math.prod(shape) > _MAX_NUMBERS:
            raise ValueError(f"its table {name} declares {math.prod(shape):,} numbers")
