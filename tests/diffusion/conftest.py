"""Schedules and targets found by their YAML, and float32 times that are exactly a schedule's nodes."""

import pytest
import torch
from torch import Tensor

from choices import choices, config_of, make
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.target import Target

VARIANTS = [{"zero_terminal_snr": True}, {"rho": None}, {"t_min": 0.05}]


def named(value: object) -> str:
    """A readable id of a case."""
    if isinstance(value, tuple):
        return "-".join([value[0], *(f"{option}={setting}" for option, setting in value[1].items())])
    return str(value)


def variants(choice: str) -> list[tuple[str, dict]]:
    """A choice with its YAML's options, and with each of VARIANTS that it accepts."""
    options = config_of("schedule", choice)
    return [(choice, {})] + [(choice, variant) for variant in VARIANTS if variant.keys() <= options.keys()]


@pytest.fixture(params=[LinearSchedule, CosineSchedule], ids=["linear", "cosine"])
def schedule(request: pytest.FixtureRequest) -> Schedule:
    return request.param()


@pytest.fixture(scope="module", params=[case for choice in choices("schedule") for case in variants(choice)], ids=named)
def path(request: pytest.FixtureRequest) -> Schedule:
    """Every choice of conf/schedule, and its variants."""
    choice, options = request.param
    return make("schedule", choice, **options)


@pytest.fixture(scope="module", params=choices("predict"))
def target(request: pytest.FixtureRequest) -> Target:
    return make("predict", request.param)


@pytest.fixture(scope="module", params=choices("loss_on"))
def loss_on(request: pytest.FixtureRequest) -> Target:
    return make("loss_on", request.param)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def nodes(schedule: Schedule) -> Tensor:
    """t_i = i/T for i = 1..T, in float32."""
    return torch.arange(1, schedule.num_steps + 1) / schedule.num_steps
