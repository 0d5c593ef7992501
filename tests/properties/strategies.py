"""Every choice of a Hydra group with random options, and the numbers that properties are tried with."""

from typing import Any

import torch
from hydra.utils import get_class
from hypothesis import reject, settings
from hypothesis import strategies as st
from torch import Tensor

from choices import choices, config_of
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.samplers.grid import Grid
from ddpm_lightning.samplers.sampler import Sampler

RANGES: dict[str, st.SearchStrategy[Any]] = {
    "beta_end": st.floats(1e-5, 0.05),
    "churn": st.floats(0, 10),
    "churn_max": st.none() | st.floats(0.1, 50),
    "churn_min": st.floats(0, 0.1),
    "eta": st.sampled_from([0.0, 1.0]) | st.floats(0, 1),
    "location": st.floats(-5, 5),
    "max_beta": st.floats(0.5, 0.9999),
    "max_signal_rate": st.floats(0.5, 0.999),
    "num_steps": st.integers(1, 20) | st.integers(20, 1500),
    "p_mean": st.floats(-5, 5),
    "p_std": st.floats(0.05, 5),
    "rho": st.none() | st.floats(0.5, 20),
    "scale": st.floats(0.05, 5),
    "t_min": st.floats(1e-4, 0.3),
    "variance": st.sampled_from(["small", "large"]) | st.floats(0, 1),
}
"""Options whose valid values are not simply around their default."""

MANY = settings(max_examples=250)
"""For a property of a combination of many choices."""

RESOLUTION = 2**16
"""Steps between two times on a path."""

SEEDS = st.integers(0, 2**32 - 1)
"""Of everything that takes a seed; all 32-bit words are valid."""


def values(option: str, default: Any) -> st.SearchStrategy[Any]:
    """Values of an option: from its range, either truth value, or from a quarter of its default to four times it."""
    if option in RANGES:
        return RANGES[option]
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, float):
        return st.floats(*sorted((default / 4, default * 4)))
    return st.just(default)


@st.composite
def chosen(draw: st.DrawFn, group: str, choice: str | None = None, **fixed: Any) -> Any:
    """An object of a group's choice, or of any, with random options apart from these; what it refuses is skipped.

    A choice without one of these options ignores it.
    """
    config = config_of(group, choice or draw(st.sampled_from(choices(group))))
    options = {name: default for name, default in config.items() if name != "_target_"}
    for name, default in options.items():
        options[name] = fixed[name] if name in fixed else draw(values(name, default), label=name)
    try:
        return get_class(config._target_)(**options)
    except ValueError:
        reject()


def schedules() -> st.SearchStrategy[Schedule]:
    """Every schedule with random options."""
    return chosen("schedule")


def grids() -> st.SearchStrategy[Grid]:
    """Every time grid with random options."""
    return st.floats(0.5, 20).flatmap(lambda rho: chosen("grid", rho=rho))


@st.composite
def samplers(draw: st.DrawFn, choice: str | None = None, **fixed: Any) -> Sampler:
    """A sampler, or any, with random options except for these, 1 to 6 steps on any grid."""
    options = {"steps": draw(st.sampled_from([3, 1, 2, 6])), "grid": draw(grids()), "t_max": None}
    return draw(chosen("sampler", choice, **(options | fixed)))


def times(low: float) -> st.SearchStrategy[list[float]]:
    """Two to six increasing times from `low` to 1, often with an end, and never closer than float32 resolves."""
    inner = st.integers(1, RESOLUTION - 1).map(lambda i: low + (1 - low) * i / RESOLUTION)
    return st.lists(st.sampled_from([low, 1.0]) | inner, min_size=2, max_size=6, unique=True).map(sorted)


@st.composite
def normals(draw: st.DrawFn, *shape: int) -> Tensor:
    """A standard normal float64 tensor of this shape."""
    generator = torch.Generator().manual_seed(draw(SEEDS))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def image_shapes() -> st.SearchStrategy[tuple[int, int, int]]:
    """(C, H, W), small, not only square."""
    return st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5))
