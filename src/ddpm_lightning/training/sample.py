"""Images from a checkpoint."""

import os
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from ddpm_lightning.atomic import write_arrays
from ddpm_lightning.samplers.generation import SampleStream
from ddpm_lightning.samplers.picture import image_grid, save_animation, save_picture
from ddpm_lightning.samplers.trajectory import record_trajectory
from ddpm_lightning.training.build import build_trainer
from ddpm_lightning.training.restore import restore_run

FORMATS = ("grid", "npz", "folder")
SHOWN = 64
"""Images in the grid and the animation, at most."""
FRAMES = 40
"""Frames of the animation, at most."""


def sample(command: DictConfig) -> Path:
    """Draws images and writes them in Hydra's output folder, which is returned.

    Always `samples.png`; `samples.npz` (key `images`: (N, C, H, W), uint8) with `format=npz`; `samples/000000.png` and
    so on with `format=folder`; `trajectory.gif` with `trajectory=true`.

    Raises:
        ValueError: for an unknown format or a count below 1.
    """
    if command.format not in FORMATS:
        raise ValueError(f"unknown format {command.format!r}: choose from {', '.join(FORMATS)}")
    if command.num < 1:
        raise ValueError(f"num must be at least 1, not {command.num}")
    folder = Path(HydraConfig.get().runtime.output_dir)
    run = restore_run(command, groups=("sampler", "guidance"))
    trainer = build_trainer(run.config, folder, [], [])
    module = run.module.to(trainer.strategy.root_device)
    stream = SampleStream(
        denoiser=instantiate(run.config.guidance)(module.evaluation_denoiser()),
        sampler=instantiate(run.config.sampler),
        image_shape=run.data.image_shape,
        seed=command.seed,
        device=module.device,
        value_range=module.normalizer.value_range,
        num_classes=module.num_classes,
    )
    to_uint8 = module.normalizer.to_uint8
    with trainer.precision_plugin.forward_context():
        images = torch.cat([to_uint8(chunk.images).cpu() for chunk in stream.chunks(command.num)])
        if command.trajectory:
            frames = record_trajectory(stream, torch.arange(min(command.num, SHOWN)), FRAMES).frames
            save_animation((image_grid(to_uint8(frame)) for frame in frames), folder / "trajectory.gif")
    save_picture(image_grid(images[:SHOWN]), folder / "samples.png")
    _write(images, folder, command.format)
    print(f"Open {os.path.relpath(folder)}/samples.png")
    return folder


def _write(images: Tensor, folder: Path, how: str) -> None:
    if how == "npz":
        write_arrays(folder / "samples.npz", images=images.numpy())
    elif how == "folder":
        for index, image in enumerate(images):
            save_picture(image, folder / "samples" / f"{index:06d}.png")
