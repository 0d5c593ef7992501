"""Images from a checkpoint."""

import shutil
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from ddpm_lightning.atomic_files import write_arrays
from ddpm_lightning.console.display import console_progress
from ddpm_lightning.pictures import grid_by_class, save_animation, save_picture, save_pictures
from ddpm_lightning.runs.build import build_trainer
from ddpm_lightning.runs.config import RunConfig
from ddpm_lightning.runs.drawing import draw_images, sample_stream
from ddpm_lightning.runs.hardware import check_hardware
from ddpm_lightning.runs.job import run_job
from ddpm_lightning.runs.launch import ranks_to_start
from ddpm_lightning.runs.option_types import with_right_types
from ddpm_lightning.runs.ranks import global_rank, is_own_rank
from ddpm_lightning.runs.restore import restore_run
from ddpm_lightning.runs.run_folder import RunFolder, shown_path
from ddpm_lightning.samplers.labels import one_label
from ddpm_lightning.samplers.trajectory import record_trajectory

FORMATS = ("grid", "npz", "folder")
SHOWN = 64
"""Images in the grid and the animation, at most."""
FRAMES = 40
"""Frames of the animation, at most."""
FILES = ("samples.png", "samples.npz", "samples", "trajectory.gif", "config.yaml")
"""All that a command may write."""


def sample(command: DictConfig) -> Path:
    """Draws images and writes them in Hydra's output folder, which is returned.

    Always `samples.png` and `config.yaml`; with `format=npz`, `samples.npz` with the keys `images`, (N, C, H, W) uint8,
    and, for a model with classes, `labels`, (N,) int64; with `format=folder`, `samples/000000.png` and so on; with
    `trajectory=true`, `trajectory.gif`. The last line printed names them. Nothing is left where drawing fails.

    Raises:
        ValueError: for an unknown format, a count below 1, or a class that the model does not know.
        FileExistsError: the folder holds other images.
    """
    command = with_right_types(command)
    if command.format not in FORMATS:
        raise ValueError(f"unknown format {command.format!r}: choose from {', '.join(FORMATS)}")
    for option in ("num", "chunk_size"):
        if command[option] < 1:
            raise ValueError(f"{option} must be at least 1, not {command[option]}")
    folder = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    run = restore_run(command, groups=("grid", "sampler", "guidance"))
    run.config.sample = {key: command[key] for key in ("num", "seed", "label", "chunk_size", "format", "trajectory")}
    config = RunConfig.of(run.config)
    check_hardware(config.options)
    ranks = ranks_to_start(config.options.trainer)
    guidance, sampler = instantiate(config.options.guidance), instantiate(config.options.sampler)
    guided = guidance(run.module.evaluation_denoiser())
    labels_of = None if command.label is None else one_label(command.label, guided.num_classes)
    row_classes = guided.num_classes if labels_of is None else None

    def draw() -> dict[str, float]:
        trainer = build_trainer(config.options, folder.path, [], [])
        trainer.strategy.setup_environment()  # several devices: the ranks find each other
        module = run.module.to(trainer.strategy.root_device)
        stream = sample_stream(module, sampler, guidance, command.seed, command.chunk_size, labels_of)
        with console_progress(trainer.is_global_zero):
            images = draw_images(stream, command.num, module, trainer)
        if trainer.is_global_zero:
            save_picture(grid_by_class(images[:SHOWN], row_classes), folder.path / "samples.png")
            _write(images.cpu(), stream.labels(torch.arange(command.num)), folder.path, command.format)
        if trainer.is_global_zero and command.trajectory:
            with trainer.precision_plugin.forward_context():
                frames = record_trajectory(stream, torch.arange(min(command.num, SHOWN)), FRAMES)
            pictures = (grid_by_class(module.normalizer.to_uint8(frame), row_classes) for frame in frames)
            save_animation(pictures, folder.path / "trajectory.gif")
        return {}

    keeps_record = global_rank() == 0 and not is_own_rank()
    was_unused = keeps_record and folder.is_unused("sample")  # it may hold files of the user's, as with hydra.run.dir=
    try:
        run_job(folder, config, ranks, draw)
    except BaseException:
        if was_unused:
            shutil.rmtree(folder.path)
        raise
    if keeps_record:
        _print_files(folder.path)
    return folder.path


def _write(images: Tensor, labels: Tensor | None, folder: Path, how: str) -> None:
    if how == "npz":
        arrays = {"images": images} if labels is None else {"images": images, "labels": labels.cpu()}
        write_arrays(folder / "samples.npz", **{name: array.numpy() for name, array in arrays.items()})
    elif how == "folder":
        save_pictures(images, folder / "samples")


def _print_files(folder: Path) -> None:
    """One line with the folder and all files that this command has written to it."""
    written = [name for name in FILES if (folder / name).exists()]
    names = [f"{name}/" if (folder / name).is_dir() else name for name in written]
    print(f"Open {shown_path(folder)}/samples.png; beside it: {', '.join(names[1:])}")
