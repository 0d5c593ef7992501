"""A cache that cannot be written says so before it reads an image; complete entries serve from a read-only disk.

The tests of a full and of a read-only disk mount one, which needs root's rights; they are skipped without.
"""

import errno
import os
import subprocess
import sys

import pytest

from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.metrics.features import inception_weights


def test_no_place_to_write_says_what_to_set(counting_source, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match=r"cannot write the image cache in .*set paths\.cache_dir"):
        cached_images(counting_source(), tmp_path / "file" / "cache")


def test_a_full_disk_shows_before_anything_is_read(counting_source, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    source = counting_source()
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match=r"No space left on device.*set paths\.cache_dir") as caught:
            cached_images(source, tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert source.reads == 0 and not [*tmp_path.rglob("*.npy")]
    assert len(cached_images(source, tmp_path).labels) == 63


def in_a_mount(*options):
    """A command that runs the rest of its line where a folder, its first argument, is another file system."""
    script = f'mount {" ".join(options)} "$0" && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script]


@pytest.fixture
def may_mount(tmp_path):
    try:
        command = [*in_a_mount("-t", "tmpfs", "none"), str(tmp_path), "true"]
        allowed = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("mounting a file system needs rights that this process does not have")


def test_a_disk_that_is_really_full(may_mount, start_build, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    tmpfs = [*in_a_mount("-t", "tmpfs", "-o", "size=256k", "none"), str(disk)]
    build = start_build(disk / "cache", tmp_path / "log", size=100_000, before=tmpfs)
    _, errors = build.communicate()
    assert build.returncode == 1
    assert f"cannot write the image cache in {disk}/cache (No space left on device): set paths.cache_dir" in errors
    assert not (tmp_path / "log").exists()


def test_a_read_only_folder_serves_its_entries(may_mount, start_build, tmp_path):
    cache_dir = tmp_path / "cache"
    built = start_build(cache_dir, tmp_path / "log").communicate()[0]
    read_only = [*in_a_mount("--bind", "-o", "ro", str(cache_dir)), str(cache_dir)]
    output, errors = start_build(cache_dir, tmp_path / "log", before=read_only).communicate()
    assert (output, errors) == (built, "")
    refused = start_build(cache_dir, tmp_path / "log", size=300, before=read_only)
    assert f"cannot write the image cache in {cache_dir} (Read-only file system)" in refused.communicate()[1]
    assert refused.returncode == 1


EVERYTHING_FROM_THE_CACHE = """
import sys
from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.sources.mnist import MNISTSource
from ddpm_lightning.metrics.features.inception_weights import find_inception_weights
from ddpm_lightning.metrics.features.lenet import LeNetFeatures
from ddpm_lightning.metrics.features.reference import reference_features

data, cache_dir = sys.argv[1:]
images = cached_images(MNISTSource(data), cache_dir).images[:8]
features = reference_features(LeNetFeatures("mnist"), images, cache_dir, "eight images")
print(find_inception_weights(None, cache_dir), features.shape, float(features.sum()))
"""


def test_a_read_only_folder_serves_everything(may_mount, tiny_data, tmp_path, monkeypatch, capsys):
    """Images, features of real images, and the Inception weights; no lock is needed for what is there."""
    cache_dir = tmp_path / "cache"
    cache_dir.mkdir()
    (cache_dir / inception_weights.CONVERTED_NAME).touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no_hub"))
    monkeypatch.setattr(sys, "argv", ["", str(tiny_data), str(cache_dir)])
    exec(EVERYTHING_FROM_THE_CACHE, {})
    printed = capsys.readouterr().out
    files = sorted(cache_dir.rglob("*"))
    command = [*in_a_mount("--bind", "-o", "ro", str(cache_dir)), str(cache_dir)]
    command += [sys.executable, "-c", EVERYTHING_FROM_THE_CACHE, str(tiny_data), str(cache_dir)]
    again = subprocess.run(command, capture_output=True, text=True)
    assert (again.stdout, again.stderr) == (printed, "")
    assert printed.startswith(str(cache_dir / inception_weights.CONVERTED_NAME))
    assert sorted(cache_dir.rglob("*")) == files
