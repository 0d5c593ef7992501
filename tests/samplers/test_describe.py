"""Description of a sampler for the metric card."""

import json
from dataclasses import fields, replace

import pytest

from choices import choices, make
from ddpm_lightning.diffusion.target import Velocity
from samplers.every_sampler import samplers

OTHER_VALUES = {
    "steps": 4,
    "t_max": 0.5,
    "clip": False,
    "eta": 0.5,
    "variance": "large",
    "churn": 0.3,
    "churn_min": 0.1,
    "churn_max": 40.0,
    "churn_noise": 1.003,
    "rho": 5.0,
}
"""A value of each option that no YAML has."""
every_choice = pytest.mark.parametrize("sampler", choices("sampler"))
every_grid = pytest.mark.parametrize("grid", choices("grid"))


@every_choice
@every_grid
def test_every_option_is_described(sampler, grid, make_denoiser):
    denoiser, grid = make_denoiser(Velocity()), make("grid", grid)
    sampler = replace(make("sampler", sampler), steps=3, grid=grid)
    description = sampler.describe(denoiser)
    assert description.keys() == {"name", *(f.name for f in fields(sampler))}
    assert description["grid"].keys() == {"name", *(f.name for f in fields(grid))}
    assert description["t_max"] == 0.999  # the default for predicted velocities
    expected = {f.name: getattr(sampler, f.name) for f in fields(sampler) if f.name not in ("grid", "t_max")}
    assert {name: description[name] for name in expected} == expected
    assert json.loads(json.dumps(description)) == description


@every_choice
def test_another_value_of_any_option_is_described_differently(sampler, make_denoiser):
    denoiser = make_denoiser(Velocity())
    sampler = replace(make("sampler", sampler), steps=3)
    others = [replace(sampler, **{f.name: OTHER_VALUES[f.name]}) for f in fields(sampler) if f.name != "grid"]
    for name in choices("grid"):
        grid = make("grid", name)
        others += [replace(sampler, grid=grid)] * (name != "uniform")
        others += [replace(sampler, grid=replace(grid, **{f.name: OTHER_VALUES[f.name]})) for f in fields(grid)]
    descriptions = [json.dumps(s.describe(denoiser), sort_keys=True) for s in (sampler, *others)]
    assert len(set(descriptions)) == len(descriptions)


def test_samplers_have_the_names_of_their_yaml(make_denoiser):
    denoiser = make_denoiser(Velocity())
    for name, sampler in samplers(steps=3).items():
        assert sampler.describe(denoiser)["name"] == sampler.name == name.split("-")[0]
    for name in choices("grid"):
        assert make("grid", name).name == name
