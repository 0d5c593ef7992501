"""The linear and the cosine schedule, and float32 times that are exactly a schedule's nodes."""

import pytest
import torch
from torch import Tensor

from ddpm_lightning.diffusion.schedule import CosineSchedule, LinearSchedule, Schedule


@pytest.fixture(params=[LinearSchedule, CosineSchedule], ids=["linear", "cosine"])
def schedule(request: pytest.FixtureRequest) -> Schedule:
    return request.param()


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def nodes(schedule: Schedule) -> Tensor:
    """t_i = i/T for i = 1..T, in float32."""
    return torch.arange(1, schedule.num_steps + 1) / schedule.num_steps
