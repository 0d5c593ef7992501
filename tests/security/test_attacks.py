"""Attacks by a stranger's checkpoint, run folder, exported model or data: each by its effect, whatever is raised."""

import copy
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
from ddpm_lightning.runs import instantiate, restore, stored_config
from ddpm_lightning.runs.exported import read_exported, write_exported
from ddpm_lightning.runs.saved_model import read_trained
from ddpm_lightning.runs.trust import Trust
from ddpm_lightning.verbs import train

OPEN = {"_target_": "builtins.open", "file": "{marker}", "mode": "w"}
TOUCH = {"_target_": "pathlib.Path.touch", "self": "{marker}"}
PATH = {"_target_": "pathlib.Path", "_args_": ["{marker}"]}
MNIST = "ddpm_lightning.data.sources.mnist"
FOLDER = {"_target_": "ddpm_lightning.data.sources.folder.FolderSource", "path": "{outside}", "image_size": 28}
INCEPTION = {"_target_": "ddpm_lightning.metrics.features.inception.shared_inception_features"}
CSV = {"_target_": "lightning.pytorch.loggers.CSVLogger", "name": "csv"}
BOARD = {"_target_": "lightning.pytorch.loggers.TensorBoardLogger", "name": ""}


class Planted(NamedTuple):
    """Options planted in the config of a run.

    Attributes:
        verb: the user's command.
        options: option -> value; {marker} and {outside} stand for paths.
    """

    verb: str
    options: dict[str, Any]


CONFIGS = {
    # Functions that write, in every section and for every verb that takes a config out of a file.
    "touch inside the network, loaded": Planted("load", {"model.unknown": TOUCH}),
    "touch inside the network, exported": Planted("export", {"model.unknown": TOUCH}),
    "touch inside the network, sampled": Planted("sample", {"model.unknown": TOUCH}),
    "touch inside the network, evaluated": Planted("evaluate", {"model.unknown": TOUCH}),
    "touch inside the network, resumed": Planted("resume", {"model.unknown": TOUCH}),
    "open as the schedule": Planted("sample", {"schedule": OPEN}),
    "open as the sampler": Planted("load", {"sampler": OPEN}),
    "open as the time grid, inside the sampler": Planted("load", {"sampler.grid": OPEN}),
    "open deep inside the network's options": Planted("sample", {"model.channels": [16, {"a": [{"b": OPEN}]}]}),
    "open as an option that the network lacks": Planted("sample", {"model.unknown": OPEN}),
    "open as the optimizer": Planted("sample", {"optimizer": OPEN}),
    "open as the guidance": Planted("load", {"guidance": OPEN}),
    "open as the average of weights": Planted("resume", {"ema": OPEN}),
    "open as the data set": Planted("evaluate", {"dataset.source": OPEN}),
    "open as the split": Planted("resume", {"dataset.split": OPEN}),
    "open as the features": Planted("evaluate", {"metrics.features": OPEN}),
    "open as a callback": Planted("resume", {"callbacks.mine": OPEN}),
    "open as a logger": Planted("resume", {"logger.mine": OPEN}),
    "open as the trainer's strategy": Planted("sample", {"trainer.strategy": OPEN}),
    "open as the trainer's plugin": Planted("resume", {"trainer.profiler": OPEN}),
    # Other functions, and other names of them.
    "write_text of our own": Planted(
        "load", {"sampler.grid": {"_target_": "ddpm_lightning.atomic_files.write_text", "path": "{marker}", "text": ""}}
    ),
    "a module behind one of ours": Planted(
        "load", {"sampler.grid": {"_target_": "ddpm_lightning.atomic_files.os.mkdir", "path": "{marker}"}}
    ),
    "a class behind one of ours": Planted(
        "load", {"sampler.grid": TOUCH | {"_target_": "ddpm_lightning.runs.run_folder.Path.touch"}}
    ),
    "the function that makes objects": Planted(
        "sample", {"sampler.grid": {"_target_": "hydra.utils.instantiate", "_recursive_": False, "config": OPEN}}
    ),
    "the same by our own name": Planted(
        "sample", {"schedule": {"_target_": "ddpm_lightning.runs.build.instantiate", "config": OPEN}}
    ),
    "hydra.utils.get_method": Planted("sample", {"schedule": {"_target_": "hydra.utils.call", "config": TOUCH}}),
    "an alias of an optimizer's module": Planted(
        "sample", {"optimizer": {"_target_": "torch.optim.adamw.torch.save", "obj": 1, "f": "{marker}"}}
    ),
    "a log file": Planted("load", {"sampler.grid": {"_target_": "logging.FileHandler", "filename": "{marker}"}}),
    "an array": Planted("load", {"sampler.grid": {"_target_": "numpy.savetxt", "fname": "{marker}", "X": [1]}}),
    "a database": Planted("load", {"sampler.grid": {"_target_": "sqlite3.connect", "database": "{marker}"}}),
    "a copy of a file": Planted(
        "load", {"sampler.grid": {"_target_": "shutil.copyfile", "src": "{outside}/precious", "dst": "{marker}"}}
    ),
    "the removal of a file": Planted("load", {"sampler.grid": {"_target_": "os.remove", "path": "{outside}/precious"}}),
    "a program": Planted("sample", {"schedule": {"_target_": "subprocess.run", "args": ["touch", "{marker}"]}}),
    "a shell": Planted("load", {"schedule": {"_target_": "os.system", "command": "touch {marker}"}}),
    "a shell behind a module": Planted(
        "sample", {"schedule": {"_target_": "torch.utils.collect_env.run", "command": "touch {marker}"}}
    ),
    "positional arguments": Planted("sample", {"schedule": {"_target_": "builtins.open", "_args_": ["{marker}", "w"]}}),
    "positional arguments of one of ours": Planted(
        "sample", {"grid": {"_target_": "ddpm_lightning.samplers.grid.KarrasGrid", "_args_": [PATH | TOUCH]}}
    ),
    "half of a call, which a class of ours completes": Planted(
        "sample", {"guidance": {"_target_": "builtins.open", "_partial_": True, "mode": "w"}, "sampler.t_max": TOUCH}
    ),
    "a name that is put together": Planted(
        "sample", {"name": "pathlib.Path", "schedule": TOUCH | {"_target_": "${name}.touch"}}
    ),
    "a name under an old name of ours": Planted("load", {"config_version": 1, "schedule": TOUCH}),
    # What a config reads when its references are resolved.
    "a variable of the environment": Planted("sample", {"dataset.name": "${oc.env:DDPM_SECRET}"}),
    "a variable, resumed": Planted("resume", {"dataset.name": "${oc.env:DDPM_SECRET}"}),
    "a variable, reported": Planted(
        "report",
        {
            "schedule.s": "${oc.env:DDPM_SECRET}",
            "hydra.choices.loss": "${oc.env:DDPM_SECRET}",
            "hydra.options": {"dataset.flip": "${oc.env:DDPM_SECRET}"},
        },
    ),
    "a variable inside a text": Planted("sample", {"dataset.name": "a ${oc.env:DDPM_SECRET} b"}),
    "a variable by nested references": Planted(
        "sample", {"experiment_name": "DDPM_SECRET", "dataset.name": "${oc.env:${experiment_name}}"}
    ),
    "a variable by texts put together": Planted(
        "sample", {"experiment_name": "$", "dataset.name": "${experiment_name}{oc.env:DDPM_SECRET}"}
    ),
    "a variable behind an escape": Planted("sample", {"dataset.name": "\\${oc.env:DDPM_SECRET}"}),
    "a variable that is decoded": Planted("sample", {"dataset.name": "${oc.decode:'${oc.env:DDPM_SECRET}'}"}),
    # Memory.
    "references that multiply": Planted(
        "sample", {"b0": "x" * 100} | {f"b{i + 1}": f"${{b{i}}}" * 10 for i in range(7)}
    ),
    # Paths.
    "a logger's name that goes up": Planted("resume", {"logger.csv": CSV | {"name": "../home/logs"}}),
    "a logger's absolute version": Planted("resume", {"logger.csv": CSV | {"version": "{outside}/logs"}}),
    "a logger's absolute name": Planted("resume", {"logger.tensorboard": BOARD | {"name": "{outside}/logs"}}),
    "a logger's folder below its own": Planted("resume", {"logger.tensorboard": BOARD | {"sub_dir": "{outside}/logs"}}),
    "a logger's name by reference": Planted(
        "resume", {"name": "{outside}/logs", "logger.csv": CSV | {"name": "${name}"}}
    ),
    "a cache of images": Planted("resume", {"paths.cache_dir": "{outside}/cache", "dataset.image_size": 28}),
    "a cache of features": Planted("resume", {"callbacks.generative_metrics.cache_dir": "{outside}/cache"}),
    "a cache of weights": Planted("evaluate", {"metrics.features": INCEPTION | {"cache_dir": "{outside}/cache"}}),
    "a cache of weights in place of a network": Planted(
        "load", {"sampler.grid": INCEPTION | {"cache_dir": "{outside}/c"}}
    ),
    "a folder of data to download to": Planted("resume", {"paths.data_dir": "{outside}/data"}),
    "weights of the features": Planted("evaluate", {"metrics.features": INCEPTION | {"weights": "{outside}/precious"}}),
    "private photographs": Planted("evaluate", {"dataset.path": "{outside}", "dataset.source": FOLDER}),
    "private photographs by a path that goes up": Planted("evaluate", {"dataset.source": FOLDER | {"path": "../home"}}),
}


def filled(value: Any, words: dict[str, str]) -> Any:
    """The value with its paths filled in."""
    if isinstance(value, dict):
        return {key: filled(part, words) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part, words) for part in value]
    if isinstance(value, str):
        for word, path in words.items():
            value = value.replace(f"{{{word}}}", path)
    return value


def with_options(config: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """A config in which options are replaced."""
    config = copy.deepcopy(config)
    for option, value in options.items():
        node = config
        *parents, last = option.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return config


def attack_by_config(scene: Any, planted: Planted) -> None:
    """Plants options in the config of the scene's run."""
    options = filled(planted.options, {"marker": scene.marker, "outside": str(scene.outside)})
    scene.plant(with_options(scene.config(), options))


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

ATTACKS = {**CONFIGS, **FILES, **OTHERS}
STOPPED_ANYWAY = {
    "open deep inside the network's options", "open as the data set", "open as a logger",
    "open as the trainer's strategy", "the same by our own name", "an alias of an optimizer's module", "a program",
    "positional arguments of one of ours", "a name under an old name of ours", "a variable, resumed",
    "a variable, reported", "a variable by texts put together", "a variable behind an escape",
}  # fmt: skip
"""Attacks by configs that Hydra or a class refuses today, though nothing promises it."""
EFFECTIVE = [name for name in CONFIGS if name not in STOPPED_ANYWAY and "multiply" not in name]
"""Attacks by configs that only this project's checks stop; references that multiply would take gigabytes."""


def act_of(name: str, scene: Any) -> Callable[[], None]:
    """Plants an attack, and returns what the user then does."""
    attack = ATTACKS[name]
    if isinstance(attack, Planted):
        attack_by_config(scene, attack)
        return lambda: scene.enter(attack.verb)
    if isinstance(attack, ByFile):
        attack.plant(scene)
        return lambda: scene.enter(attack.verb)
    return lambda: attack(scene)


@pytest.mark.parametrize("verb", ["load", "export", "sample", "evaluate", "resume", "report"])
def test_without_an_attack_every_command_works(verb: str, scene: Any, effects_of: Callable) -> None:
    ended = []

    def act() -> None:
        scene.enter(verb)
        ended.append(verb)

    assert (effects_of(act), ended) == ([], [verb])


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_has_no_effect(name: str, scene: Any, effects_of: Callable) -> None:
    act = act_of(name, scene)
    assert effects_of(act) == []


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No check of configs, as if this project had none."""
    for module in (stored_config, instantiate, restore, train):
        for check in ("check_plain", "check_targets", "check_places", "check_links"):
            if hasattr(module, check):
                monkeypatch.setattr(module, check, lambda *_, **__: None)
    monkeypatch.setattr(Trust, "allows", lambda *_: True)


@pytest.mark.slow
@pytest.mark.parametrize("name", EFFECTIVE)
def test_without_checks_the_attack_has_an_effect(name: str, scene: Any, effects_of: Callable, unchecked: None) -> None:
    act = act_of(name, scene)
    assert effects_of(act)
