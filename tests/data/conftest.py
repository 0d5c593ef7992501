"""Small data sets in their real on-disk layout, and the real ones where they are present."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from ddpm_lightning.data.sources.source import ImageSource

REPOSITORY_DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.fixture
def idx_root(tmp_path: Path, write_idx: Callable[[Path, np.ndarray], None]) -> Callable[[str], Path]:
    """Writes a set of 50 + 20 images as unpacked idx files under `<root>/<class name>/raw`; returns the root."""

    def make(class_name: str) -> Path:
        raw = tmp_path / "root" / class_name / "raw"
        raw.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for prefix, count in (("train", 50), ("t10k", 20)):
            write_idx(raw / f"{prefix}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28)))
            write_idx(raw / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10)
        return tmp_path / "root"

    return make


@pytest.fixture
def mnist_root() -> Path:
    if not (REPOSITORY_DATA / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").exists():
        pytest.skip("the MNIST archives of the repository are not here: git checkout -- data/MNIST/raw")
    return REPOSITORY_DATA


@pytest.fixture
def large_data_root() -> Path:
    if "DDPM_DATA_DIR" not in os.environ:
        pytest.skip("set DDPM_DATA_DIR to a folder with FashionMNIST/raw")
    return Path(os.environ["DDPM_DATA_DIR"])


class CountingSource(ImageSource):
    """Images and labels that are their own number, so that a test can check which image it has."""

    name = "counting"
    num_classes = 10
    transform = "none"

    def __init__(self, train: int = 43, test: int = 20, image_size: int = 2) -> None:
        self.image_shape = (1, image_size, image_size)
        self.train, self.size = train, train + test
        self.reads = 0

    def fingerprint(self) -> str:
        return f"{self.train} {self.size}"

    def labels(self) -> np.ndarray:
        return np.arange(self.size)

    def official_splits(self) -> dict[str, np.ndarray]:
        return {"train": np.arange(self.train), "test": np.arange(self.train, self.size)}

    def read(self, rows: range, images: np.ndarray) -> dict[int, str]:
        self.reads += 1
        images[:] = np.array(rows).astype(np.uint8)[:, None, None, None]
        return {}


@pytest.fixture
def counting_source() -> Callable[..., CountingSource]:
    return CountingSource


def write_photo(path: Path, number: int) -> None:
    """A JPEG of smooth colours, of another shape and other colours for each number."""
    width, height = 40 + 7 * (number % 3), 36 + 5 * (number % 4)
    rows, columns = np.mgrid[:height, :width]
    colours = [rows * 5 + 20 * number, columns * 4 + 30 * number, (rows + columns) * 2]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.stack(colours, axis=-1) % 511 // 2).astype(np.uint8)).save(path, quality=95)


@pytest.fixture
def flowers_root(tmp_path: Path) -> Path:
    """A data folder with 12 flowers: kinds 1..12, photographs 1-4 to train on, 5-6 to validate, 7-12 to test on."""
    folder = tmp_path / "root" / "flowers-102"
    for number in range(1, 13):
        write_photo(folder / "jpg" / f"image_{number:05d}.jpg", number)
    savemat(folder / "imagelabels.mat", {"labels": np.arange(1, 13, dtype=np.uint8)[None]}, do_compression=True)
    splits = {"trnid": np.arange(1, 5), "valid": np.arange(5, 7), "tstid": np.arange(7, 13)}
    savemat(folder / "setid.mat", {name: ids[None].astype(np.uint16) for name, ids in splits.items()})
    return tmp_path / "root"


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[dict[str, str | tuple[int, int, int]]], Path]:
    """`tree({path: colour})`: images of one colour in `<tmp_path>/tree`; returns that folder."""

    def make(files: dict[str, str | tuple[int, int, int]]) -> Path:
        for name, colour in files.items():
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 7), colour).save(path, {".jpg": "JPEG", ".JPG": "JPEG"}.get(path.suffix, "PNG"))
        return tmp_path / "tree"

    return make


@pytest.fixture(scope="session")
def pets_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with 24 pets to train on and 16 to test on: cats (breeds 1, 6), dogs (2, 37). Not to be changed."""
    root = tmp_path_factory.mktemp("root")
    folder = root / "oxford-iiit-pet"
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    breeds = [("Abyssinian", 1, 1), ("american_bulldog", 2, 2), ("Bengal", 6, 1), ("yorkshire_terrier", 37, 2)]
    for split, numbers in (("trainval", range(1, 7)), ("test", range(7, 11))):
        lines = [f"{name}_{n} {breed} {species} {n}\n" for name, breed, species in breeds for n in numbers]
        (folder / "annotations" / f"{split}.txt").write_text("".join(lines))
        for line in lines:
            name = line.split()[0]
            write_photo(folder / "images" / f"{name}.jpg", sum(name.encode()))
    return root


@pytest.fixture
def archives(tmp_path: Path) -> Iterator[Callable[[Path, dict[str, list[str]]], tuple[str, dict[str, str]]]]:
    """`archives(folder, {archive: members})` packs members of a folder, serves them, and gives the URL and md5 sums.

    A member that is the archive's own name is served as it is.
    """
    served = tmp_path / "served"
    served.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(served)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def make(folder: Path, contents: dict[str, list[str]]) -> tuple[str, dict[str, str]]:
        for name, members in contents.items():
            if members == [name]:
                shutil.copy(folder / name, served / name)
            else:
                with tarfile.open(served / name, "w:gz") as archive:
                    for member in members:
                        archive.add(folder / member, member)
        md5 = {name: hashlib.md5((served / name).read_bytes()).hexdigest() for name in contents}
        return f"http://127.0.0.1:{server.server_port}/", md5

    yield make
    server.shutdown()
    server.server_close()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


BUILD_SCRIPT = """
import sys, time
import numpy as np
from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.sources.source import ImageSource


class NumberSource(ImageSource):
    # Image i shows i modulo 251; each read is a line in a file.
    name, num_classes, image_shape, transform, slow_to_read = "number", 0, (1, 4, 4), "none", True

    def __init__(self, log, size, seconds):
        self.log, self.size, self.seconds = log, size, seconds

    def fingerprint(self):
        return str(self.size)

    def labels(self):
        return np.zeros(self.size, np.int64)

    def official_splits(self):
        return {}

    def read(self, rows, images):
        with open(self.log, "a") as log:
            log.write(f"{rows.start}\\n")
        time.sleep(self.seconds)
        images[:] = (np.array(rows) % 251)[:, None, None, None]
        return {}


if __name__ == "__main__":
    cache_dir, log, size, seconds = sys.argv[1:]
    try:
        cached = cached_images(NumberSource(log, int(size), float(seconds)), cache_dir)
    except OSError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    assert (cached.images == (np.arange(int(size)) % 251)[:, None, None, None]).all()
    print(cached.fingerprint)
"""


@pytest.fixture
def start_build(tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """`start_build(cache_dir, log, size=..., ...)`: a process that builds the cache of a source which notes its reads.

    It reads in `cores` threads and takes `seconds` for a chunk. `before` is a command to start it with.
    """
    script = tmp_path / "build.py"
    script.write_text(BUILD_SCRIPT)

    def start(
        cache_dir: Path,
        log: Path,
        size: int = 2000,
        seconds: float = 0,
        cores: int = 1,
        before: Sequence[str] = (),
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*before, sys.executable, str(script), *map(str, (cache_dir, log, size, seconds))],
            env={**os.environ, "DDPM_LIGHTNING_THREADS": str(cores)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
