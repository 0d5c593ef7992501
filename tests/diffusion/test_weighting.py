import pytest
import torch
from ddpm_lightning.diffusion.parameterization import Image, Noise, Velocity

from ddpm_lightning.diffusion.weighting import Constant, MinSNR


@pytest.mark.parametrize("parameterization", [Noise(), Image(), Velocity()], ids=lambda p: p.name)
def test_constant_is_one_in_the_targets_own_space(parameterization):
    assert torch.equal(Constant()(torch.tensor([-20.0, 0.0, 10.0]), parameterization), torch.ones(3))


def test_min_snr_by_hand():
    """The three formulas of Hang et al. 2023, section 3.4, on both sides of gamma."""
    snr = torch.tensor([0.1, 1.0, 5.0, 20.0, 4000.0])
    clipped = torch.tensor([0.1, 1.0, 5.0, 5.0, 5.0])
    weighting = MinSNR(gamma=5.0)
    torch.testing.assert_close(weighting(snr.log(), Image()), clipped)
    torch.testing.assert_close(weighting(snr.log(), Noise()), clipped / snr)
    torch.testing.assert_close(weighting(snr.log(), Velocity()), clipped / (snr + 1))


@pytest.mark.parametrize("gamma", [0.0, -1.0])
def test_a_bound_that_is_not_positive_is_refused(gamma):
    with pytest.raises(ValueError, match=r"weighting.gamma must be positive"):
        MinSNR(gamma)
