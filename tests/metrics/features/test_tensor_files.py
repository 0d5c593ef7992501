from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ddpm_lightning.metrics.features.tensor_files import content_sha256, save_tensors

TENSORS = {"b": torch.arange(3.0), "a": torch.ones((), dtype=torch.int64)}


def test_hash_follows_names_and_bytes_and_nothing_else():
    assert content_sha256(TENSORS) == content_sha256(dict(reversed(TENSORS.items())))
    assert content_sha256({"x": torch.arange(6.0).reshape(2, 3).T}) == content_sha256(
        {"x": torch.tensor([0.0, 3.0, 1.0, 4.0, 2.0, 5.0]).reshape(3, 2)}
    )
    assert content_sha256({**TENSORS, "b": torch.tensor([0, 1, 2.0001])}) != content_sha256(TENSORS)
    assert content_sha256({"c": TENSORS["b"], "a": TENSORS["a"]}) != content_sha256(TENSORS)


def test_saved_tensors_are_read_back_and_no_other_file_stays(tmp_path: Path):
    path = tmp_path / "new" / "tensors.safetensors"
    save_tensors(path, TENSORS, {"made": "here"})
    assert content_sha256(load_file(path)) == content_sha256(TENSORS)
    assert [file.name for file in path.parent.iterdir()] == ["tensors.safetensors"]


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path, monkeypatch):
    path = tmp_path / "tensors.safetensors"
    save_tensors(path, TENSORS, {})
    before = path.read_bytes()

    def disk_full(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(OSError, match="no space"):
        save_tensors(path, {"b": torch.zeros(9)}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
