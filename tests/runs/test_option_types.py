"""Every option's value has the type that is declared for it, or the command is refused before it begins."""

import math
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from choices import CONF, choices
from ddpm_lightning.runs.build import check_buildable
from ddpm_lightning.runs.config import RunConfig
from ddpm_lightning.runs.failure import cause_of
from ddpm_lightning.runs.option_types import parameters_of, with_right_types
from ddpm_lightning.runs.plain_config import leaves, resolved

NOT_SECTIONS = ("experiment", "debug", "hydra", "dataset/loading")
"""Folders of YAML files that are no section of a run's config, or a part of one."""
GROUPS = sorted(
    group
    for path in CONF.rglob("*")
    if path.is_dir() and not (group := str(path.relative_to(CONF))).startswith(NOT_SECTIONS)
)
OF_EVALUATIONS = [("metrics", "likelihood")]
CHOICES = [*((group, choice) for group in GROUPS for choice in choices(group)), *OF_EVALUATIONS]
NOT_BUILT = ("draw", "dataset", "metrics/features", "guidance", "logger", "paths", "trainer")
"""Groups that need files, classes of images (as classifiers' networks do), a place, or devices, or are of sample.py."""
BUILT = [
    (g, c)
    for g, c in CHOICES
    if g not in NOT_BUILT and c not in ("default", "generative_metrics", "official", "likelihood")
]
BUILT += [("dataset", "gradients"), ("metrics", "default"), ("ema", "default")]
MAY_BE_NEGATIVE = ("schedule.start", "timesteps.p_mean", "timesteps.location")
ROOT_OPTIONS = [
    "seed",
    "seeds",
    "name",
    "experiment_name",
    "compile",
    "weights",
    "label_dropout",
    "self_conditioning",
    "optimize",
]


@cache
def composed(group: str, choice: str) -> DictConfig:
    """The config of a verb with a choice, as it is written: references to other options are not resolved."""
    verb = "sample" if group == "draw" else "evaluate" if (group, choice) in OF_EVALUATIONS else "train"
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(verb, [f"{group}=[{choice}]" if group == "callbacks" else f"{group}={choice}"])


def typed_leaves(group: str, choice: str) -> Iterator[tuple[DictConfig, str, Any]]:
    """The section alone in a config, with each of its options whose default is a number, a truth value or a list."""
    path = group.replace("/", ".")
    section = OmegaConf.to_container(OmegaConf.select(composed(group, choice), path))
    for key, value in leaves(section):
        if isinstance(value, bool | int | float | list) and key.rpartition(".")[2] != "_partial_":
            config = OmegaConf.create()
            OmegaConf.update(config, path, section, force_add=True)
            yield config, f"{path}.{key}", value


def set_to(config: DictConfig, option: str, value: Any) -> DictConfig:
    with open_dict(config):
        OmegaConf.update(config, option, value, merge=False)
    return config


def wrong_values(right: Any) -> list[Any]:
    if isinstance(right, list):
        return ["fast", 7, [*right, "fast"], dict(zip("ab", right, strict=False))]
    return ["maybe", 7, [True]] if isinstance(right, bool) else ["fast", "", ["fast"], True, {"value": right}]


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=lambda part: part)
def test_a_wrong_type_of_any_option_is_refused(group: str, choice: str) -> None:
    for config, option, right in typed_leaves(group, choice):
        wrong = [*wrong_values(right), *([right + 0.5] if type(right) is int else [])]
        for value in wrong:
            with pytest.raises(ValueError, match=rf"^{option} must be .+, not ") as refusal:
                with_right_types(set_to(config, option, value))
            assert "_target_" not in str(refusal.value)


def test_the_options_without_a_group_are_checked_as_well(compose_verb: Callable) -> None:
    config = compose_verb("train")
    tried = 0
    for section in ROOT_OPTIONS:
        part = OmegaConf.to_container(config[section]) if OmegaConf.is_config(config[section]) else config[section]
        for key, value in leaves({section: part}):
            if isinstance(value, bool | int | float):
                tried += 1
                for wrong in wrong_values(value):
                    with pytest.raises(ValueError, match=rf"^{key} must be .+, not "):
                        with_right_types(set_to(config.copy(), key, wrong))
    assert tried == 5, "seed, compile, label_dropout, self_conditioning, optimize.penalty"


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=lambda part: part)
def test_whole_numbers_may_be_written_as_others(group: str, choice: str) -> None:
    """As 1e2, or as text, as a variable of the environment gives it."""
    for config, option, right in typed_leaves(group, choice):
        if type(right) is int:
            for written in (float(right), str(right), f"{right}.0"):
                value = OmegaConf.select(with_right_types(set_to(config, option, written)), option)
                assert (value, type(value)) == (right, int), option


def test_most_options_are_found_by_these_tests() -> None:
    """Else a mistake in finding them would pass unnoticed."""
    found = {option for group, choice in CHOICES for _, option, _ in typed_leaves(group, choice)}
    assert len(found) > 85
    assert {"sampler.churn", "callbacks.trajectory.num_samples", "dataset.split.val_size", "ema.decay"} <= found


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_the_types_of_every_recipe_are_right(compose_verb: Callable, experiment: str) -> None:
    config = compose_verb("train", f"experiment={experiment}")
    assert with_right_types(config) == config


@pytest.mark.parametrize(("group", "choice"), BUILT, ids=lambda part: part)
def test_a_number_out_of_range_is_refused(compose_verb: Callable, group: str, choice: str) -> None:
    """By whatever takes it, when it is built: no option with a number lacks a check of its range."""
    others = {"model": "keras_unet", "callbacks": "minimal", "dataset": "gradients", group: choice}
    if (group, choice[:14]) == ("model", "adm_classifier"):
        others |= {"task": "classifier", "dataset": "mnist"}
    leaves_of_choice = list(typed_leaves(group, choice))  # before another config is composed
    config = compose_verb("train", *(f"{name}={chosen}" for name, chosen in others.items()))
    for _, option, right in leaves_of_choice:
        values = [math.nan] * (type(right) is not int) + [-7] * (option not in MAY_BE_NEGATIVE)
        for value in [] if isinstance(right, bool) else values:
            wrong = set_to(config.copy(), option, [value] * len(right) if isinstance(right, list) else value)
            with pytest.raises(Exception, match=option.rpartition(".")[2]) as refusal:
                check_buildable(resolved(with_right_types(wrong)))
            assert isinstance(cause_of(refusal.value), ValueError)


def test_a_number_out_of_range_for_the_trainer_is_refused() -> None:
    for config, option, right in typed_leaves("trainer", "default"):
        if not isinstance(right, bool) and option != "trainer.devices":  # which the machine decides
            with pytest.raises(ValueError, match=f"^{option} must be "):
                with_right_types(set_to(config, option, -7))


class TestOfOwnClasses:
    """A class of the user's own is checked by what it annotates."""

    @pytest.fixture(autouse=True)
    def module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        (tmp_path / "own_parts.py").write_text(
            "from __future__ import annotations\n"
            "from dataclasses import dataclass\n"
            "from typing import TYPE_CHECKING, NewType\n"
            "if TYPE_CHECKING:\n    from somewhere import Unknown\n"
            "Width = NewType('Width', int)\n"
            "class Net:\n"
            "    def __init__(self, width: Width, free, late: Unknown, share: float | None = None,\n"
            "                 implicit: int = None, sizes: tuple[int, ...] = (1,), **others: int): ...\n"
            "@dataclass\nclass Base:\n    rate: float = 0.1\n"
            "class Derived(Base): pass\n"
            "def make(count: int, *, root: str): ...\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        parameters_of.cache_clear()
        yield
        sys.modules.pop("own_parts", None)
        parameters_of.cache_clear()

    def config(self, name: str, **options: Any) -> DictConfig:
        return OmegaConf.create({"model": {"_target_": f"own_parts.{name}", **options}})

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("Net", {"width": "wide"}, "model.width must be a whole number, not wide"),
            ("Net", {"share": "half"}, "model.share must be a number or null, not half"),
            ("Net", {"sizes": [1, "x"]}, "model.sizes must be a list of whole numbers such as [1,2], not [1, x]"),
            ("Derived", {"rate": True}, "model.rate must be a number, not true"),
            ("make", {"count": None}, "model.count must be a whole number, not null"),
            (
                "make",
                {"_partial_": True, "count": [1, 2]},
                "(a sweep over several values is written -m model.count=1,2)",
            ),
        ],
        ids=str,
    )
    def test_a_wrong_type_is_refused(self, name: str, options: dict, message: str) -> None:
        with pytest.raises(ValueError, match=re.escape(message)):
            with_right_types(self.config(name, **options))

    def test_what_is_not_annotated_may_be_anything(self) -> None:
        config = self.config("Net", width=3, free="any", late=[1], implicit=None, other="any", share=1)
        assert with_right_types(config) == config

    def test_a_class_that_does_not_exist_is_left_to_others(self) -> None:
        for name in ("Nothing", "nothing.Net"):
            config = self.config(name, width="wide")
            assert with_right_types(config) == config


def test_an_option_is_named_as_it_was_given(compose_verb: Callable) -> None:
    """Not by the option that refers to it."""
    for option, referring in (("dataset.image_size", "dataset.source.image_size"), ("seed", "seeds.init")):
        config = compose_verb("train", f"{option}=abc")
        with pytest.raises(ValueError, match=f"^{option} must be a whole number, not abc"):
            with_right_types(config)
        config = compose_verb("train", f"{option}=3e1")
        assert OmegaConf.select(with_right_types(config), referring) == 30


def test_an_unset_option_is_left_to_others(compose_verb: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose_verb("train", "dataset=folder", "dataset.batch_size=${oc.env:NOT_SET_ANYWHERE}")
    assert OmegaConf.is_missing(with_right_types(config).dataset, "path")


def test_a_run_is_the_same_however_its_numbers_are_written(compose_verb: Callable) -> None:
    one = ["metrics.num_samples=100", "sampler.steps=10", "model.channels=[32,64]", "optimizer.lr=1"]
    other = ["metrics.num_samples=1e2", "sampler.steps=1e1", "model.channels=[32,64.0]", "optimizer.lr=1.0"]
    stored = [RunConfig.of_command(compose_verb("train", *words, "seed=1e1")).stored for words in (one, other)]
    assert stored[0]["metrics"] == stored[1]["metrics"] and stored[0]["model"] == stored[1]["model"]
    assert repr(stored[1]["metrics"]["num_samples"]) == "100" and repr(stored[1]["seeds"]["init"]) == "10"
    assert [repr(width) for width in stored[1]["model"]["channels"]] == ["32", "64"]


def test_a_checked_config_is_not_changed_itself(compose_verb: Callable) -> None:
    config = compose_verb("train", "sampler.steps=1e1")
    assert isinstance(with_right_types(config).sampler.steps, int) and isinstance(config.sampler.steps, float)
    assert isinstance(config.model.channels, ListConfig)
