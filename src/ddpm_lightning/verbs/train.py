"""One training run, from its config to its final scores."""

import logging
import shlex
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ddpm_lightning.data.order import rank_slice
from ddpm_lightning.runs.build import (
    build_callbacks,
    build_data,
    build_module,
    build_trainer,
    check_buildable,
    check_scoring,
    final_scores,
    open_loggers,
    warn_of_unused_variance,
)
from ddpm_lightning.runs.config import RunConfig
from ddpm_lightning.runs.from_checkpoint import refuse_in_training
from ddpm_lightning.runs.hardware import check_hardware
from ddpm_lightning.runs.initial_weights import load_initial_weights
from ddpm_lightning.runs.job import run_job
from ddpm_lightning.runs.launch import ranks_to_start
from ddpm_lightning.runs.logged_values import UnknownValueError, check_named_values
from ddpm_lightning.runs.optimized_score import optimises, optimized_score
from ddpm_lightning.runs.places import check_links, check_places, resolved_values, said_by
from ddpm_lightning.runs.ranks import num_ranks
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.runs.trust import trust_of_command
from ddpm_lightning.training.checkpoint import check_undamaged

log = logging.getLogger(__name__)


def fit_and_test(config: RunConfig, run: RunFolder) -> dict[str, float]:
    """Trains, from the folder's last checkpoint where there is one, and returns the scores of the test split."""
    options = config.options
    resuming = run.last_checkpoint.is_file()
    data = build_data(options)
    module = build_module(options, data.image_shape, data.num_classes)
    module.run_config = config.stored
    callbacks = build_callbacks(options)
    check_scoring(options)
    check_named_values(options, module, callbacks)
    with open_loggers(options, run.path) as loggers:
        trainer = build_trainer(options, run.path, callbacks, loggers)
        if not resuming:  # else what the normaliser has learnt is in the checkpoint
            module.normalizer.fit(data.split("train"))
            load_initial_weights(module, options)
        if "checkpointing" not in options.callbacks:
            log.warning("callbacks without `checkpointing`: this run keeps no weights and cannot be resumed")
        warn_of_unused_variance(options, module)
        if resuming:
            log.info("continuing from %s", run.last_checkpoint)
        trainer.fit(module, data, ckpt_path=str(run.last_checkpoint) if resuming else None)
        return final_scores(trainer, module, data)


def train(command: DictConfig) -> dict[str, float]:
    """Runs or continues the run in Hydra's output folder.

    Returns the final scores; those on record if the run was done already.

    Raises:
        ValueError: if another process works in the folder, or the config is invalid.
        FileExistsError: if the folder holds another run.
    """
    hydra = HydraConfig.get()
    for group, choice in hydra.runtime.choices.items():
        refuse_in_training(group, choice)
    run = RunFolder(Path(hydra.runtime.output_dir))
    status = run.read_status()
    if command.resume:
        stored = run.read_config(trust_of_command(command, run.path))
        config = RunConfig.resumed(stored, command, status["state"] == "done", run.last_checkpoint)
        places = [run.path, *command.paths.values()]
        opened = dict(config.stored)
        if run.last_checkpoint.is_file():
            opened.pop("init_from", None)
        check_places(resolved_values(DictConfig(opened)), run.path, places, said_by(command))
        instantiate(config.options.task).check(config.options)
    else:
        instantiate(command.task).check(command)  # before references to what the task lacks are resolved
        config = RunConfig.of_command(command, previous=run.read_config() if run.holds_results else None)
        run.check(config)
    check_links(run.path, list(command.paths.values()))
    if status["state"] == "done" and not config.changes_length:
        log.info("this run is done: %s", run.path)
        return dict(status["scores"])
    _check_last_checkpoint(run)
    check_hardware(config.options)
    ranks = ranks_to_start(config.options.trainer)
    rank_slice(config.options.dataset.batch_size, 0, max(ranks, num_ranks()))  # each takes an equal share of a batch
    if status["state"] == "new" and hydra.mode is RunMode.RUN:  # a sweep keeps a record of what cannot begin
        check_buildable(config.options)
    return run_job(run, config, ranks, lambda: fit_and_test(config, run))


def _check_last_checkpoint(run: RunFolder) -> None:
    """Raises ValueError if the run's last checkpoint is damaged or has vanished, so that the run would begin again."""
    if run.last_checkpoint.is_file():
        check_undamaged(run.last_checkpoint)
    elif run.previous_checkpoint.is_file():
        copy = shlex.join(["cp", str(run.previous_checkpoint), str(run.last_checkpoint)])
        raise ValueError(
            f"{run.last_checkpoint} is missing, and {run.previous_checkpoint.name} is there. To continue from that: "
            f"{copy}; to begin again, choose another name="
        )


def train_for_sweeper(config: DictConfig) -> float | None:
    """Trains, and returns the optimised score; in a sweep that optimises, a failed run gets the penalty."""
    hydra = HydraConfig.get()
    run = RunFolder(Path(hydra.runtime.output_dir))
    try:
        train(config)
    except UnknownValueError:  # no run of the sweep would have the score
        raise
    except Exception:
        in_sweep = not OmegaConf.is_missing(hydra.job, "num")
        if not in_sweep or not optimises(config) or run.read_status()["state"] != "failed":
            raise
    return optimized_score(config, run)
