"""One process downloads for all, and files are checked against their published sums."""

import threading
import time
from functools import partial

import pytest

from ddpm_lightning.data.sources.download import check_md5, download
from ddpm_lightning.data.sources.source import DataFileError


def test_only_one_of_several_processes_downloads(tmp_path):
    begun, may_end, events = threading.Event(), threading.Event(), []

    def fetch(name):
        events.append(f"{name} begins")
        begun.set()
        may_end.wait()
        events.append(f"{name} ends")

    threads = [
        threading.Thread(target=download, args=(partial(fetch, n), "Pets", tmp_path / "root" / "pets", "files"))
        for n in "ab"
    ]
    for thread in threads:
        thread.start()
        begun.wait()
    time.sleep(0.1)  # enough for b to begin if it did not wait
    may_end.set()
    for thread in threads:
        thread.join()
    assert events == ["a begins", "a ends", "b begins", "b ends"]


@pytest.mark.parametrize("error", [RuntimeError("not found"), ConnectionError("refused")])
def test_a_failed_download_names_files_and_folder(tmp_path, error):
    def fetch():
        raise error

    expected = rf"Pets is not complete in {tmp_path}/pets and .*\. Put the images there, or set .* has pets\. .*{error}"
    with pytest.raises(DataFileError, match=expected):
        download(fetch, "Pets", tmp_path / "pets", "the images")


def test_a_file_with_another_sum_is_named(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(b"The quick brown fox jumps over the lazy dog")
    published = "9e107d9d372bb6826bd81d3542a419d6"  # in every description of md5
    check_md5(path, published, "Fetch it again.")
    path.write_bytes(b"The quick brown fox jumps over the lazy dog.")
    other = "e4d909c290d0fb1ca068ffaddf22cbd0"
    with pytest.raises(DataFileError, match=f"images is truncated .* is {other}, .* {published}\\. Fetch it again"):
        check_md5(path, published, "Fetch it again.")
