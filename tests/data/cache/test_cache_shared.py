"""A cache folder that several users, and several versions of this package, work with."""

import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from ddpm_lightning.data.cache import cache
from ddpm_lightning.data.cache.cache import cached_images


@pytest.fixture
def open_to_all(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def test_an_entry_can_be_read_by_the_readers_of_the_cache(counting_source, open_to_all: Path) -> None:
    umask = os.umask(0o077)
    try:
        entry = cached_images(counting_source(), open_to_all).path.parent
    finally:
        os.umask(umask)
    for path in (entry, *entry.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o044 == 0o044, path
    (lock,) = open_to_all.glob(".*.lock")
    assert stat.S_IMODE(lock.stat().st_mode) == 0o666


def test_an_entry_that_may_not_be_read_is_named(counting_source, tmp_path: Path, monkeypatch) -> None:
    source = counting_source()
    entry = cached_images(source, tmp_path).path.parent

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(np, "load", refuse)
    with pytest.raises(OSError, match=rf"cannot read .*{entry.name} \(Permission denied\): .*set paths\.cache_dir"):
        cached_images(source, tmp_path)
    assert source.reads == 1


def test_what_another_users_kill_has_left_is_no_obstacle(counting_source, tmp_path: Path, monkeypatch) -> None:
    source = counting_source()
    entry = cached_images(source, tmp_path).path.parent
    shutil.rmtree(entry)
    left = entry.with_name(f".{entry.name}.building")
    left.mkdir()
    remove = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", lambda path, **options: None if path == left else remove(path, **options))
    assert len(cached_images(source, tmp_path).labels) == 63
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([left.name, f".{entry.name}.lock", entry.name])


def test_another_versions_entry_is_not_read(counting_source, tmp_path: Path, monkeypatch) -> None:
    own = cached_images(counting_source(), tmp_path).path
    monkeypatch.setattr(cache, "_FORMAT_VERSION", cache._FORMAT_VERSION + 1)
    source = counting_source()
    assert cached_images(source, tmp_path).path != own
    assert source.reads == 1
