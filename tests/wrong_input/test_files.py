"""Files that are damaged, missing, empty, or something else than they should be."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

CHECKPOINT = Path("run", "checkpoints", "last.ckpt")


def damage(path: str | Path, content: bytes = b"") -> Callable[[Path], None]:
    """Replaces the content of a file of the world, or makes it."""

    def do(world: Path) -> None:
        (world / path).parent.mkdir(parents=True, exist_ok=True)
        (world / path).write_bytes(content)

    return do


def cut(path: str | Path, size: int) -> Callable[[Path], None]:
    """Cuts a file of the world off."""
    return lambda world: (world / path).write_bytes((world / path).read_bytes()[:size])


def remove(path: str) -> Callable[[Path], None]:
    return lambda world: (world / path).unlink()


def save(content: object) -> Callable[[Path], None]:
    """Saves something else than a checkpoint of ours as `x.ckpt`."""
    return lambda world: torch.save(content, world / "x.ckpt")


def circle(world: Path) -> None:
    (world / "a").symlink_to("b")
    (world / "b").symlink_to("a")


def folder(world: Path) -> None:
    (world / "e").mkdir()


JOB = "sweep/loss-mae_seed-0-02aa1e15"
HALF = b'{"state": "do'
BEFORE_ANYTHING = [
    (damage("run/status", HALF), "1 train resume=run => run/status is damaged .*: delete it, and the run continues"),
    (damage("run/status"), "1 train resume=run => run/status is damaged"),
    (damage("run/status", b"[]"), "1 report run => run/status is damaged \\(it holds no dictionary\\)"),
    (damage("run/status", b"{}"), "1 report run => run/status is damaged \\(it has no 'state'\\)"),
    (damage("run/status", b"\xff\xfe"), "1 report run => run/status is damaged"),
    (
        damage("run/status", b'{"state": "over"}'),
        "1 report run => has an unknown state 'over': there are ",
    ),
    (damage("run/config.yaml", b"a: ["), "1 train resume=run => config.yaml is damaged, .*: restore it from a copy"),
    (damage("run/config.yaml"), "1 train resume=run => run does not hold the config of a run"),
    (damage("run/config.yaml", b"- a"), "1 train resume=run => does not hold the config of a run"),
    (remove("run/config.yaml"), "1 train resume=run => is not the folder of a run: it has no config.yaml"),
    (remove("run/status"), "1 train resume=run => resume=run is not the folder of a run: it has no file `status`"),
    (damage(CHECKPOINT), "1 sample run => last.ckpt is damaged or not a checkpoint"),
    (damage(CHECKPOINT), "1 evaluate run => last.ckpt is damaged or not a checkpoint"),
    (damage(CHECKPOINT), "1 export run out=m => last.ckpt is damaged or not a checkpoint"),
    (cut(CHECKPOINT, 5000), "1 sample run => last.ckpt is damaged or not a checkpoint"),
    (remove(str(CHECKPOINT)), "1 sample run => run is not the folder of a run with checkpoints/last.ckpt"),
    (damage("x.ckpt", b"<!DOCTYPE html>"), "1 sample checkpoint=x.ckpt => x.ckpt is damaged or not a checkpoint"),
    (damage("x.ckpt", b"version https://git-lfs.github.com/spec/v1\n"), "1 sample x.ckpt => x.ckpt is damaged or not"),
    (save({"state_dict": {}}), "1 sample x.ckpt => x.ckpt is not a checkpoint of ddpm-lightning: it holds no config"),
    (save(torch.zeros(3)), "1 export x.ckpt out=m => x.ckpt is not a checkpoint of ddpm-lightning"),
    (
        save(torch.nn.Linear(1, 1)),
        "1 evaluate x.ckpt => x.ckpt is refused: it holds more than tensors",
    ),
    (None, "1 sample run/samples.npz => run/samples.npz is damaged or not a checkpoint"),
    (None, "1 sample run/config.yaml => run/config.yaml is damaged or not a checkpoint"),
    (None, "1 sample home => home is not the folder of a run .*: it holds no checkpoint"),
    (None, "1 sample sweep => sweep is not the folder of a run .*: it holds .*: name one of these"),
    (None, "1 sample nowhere => 'nowhere' is neither a path of a run nor an option"),
    (None, "1 sample -m 'checkpoint=nowhere/*' => no checkpoint and no finished run .* matches nowhere/\\*"),
    (
        damage("m/model.safetensors", b"x"),
        "1 sample m => m is an exported model, .*: name the run",
    ),
    (damage("m/config.json", b"{"), "1 export m out=x => m is an exported model, .*: name the run"),
    (damage("run/metrics.json", HALF), "1 export run out=m => metrics.json is damaged .*: evaluate the run again"),
    (None, "1 export run out=sweep => the folder sweep is not empty"),
    (None, "1 export run out=file.txt => file.txt is a file: name another one"),
    (None, "1 report home => there is no finished run with scores in home: it contains no runs"),
    (folder, "1 report e => there is no finished run with scores in e: it contains no runs"),
    (None, "1 report file.txt => there is no folder file.txt"),
    (None, "1 report 'nope*' => there is no folder that matches nope\\*"),
    (
        damage("sweep/sweep.json", b'{"jobs": ['),
        "1 report sweep => sweep.json is damaged .*: run the command",
    ),
    (damage(f"{JOB}/config.yaml", b"a: ["), "1 report sweep => config.yaml is damaged"),
    (damage(f"{JOB}/samples.npz"), "1 report sweep => samples.npz cannot be used .*: evaluate the run again"),
    (damage(f"{JOB}/samples.npz", b"PK\x05\x06" + bytes(18)), "1 report sweep => samples.npz cannot be used"),
    (circle, "1 sample a => 'a' is neither a path of a run nor an option"),
    (circle, "1 sample checkpoint=a => there is no checkpoint or run folder a"),
    (circle, "1 train resume=a => resume=a: there is no such folder"),
    (circle, "1 report a => there is no file or folder 'a'"),
    (circle, "1 export a out=m => there is no file or folder 'a'"),
    (circle, "1 train paths.output_dir=a => paths.output_dir=a is not a usable path .*: name a folder"),
    (circle, "1 train paths.data_dir=a => paths.data_dir=a is not a usable path .*: name a folder"),
    (
        None,
        "1 train metrics/features=inception metrics.weights=nowhere.pth => no Inception weights at metrics.weights=",
    ),
    (None, "1 train metrics/features=inception metrics.weights=file.txt => file.txt does not hold Inception weights"),
    (
        folder,
        "1 train FOLDER dataset.path=e => e has no images \\(other files: none\\)",
    ),
    (
        damage("e/.DS_Store", b"x"),
        "1 train FOLDER dataset.path=e => e has no images \\(other files: none\\)",
    ),
    (
        damage("e/notes.txt", b"x"),
        "1 train FOLDER dataset.path=e => e has no images \\(other files: 1 .txt\\)",
    ),
    (
        None,
        "1 train FOLDER dataset.path=file.txt => dataset.path=file.txt must be",
    ),
]


@pytest.mark.parametrize(("spoil", "line"), BEFORE_ANYTHING, ids=[line for _, line in BEFORE_ANYTHING])
def test_a_file_that_cannot_be_used_is_named(
    world: Path, refuse: Callable[[str], str], spoil: Callable[[Path], None] | None, line: str
) -> None:
    if spoil is not None:
        spoil(world)
    refuse(line)


def photos(*damaged: str) -> Callable[[Path], None]:
    """A folder `e` with good images, and some of which only the name is one's."""

    def do(world: Path) -> None:
        (world / "home" / "photos").rename(world / "e")
        for name in damaged:
            (world / "e" / os.fsdecode(name.encode("latin-1"))).write_bytes(b"x")

    return do


MNIST = "data/MNIST/raw/train-images-idx3-ubyte"
IDX = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (60, 28, 28))
WHILE_READING = [
    (damage(MNIST), "1 train paths.data_dir=data => train-images-idx3-ubyte is not an idx file of unsigned bytes"),
    (
        damage(MNIST, IDX),
        "1 train paths.data_dir=data => is damaged: its header \\(60, 28, 28\\) asks for",
    ),
    (
        damage("d/cifar-10-batches-py/data_batch_1", pickle.dumps({"data": np.zeros(3).tolist()})),
        "1 train dataset=cifar10 paths.data_dir=d => CIFAR-10 is not complete in d/cifar-10-batches-py",
    ),
    (
        photos("9.png"),
        "1 train FOLDER dataset.path=e dataset.split.val_size=1 => 1 of 5 images .*9.png: not an image of a known",
    ),
    (
        photos("\xff.png"),
        "1 train FOLDER dataset.path=e dataset.split.val_size=1 => 1 of 5 images of folder cannot be",
    ),
    (None, "1 train paths.data_dir=nowhere => MNIST is not complete in nowhere/MNIST and could not be downloaded"),
    (None, "1 evaluate run paths.data_dir=nowhere => MNIST is not complete in nowhere/MNIST"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "line"), WHILE_READING, ids=[line for _, line in WHILE_READING])
def test_data_that_cannot_be_read_leave_a_record_alone(
    world: Path,
    refuse: Callable[..., str],
    no_network: None,
    spoil: Callable[[Path], None] | None,
    line: str,
) -> None:
    """The run's folder says that it failed, and there is no other file."""
    if spoil is not None:
        spoil(world)
    refuse(line, keeps_record=True)
