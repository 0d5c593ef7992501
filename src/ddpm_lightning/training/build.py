"""From a resolved config to the objects of a run."""

import logging
from pathlib import Path

import torch
from hydra.utils import instantiate
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.diffusion.objective import Objective
from ddpm_lightning.training.checkpoint import AtomicCheckpointIO
from ddpm_lightning.training.module import DiffusionModule
from ddpm_lightning.training.precision import fastest_precision


def build_data(config: DictConfig) -> ImageDataModule:
    """The data module of `config.dataset`."""
    options = {key: value for key, value in config.dataset.items() if key not in ("name", "image_size", "source")}
    source = instantiate(config.dataset.source, root=config.paths.data_dir)
    return ImageDataModule(source, seed=config.seed, cache_dir=config.paths.cache_dir, **options)


def build_module(config: DictConfig, image_shape: tuple[int, int, int], num_classes: int) -> DiffusionModule:
    """The module to train; its initial weights are a function of `config.seed`.

    Raises:
        ValueError: if the network cannot take the images, or is told another number of classes than there are.
    """
    torch.manual_seed(config.seed)
    network = instantiate(config.model, in_channels=image_shape[0])
    network.check_images(image_shape)
    if network.num_classes not in (None, num_classes):
        raise ValueError(
            f"model.num_classes={network.num_classes}, but dataset {config.dataset.name} has {num_classes} classes: "
            f"set model.num_classes={num_classes}, or null for an unconditional model"
        )
    schedule = instantiate(config.schedule)
    module = DiffusionModule(
        network=network,
        schedule=schedule,
        objective=Objective(instantiate(config.loss_on), instantiate(config.loss), instantiate(config.weighting)),
        timesteps=instantiate(config.timesteps, num_steps=schedule.num_steps),
        optimizer=instantiate(config.optimizer),
        ema=instantiate(config.ema) or None,
        normalizer=Normalizer(),
        seed=config.seed,
        flip=config.dataset.flip,
        label_dropout=config.label_dropout,
    )
    if config.compile:
        network.compile()  # in place: compiling to a new module would rename the keys of every checkpoint
    return module


def build_trainer(config: DictConfig, folder: Path, callbacks: list[Callback], loggers: list[Logger]) -> Trainer:
    """A trainer whose files go to `folder`."""
    # Its news (which accelerators there are, a message per checkpoint) would bury ours.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    trainer: Trainer = instantiate(
        config.trainer,
        default_root_dir=str(folder),
        callbacks=callbacks,
        logger=loggers,
        plugins=[AtomicCheckpointIO()],
    )
    return trainer


def build_callbacks(config: DictConfig) -> list[Callback]:
    """The callbacks of the config, in the config's order."""
    return [instantiate(options) for options in config.callbacks.values() if options]


def build_loggers(config: DictConfig, folder: Path) -> list[Logger]:
    """The loggers of the config, writing to `folder`."""
    return [instantiate(options, save_dir=str(folder)) for options in config.logger.values() if options]


def settle_precision(config: DictConfig) -> None:
    """Replaces `trainer.precision=auto` by what it means on this machine, so that the run's config says it."""
    if config.trainer.precision == "auto":
        config.trainer.precision = fastest_precision(config.trainer.accelerator)
