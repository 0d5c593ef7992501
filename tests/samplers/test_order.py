"""Order of the deterministic samplers: DDIM's error falls with the number of steps, Heun's with its square.

Measured at a node above 0 that the grid has for each number of steps, because the last step, to 0, is Euler's in every
method. The exact solution of the probability-flow ODE for Gaussian data is `marginal` of a fixed z.
"""

import pytest
import torch

from choices import choices, make
from ddpm_lightning.samplers.sampler import Sampler
from samplers.gaussian import IMAGE_SHAPE, GaussianDenoiser, marginal

START = 0.8
"""Before the plateau of schedules that end with one, which would be a kink in the middle of a step of any size."""
Z = torch.tensor([[1.0, -0.5, 0.3, 0.8], [-1.2, 0.4, 1.0, -0.3]], dtype=torch.float64)


def error(sampler: Sampler, schedule, times: list[float], node: int) -> float:
    """Distance of x from the exact solution at times[node]; steps are in float64, predictions in float32."""
    seen = []
    start = marginal(schedule, times[0], Z).reshape(-1, *IMAGE_SHAPE)
    sampler.loop(GaussianDenoiser(schedule), start, times, None, clip=None, callback=seen.append)
    return float((seen[node].x_t.flatten(1) - marginal(schedule, times[node], Z)).norm())


def fixed_node(grid: str, steps: int) -> tuple[int, int]:
    """Steps of the grid, and a node that the grid with twice as many steps shares."""
    if grid == "uniform":
        return steps, 3 * steps // 4
    return steps + 1, steps  # the last node above 0, at t_min


@pytest.mark.parametrize("schedule", choices("schedule"))
@pytest.mark.parametrize("grid", choices("grid"))
@pytest.mark.parametrize(("sampler", "lowest", "highest"), [("ddim", 1.8, 2.2), ("heun", 3.5, 4.5)])
def test_twice_the_steps_divide_the_error_by_two_to_the_order(sampler, lowest, highest, schedule, grid):
    schedule, errors, nodes = make("schedule", schedule), [], []
    for steps in (16, 32, 64):
        steps, node = fixed_node(grid, steps)
        times = make("grid", grid)(schedule, steps, START)
        nodes.append(times[node])
        errors.append(error(make("sampler", sampler, f"sampler.steps={steps}"), schedule, times, node))
    assert nodes == pytest.approx([nodes[0]] * 3, rel=1e-9)
    assert errors[2] > 1e-5  # well above float32's rounding
    assert lowest < errors[0] / errors[1] < highest
    assert lowest < errors[1] / errors[2] < highest
