"""The metric card: its content, the entries that must agree, and cards of earlier versions."""

import dataclasses
import json

import pytest
import torch
from torch import nn

from choices import choices, config_of, make
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.target import Noise
from ddpm_lightning.metrics.card import NOT_RECORDED, MetricCard
from ddpm_lightning.samplers.ddpm import DDPM

VERSION_1 = {
    "features": "lenet_mnist",
    "features_sha256": "ab" * 32,
    "resize": "none (28x28)",
    "num_generated": 40,
    "num_real": 50,
    "seed": 3,
    "sampler": "ddim",
    "steps": 25,
    "eta": 0.5,
    "t_max": 0.98,
    "clip": True,
    "guidance_scale": None,
    "weights": "ema",
    "split": "test",
    "dataset": "mnist",
    "real_images": "0123456789abcdef",
}
"""A card as version 1 wrote it."""


def test_a_card_of_version_1_is_read():
    card = MetricCard.from_dict(VERSION_1)
    assert card.sampler == {
        "name": "ddim", "grid": {"name": "uniform"}, "steps": 25, "t_max": 0.98, "clip": True, "eta": 0.5,
    }  # fmt: skip
    assert (card.guidance, card.nfe, card.seeds, card.labels) == ({"name": "none"}, 25, {}, None)
    unchanged = VERSION_1.keys() & {field.name for field in dataclasses.fields(MetricCard)} - {"sampler"}
    assert len(unchanged) == 10
    assert {name: getattr(card, name) for name in unchanged} == {name: VERSION_1[name] for name in unchanged}


def test_a_guided_card_of_version_1_without_eta_is_read():
    card = MetricCard.from_dict({**VERSION_1, "sampler": "ddpm", "eta": None, "guidance_scale": 1.5})
    as_it_was = {"rescale": 0.0, "level_min": 0.0, "level_max": None}
    assert card.guidance == {"name": "classifier_free", "scale": 1.5, **as_it_was}
    assert card.nfe == 50
    assert card.sampler["name"] == "ddpm" and "eta" not in card.sampler


def test_a_card_without_a_record_of_images_is_read():
    content = {name: value for name, value in VERSION_1.items() if name != "real_images"}
    assert MetricCard.from_dict(content).real_images == NOT_RECORDED


def test_reading_a_card_does_not_change_its_content():
    content = dict(VERSION_1)
    MetricCard.from_dict(content)
    assert content == VERSION_1


def test_a_ddim_card_of_version_1_compares_with_one_of_today(card):
    earlier = MetricCard.from_dict({**VERSION_1, "eta": 0.0, "seed": card.seed})
    assert earlier.flat() == card.flat()


def test_content_that_is_not_a_card_is_refused(card):
    content = card.to_dict()
    with pytest.raises(KeyError):
        MetricCard.from_dict({name: value for name, value in content.items() if name != "sampler"})
    with pytest.raises(TypeError):
        MetricCard.from_dict({name: value for name, value in content.items() if name != "split"})
    with pytest.raises(TypeError):
        MetricCard.from_dict({**content, "spilt": "test"})
    with pytest.raises(KeyError):
        MetricCard.from_dict({name: value for name, value in VERSION_1.items() if name != "steps"})


def test_a_card_survives_json(card):
    assert MetricCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card


def test_flat_has_one_level_and_no_seeds(card):
    nested = {**card.sampler, "grid": {"name": "karras", "rho": 7.0}, "betas": [1, 2]}
    flat = dataclasses.replace(card, sampler=nested).flat()
    assert flat["sampler.grid.rho"] == 7.0 and flat["sampler.steps"] == 25 and flat["guidance.name"] == "none"
    assert flat["sampler.betas"] == (1, 2)
    hash(tuple(flat.values()))  # values are counted, so they must be hashable
    assert not [name for name in flat if name.split(".")[0] in ("seed", "real_seed", "seeds")]
    others = {field.name for field in dataclasses.fields(card)} - {"seed", "real_seed", "seeds", "sampler", "guidance"}
    assert others <= flat.keys()


def test_runs_that_differ_in_their_seeds_alone_agree(card):
    other = dataclasses.replace(card, seed=5, seeds={"init": 5, "order": 6, "noise": 7, "samples": 5})
    assert other != card and other.flat() == card.flat()


class Nothing(nn.Module):
    conditioning, num_classes = "time", None

    def forward(self, x, noise_level, label):
        return torch.zeros_like(x)


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser(Nothing(), CosineSchedule(), Noise())


def test_variances_of_ddpm_are_on_the_card(denoiser):
    described = [DDPM(steps=3, variance=variance).describe(denoiser) for variance in ("small", "large", 0.5)]
    assert [sampler["variance"] for sampler in described] == ["small", "large", 0.5]
    assert {**described[0], "variance": "large"} == described[1]


@pytest.mark.parametrize("sampler", choices("sampler"))
@pytest.mark.parametrize("grid", choices("grid"))
def test_a_sampler_describes_every_option_of_its_config(denoiser, sampler, grid):
    config = config_of("sampler", sampler, f"grid={grid}", "sampler.steps=3")
    described = make("sampler", sampler, f"grid={grid}", "sampler.steps=3").describe(denoiser)
    assert described.keys() == {"name", *config} - {"_target_"}
    assert described["grid"].keys() == {"name", *config.grid} - {"_target_"}
    assert (described["name"], described["grid"]["name"]) == (sampler, grid)
    assert described["t_max"] == denoiser.t_max  # the one used, although the option is null
    for option in config.keys() - {"_target_", "grid", "t_max"}:
        assert described[option] == config[option]
    json.dumps(described)


def test_card_cannot_be_changed(card):
    with pytest.raises(dataclasses.FrozenInstanceError):
        card.nfe = 3


def test_unknown_weights_are_refused(card):
    with pytest.raises(ValueError, match="choose from ema, raw"):
        dataclasses.replace(card, weights="EMA")


def test_a_wrapped_guidance_of_an_earlier_version_has_the_options_that_it_had(card):
    before = {"name": "mine", "of": {"name": "classifier_free", "scale": 2.0}}
    read = MetricCard.from_dict(card.to_dict() | {"guidance": before})
    assert read.guidance["of"] == before["of"] | {"rescale": 0.0, "level_min": 0.0, "level_max": None}
    assert MetricCard.from_dict(card.to_dict() | {"guidance": {"kind": "nameless"}}).guidance == {"kind": "nameless"}
