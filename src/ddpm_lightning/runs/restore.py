"""A checkpoint's model with the config of its run, changed where the command line says so."""

import copy
import inspect
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf, open_dict

from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.runs.build import build_data, build_module
from ddpm_lightning.runs.config import command_record, merged_records
from ddpm_lightning.runs.find_checkpoint import find_checkpoint
from ddpm_lightning.runs.from_checkpoint import FROM_CHECKPOINT
from ddpm_lightning.runs.hardware import missing_to_compile
from ddpm_lightning.runs.options import Role, role_of
from ddpm_lightning.runs.places import check_places, resolved_values, said_by
from ddpm_lightning.runs.saved_model import check_denoiser
from ddpm_lightning.runs.stored_config import modernized
from ddpm_lightning.runs.trust import WATCHERS, trust_of_command
from ddpm_lightning.training.checkpoint import CONFIG_KEY, IMAGES_KEY, read_checkpoint
from ddpm_lightning.training.module import DiffusionModule

log = logging.getLogger(__name__)


class RestoredRun(NamedTuple):
    """A restored model and its current config.

    Attributes:
        config: of the checkpoint's run, with what the command changes; interpolations of the command are not resolved.
        module: the model, ready to evaluate.
        checkpoint: all that the file holds.
    """

    config: DictConfig
    module: DiffusionModule
    checkpoint: dict[str, Any]


def restore_run(command: DictConfig, groups: tuple[str, ...]) -> RestoredRun:
    """The run of `command.checkpoint`.

    Everything comes from the checkpoint, except `paths` and those options of `trainer` that the command has, which
    belong to this machine, and what `command` sets for `weights` and in the given groups: null there keeps the
    checkpoint's value. What watched the training (callbacks, loggers) is left out.

    Copies to `command` the top-level keys that only the checkpoint's config has, so that what its options refer to, as
    in metrics.seed=${seed}, resolves.

    Raises:
        FileNotFoundError, ValueError: if there is no checkpoint, or none that can be used.
    """
    path = find_checkpoint(command.checkpoint)
    trust, says = trust_of_command(command, path), said_by(command)
    checkpoint = read_checkpoint(path)
    check_denoiser(checkpoint["state_dict"], command.checkpoint)
    content = modernized(checkpoint[CONFIG_KEY], path, trust, WATCHERS)
    stored = DictConfig(content | {section: {} for section in WATCHERS})
    config = copy.deepcopy(stored)
    with open_dict(command):
        for key in stored.keys() - command.keys():
            command[key] = stored[key]
    record = command_record(command, HydraConfig.get())
    record["choices"] = {group: choice for group, choice in record["choices"].items() if choice != FROM_CHECKPOINT}
    config.hydra = merged_records(stored.get("hydra"), record)
    config.checkpoint = {"path": str(path), "step": checkpoint["global_step"]}
    config.paths = command.paths
    # The length of the training is the checkpoint's step.
    training = {k: v for k, v in stored.trainer.items() if role_of(f"trainer.{k}") is not Role.LENGTH}
    config.trainer = {**training, **{key: command.trainer._get_node(key) for key in command.trainer}}
    if config.trainer.precision == "auto":
        config.trainer.precision = stored.trainer.precision
    if config.get("compile") and missing_to_compile(config.trainer.accelerator):
        config.compile = False  # slower, with the same results
    if command.weights is not None:
        config.weights = command.weights
    for group in groups:
        config[group] = _overridden(stored[group], command[group], group)
    # A verb without metrics draws samples only, without the data.
    unused = ("init_from", *(() if "metrics" in groups or IMAGES_KEY not in checkpoint else ("dataset", "metrics")))
    used = OmegaConf.masked_copy(config, [str(key) for key in config if key not in unused])
    check_places(resolved_values(used), path, list(command.paths.values()), says)
    image_shape, num_classes = _images_of(checkpoint, config)
    module = build_module(config, image_shape, num_classes)
    assert isinstance(module, DiffusionModule)
    module.load_state_dict(checkpoint["state_dict"])
    module.on_load_checkpoint(checkpoint)
    module.eval()
    return RestoredRun(config, module, checkpoint)


def _images_of(checkpoint: Mapping[str, Any], config: DictConfig) -> tuple[tuple[int, int, int], int]:
    """Shape and number of classes of the images that a checkpoint's model was trained on."""
    if IMAGES_KEY in checkpoint:
        images = checkpoint[IMAGES_KEY]
        channels, height, width = images["shape"]
        return (channels, height, width), images["num_classes"]
    # Early checkpoints leave the shape to the data's config, and the classes to the model's: the data's own would need
    # the files, which drawing samples does without.
    return build_data(config).image_shape, config.model.get("num_classes") or 0


def _overridden(stored: DictConfig, wanted: DictConfig, group: str) -> DictConfig:
    """`stored` with what is not null in `wanted`; `wanted` itself where it names another class.

    Raises:
        ValueError: for an option that the stored class does not have.
    """
    if wanted.get("_target_") is not None:
        return copy.deepcopy(wanted)
    result = copy.deepcopy(stored)
    for key in map(str, wanted):
        value = wanted[key]
        if value is None:
            continue
        # The class may have got options since.
        if key not in stored and key not in _options_of_class(stored.get("_target_")):
            kind, other = "", ""
            if "_target_" in stored:
                kind, other = f" ({stored._target_})", f". Choose another one with {group.replace('.', '/')}=..."
            options = sorted(str(option) for option in stored if option not in ("_target_", "_partial_"))
            raise ValueError(
                f"the checkpoint's {group}{kind} has no option {key!r}; it has {', '.join(options) or 'none'}{other}"
            )
        if isinstance(value, DictConfig):
            below = stored.get(key)
            options_below = below if isinstance(below, DictConfig) else DictConfig({})
            value = _overridden(options_below, value, f"{group}.{key}")
        result[key] = value
    return result


def _options_of_class(name: str | None) -> set[str]:
    """The options that a class, or a function, has today beyond what it is given by others."""
    return set() if name is None else set(inspect.signature(get_object(name)).parameters) - {"denoiser"}


def check_split(checkpoint: Mapping[str, Any], data: ImageDataModule) -> None:
    """Raises ValueError if the data are split differently than for the checkpoint; warns if pixels or labels differ.

    Other pixels are not an error: images encoded again, or decoded by another version of a library, have them too.
    """
    stored = checkpoint[type(data).__qualname__]
    if (was := stored["split_hash"]) != (now := data.split_hash):
        raise ValueError(
            f"the images on this machine are split differently from those the model was trained on ({was[:8]}, here "
            f"{now[:8]}): the test split may contain training images. Restore the data set as it was"
        )
    if stored.get("pixels_hash", data.pixels_hash) != data.pixels_hash:  # the first checkpoints have none
        log.warning(
            "the images or labels on this machine are not the same as those the model was trained on: were files "
            "replaced, or encoded again?"
        )
