"""From a resolved config to the objects of a run, and to the scores of its test pass."""

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import StrategyRegistry
from omegaconf import DictConfig

from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.diffusion.classifier_guidance import check_images
from ddpm_lightning.diffusion.objective import Objective, objective_of
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Target
from ddpm_lightning.diffusion.timesteps import TimestepDistribution, most_nodes
from ddpm_lightning.metrics.features.extractor import FeatureExtractor
from ddpm_lightning.metrics.scoring_plan import ScoringPlan
from ddpm_lightning.runs.failure import cause_of
from ddpm_lightning.runs.find_checkpoint import LAST_CHECKPOINT, PREVIOUS_CHECKPOINT
from ddpm_lightning.runs.initial_weights import load_initial_weights
from ddpm_lightning.runs.logged_values import check_named_values
from ddpm_lightning.runs.network_options import network_options
from ddpm_lightning.runs.option_types import with_right_types
from ddpm_lightning.runs.plain_config import plain
from ddpm_lightning.runs.quiet import hide_messages
from ddpm_lightning.runs.ranks import started_from_outside
from ddpm_lightning.runs.wandb_run import WandbRun
from ddpm_lightning.training.checkpoint_io import AtomicCheckpointIO
from ddpm_lightning.training.logged_once import LoggedOnce
from ddpm_lightning.training.module import DiffusionModule
from ddpm_lightning.training.training_module import TrainingModule

log = logging.getLogger(__name__)


def build_data(config: DictConfig) -> ImageDataModule:
    """The data module of `config.dataset`.

    Raises:
        ValueError: `config.dataset` has an unknown or invalid option, or a seed is out of range.
    """
    for part, seed in config.seeds.items():
        if not 0 <= seed < 2**32:
            raise ValueError(f"seeds.{part} (seed, unless it is set) must be from 0 to 2^32 - 1, not {seed}")
    loading = inspect.signature(ImageDataModule).parameters.keys() - {"source", "split", "seed", "cache_dir"}
    # The other keys are read elsewhere, or an option of the source refers to them.
    known = [*loading, "name", "source", "split", "flip", *map(str, config.dataset.source)]
    if unknown := [str(key) for key in config.dataset if key not in known]:
        there_are = ", ".join(sorted({key for key in known if key[0] != "_"}))
        raise ValueError(f"dataset has no option {', '.join(unknown)}; it has {there_are}")
    options = {key: value for key, value in config.dataset.items() if key in loading}
    source = instantiate(config.dataset.source, root=config.paths.data_dir)
    split = instantiate(config.dataset.split)
    return ImageDataModule(source, split, seed=config.seeds.order, cache_dir=config.paths.cache_dir, **options)


def build_module(config: DictConfig, image_shape: tuple[int, int, int], num_classes: int) -> TrainingModule:
    """The module of `config.task` to train; its initial weights are a function of `config.seeds.init`.

    Its normaliser has seen no images: fit it to the training split, or load a checkpoint.

    Raises:
        ValueError: if an option has a wrong type, the network cannot take the images, or has another number of classes
            than the data, or no image can be predicted where sampling should start or the loss compares images.
    """
    config = with_right_types(config)  # again, since a checkpoint's config comes here with what a command sets
    module: TrainingModule = instantiate(config.task).build(config, image_shape, num_classes)
    if config.compile:
        module.network.compile()  # in place: compiling to a new module would rename the keys of every checkpoint
    return module


def check_sampling(config: DictConfig, module: DiffusionModule) -> None:
    """Raises ValueError if guidance or sampler cannot use the model, before it is trained."""
    sampler, guided = instantiate(config.sampler), instantiate(config.guidance)(module.denoiser)
    check_images(guided, module.image_shape, module.normalizer.value_range)
    sampler.times(guided)


def warn_of_unused_variance(config: DictConfig, module: TrainingModule) -> None:
    """Logs a warning if samples will not have the variance that the model learns."""
    if not (isinstance(module, DiffusionModule) and module.denoiser.learns_variance):
        return
    sampler = instantiate(config.sampler)
    if not sampler.uses_learned_variance:
        log.warning(
            "sampler=%s does not use the variance that this model learns: sampler=ddpm sampler.variance=learned does",
            sampler.name,
        )


def build_target_and_objective(config: DictConfig) -> tuple[Target, Objective]:
    """The prediction target and the objective; without `predict`, the network predicts what the loss compares.

    Raises:
        ValueError: `loss_on.t_max` is set although another group says what is predicted.
    """
    loss_on = instantiate(config.loss_on)
    target = instantiate(config.predict) if config.get("predict") else loss_on
    if target is not loss_on and loss_on.t_max is not None:
        raise ValueError(
            f"loss_on.t_max={loss_on.t_max} has no effect here: where sampling starts depends on what the network "
            "predicts, and predict says that. Set predict.t_max instead"
        )
    loss, weighting, schedule = (instantiate(config[group]) for group in ("loss", "weighting", "schedule"))
    if loss.bound_part and loss.bound_part.trains_mean and target != loss_on:
        raise ValueError(
            f"loss=vlb compares in no space, so loss_on has to be what the network predicts: set loss_on={target.name}"
        )
    return target, objective_of(loss_on, loss, weighting, schedule, instantiate(config.variance))


def build_network(config: DictConfig, target: Target, image_shape: tuple[int, int, int]) -> torch.nn.Module:
    """The network for images of this shape and this target; its weights are a function of `config.seeds.init`."""
    torch.manual_seed(config.seeds.init)
    variance = instantiate(config.variance)
    options = network_options(config.model, target, image_shape, config.self_conditioning, variance)
    network: torch.nn.Module = instantiate(config.model, **options)
    return network


def check_training_times(module: DiffusionModule) -> None:
    """Raises ValueError where training would draw a time at which the loss is infinite, or could not learn its times.

    The loss is infinite where no signal is left and it compares what cannot be computed from predicted noise.
    """
    target, loss_on, schedule = module.denoiser.target, module.objective.loss_on, module.denoiser.schedule
    bound = module.objective.loss.bound_part
    if bound is not None:
        _check_steps(bound.num_steps, module.timesteps, schedule)
    module.timesteps.check(schedule)
    latest = module.timesteps.times(torch.tensor([1 - torch.finfo(torch.float32).eps / 2]), schedule)
    if (loss_on != target or bound is not None) and not module.denoiser.predicts_at(float(latest)):
        remedy = "predict=velocity or predict=image" if bound else f"loss_on={target.name} or timesteps=stratified"
        raise ValueError(
            f"predict={target.name} loss_on={loss_on.name}: at t = {float(latest):g}, which these timesteps draw, this "
            f"schedule leaves no signal to compute the loss from. Take another predict, {remedy}"
        )


def _check_steps(num_steps: int, timesteps: TimestepDistribution, schedule: Schedule) -> None:
    """Raises ValueError unless training draws all steps of the bound."""
    if getattr(timesteps, "num_steps", None) != num_steps:
        raise ValueError(
            f"loss.num_steps={num_steps}, but timesteps draws other times: set timesteps=uniform_discrete "
            f"timesteps.num_steps={num_steps} (timesteps=importance has this option too)"
        )
    if num_steps > most_nodes(schedule):
        raise ValueError(
            f"loss.num_steps={num_steps} has steps below t = {schedule.t_min:g}, which training never draws: set "
            f"loss.num_steps and timesteps.num_steps to at most {most_nodes(schedule)}"
        )


def measures_accuracy(config: DictConfig) -> bool:
    """Whether `metrics=accuracy` is chosen, the one choice without options: that of a classifier."""
    return "chunk_size" not in config.metrics


def check_scoring(config: DictConfig) -> None:
    """Raises ValueError if an option of `config.metrics` is out of range, even where no callback reads it."""
    if "_target_" in config.metrics:  # another plan than that of scores of samples
        instantiate(config.metrics)
        return
    # The features are left out, since some take long to load.
    if not measures_accuracy(config):
        ScoringPlan(**{**config.metrics, "features": cast(FeatureExtractor, None)})


def check_buildable(config: DictConfig) -> None:
    """Raises ValueError if a part of a training refuses its options; reads no images, and leaves nothing behind.

    That is found by building the parts, so that a run which cannot begin has no folder.
    """
    data = build_data(config)
    module = build_module(config, data.image_shape, data.num_classes)
    load_initial_weights(module, config)
    check_scoring(config)
    callbacks = build_callbacks(config)
    check_named_values(config, module, callbacks)
    interval = config.trainer.get("val_check_interval")
    if isinstance(interval, float) and config.trainer.get("check_val_every_n_epoch") is None:
        raise ValueError(
            f"trainer.val_check_interval={interval} is a fraction of an epoch, which needs "
            "trainer.check_val_every_n_epoch=1: set that as well, or give a number of batches"
        )
    _make_trainer(config, Path(), callbacks, build_loggers(config, Path()))


def build_trainer(config: DictConfig, folder: Path, callbacks: list[Callback], loggers: list[Logger]) -> Trainer:
    """A trainer whose files go to `folder`.

    Raises:
        ValueError: for options that Lightning refuses, and for several devices with a strategy that would start the
            whole command again in each process.
    """
    trainer = _make_trainer(config, folder, callbacks, loggers)
    if trainer.world_size > 1 and not started_from_outside():
        raise ValueError("several devices need a process each: start the run with train.py, evaluate.py or torchrun")
    return trainer


def _make_trainer(config: DictConfig, folder: Path, callbacks: list[Callback], loggers: list[Logger]) -> Trainer:
    """Lightning's trainer, whatever the number of processes; nothing is written.

    Raises:
        ValueError: for options that Lightning refuses, or needs other packages for.
    """
    torch.set_float32_matmul_precision("high")
    hide_messages()
    plugins: list[Any] = [AtomicCheckpointIO({LAST_CHECKPOINT.name: PREVIOUS_CHECKPOINT.name})]
    if not started_from_outside():
        # Else variables of a SLURM allocation would make Lightning wait for ranks that nobody starts.
        plugins.append(LightningEnvironment())
    fixed = {
        "default_root_dir": str(folder),
        "callbacks": [LoggedOnce(), *callbacks],
        "logger": loggers,
        "plugins": plugins,
        "use_distributed_sampler": False,  # the data module shards the data itself, without padding
        "inference_mode": False,  # a guidance may compute gradients; everything else runs without them
        "enable_checkpointing": False,  # the callback `checkpointing` saves
        # Else Lightning adds one.
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
        "enable_model_summary": False,
    }
    if given := [option for option in fixed if option in config.trainer]:
        raise ValueError(f"trainer.{given[0]} cannot be set: it follows from the other options")
    make_trainer = instantiate(config.trainer, _partial_=True)  # as an argument, OmegaConf would copy a callback
    _check_strategy(config.trainer)
    try:
        return make_trainer(**fixed)
    except (MisconfigurationException, InstantiationException, ValueError, ImportError) as error:
        reason = " ".join(str(cause_of(error)).split())
        raise ValueError(f"trainer cannot be made with these options: {reason}") from error


def _check_strategy(trainer: DictConfig) -> None:
    strategy = trainer.get("strategy")
    known = ["auto", *StrategyRegistry.available_strategies()]
    if isinstance(strategy, str) and strategy not in known:
        names = [name for name in known if "_" not in name]  # without their many variants
        raise ValueError(
            f"unknown trainer.strategy {strategy!r}: trainer=ddp and trainer=ddp_cpu bring one for several devices; "
            f"Lightning has {', '.join(names)} and variants"
        )


def build_callbacks(config: DictConfig) -> list[Callback]:
    """The callbacks of the config, in the config's order; one that needs a logger is left out where there is none."""
    callbacks = [instantiate(options) for options in config.callbacks.values() if options]
    return [c for c in callbacks if config.get("logger") or not isinstance(c, LearningRateMonitor)]


def build_loggers(config: DictConfig, folder: Path) -> list[Logger]:
    """The loggers of the config, which will write to `folder`; W&B's also gets the config.

    Raises:
        ValueError: the package of one is not installed.
    """
    loggers = [instantiate(options, save_dir=str(folder)) for options in config.logger.values() if options]
    for logger in loggers:
        if isinstance(logger, WandbRun):
            logger.run_config = plain(config)
    return loggers


@contextmanager
def open_loggers(config: DictConfig, folder: Path) -> Iterator[list[Logger]]:
    """The loggers of the config while a run works; W&B's run ends with it, well or not."""
    loggers = build_loggers(config, folder)
    failed = True
    try:
        yield loggers
        failed = False
    except (KeyboardInterrupt, SystemExit):  # the run continues another time
        failed = False
        raise
    finally:
        for logger in loggers:
            if isinstance(logger, WandbRun):
                logger.close(failed)


def final_scores(trainer: Trainer, module: TrainingModule, data: ImageDataModule) -> dict[str, float]:
    """The values of a pass over the test split, with the callbacks that score samples; empty without a pass."""
    results = trainer.test(module, data, verbose=False)
    return {name: float(value) for result in results for name, value in result.items()}
