"""What a network is trained for: the choices of `task`, each of which builds its module from a config."""

import inspect
from abc import ABC, abstractmethod
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from ddpm_lightning.runs.build import (
    build_network,
    build_target_and_objective,
    check_sampling,
    check_training_times,
    measures_accuracy,
)
from ddpm_lightning.runs.dotted_name import imported
from ddpm_lightning.training.classifier_module import ClassifierModule
from ddpm_lightning.training.module import DiffusionModule
from ddpm_lightning.training.training_module import TrainingModule

OF_DENOISERS = ("loss", "loss_on", "predict", "variance", "weighting", "sampler", "grid", "guidance", "metrics")
"""Groups that a classifier has no use for; in its config they are absent or empty."""


class Task(ABC):
    """What a network is trained for."""

    @abstractmethod
    def check(self, config: DictConfig) -> None:
        """Raises ValueError if a composed config makes a choice that has no effect here."""

    @abstractmethod
    def build(self, config: DictConfig, image_shape: tuple[int, int, int], num_classes: int) -> TrainingModule:
        """The module to train; its initial weights are a function of `config.seeds.init`.

        Raises:
            ValueError: the network cannot take the images, or is of another task; or options do not fit each other.
        """


class Denoising(Task):
    """Removes noise, so that images can be drawn."""

    def check(self, config: DictConfig) -> None:
        if measures_accuracy(config):
            raise ValueError("metrics=accuracy is for task=classifier: leave it out, or choose another one")
        if config.callbacks.get("accuracy"):
            raise ValueError("callbacks.accuracy is for task=classifier: leave it out, or choose callbacks=default")

    def build(self, config: DictConfig, image_shape: tuple[int, int, int], num_classes: int) -> DiffusionModule:
        _check_network(
            config, "out_channels", "removes no noise, but classifies: choose another one, or task=classifier"
        )
        target, objective = build_target_and_objective(config)
        network = build_network(config, target, image_shape)
        if network.num_classes is not None and num_classes == 0:
            raise ValueError(f"dataset {config.dataset.name} has no labels: set model.num_classes=null")
        if network.num_classes not in (None, num_classes):
            raise ValueError(
                f"model.num_classes={network.num_classes}, but dataset {config.dataset.name} has {num_classes} "
                f"classes: set model.num_classes={num_classes}, or null for an unconditional model"
            )
        module = DiffusionModule(
            network=network,
            schedule=instantiate(config.schedule),
            target=target,
            objective=objective,
            label_dropout=config.label_dropout,
            self_conditioning=config.self_conditioning,
            variance=instantiate(config.variance),
            **_options_of_every_module(config, image_shape, num_classes),
        )
        check_training_times(module)
        check_sampling(config, module)
        return module


class Classification(Task):
    """Classifies noised images, so that the classifier can guide a denoiser."""

    def check(self, config: DictConfig) -> None:
        for group in OF_DENOISERS:  # a recipe may set single options of a group that is not chosen
            if {"_target_", "features", "chunk_size"} & (config.get(group) or {}).keys():
                raise ValueError(f"{group} has no effect on a classifier: leave it out, or choose task=denoising")
        for name, options in config.callbacks.items():
            if options and "sampler" in options:
                raise ValueError(
                    f"callbacks.{name} draws samples, which a classifier cannot: leave it out, or choose "
                    "callbacks=classifier"
                )

    def build(self, config: DictConfig, image_shape: tuple[int, int, int], num_classes: int) -> ClassifierModule:
        if num_classes == 0:
            raise ValueError(
                f"dataset {config.dataset.name} has no labels for a classifier to learn: choose another one"
            )
        _check_network(config, "num_classes", "does not classify: choose model=adm_classifier_small, or task=denoising")
        torch.manual_seed(config.seeds.init)
        module = ClassifierModule(
            network=instantiate(config.model, input_shape=image_shape, num_classes=num_classes),
            schedule=instantiate(config.schedule),
            **_options_of_every_module(config, image_shape, num_classes),
        )
        module.timesteps.check(module.schedule)
        return module


def _check_network(config: DictConfig, required: str, otherwise: str) -> None:
    """Raises ValueError if a network's class has a signature without a parameter that each one of the task requires."""
    try:
        parameters = inspect.signature(imported(config.model._target_)).parameters
    except (ImportError, AttributeError, TypeError, ValueError):  # building says what is wrong with it
        return
    if required in parameters and parameters[required].default is not None:
        return
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        raise ValueError(f"model ({config.model._target_}) {otherwise}")


def _options_of_every_module(config: DictConfig, image_shape: tuple[int, int, int], num_classes: int) -> dict[str, Any]:
    return {
        "image_shape": image_shape,
        "num_classes": num_classes,
        "timesteps": instantiate(config.timesteps),
        "optimizer": instantiate(config.optimizer),
        "ema": instantiate(config.ema) or None,  # ema=none is an empty config
        "normalizer": instantiate(config.normalizer, channels=image_shape[0]),
        "seed": config.seeds.noise,
        "flip": config.dataset.flip,
        "weights": config.weights,
    }
