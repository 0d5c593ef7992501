"""Attacks by the other files of a stranger: checkpoints, features, links, exports, data."""

import gzip
import io
import json
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torchvision import datasets

from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.sources.flowers import FlowersSource
from ddpm_lightning.data.sources.idx import read_idx
from ddpm_lightning.data.sources.pets import PetsSource
from ddpm_lightning.runs.exported import read_exported, write_exported
from ddpm_lightning.runs.saved_model import read_trained
from security.config_attacks import OPEN, filled


class Bomb:
    """Runs when it is unpickled."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return (open, (self.marker, "w"))


def pickled_checkpoint(scene: Any) -> None:
    torch.save(torch.load(scene.checkpoint, weights_only=True) | {"x": Bomb(scene.marker)}, scene.checkpoint)


def bare_pickle(scene: Any) -> None:
    scene.checkpoint.write_bytes(pickle.dumps(Bomb(scene.marker)))


def deflated_checkpoint(scene: Any) -> None:
    """Every record compressed, and one of 600 MB of zeros."""
    with zipfile.ZipFile(scene.checkpoint) as whole:
        records = {info.filename: whole.read(info) for info in whole.infolist()}
    largest = max((name for name in records if "/data/" in name), key=lambda name: len(records[name]))
    with zipfile.ZipFile(scene.checkpoint, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, bytes(6 * 10**8) if name == largest else content)


def nested_config(scene: Any) -> None:
    scene.run.config_file.write_text("{a: " * 5000 + "}" * 5000)


def aliased_config(scene: Any) -> None:
    lines = ["b0: &b0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{i + 1}: &b{i + 1} [{', '.join([f'*b{i}'] * 10)}]" for i in range(6)]
    scene.run.config_file.write_text(scene.run.config_file.read_text() + "\n".join(lines) + "\n")


def python_in_yaml(scene: Any) -> None:
    text = f"x: !!python/object/apply:builtins.open ['{scene.marker}', w]\n"
    scene.run.config_file.write_text(scene.run.config_file.read_text() + text)


def pickled_features(scene: Any) -> None:
    np.savez(scene.run.path / "features.npz", **dict.fromkeys(
        ("features", "real_features", "real_indices"), np.array([Bomb(scene.marker)], object)))  # fmt: skip


def bomb_of_features(scene: Any) -> None:
    zeros = np.zeros((100_000, 1_000), np.float32)
    np.savez_compressed(scene.run.path / "features.npz", features=zeros, real_features=zeros, real_indices=np.arange(3))


def declared_samples(scene: Any) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**11,)})
    with zipfile.ZipFile(scene.run.path / "samples.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue() + b"\0")


def link_to_the_logs(scene: Any) -> None:
    for version in scene.run.path.glob("csv*"):
        shutil.rmtree(version)
    (scene.run.path / "csv").symlink_to(scene.outside)


def link_in_place_of_the_lock(scene: Any) -> None:
    (scene.run.path / ".lock").unlink(missing_ok=True)
    (scene.run.path / ".lock").symlink_to(scene.outside / "precious")
    status = json.loads(scene.run.status_file.read_text())
    scene.run.status_file.write_text(json.dumps(status | {"state": "running"}))


def jobs_elsewhere(scene: Any) -> None:
    shutil.copytree(scene.run.path, scene.outside / "private-run")
    plan = {"command": [], "began": 0, "jobs": ["../home/private-run", str(scene.outside / "private-run")]}
    (scene.run.path / "sweep.json").write_text(json.dumps(plan))


class ByFile(NamedTuple):
    """A file of the run is replaced."""

    verb: str
    plant: Callable[[Any], None]


FILES = {
    "a checkpoint that runs code, loaded": ByFile("load", pickled_checkpoint),
    "a checkpoint that runs code, resumed": ByFile("resume", pickled_checkpoint),
    "a bare pickle as a checkpoint": ByFile("sample", bare_pickle),
    "a checkpoint that unpacks to 600 megabytes": ByFile("load", deflated_checkpoint),
    "a config that is nested without end": ByFile("report", nested_config),
    "a config of aliases that multiply": ByFile("report", aliased_config),
    "a config of aliases, resumed": ByFile("resume", aliased_config),
    "a config with Python's tags": ByFile("report", python_in_yaml),
    "features that run code": ByFile("report", pickled_features),
    "features that unpack to 800 megabytes": ByFile("report", bomb_of_features),
    "samples that declare a hundred gigabytes": ByFile("report", declared_samples),
    "a link in place of the logs' folder": ByFile("resume", link_to_the_logs),
    "a link in place of the lock": ByFile("report", link_in_place_of_the_lock),
    "a plan with jobs elsewhere": ByFile("report", jobs_elsewhere),
}


def exported_config(scene: Any) -> None:
    write_exported(read_trained(scene.run.path), scene.folder / "exported")
    file = scene.folder / "exported" / "config.json"
    content = json.loads(file.read_text())
    content["config"]["normalizer"] = filled(OPEN, {"marker": scene.marker})
    file.write_text(json.dumps(content))
    import ddpm_lightning

    ddpm_lightning.load(scene.folder / "exported")


def exported_weights(scene: Any) -> None:
    write_exported(read_trained(scene.run.path), scene.folder / "exported")
    header = json.dumps({"x": {"dtype": "F32", "shape": [10**10], "data_offsets": [0, 4 * 10**10]}}).encode()
    (scene.folder / "exported" / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    read_exported(scene.folder / "exported")


def packed_idx(scene: Any) -> None:
    path = scene.folder / "train-images-idx3-ubyte.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(bytes([0, 0, 8, 1]) + (1000).to_bytes(4, "big"))
        for _ in range(800):
            file.write(bytes(10**6))
    read_idx(path)


def declared_idx(scene: Any) -> None:
    path = scene.folder / "images-idx3-ubyte.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(bytes([0, 0, 8, 2]) + 2 * (10**5).to_bytes(4, "big"))
        for _ in range(800):
            file.write(bytes(10**6))
    read_idx(path)


def huge_picture(scene: Any) -> None:
    """A PNG of a few kilobytes that declares 900 million pixels."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    folder = scene.folder / "photographs"
    folder.mkdir()
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    (folder / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )
    from ddpm_lightning.data.sources.folder import FolderSource

    cached_images(FolderSource(scene.folder, folder), scene.folder / "cache")


def pets_that_go_up(scene: Any) -> None:
    folder = scene.folder / "oxford-iiit-pet"
    for name in ("annotations", "images"):
        (folder / name).mkdir(parents=True)
    for name in ("trainval.txt", "test.txt"):
        (folder / "annotations" / name).write_text("../../home/private 1 1 1\n")
    cached_images(PetsSource(scene.folder, 16), scene.folder / "cache")


def archive_of_pets(scene: Any, member: tarfile.TarInfo, content: bytes = b"") -> None:
    """The data set's download with one more member, whose sums are right."""
    import hashlib

    mirror = scene.folder / "mirror"
    mirror.mkdir()
    with tarfile.open(mirror / "images.tar.gz", "w:gz") as archive:
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
        if member.issym():
            through = tarfile.TarInfo(f"{member.name}/marker")
            archive.addfile(through, io.BytesIO())
    md5 = hashlib.md5((mirror / "images.tar.gz").read_bytes()).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.OxfordIIITPet, "_RESOURCES", [(f"file://{mirror}/images.tar.gz", md5)])
        PetsSource(scene.folder / "data" / "deep").labels()


def member_that_goes_up(scene: Any) -> None:
    archive_of_pets(scene, tarfile.TarInfo("../../../home/marker"), b"x")


def absolute_member(scene: Any) -> None:
    archive_of_pets(scene, tarfile.TarInfo(scene.marker), b"x")


def member_behind_a_link(scene: Any) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, str(scene.outside)
    archive_of_pets(scene, link)


def declared_table(scene: Any) -> None:
    """A table of 100 million flowers, which take 900 MB."""
    from scipy.io import savemat

    folder = scene.folder / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    savemat(folder / "imagelabels.mat", {"labels": np.zeros((1, 10**8), np.uint8)}, do_compression=True)
    Path("/proc/self/clear_refs").write_text("5")  # the peak of making it does not count
    FlowersSource(scene.folder).labels()


def labels_of_a_cache(scene: Any) -> None:
    """The cached labels of a data set, whose header declares 80 gigabytes."""
    from ddpm_lightning.data.sources.gradients import GradientsSource

    source = GradientsSource(scene.folder, size=10, held_out=4)
    entry = cached_images(source, scene.folder / "cache").path.parent
    file = entry / "labels.npy"
    with file.open("wb") as labels:
        np.lib.format.write_array_header_1_0(labels, {"descr": "<i8", "fortran_order": False, "shape": (10**10,)})
    manifest = json.loads((entry / "manifest.json").read_text())
    manifest["file_sizes"]["labels.npy"] = file.stat().st_size
    (entry / "manifest.json").write_text(json.dumps(manifest))
    cached_images(source, scene.folder / "cache")


OTHERS = {
    "an exported config": exported_config,
    "exported weights that declare 40 gigabytes": exported_weights,
    "an archive of digits that unpacks to 800 megabytes": packed_idx,
    "an archive of digits that declares 10 gigabytes": declared_idx,
    "a picture of 900 million pixels": huge_picture,
    "a list of pets that goes up": pets_that_go_up,
    "an archive's member that goes up": member_that_goes_up,
    "an archive's absolute member": absolute_member,
    "an archive's member behind a link": member_behind_a_link,
    "a table of 100 million flowers": declared_table,
    "a cache's labels that declare 80 gigabytes": labels_of_a_cache,
}
