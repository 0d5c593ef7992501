"""A trained model for notebooks and scripts, without Hydra and without Lightning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.diffusion.denoiser import Denoiser, DenoiserLike, predict_as_sampled
from ddpm_lightning.diffusion.guidance import Guidance
from ddpm_lightning.diffusion.target import Prediction
from ddpm_lightning.runs.exported import read_exported
from ddpm_lightning.runs.find_checkpoint import is_exported
from ddpm_lightning.runs.home_folder import at_home
from ddpm_lightning.runs.instantiate import instantiate
from ddpm_lightning.runs.network_options import network_options
from ddpm_lightning.runs.saved_model import DENOISER, NORMALIZER, SavedModel, check_denoiser, read_trained
from ddpm_lightning.runs.stored_values import RefusedError
from ddpm_lightning.samplers.generation import SampleStream, chunk_indices
from ddpm_lightning.samplers.labels import check_label, one_label
from ddpm_lightning.samplers.sampler import Sampler


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model.

    Attributes:
        denoiser: maps (x_t, t, label) to a prediction, with the weights that the run is scored with (of an export: with
            those that were exported).
        normalizer: maps uint8 images to the range of x_0 and back.
        image_shape: (C, H, W).
        sampler: the one that the run was scored with.
        guidance: the one that the run was scored with.
        config: the run's config, as plain values.
        card: how the scores of the run were computed; None if it was not scored, or its folder is not there.
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
            TypeError: the sampler is not an object of a sampler's class.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        stream = self.stream(label, seed, steps, sampler, guidance, chunk_size)
        with self._precision():
            chunks = [self.normalizer.to_uint8(stream.draw(i)) for i in chunk_indices(n, chunk_size, 0, 1)]
        return torch.cat(chunks).cpu()

    def stream(
        self,
        label: int | None = None,
        seed: int = 0,
        steps: int | None = None,
        sampler: Sampler | None = None,
        guidance: Guidance | None = None,
        chunk_size: int = 250,
    ) -> SampleStream:
        """The samples of a seed, to be drawn by index or in part; arguments as in `sample`."""
        chosen = self.sampler if sampler is None else sampler
        if not isinstance(chosen, Sampler):
            raise TypeError(f"sampler must be an object such as ddpm_lightning.DDPM(), not {chosen!r}")
        guided = (self.guidance if guidance is None else guidance)(self.denoiser)
        return SampleStream(
            denoiser=guided,
            sampler=chosen if steps is None else replace(chosen, steps=steps),
            image_shape=self.image_shape,
            seed=seed,
            device=self._device,
            value_range=self.normalizer.value_range,
            labels_of=None if label is None else one_label(label, guided.num_classes),
            chunk_size=chunk_size,
        )

    @torch.no_grad()
    def denoise(self, x_t: Tensor, t: Tensor | float, label: Tensor | int | None = None) -> Prediction:
        """The predictions of x_0 and eps at time t; of a model with self-conditioning, by two evaluations.

        Args:
            x_t: (n, C, H, W), in the range of x_0 inside the model.
            t: (n,) or one number, in [0, 1].
            label: (n,) int64 or one number, for a model with classes; None for no label.

        Raises:
            ValueError: x_t has another shape, or the model does not have this class.
        """
        if x_t.shape[1:] != self.image_shape:
            shape = ", ".join(map(str, self.image_shape))
            raise ValueError(f"x_t must have the shape (n, {shape}), not {tuple(x_t.shape)}")
        times = torch.as_tensor(t, dtype=torch.float32, device=self._device).expand(len(x_t))
        labels = None
        if label is not None:
            labels = torch.as_tensor(label, device=self._device).expand(len(x_t))
            for one in labels.unique().tolist():
                check_label(one, self.denoiser.num_classes)
        with self._precision():
            return predict_as_sampled(self.denoiser, x_t.to(self._device), times, labels, self.normalizer.clamp)

    @property
    def _device(self) -> torch.device:
        return next(self.denoiser.network.parameters()).device

    def _precision(self) -> torch.autocast:
        """The number format of the run, as Lightning sets it."""
        precision = str(self.config["trainer"]["precision"])
        dtype = torch.float16 if precision.startswith("16") else torch.bfloat16
        return torch.autocast(self._device.type, dtype, enabled=precision.endswith("mixed"))


def load(path: str | Path, device: str | torch.device = "cpu", trust: str | Sequence[str] = ()) -> Model:
    """The model of a run, or an exported one.

    Args:
        path: a run's folder, a checkpoint, or a folder that `export.py` wrote.
        device: device to compute on.
        trust: packages, besides this one, whose classes the run's config may name, such as your own network's.

    Raises:
        FileNotFoundError: there is no checkpoint and no exported model.
        ValueError: a file is damaged, or the config names a class of a package that is not trusted.
    """
    packages = (trust,) if isinstance(trust, str) else tuple(trust)
    path = at_home(str(path))
    saved = read_exported(path, packages) if is_exported(path) else read_trained(path, packages)
    return build_model(saved, device, packages)


def build_model(saved: SavedModel, device: str | torch.device = "cpu", trust: tuple[str, ...] = ()) -> Model:
    """The model with the saved weights; see `load`."""
    check_denoiser(saved.state, saved.origin)
    config = saved.config
    with torch.random.fork_rng(devices=[]):  # initial weights are random, and replaced below
        denoiser = _denoiser(config, saved.image_shape, trust)
    normalizer: Normalizer = instantiate(config["normalizer"], trust, channels=saved.image_shape[0])
    for prefix, part in ((DENOISER, denoiser), (NORMALIZER, normalizer)):
        fill(part, saved.part(prefix), saved.origin)
    torch.set_float32_matmul_precision("high")  # as in a run
    return Model(
        denoiser=denoiser.to(device).eval().requires_grad_(False),
        normalizer=normalizer.to(device),
        image_shape=saved.image_shape,
        sampler=instantiate(config["sampler"], trust),
        guidance=_guidance(config["guidance"], trust),
        config=config,
        card=saved.card,
    )


def _guidance(node: Mapping[str, Any], trust: tuple[str, ...]) -> Guidance:
    """The run's guidance; one that names a file elsewhere is refused where it is used, as another can be chosen."""
    try:
        return instantiate(node, trust)  # type: ignore[no-any-return]
    except RefusedError as error:
        refusal = error

        def refuse(denoiser: DenoiserLike) -> DenoiserLike:
            raise refusal

        return refuse


def fill(part: nn.Module, state: Mapping[str, Tensor], origin: Path) -> None:
    """Loads the tensors of a part.

    Raises:
        ValueError: the part has others.
    """
    try:
        part.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).partition("\n")[2].partition("\n")[0].strip()
        raise ValueError(f"the weights in {origin} are not those of the network in its config: {first}") from error


def _denoiser(config: Mapping[str, Any], image_shape: tuple[int, int, int], trust: tuple[str, ...]) -> Denoiser:
    """The denoiser with random weights."""
    target = instantiate(config.get("predict") or config["loss_on"], trust)
    self_conditioning, variance = config["self_conditioning"], instantiate(config["variance"], trust)
    options = network_options(config["model"], target, image_shape, self_conditioning, variance)
    model = {key: value for key, value in config["model"].items() if key not in options}
    network = instantiate(model, trust, **options).to(memory_format=torch.channels_last)
    schedule = instantiate(config["schedule"], trust)
    return Denoiser(network, schedule, target, config["label_dropout"] > 0, self_conditioning, variance)
