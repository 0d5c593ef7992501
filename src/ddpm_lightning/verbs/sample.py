"""Images from a checkpoint."""

import shutil
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ddpm_lightning.console.display import console_progress
from ddpm_lightning.process_pictures.process_picture import ProcessPicture
from ddpm_lightning.runs.build import build_trainer
from ddpm_lightning.runs.config import RunConfig, given_options
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
from ddpm_lightning.verbs.sample_files import SHOWN, write_animation, write_picture, write_samples

FORMATS = ("grid", "npz", "folder")
FRAMES = 40
"""Frames of the animation, at most."""
OF_SAMPLES = ("num", "chunk_size", "format", "trajectory")
"""Options of samples only, which are refused with draw=...."""
NOT_LISTED = ("status", "sample.log", "config.yaml", "events.out.tfevents.")


def sample(command: DictConfig) -> Path:
    """Draws images and writes them in Hydra's output folder, which is returned.

    Always `config.yaml`. Of samples, `samples.png`; with `format=npz`, `samples.npz` with the keys `images`,
    (N, C, H, W) uint8, and, for a model with classes, `labels`, (N,) int64; with `format=folder`, `samples/000000.png`
    and so on; with `trajectory=true`, `trajectory.gif`. With `draw=...`, that picture instead, as a PNG and for
    TensorBoard, and what was measured for it as JSON. The last line printed names the files. Nothing is left where
    drawing fails.

    Raises:
        ValueError: for an unknown format, a count below 1, a class that the model does not know, or a picture that does
            not fit the model or the other options.
        FileExistsError: the folder holds other images.
    """
    command = with_right_types(command)
    picture: ProcessPicture | None = instantiate(command.draw) if "draw" in command else None
    if picture is not None and (of_samples := [o for o in given_options(HydraConfig.get()) if o in OF_SAMPLES]):
        raise ValueError(f"{of_samples[0]} is an option of samples, which draw=... replaces: leave out one of the two")
    if command.format not in FORMATS:
        raise ValueError(f"unknown format {command.format!r}: choose from {', '.join(FORMATS)}")
    for option in ("num", "chunk_size"):
        if command[option] < 1:
            raise ValueError(f"{option} must be at least 1, not {command[option]}")
    folder = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    run = restore_run(command, groups=("grid", "sampler", "guidance"))
    drawn = {key: command[key] for key in (("seed", "label") if picture else ("seed", "label", *OF_SAMPLES))}
    run.config.sample = {**drawn, "draw": OmegaConf.to_container(command.draw)} if picture else drawn
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
        if picture is not None:
            if not trainer.is_global_zero:
                return {}
            with trainer.precision_plugin.forward_context():
                result = picture.draw(stream, module.normalizer)
            write_picture(picture.name, result, folder.path)
            return result.numbers
        with console_progress(trainer.is_global_zero):
            images = draw_images(stream, command.num, module, trainer)
        if trainer.is_global_zero:
            labels = stream.labels(torch.arange(command.num))
            write_samples(images.cpu(), labels, row_classes, folder.path, command.format)
        if trainer.is_global_zero and command.trajectory:
            with trainer.precision_plugin.forward_context():
                frames = record_trajectory(stream, torch.arange(min(command.num, SHOWN)), FRAMES)
            write_animation(map(module.normalizer.to_uint8, frames), row_classes, folder.path)
        return {}

    keeps_record = global_rank() == 0 and not is_own_rank()
    was_unused = keeps_record and folder.is_unused("sample")  # it may hold files of the user's, as with hydra.run.dir=
    try:
        numbers = run_job(folder, config, ranks, draw)
    except BaseException:
        if was_unused:
            shutil.rmtree(folder.path)
        raise
    if keeps_record:
        measured = "".join(f"; {name.replace('_', ' ')} {value:.3g}" for name, value in numbers.items())
        print(_files(folder.path, "samples" if picture is None else picture.name) + measured)
    return folder.path


def _files(folder: Path, first: str) -> str:
    """One line with the folder and the files that a command has written to it, its picture first."""
    results = sorted(path for path in folder.iterdir() if not path.name.startswith((".", *NOT_LISTED)))
    names = [f"{path.name}/" if path.is_dir() else path.name for path in results if path.name != f"{first}.png"]
    return f"Open {shown_path(folder)}/{first}.png; beside it: {', '.join([*names, 'config.yaml'])}"
