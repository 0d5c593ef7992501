"""Building the image cache and reading from it, against plain torchvision and Pillow.

The sets are synthetic photographs (JPEGs of 500x667) and, where DDPM_DATA_DIR has them, the Oxford flowers. The plain
loop is torchvision's data set with a centre crop and an antialiased resize, in one process; the cache's build also
checks, hashes and stores. The two alternate; figures are medians of the rounds, and medians of their ratios. A plain
DataLoader decodes again in each epoch, in as many workers as there are cores.

Run it as: python benchmarks/image_cache.py [--rounds N] [--photographs N]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader
from torchvision.datasets import Flowers102, ImageFolder
from torchvision.transforms import functional

from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.data.sources.flowers import FlowersSource
from ddpm_lightning.data.sources.folder import FolderSource
from ddpm_lightning.data.sources.source import ImageSource
from ddpm_lightning.data.split import Resplit
from ddpm_lightning.processes import available_cores

SIZE = 64
BATCH = 64
BATCHES = 300


class ImageSet(NamedTuple):
    """The same images for both sides."""

    name: str
    source: ImageSource
    plain: Callable[[], Any]  # makes torchvision's data set


def photographs(folder: Path, count: int) -> ImageSet:
    """Smooth colours under noise, in files as large as those of a camera's thumbnails (about 100 kB)."""
    (folder / "class").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        width, height = (667, 500) if number % 2 else (500, 667)
        colours = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        noisy = np.asarray(colours) + rng.normal(0, 8, (height, width, 1))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / "class" / f"{number:05d}.jpg", quality=90)

    def plain() -> Any:
        return ImageFolder(folder, square)

    return ImageSet(f"{count} photographs", FolderSource(folder, folder, SIZE), plain)


def flowers(data_dir: Path) -> ImageSet:
    def plain() -> Any:
        return ConcatDataset([Flowers102(data_dir, split, square) for split in ("train", "val", "test")])

    source = FlowersSource(data_dir, SIZE)
    with Image.open(data_dir / "flowers-102" / "jpg" / "image_00001.jpg") as image:
        return ImageSet(f"flowers (the first one is {image.width}x{image.height})", source, plain)


def square(image: Image.Image) -> Image.Image:
    return functional.resize(functional.center_crop(image, [min(image.size)]), [SIZE, SIZE], antialias=True)


def build_speed(images: ImageSet, cache_dir: Path) -> float:
    """Images per second."""
    start = time.perf_counter()
    cached = cached_images(images.source, cache_dir)
    return len(cached.images) / (time.perf_counter() - start)


def plain_speed(images: ImageSet) -> float:
    """Images per second."""
    dataset = images.plain()
    array = np.empty((len(dataset), SIZE, SIZE, 3), np.uint8)
    start = time.perf_counter()
    for index in range(len(dataset)):
        array[index] = np.asarray(dataset[index][0])
    return len(array) / (time.perf_counter() - start)


def report_building(images: ImageSet, folder: Path, rounds: int) -> None:
    plain_speed(images)  # so that both sides find the files in the system's cache
    pairs = [(build_speed(images, folder / str(number)), plain_speed(images)) for number in range(rounds)]
    ours, plain = (statistics.median(speeds) for speeds in zip(*pairs, strict=True))
    ratios = [mine / other for mine, other in pairs]
    print(
        f"{images.name}: cache built at {ours:.0f} images/s with {available_cores()} threads, plain loop "
        f"{plain:.0f} images/s: {statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def cached_batches(source: ImageSource, cache_dir: Path, in_memory: bool) -> Iterator[Any]:
    data = ImageDataModule(
        source, Resplit(), BATCH, num_workers=0, seed=0, cache_dir=str(cache_dir), in_memory=in_memory
    )
    return chain.from_iterable(repeat(data.train_dataloader()))


def plain_batches(images: ImageSet) -> Iterator[Any]:
    workers = available_cores()
    loader: DataLoader[Any] = DataLoader(
        images.plain(), BATCH, shuffle=True, drop_last=True, num_workers=workers, collate_fn=stacked
    )
    return chain.from_iterable(repeat(loader))


def stacked(samples: Sequence[tuple[Image.Image, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Images uint8 (B, 3, SIZE, SIZE) and labels (B,)."""
    images, labels = zip(*samples, strict=True)
    return torch.stack([functional.pil_to_tensor(image) for image in images]), torch.tensor(labels)


def loading_speed(batches: Iterator[Any], count: int) -> float:
    """Images per second."""
    next(batches)
    start = time.perf_counter()
    for _ in islice(batches, count):
        pass
    return count * BATCH / (time.perf_counter() - start)


def report_loading(images: ImageSet, cache_dir: Path, rounds: int) -> None:
    speeds: dict[str, list[float]] = {"memory map": [], "in memory": [], "plain DataLoader": []}
    for _ in range(rounds):
        speeds["memory map"].append(loading_speed(cached_batches(images.source, cache_dir, False), BATCHES))
        speeds["in memory"].append(loading_speed(cached_batches(images.source, cache_dir, True), BATCHES))
        speeds["plain DataLoader"].append(loading_speed(plain_batches(images), 10))
    medians = ", ".join(f"{name} {statistics.median(values):.0f}" for name, values in speeds.items())
    print(f"{images.name}: images/s of the loader: {medians}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photographs", type=int, default=2000, help="images of the synthetic set")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = [photographs(folder / "photographs", options.photographs)]
        data_dir = Path(os.environ.get("DDPM_DATA_DIR", "data"))
        if (data_dir / "flowers-102" / "setid.mat").is_file():
            sets.append(flowers(data_dir))
        for number, images in enumerate(sets):
            report_building(images, folder / f"cache_{number}", options.rounds)
            report_loading(images, folder / f"cache_{number}" / "0", options.rounds)


if __name__ == "__main__":
    main()
