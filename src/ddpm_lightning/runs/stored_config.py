"""Configs that folders and checkpoints hold, as this version would have stored them: the gate that all of them pass.

A stored config says its `config_version`; one without is older than versions are. Whoever moves a class, renames or
removes an option, or changes what one means adds to the tables below; and to `CONFIG_VERSION` where the conversion
depends on the version, or a job gets another hash. An option that is new needs nothing here if its YAML's default does
what was done before.
"""

import copy
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ddpm_lightning.runs.stored_values import RefusedError, check_plain
from ddpm_lightning.runs.trust import NOBODY, Trust, check_targets

CONFIG_VERSION = 2
"""Version of the form in which configs are stored today."""

_CORE = "ddpm_lightning.diffusion"
_SOURCES = (
    "mnist.MNISTSource",
    "mnist.FashionMNISTSource",
    "cifar10.CIFAR10Source",
    "flowers.FlowersSource",
    "pets.PetsSource",
    "folder.FolderSource",
    "gradients.GradientsSource",
)
RENAMED = {
    f"{_CORE}.schedule.LinearSchedule": f"{_CORE}.schedules.linear.LinearSchedule",
    f"{_CORE}.schedule.CosineSchedule": f"{_CORE}.schedules.cosine.CosineSchedule",
    f"{_CORE}.quadratic_schedule.QuadraticSchedule": f"{_CORE}.schedules.quadratic.QuadraticSchedule",
    f"{_CORE}.sigmoid_schedule.SigmoidSchedule": f"{_CORE}.schedules.sigmoid.SigmoidSchedule",
    f"{_CORE}.rate_schedules.CosineRates": f"{_CORE}.schedules.limited.LimitedCosineSchedule",
    f"{_CORE}.rate_schedules.LinearRates": f"{_CORE}.schedules.limited.LimitedLinearSchedule",
    f"{_CORE}.parameterization.Noise": f"{_CORE}.target.Noise",
    f"{_CORE}.parameterization.Image": f"{_CORE}.target.Image",
    f"{_CORE}.parameterization.Velocity": f"{_CORE}.target.Velocity",
    "ddpm_lightning.networks.ddim_resnet.DDIMResNet": "ddpm_lightning.networks.keras_unet.KerasUNet",
    "ddpm_lightning.metrics.lenet.LeNetFeatures": "ddpm_lightning.metrics.features.lenet.shared_lenet_features",
    "ddpm_lightning.metrics.lenet.shared_lenet_features": "ddpm_lightning.metrics.features.lenet.shared_lenet_features",
    "ddpm_lightning.metrics.inception.shared_inception_features": (
        "ddpm_lightning.metrics.features.inception.shared_inception_features"
    ),
    "lightning.pytorch.loggers.CSVLogger": "ddpm_lightning.training.csv_log.CSVLogger",
    "lightning.pytorch.loggers.TensorBoardLogger": "ddpm_lightning.training.event_log.TensorBoardLogger",
    "lightning.pytorch.loggers.WandbLogger": "ddpm_lightning.runs.wandb_run.WandbRun",
    "ddpm_lightning.callbacks.progress.ImageProgressBar": "ddpm_lightning.callbacks.progress.RunProgress",
    **{f"ddpm_lightning.data.{source}": f"ddpm_lightning.data.sources.{source}" for source in _SOURCES},
}
"""Class, or function that gives an object, as earlier versions named it -> its present name."""

RENAMED_CHOICES = {("model", "ddim_resnet"): "keras_unet"}
"""(Group, choice as earlier versions named it) -> its present name."""

ADDED = {
    "self_conditioning": False,
    "variance": {"_target_": "ddpm_lightning.diffusion.variance.FixedVariance", "value": 0.0},
    "task": {"_target_": "ddpm_lightning.runs.tasks.Denoising"},
}
"""Option of a denoiser that earlier versions lack, and that what reads a stored config needs -> the value it had."""
ADDED_CHOICES = {"variance": "fixed_small", "task": "denoising"}
"""Group that came with one of these options -> its choice then."""

ANY = object()
"""Stands for every value, of an option that never changed a result."""
REMOVED: dict[str, Any] = {
    "dataset.eval_batch_size": 250,
    "model.condition_dim": None,
    "model.min_frequency": 1.0,
    "model.max_frequency": 1000.0,
    "callbacks.cost.warmup_batches": 5,
    "callbacks.nan_guard.check_every_n_steps": 50,
    "callbacks.checkpointing.lower_is_better": True,
    "callbacks.process_panel.num_columns": 10,
    "callbacks.trajectory.num_frames": 10,
    "trainer.inference_mode": False,
    "trainer.use_distributed_sampler": False,
    "trainer.enable_checkpointing": False,
    "trainer.enable_model_summary": False,
    "trainer.enable_progress_bar": ANY,
}
"""Option that is a constant now -> its value."""


def modernized(
    config: Any, origin: str | Path, trust: Trust | None = NOBODY, unbuilt: Collection[str] = ()
) -> dict[str, Any]:
    """The config stored in `origin` (a folder or a checkpoint) as this version would have stored it.

    Args:
        config: what the file holds.
        origin: where it is stored.
        trust: whose classes it may name besides our own; None for a config that is compared or shown, of which
            nothing may ever be built.
        unbuilt: sections that the caller never builds.

    Raises:
        RefusedError: it holds what no run stores, or names a class that it may not.
        ValueError: a newer version wrote it; an option had a value that is no longer possible; or it is not the config
            of a run.
    """
    check_plain(config, origin)
    version = config.get("config_version", 1)
    if not isinstance(version, int):
        raise RefusedError(f"{origin} is refused: its config_version is {version!r}, not a number")
    if version > CONFIG_VERSION:
        raise ValueError(f"{origin} was made by a newer version of ddpm-lightning: update this one")
    content: dict[str, Any] = _renamed(copy.deepcopy(dict(config)))
    try:
        if version < 2:
            _to_version_2(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{origin} does not hold the config of a run ({error!r}): take the folder of a run, or a checkpoint out of "
            "its `checkpoints`"
        ) from error
    _remove_constants(content, origin)
    if "model" in content and ("loss_on" in content or "task" not in content):  # else it is no denoiser's config
        _add(content)
    content["config_version"] = CONFIG_VERSION
    if trust is not None:
        check_targets(content, origin, trust, unbuilt)
    return content


def _add(content: dict[str, Any]) -> None:
    """Adds, in place, the options of `ADDED` that a config lacks, and the choices of their groups to its record."""
    for option, value in ADDED.items():
        if option in content:
            continue
        content[option] = copy.deepcopy(value)
        if option in ADDED_CHOICES and (record := content.get("hydra")):
            choices = {option: ADDED_CHOICES[option], **record["choices"]}
            content["hydra"] = {**record, "choices": choices}


def _renamed(node: Any) -> Any:
    """The same tree with every `_target_` by its present name."""
    if isinstance(node, Mapping):
        return {
            k: RENAMED.get(v, v) if k == "_target_" and isinstance(v, str) else _renamed(v) for k, v in node.items()
        }
    return [_renamed(value) for value in node] if isinstance(node, list) else node


def _remove_constants(content: dict[str, Any], origin: str | Path) -> None:
    for option, constant in REMOVED.items():
        *parents, last = option.split(".")
        part: Any = content
        for name in parents:
            part = part.get(name) if isinstance(part, dict) else None
        if isinstance(part, dict) and last in part and (value := part.pop(last)) != constant is not ANY:
            raise ValueError(
                f"{origin} was made with {option}={value}, which this version always takes as {constant}: use the "
                "version that made it, or train again"
            )


def _to_version_2(content: dict[str, Any]) -> None:
    """Adds, in place, what configs without a version lack, as it was while they had no option for it."""
    content.setdefault("normalizer", {"_target_": "ddpm_lightning.data.normalizer.SymmetricNormalizer"})
    content.setdefault("seeds", dict.fromkeys(("init", "order", "noise", "samples"), content["seed"]))
    content.setdefault("grid", {"_target_": "ddpm_lightning.samplers.grid.UniformGrid"})
    _modernize_dataset(content["dataset"])
    content["metrics"] = {
        "labels": "uniform",
        "real_seed": content["metrics"].get("seed", content["seed"]),
        **content["metrics"],
    }
    if scoring := content["callbacks"].get("generative_metrics"):
        content["callbacks"]["generative_metrics"] = _modernized_scoring(scoring, content)
    content["timesteps"] = _modernized_timesteps(content["timesteps"], content["schedule"])
    for part in (content, *content["callbacks"].values()):
        if part and part.get("sampler"):
            part["sampler"] = _modernized_sampler(part["sampler"], content["grid"])
    if record := content.get("hydra"):
        choices = {group: RENAMED_CHOICES.get((group, choice), choice) for group, choice in record["choices"].items()}
        content["hydra"] = {**record, "choices": {"grid": "uniform", **choices}}


def _modernize_dataset(dataset: dict[str, Any]) -> None:
    """Replaces, in place, what there was before splits were classes, and a toy that made images without end."""
    source = dataset["source"]
    if source.get("_target_") == "ddpm_lightning.data.gradients.EndlessGradientsSource":
        source["_target_"] = "ddpm_lightning.data.sources.gradients.GradientsSource"
        source["size"] = source.pop("epoch_size")
    if "split" not in dataset:
        split = {"val_size": dataset.pop("val_size"), "seed": dataset.pop("split_seed")}
        dataset["split"] = {"_target_": "ddpm_lightning.data.split.ValFromTrain", **split}


def _modernized_scoring(scoring: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    """The section of the callback with one `plan`, whose options were repeated one by one."""
    own = {option: scoring[option] for option in content["metrics"] if option in scoring}
    plan = {**content["metrics"], **own, "features": scoring["extractor"]}
    others = ("_target_", "sampler", "guidance", "dataset", "cache_dir")
    return {
        "plan": "${metrics}" if plan == content["metrics"] else plan,
        "seeds": dict(content["seeds"]),
        **{option: scoring[option] for option in others},
    }


def _modernized_timesteps(timesteps: dict[str, Any], schedule: dict[str, Any]) -> dict[str, Any]:
    """The section `timesteps` with the option `stratified`, which was a class of its own."""
    module, _, name = timesteps["_target_"].rpartition(".")
    if name in ("Stratified", "UniformContinuous"):
        return {"_target_": f"{module}.UniformTimesteps", "stratified": name == "Stratified"}
    if name == "UniformDiscrete":
        steps = schedule["num_steps"]
        return {"_target_": f"{module}.DiscreteTimesteps", "num_steps": steps, "stratified": False}
    return timesteps


def _modernized_sampler(sampler: dict[str, Any], grid: dict[str, Any]) -> dict[str, Any]:
    """A sampler with its grid, which was always uniform; DDPM's variance was a number under another name."""
    sampler = {"grid": dict(grid), **sampler}
    if "variance_mix" in sampler:
        v = sampler.pop("variance_mix")
        sampler["variance"] = {0: "small", 1: "large"}.get(v, v)
    return sampler
