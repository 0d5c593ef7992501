"""Options of a command on those that a checkpoint stores."""

import pytest
from omegaconf import DictConfig

from ddpm_lightning.runs.restore import _overridden

GUIDANCE = {"_target_": "ddpm_lightning.diffusion.guidance.ClassifierFreeGuidance", "_partial_": True, "scale": 2.0}


def test_an_option_that_is_newer_than_the_checkpoint_can_be_set() -> None:
    command = DictConfig({"scale": None, "rescale": 0.7, "level_min": None, "level_max": None})
    assert _overridden(DictConfig(GUIDANCE), command, "guidance") == GUIDANCE | {"rescale": 0.7}


@pytest.mark.parametrize("option", ["strength", "denoiser"])
def test_an_option_that_the_class_does_not_have_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"ClassifierFreeGuidance\\) has no option '{option}'; it has scale"):
        _overridden(DictConfig(GUIDANCE), DictConfig({option: 1.0}), "guidance")
