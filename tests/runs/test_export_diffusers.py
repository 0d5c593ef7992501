"""A pipeline of diffusers draws the images of our DDIM sampler from the same noise, or the export says why not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDIMPipeline, DiffusionPipeline
from diffusers.pipelines.ddim import pipeline_ddim
from torch import Tensor, nn

from ddpm_lightning.data.normalizer import StandardizedNormalizer, SymmetricNormalizer
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.schedules.edm import EDMSchedule
from ddpm_lightning.diffusion.schedules.flow import FlowSchedule
from ddpm_lightning.diffusion.schedules.limited import LimitedCosineSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.target import EDM, Flow, Image, Noise, Target, Velocity
from ddpm_lightning.diffusion.variance import LearnedRange
from ddpm_lightning.networks.keras_unet import KerasUNet
from ddpm_lightning.networks.unet import UNet
from ddpm_lightning.networks.unet_diffusers import DiffusersUNet
from ddpm_lightning.runs.export_diffusers import check_pipeline, pipeline_steps, write_pipeline
from ddpm_lightning.runs.load import Model
from ddpm_lightning.samplers.ddim import DDIM

SMALL = {"channels": (16, 32), "attention_levels": (1,), "head_channels": 16}
SHAPE = (1, 12, 8)


def trained(
    target: Target, schedule: Schedule | None = None, network: nn.Module | None = None, shape=SHAPE, **sampler: object
) -> Model:
    """A model whose weights are random, and none of them 0."""
    torch.manual_seed(0)
    network = DiffusersUNet(shape, shape[0], **SMALL) if network is None else network
    if isinstance(network, DiffusersUNet):
        nn.init.normal_(network.unet.conv_out.weight, std=0.05)
        nn.init.normal_(network.unet.conv_out.bias, std=0.05)
    denoiser = Denoiser(network.to(memory_format=torch.channels_last), schedule or CosineSchedule(), target)
    return Model(
        denoiser=denoiser.eval().requires_grad_(False),
        normalizer=SymmetricNormalizer(shape[0]),
        image_shape=shape,
        sampler=DDIM(**{"steps": 25, **sampler}),
        guidance=lambda denoiser: denoiser,
        config={},
        card=None,
    )


def ours(model: Model, x: Tensor) -> Tensor:
    """Images in [0, 1] by our sampler, with as many steps as the pipeline."""
    sampler = replace(model.sampler, steps=pipeline_steps(model))
    images = sampler(model.denoiser, x, lambda step: torch.zeros_like(x))
    return (images.clamp(-1, 1) + 1) / 2


def theirs(pipeline: DDIMPipeline, x: Tensor, monkeypatch: pytest.MonkeyPatch, steps: int, clip: bool) -> Tensor:
    """Images in [0, 1] by the pipeline."""
    monkeypatch.setattr(pipeline_ddim, "randn_tensor", lambda shape, **_: x.reshape(shape).clone())
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline(len(x), num_inference_steps=steps, use_clipped_model_output=clip, output_type="pt")
    return drawn.images


CASES = [
    (Noise(), CosineSchedule(), 28),
    (Noise(), LimitedCosineSchedule(), 28),
    (Noise(t_max=0.5), LinearSchedule(400), 25),  # from 0.98, random weights draw nothing but black and white
    (Image(), CosineSchedule(), 25),
    (Image(), LinearSchedule(400), 25),
    (Velocity(), LimitedCosineSchedule(), 27),
    (Velocity(), LinearSchedule(400), 27),
    (Velocity(t_max=1.0), CosineSchedule(zero_terminal_snr=True), 25),
]


def name_of(case: object) -> str:
    return type(case).__name__ if isinstance(case, Target | Schedule) else str(case)


@pytest.fixture
def x() -> Tensor:
    """Noise to start from."""
    return torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(("target", "schedule", "steps"), CASES, ids=name_of)
def test_a_pipeline_draws_the_same_images(
    target: Target, schedule: Schedule, steps: int, clip: bool, tmp_path: Path, x: Tensor, monkeypatch
) -> None:
    model = trained(target, schedule, clip=clip)
    write_pipeline(model, tmp_path / "out")
    pipeline = DiffusionPipeline.from_pretrained(tmp_path / "out")
    assert isinstance(pipeline, DDIMPipeline)
    assert pipeline_steps(model) == steps
    expected = ours(model, x)
    torch.testing.assert_close(theirs(pipeline, x, monkeypatch, steps, clip), expected, rtol=0, atol=1e-4)
    grey = (expected > 0) & (expected < 1)
    assert len(expected[grey].unique()) > 5, "images that are black or white alone would hide errors"


def test_eps_of_the_clipped_image_needs_its_option(tmp_path: Path, x: Tensor, monkeypatch) -> None:
    model = trained(Velocity())
    write_pipeline(model, tmp_path / "out")
    pipeline = DiffusionPipeline.from_pretrained(tmp_path / "out")
    assert (theirs(pipeline, x, monkeypatch, pipeline_steps(model), False) - ours(model, x)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("t_max", "steps", "nearest"),
    [(0.98, 25, 28), (0.98, 50, 49), (0.98, 1, 1), (1.0, 50, 50), (1.0, 2000, 1000), (0.9996, 25, 27), (1e-5, 9, 1)],
)
def test_the_steps_divide_the_timesteps(t_max: float, steps: int, nearest: int) -> None:
    assert pipeline_steps(trained(Image(), steps=steps, t_max=t_max)) == nearest


def self_conditioned(model: Model) -> Model:
    model.denoiser.self_conditioning = True
    return model


def with_learned_variance(model: Model) -> Model:
    model.denoiser.variance = LearnedRange()
    return model


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: trained(Noise(), network=UNet(SHAPE, 1, **SMALL)), "UNet is not .* model=unet_diffusers"),
        (lambda: trained(Noise(), network=KerasUNet(SHAPE, 1, (8, 8))), "KerasUNet is not .* model=unet_diffusers"),
        (lambda: trained(Noise(), network=DiffusersUNet(SHAPE, 1, **SMALL, num_classes=3)), "model.num_classes=null"),
        (lambda: self_conditioned(trained(Noise())), "train with self_conditioning=false"),
        (lambda: with_learned_variance(trained(Noise())), "train with variance=fixed_small"),
        (lambda: trained(Noise(), shape=(1, 12, 9)), "multiples of 2, and these are 12x9: train with fewer"),
        (lambda: trained(Flow()), "cannot use a network that predicts flow: train with predict=noise"),
        (lambda: trained(EDM()), "cannot use a network that predicts edm"),
        (lambda: trained(Noise(), FlowSchedule()), "unlike FlowSchedule: train with another schedule"),
        (lambda: trained(Noise(), EDMSchedule()), "unlike EDMSchedule"),
        (lambda: replace(trained(Noise()), normalizer=StandardizedNormalizer(1)), "train with normalizer=symmetric"),
    ],
)
def test_a_model_without_a_pipeline_is_refused(model, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"format=diffusers cannot hold this model: .*{reason}"):
        write_pipeline(model(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_all_reasons_are_given_at_once() -> None:
    network = UNet(SHAPE, 1, **SMALL, num_classes=3)
    with pytest.raises(ValueError, match=r"model=unet_diffusers; .*num_classes=null; .* predicts flow.*FlowSchedule"):
        check_pipeline(trained(Flow(), FlowSchedule(), network))
