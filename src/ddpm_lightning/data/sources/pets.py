"""Oxford-IIIT Pet, found where torchvision puts it: `<root>/oxford-iiit-pet`."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torchvision.datasets import OxfordIIITPet

from ddpm_lightning.data.sources.download import download
from ddpm_lightning.data.sources.image_files import ImageFiles
from ddpm_lightning.data.sources.source import DataFileError

_LISTS = {"train": "trainval.txt", "test": "test.txt"}
_SPECIES, _BREEDS = 2, 37


class _Pet(NamedTuple):
    """A line of the lists; species (cat, dog) and breed are counted from 1."""

    name: str
    breed: int
    species: int


class PetsSource(ImageFiles):
    """7,349 photographs of cats and dogs of 37 breeds (Parkhi, Vedaldi, Zisserman and Jawahar 2012)."""

    name = "pets"

    def __init__(
        self,
        root: str | Path,
        image_size: int = 64,
        channels: int = 3,
        species: bool = False,
        skip_damaged: bool = False,
    ) -> None:
        """As `ImageFiles`; `root` is the folder above `oxford-iiit-pet/`.

        Args:
            species: whether the labels are cat (0) and dog (1), instead of the 37 breeds.
        """
        self._root = Path(root)
        super().__init__(self._root / "oxford-iiit-pet", image_size, channels, skip_damaged)
        self.num_classes = _SPECIES if species else _BREEDS
        self._species = species

    def list_files(self) -> Sequence[str]:
        return [f"images/{pet.name}.jpg" for pets in self._pets.values() for pet in pets]

    def labels(self) -> np.ndarray:
        pets = [pet for pets in self._pets.values() for pet in pets]
        return np.array([pet.species if self._species else pet.breed for pet in pets], np.int64) - 1

    def official_splits(self) -> dict[str, np.ndarray]:
        train, test = len(self._pets["train"]), len(self._pets["test"])
        return {"train": np.arange(train), "test": np.arange(train, train + test)}

    @cached_property
    def _pets(self) -> dict[str, list[_Pet]]:
        """The images of each official split, in the order of the data set's two lists."""
        lists = {split: self._folder / "annotations" / name for split, name in _LISTS.items()}
        if not (all(path.is_file() for path in lists.values()) and (self._folder / "images").is_dir()):
            self._download()
        return {split: _read_list(path) for split, path in lists.items()}

    def _download(self) -> None:
        def fetch() -> None:
            for split in ("trainval", "test"):  # it checks one list at a time
                OxfordIIITPet(self._root, split, download=True)

        download(fetch, "Oxford pets", self._folder, "the folders images and annotations (of the .tar.gz files)")


def _read_list(path: Path) -> list[_Pet]:
    """Reads a list of images.

    Raises:
        DataFileError: a line is not "name breed species number-within-species".
    """
    pets = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        try:
            name, breed, species, _ = line.split()
            pet = _Pet(name, int(breed), int(species))
        except ValueError:
            pet = _Pet("", 0, 0)
        plain = Path(pet.name).name == pet.name  # else it would lead out of the folder
        if not (plain and 1 <= pet.breed <= _BREEDS and 1 <= pet.species <= _SPECIES):
            raise DataFileError(
                f"{path} is damaged in line {number} ({line[:80]!r}): delete the folder {path.parent} to have it "
                "downloaded again"
            )
        pets.append(pet)
    return pets
