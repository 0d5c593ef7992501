"""Checkpoints load without running code; foreign and damaged files are refused with a reason."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from safetensors.torch import load_file

from ddpm_lightning.runs.build import build_callbacks, build_trainer
from ddpm_lightning.training.checkpoint import CONFIG_KEY, read_checkpoint
from ddpm_lightning.training.checkpoint_io import AtomicCheckpointIO

CONTENT = {CONFIG_KEY: {"seed": 0}, "state_dict": {"weight": torch.arange(1000.0)}}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(CONTENT, path)
    return path


class Malice:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_a_saved_checkpoint_is_read_back(checkpoint: Path) -> None:
    for loaded in (read_checkpoint(checkpoint), AtomicCheckpointIO().load_checkpoint(checkpoint)):
        assert loaded[CONFIG_KEY] == {"seed": 0}
        assert torch.equal(loaded["state_dict"]["weight"], torch.arange(1000.0))


def test_a_save_that_fails_leaves_the_old_file(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_the_disk(content: dict[str, Any], file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fill_the_disk)
        with pytest.raises(OSError, match=r"no space left .*last\.ckpt"):
            AtomicCheckpointIO().save_checkpoint({}, checkpoint)
    assert read_checkpoint(checkpoint)[CONFIG_KEY] == {"seed": 0}
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path, evidence = tmp_path / "bad.ckpt", tmp_path / "evidence"
    torch.save(CONTENT | {"hyper_parameters": Malice(evidence)}, path)
    with pytest.raises(ValueError, match=r"bad\.ckpt is refused: .* loading it could run code"):
        read_checkpoint(path)
    assert not evidence.exists()
    torch.load(path, weights_only=False)
    assert evidence.exists(), "the pickle was harmless, so the test showed nothing"


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(checkpoint: Path, share: float) -> None:
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged or not a checkpoint"):
        read_checkpoint(checkpoint)


def test_no_flipped_bit_changes_what_is_read(checkpoint: Path) -> None:
    """A flip is refused, or is where nothing is stored: in padding, dates and file attributes."""
    whole = checkpoint.read_bytes()
    random, refused = np.random.default_rng(0), 0
    tensor = whole.find(torch.arange(1000.0).numpy().tobytes())
    for position in [*random.integers(0, len(whole), 300), *random.integers(tensor, tensor + 4000, 50)]:
        flipped = bytearray(whole)
        flipped[position] ^= 1 << random.integers(8)
        checkpoint.write_bytes(flipped)
        try:
            read = read_checkpoint(checkpoint)
        except ValueError:
            refused += 1
        else:
            assert not tensor <= position < tensor + 4000
            assert read[CONFIG_KEY] == {"seed": 0} and torch.equal(read["state_dict"]["weight"], torch.arange(1000.0))
    assert refused > 250


def test_a_damaged_file_is_named_with_the_newest_whole_one(checkpoint: Path) -> None:
    for name, step in [("previous", 400), ("best", 300)]:
        AtomicCheckpointIO().save_checkpoint(CONTENT | {"global_step": step}, checkpoint.with_name(f"{name}.ckpt"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    previous = checkpoint.with_name("previous.ckpt")
    offer = rf"{checkpoint} is damaged .*{previous}, of step 400, is whole: .*: cp {previous} {checkpoint}$"
    with pytest.raises(ValueError, match=offer):
        read_checkpoint(checkpoint)
    previous.write_bytes(b"")
    with pytest.raises(ValueError, match=r"best\.ckpt, of step 300, is whole"):
        read_checkpoint(checkpoint)
    with pytest.raises(
        ValueError, match=r"previous\.ckpt is damaged .*best\.ckpt, of step 300, is whole: name it instead$"
    ):
        read_checkpoint(previous)


def test_other_files_beside_a_damaged_one_are_not_offered(checkpoint: Path, tmp_path: Path) -> None:
    collected = tmp_path / "collected"
    collected.mkdir()
    AtomicCheckpointIO().save_checkpoint(CONTENT | {"global_step": 1}, collected / "mine.ckpt")
    (collected / "last.ckpt").write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(ValueError) as refusal:  # noqa: PT011
        read_checkpoint(collected / "last.ckpt")
    assert "mine.ckpt" not in str(refusal.value)


@pytest.mark.parametrize("has_links", [True, False])
def test_the_replaced_file_is_kept(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise OSError("this file system has no links")

    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    previous, io = checkpoint.with_name("previous.ckpt"), AtomicCheckpointIO({"last.ckpt": "previous.ckpt"})
    for step in (1, 2):
        old = checkpoint.read_bytes()
        io.save_checkpoint(CONTENT | {"global_step": step}, checkpoint)
        assert previous.read_bytes() == old
    assert read_checkpoint(checkpoint)["global_step"] == 2
    assert sorted(checkpoint.parent.iterdir()) == [checkpoint, previous]


def test_a_file_that_was_written_wrongly_replaces_nothing(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_wrongly(content: dict[str, Any], file: BinaryIO) -> None:
        whole = bytearray(checkpoint.read_bytes())
        whole[len(whole) // 2] ^= 1
        file.write(whole)

    io, before = AtomicCheckpointIO({"last.ckpt": "previous.ckpt"}), checkpoint.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", write_wrongly)
        with pytest.raises(
            OSError, match=r"last\.ckpt is not what is read back \(the checksum of its part .* is wrong"
        ):
            io.save_checkpoint(CONTENT, checkpoint)
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.ckpt").write_text("learning rate 1e-3")
    with pytest.raises(ValueError, match=r"notes\.ckpt is damaged or not a checkpoint"):
        read_checkpoint(tmp_path / "notes.ckpt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*absent\.ckpt"):
        read_checkpoint(tmp_path / "absent.ckpt")


def test_a_lightning_checkpoint_of_another_project_is_refused(tmp_path: Path) -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(LightningModule())
    trainer.save_checkpoint(tmp_path / "theirs.ckpt")
    with pytest.raises(ValueError, match=r"theirs\.ckpt is not a checkpoint of ddpm-lightning: it holds no config"):
        read_checkpoint(tmp_path / "theirs.ckpt")


@pytest.mark.parametrize(
    "content", [{"weight": torch.zeros(1)}, [1, 2], torch.zeros(1)], ids=["dict", "list", "tensor"]
)
def test_other_files_saved_by_torch_are_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"weights\.pt is not a checkpoint of ddpm-lightning"):
        read_checkpoint(tmp_path / "weights.pt")


@pytest.mark.filterwarnings("ignore")
def test_nothing_that_a_run_writes_could_run_code(tiny_run: Callable, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    run = tiny_run("logger=none", f"paths.cache_dir={cache}", "trainer.max_steps=10", "callbacks.progress_bar=null")
    trainer = build_trainer(run.config, tmp_path / "run", build_callbacks(run.config), [])
    trainer.fit(run.module, run.data)
    trainer.test(run.module, run.data, verbose=False)

    def loads_as(reader: Callable[[Path], Any], folder: Path, pattern: str) -> list[str]:
        return sorted(path.name for path in folder.rglob(pattern) if reader(path) is not None)

    def read_arrays(path: Path) -> list[np.ndarray]:
        with np.load(path, allow_pickle=False) as file:
            return [file[name] for name in file.files]

    assert loads_as(lambda p: torch.load(p, weights_only=True), tmp_path / "run", "*.ckpt") == [
        "best.ckpt",
        "last.ckpt",
    ]
    assert loads_as(read_arrays, tmp_path / "run", "*.npz") == ["features.npz", "samples.npz"]
    assert len(loads_as(load_file, cache, "*.safetensors")) == 1
    assert len(loads_as(lambda p: np.load(p, allow_pickle=False), cache, "*.npy")) == 2
    known = {".ckpt", ".npz", ".npy", ".safetensors", ".json", ".png", ".lock", ".yaml", ".txt", ""}
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} <= known
