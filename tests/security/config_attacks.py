"""Attacks by the config of a stranger's run: what it plants in a checkpoint and a folder."""

import copy
from typing import Any, NamedTuple

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
        "resume", {"dataset.name": "{outside}/logs", "logger.csv": CSV | {"name": "${dataset.name}"}}
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
