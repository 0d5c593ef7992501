"""After any interruption, a file is either the old one or the complete new one."""

import os
from pathlib import Path

import pytest

from ddpm_lightning.atomic_files import atomic_path, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    assert names(path.parent) == ["file.txt"]


def test_the_temporary_file_is_hidden_below_the_same_folder(tmp_path: Path) -> None:
    """A rename to another file system would be a copy, and `*.ckpt` must not match the temporary name."""
    with atomic_path(tmp_path / "file.ckpt") as temporary:
        assert temporary.is_relative_to(tmp_path)
        assert temporary.name.startswith(".")
        assert temporary.suffix == ".ckpt"
        temporary.touch()


def test_two_writers_use_different_temporary_files(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "file") as one, atomic_path(tmp_path / "file") as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert (tmp_path / "file").read_text() == "one"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failing_block_leaves_only_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    write_text(tmp_path / "file", "old")

    def fail() -> None:
        with atomic_path(tmp_path / "file") as temporary:
            temporary.write_text("hal")
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_block_that_writes_nothing_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "old"


def test_contents_are_synced_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(descriptor: int) -> None:
        events.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        fsync(descriptor)

    def recorded_replace(self: Path, target: Path) -> Path:
        events.append(("rename", self.name))
        return replace(self, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to see which file is synced")
    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    with atomic_path(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert events == [("sync", temporary.name), ("rename", temporary.name), ("sync", tmp_path.name)]


def test_json_is_read_back(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {"a": [1, None, "x"]})
    assert (tmp_path / "file.json").read_text() == '{\n  "a": [\n    1,\n    null,\n    "x"\n  ]\n}\n'
