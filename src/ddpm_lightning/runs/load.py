"""A trained model for notebooks and scripts, without Hydra and without Lightning."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.guidance import Guidance
from ddpm_lightning.diffusion.target import Prediction
from ddpm_lightning.runs.find_checkpoint import find_checkpoint
from ddpm_lightning.runs.instantiate import instantiate
from ddpm_lightning.runs.network_options import network_options
from ddpm_lightning.runs.stored_config import modernized
from ddpm_lightning.samplers.generation import SampleStream, chunk_indices
from ddpm_lightning.samplers.labels import one_label
from ddpm_lightning.samplers.sampler import Sampler
from ddpm_lightning.training.checkpoint import CONFIG_KEY, IMAGES_KEY, read_checkpoint


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model.

    Attributes:
        denoiser: maps (x_t, t, label) to a prediction, with the averaged weights if there are any.
        normalizer: maps uint8 images to the range of x_0 and back.
        image_shape: (C, H, W).
        sampler: the one that the run was scored with.
        guidance: the one that the run was scored with.
        config: the run's config, as plain values.
        card: how the scores of the run were computed; None if it was not scored, or only the checkpoint is there.
    """

    denoiser: Denoiser
    normalizer: Normalizer
    image_shape: tuple[int, int, int]
    sampler: Sampler
    guidance: Guidance
    config: dict[str, Any]
    card: dict[str, Any] | None

    @torch.no_grad()
    def sample(
        self,
        n: int,
        label: int | None = None,
        seed: int = 0,
        steps: int | None = None,
        sampler: Sampler | None = None,
        guidance: Guidance | None = None,
        chunk_size: int = 250,
    ) -> Tensor:
        """The samples 0..n-1 of a seed, uint8 (n, C, H, W), on the CPU; the same ones that `sample.py` draws.

        Args:
            n: number of samples, at least 1.
            label: class of all samples, for a model with classes; None for all classes in turn.
            seed: in [0, 2^32).
            steps: number of steps; None for the sampler's own.
            sampler: None for the run's.
            guidance: None for the run's.
            chunk_size: number of samples computed together.

        Raises:
            ValueError: n, steps or chunk_size is below 1, the model does not have this class, or the sampler or the
                guidance cannot use the model.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        chosen = self.sampler if sampler is None else sampler
        guided = (self.guidance if guidance is None else guidance)(self.denoiser)
        stream = SampleStream(
            denoiser=guided,
            sampler=chosen if steps is None else replace(chosen, steps=steps),
            image_shape=self.image_shape,
            seed=seed,
            device=self._device,
            value_range=self.normalizer.value_range,
            labels_of=None if label is None else one_label(label, guided.num_classes),
            chunk_size=chunk_size,
        )
        with self._precision():
            chunks = [self.normalizer.to_uint8(stream.draw(i)) for i in chunk_indices(n, chunk_size, 0, 1)]
        return torch.cat(chunks).cpu()

    @torch.no_grad()
    def denoise(self, x_t: Tensor, t: Tensor | float, label: Tensor | int | None = None) -> Prediction:
        """The predictions of x_0 and eps at time t.

        Args:
            x_t: (n, C, H, W), in the range of x_0 inside the model.
            t: (n,) or one number, in [0, 1].
            label: (n,) int64 or one number, for a model with classes; None for no label.
        """
        times = torch.as_tensor(t, dtype=torch.float32, device=self._device).expand(len(x_t))
        labels = None if label is None else torch.as_tensor(label, device=self._device).expand(len(x_t))
        with self._precision():
            return self.denoiser(x_t.to(self._device), times, labels)

    @property
    def _device(self) -> torch.device:
        return next(self.denoiser.network.parameters()).device

    def _precision(self) -> torch.autocast:
        """The number format of the run, as Lightning sets it."""
        precision = str(self.config["trainer"]["precision"])
        dtype = torch.float16 if precision.startswith("16") else torch.bfloat16
        return torch.autocast(self._device.type, dtype, enabled=precision.endswith("mixed"))


def load(path: str | Path, device: str | torch.device = "cpu", trust: Sequence[str] = ()) -> Model:
    """The model of a run.

    Args:
        path: a run's folder, or a checkpoint.
        device: device to compute on.
        trust: packages, besides this one, whose classes the run's config may name, such as your own network's.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the file is damaged, or its config names a class of a package that is not trusted.
    """
    file = find_checkpoint(path)
    checkpoint = read_checkpoint(file)
    config = modernized(checkpoint[CONFIG_KEY], file)
    packages = tuple(trust)
    image_shape = _image_shape(checkpoint, config, packages)
    with torch.random.fork_rng(devices=[]):  # initial weights are random, and replaced below
        denoiser = _denoiser(config, image_shape, packages)
    normalizer: Normalizer = instantiate(config["normalizer"], packages, channels=image_shape[0])
    for prefix, part in (("denoiser.", denoiser), ("normalizer.", normalizer)):
        state = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
        part.load_state_dict(state)
    if config["weights"] != "raw" and "ema" in checkpoint:
        denoiser.network.load_state_dict(checkpoint["ema"]["network"])
    torch.set_float32_matmul_precision("high")  # as in a run
    return Model(
        denoiser=denoiser.to(device).eval().requires_grad_(False),
        normalizer=normalizer.to(device),
        image_shape=image_shape,
        sampler=instantiate(config["sampler"], packages),
        guidance=instantiate(config["guidance"], packages),
        config=config,
        card=_card_beside(file),
    )


def _image_shape(
    checkpoint: Mapping[str, Any], config: Mapping[str, Any], packages: tuple[str, ...]
) -> tuple[int, int, int]:
    if IMAGES_KEY in checkpoint:
        channels, height, width = checkpoint[IMAGES_KEY]["shape"]
        return channels, height, width
    # Early checkpoints leave it to the data's config.
    shape: tuple[int, int, int] = instantiate(config["dataset"]["source"], packages, root=".").image_shape
    return shape


def _denoiser(config: Mapping[str, Any], image_shape: tuple[int, int, int], packages: tuple[str, ...]) -> Denoiser:
    """The denoiser with random weights."""
    target = instantiate(config.get("predict") or config["loss_on"], packages)
    options = network_options(config["model"], target, image_shape)
    model = {key: value for key, value in config["model"].items() if key not in options}
    network = instantiate(model, packages, **options).to(memory_format=torch.channels_last)
    return Denoiser(network, instantiate(config["schedule"], packages), target, config["label_dropout"] > 0)


def _card_beside(checkpoint: Path) -> dict[str, Any] | None:
    scores = checkpoint.parents[1] / "metrics.json"
    card: dict[str, Any] | None = json.loads(scores.read_text())["card"] if scores.is_file() else None
    return card
