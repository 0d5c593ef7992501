"""Configs that runs and checkpoints hold: whether this version can continue from them, and how they read today."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NEEDED = (
    "seed",
    "compile",
    "weights",
    "label_dropout",
    "dataset",
    "normalizer",
    "model",
    "schedule",
    "loss_on",
    "loss",
    "weighting",
    "timesteps",
    "optimizer",
    "ema",
    "sampler",
    "guidance",
    "metrics",
    "callbacks",
    "logger",
    "trainer",
    "paths",
)
"""What a run is made of."""
NEEDED_OF_DATASET = ("name", "source", "split", "batch_size", "num_workers", "flip")
"""What `dataset` must say beside what its source asks for."""


def check_stored(config: Mapping[Any, Any], origin: str | Path) -> None:
    """Raises ValueError if the config stored in `origin` lacks what a run is made of: an earlier version wrote it."""
    missing = [key for key in NEEDED if key not in config]
    if "dataset" in config:
        missing += [f"dataset.{key}" for key in NEEDED_OF_DATASET if key not in config["dataset"]]
    if missing:
        raise ValueError(
            f"{origin} was made by an earlier version of ddpm-lightning, and this one cannot continue from it: its "
            f"config has no {', '.join(missing)}. Use the version that made it, or train again"
        )


_CORE = "ddpm_lightning.diffusion"
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
    **{
        f"ddpm_lightning.data.{module}": f"ddpm_lightning.data.sources.{module}"
        for module in (
            "mnist.MNISTSource",
            "mnist.FashionMNISTSource",
            "cifar10.CIFAR10Source",
            "flowers.FlowersSource",
            "pets.PetsSource",
            "folder.FolderSource",
            "gradients.GradientsSource",
        )
    },
    **{
        f"ddpm_lightning.metrics.{module}": f"ddpm_lightning.metrics.features.{module}"
        for module in ("inception.shared_inception_features", "lenet.shared_lenet_features")
    },
    "ddpm_lightning.networks.ddim_resnet.DDIMResNet": "ddpm_lightning.networks.keras_unet.KerasUNet",
}
"""Class as earlier versions named it -> as it is named now."""


def modernized(config: Mapping[str, Any], origin: str | Path) -> dict[str, Any]:
    """The config stored in `origin` as this version would have stored it.

    Raises:
        ValueError: it lacks what a run is made of.
    """
    check_stored(config, origin)
    content: dict[str, Any] = _renamed(copy.deepcopy(dict(config)))
    content.setdefault("seeds", dict.fromkeys(("init", "order", "noise", "samples"), content["seed"]))
    content.setdefault("grid", {"_target_": "ddpm_lightning.samplers.grid.UniformGrid"})
    content["metrics"] = {
        "labels": "uniform",
        "real_seed": content["metrics"].get("seed", content["seed"]),
        **content["metrics"],
    }
    content["trainer"].setdefault("inference_mode", False)
    if scoring := content["callbacks"].get("generative_metrics"):
        scoring.setdefault("real_seed", content["metrics"]["real_seed"])
        scoring.setdefault("seeds", dict(content["seeds"]))
    content["timesteps"] = _modernized_timesteps(content["timesteps"], content["schedule"])
    for part in (content, *content["callbacks"].values()):
        if part and part.get("sampler"):
            part["sampler"] = _modernized_sampler(part["sampler"], content["grid"])
    return content


def _renamed(node: Any) -> Any:
    """The same tree with every `_target_` by its present name."""
    if isinstance(node, Mapping):
        return {k: RENAMED.get(v, v) if k == "_target_" else _renamed(v) for k, v in node.items()}
    return [_renamed(value) for value in node] if isinstance(node, list) else node


def _modernized_timesteps(timesteps: dict[str, Any], schedule: dict[str, Any]) -> dict[str, Any]:
    """The timesteps' part: earlier, stratified times had a class of their own, not an option."""
    module, _, name = timesteps["_target_"].rpartition(".")
    if name in ("Stratified", "UniformContinuous"):
        return {"_target_": f"{module}.UniformTimesteps", "stratified": name == "Stratified"}
    if name == "UniformDiscrete":
        steps = schedule["num_steps"]
        return {"_target_": f"{module}.DiscreteTimesteps", "num_steps": steps, "stratified": False}
    return timesteps


def _modernized_sampler(sampler: dict[str, Any], grid: dict[str, Any]) -> dict[str, Any]:
    """A sampler's part: earlier, the grid was always uniform, and DDPM's variance a number under another name."""
    sampler = {"grid": dict(grid), **sampler}
    if "variance_mix" in sampler:
        v = sampler.pop("variance_mix")
        sampler["variance"] = {0: "small", 1: "large"}.get(v, v)
    return sampler
