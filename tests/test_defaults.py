"""Whoever creates an object without Hydra gets the options that the commands would give it."""

import inspect

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from choices import CONF, choices

GROUPS = [
    *(
        "schedule",
        "predict",
        "loss_on",
        "loss",
        "weighting",
        "timesteps",
        "grid",
        "sampler",
        "guidance",
        "normalizer",
        "variance",
    ),
    *("optimizer", "ema", "metrics/features"),
]
OPTIONS_THAT_MAKE_THE_CHOICE = {"uniform_continuous": {"stratified"}, "uniform_discrete": {"stratified"}}


@pytest.mark.parametrize(("group", "choice"), [(group, choice) for group in GROUPS for choice in choices(group)])
def test_defaults_of_a_class_are_those_of_its_yaml(group, choice):
    written = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{choice}.yaml"))
    parameters = inspect.signature(get_object(written["_target_"])).parameters if "_target_" in written else {}
    compared = {
        name
        for name, parameter in parameters.items()
        if parameter.default is not parameter.empty and not str(written[name]).startswith("${")
    } - OPTIONS_THAT_MAKE_THE_CHOICE.get(choice, set())
    defaults = {name: parameters[name].default for name in compared}
    assert OmegaConf.create(defaults) == OmegaConf.create({name: written[name] for name in compared})
