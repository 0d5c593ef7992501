"""Every sampler of conf/sampler, also with the options that make it another method."""

from dataclasses import replace

import pytest

from choices import choices, make
from ddpm_lightning.samplers.sampler import Sampler

OTHER_OPTIONS = {
    "ddim-random": {"eta": 1.0},
    "ddpm-between": {"variance": 0.5},
    "ddpm-large": {"variance": "large"},
    "heun-churned": {"churn": 0.9},
    "strided_ddpm-full": {"eta": 1.0},
}


def samplers(**options: object) -> dict[str, Sampler]:
    """Name -> sampler, each with these options."""
    plain = {name: make("sampler", name) for name in choices("sampler")}
    others = {name: replace(plain[name.split("-")[0]], **other) for name, other in OTHER_OPTIONS.items()}
    return {name: replace(sampler, **options) for name, sampler in (plain | others).items()}


def is_exact(sampler: Sampler) -> bool:
    """True if the distribution of samples tends to the data's with more steps; with strided_ddpm only for eta = 1."""
    return sampler.name != "strided_ddpm" or getattr(sampler, "eta", 0) == 1


def is_random(sampler: Sampler) -> bool:
    """True if the sampler draws noise during its steps."""
    return sampler.name == "ddpm" or getattr(sampler, "eta", 0) > 0 or getattr(sampler, "churn", 0) > 0


def for_every_sampler(**options: object) -> pytest.MarkDecorator:
    """Parametrises `sampler`."""
    by_name = samplers(**options)
    return pytest.mark.parametrize("sampler", by_name.values(), ids=by_name.keys())
