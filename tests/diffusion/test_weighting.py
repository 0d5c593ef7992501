import math

import pytest
import torch

from choices import choices, make
from ddpm_lightning.diffusion.schedule import Rates
from ddpm_lightning.diffusion.schedules.flow import FlowSchedule
from ddpm_lightning.diffusion.target import EDM, Flow, Image, Noise, Velocity
from ddpm_lightning.diffusion.weighting import P2, SNR, Constant, MinSNR

RATIOS = torch.tensor([0.1, 1.0, 5.0, 20.0, 4000.0])
CLIPPED = torch.tensor([0.1, 1.0, 5.0, 5.0, 5.0])


def test_constant_is_one_in_the_targets_own_space(path, loss_on):
    assert torch.equal(Constant()(path.rates(torch.linspace(0.1, 1, 3)), loss_on), torch.ones(3))


def test_min_snr_by_hand():
    """The three formulas of Hang et al. 2023, section 3.4, on both sides of gamma, where alpha^2 + sigma^2 = 1."""
    rates = Rates((RATIOS / (1 + RATIOS)).sqrt(), (1 / (1 + RATIOS)).sqrt())
    weighting = MinSNR(gamma=5.0)
    torch.testing.assert_close(weighting(rates, Image()), CLIPPED)
    torch.testing.assert_close(weighting(rates, Noise()), CLIPPED / RATIOS)
    torch.testing.assert_close(weighting(rates, Velocity()), CLIPPED / (RATIOS + 1))


def test_truncated_snr_by_hand():
    """Salimans & Ho 2022, section 4: max(SNR, 1) on x_0, and so max(1, 1 / SNR) on the noise."""
    rates = Rates((RATIOS / (1 + RATIOS)).sqrt(), (1 / (1 + RATIOS)).sqrt())
    floored = RATIOS.clamp(min=1)
    torch.testing.assert_close(SNR(floor=1)(rates, Image()), floored)
    torch.testing.assert_close(SNR(floor=1)(rates, Noise()), floored / RATIOS)
    torch.testing.assert_close(SNR(floor=0)(rates, Noise()), torch.ones(5))


def test_p2_by_hand():
    """Choi et al. 2022, eq. 8: 1 / (k + SNR)^gamma on the noise."""
    rates = Rates((RATIOS / (1 + RATIOS)).sqrt(), (1 / (1 + RATIOS)).sqrt())
    torch.testing.assert_close(P2()(rates, Noise()), 1 / (1 + RATIOS))
    torch.testing.assert_close(P2(k=0.5, gamma=0.5)(rates, Noise()), (0.5 + RATIOS).rsqrt())
    torch.testing.assert_close(P2(k=0.5, gamma=0.5)(rates, Image()), RATIOS * (0.5 + RATIOS).rsqrt())
    torch.testing.assert_close(P2(gamma=0)(rates, Velocity()), RATIOS / (1 + RATIOS))


@pytest.mark.parametrize(
    ("build", "option"),
    [
        (lambda: P2(k=0), "k"),
        (lambda: P2(k=math.inf), "k"),
        (lambda: P2(k=math.nan), "k"),
        (lambda: P2(gamma=-1), "gamma"),
        (lambda: P2(gamma=math.inf), "gamma"),
        (lambda: P2(gamma=math.nan), "gamma"),
        (lambda: SNR(-1), "floor"),
        (lambda: SNR(math.inf), "floor"),
        (lambda: SNR(math.nan), "floor"),
    ],
)
def test_an_option_out_of_range_is_refused(build, option):
    with pytest.raises(ValueError, match=rf"weighting\.{option} must be a finite number"):
        build()


def test_min_snr_by_hand_on_an_exploding_path():
    """alpha = 1 and sigma = SNR^(-1/2): an error of x_0 is sigma times that of eps, c_out times that of EDM's F."""
    rates = Rates(torch.ones(5), RATIOS.rsqrt())
    weighting = MinSNR(gamma=5.0)
    torch.testing.assert_close(weighting(rates, Image()), CLIPPED)
    torch.testing.assert_close(weighting(rates, Noise()), CLIPPED / RATIOS)
    torch.testing.assert_close(weighting(rates, Velocity()), CLIPPED / RATIOS / (1 + 1 / RATIOS) ** 2)
    torch.testing.assert_close(weighting(rates, Flow()), CLIPPED / RATIOS / (1 + RATIOS.rsqrt()) ** 2)
    c_out = RATIOS.rsqrt() * 0.5 / (0.25 + 1 / RATIOS).sqrt()
    torch.testing.assert_close(weighting(rates, EDM(sigma_data=0.5)), CLIPPED * c_out**2)


def test_the_straight_path_does_not_preserve_variance():
    """At t = 0.37 a velocity's weight is that of x_0 times (sigma / (alpha^2 + sigma^2))^2, not 1 / (SNR + 1)."""
    rates = FlowSchedule().rates(torch.tensor([0.37], dtype=torch.float64))
    snr = (0.63 / 0.37) ** 2
    ours = MinSNR(gamma=1e9)(rates, Velocity()).item() / snr
    assert ours == pytest.approx((0.37 / (0.63**2 + 0.37**2)) ** 2)
    assert ours == pytest.approx(0.4805, abs=1e-4)
    assert 1 / (snr + 1) == pytest.approx(0.2565, abs=1e-4)
    assert MinSNR(gamma=1e9)(rates, Flow()).item() / snr == pytest.approx(0.37**2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_min_snr_weights_without_signal_are_the_limits(loss_on, dtype):
    """1 for the noise, whose error is that of x_0 times alpha / sigma; 0 for all other targets."""
    alpha = torch.tensor([0.0, 1e-30, 1e-10], dtype=dtype)
    weights = MinSNR()(Rates(alpha, torch.ones_like(alpha)), loss_on)
    if loss_on == Noise():
        torch.testing.assert_close(weights, torch.ones_like(alpha), rtol=1e-6, atol=0)
    elif loss_on == EDM(sigma_data=0.5):
        torch.testing.assert_close(weights, 0.25 * alpha**2, rtol=1e-5, atol=1e-30)
    else:
        torch.testing.assert_close(weights, alpha**2, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("choice", choices("weighting"))
def test_weights_are_finite_on_every_path(path, loss_on, choice):
    t = torch.tensor([path.t_min, 0.3, 0.99, 1 - 2.0**-24, 1.0])
    weights = make("weighting", choice)(path.rates(t), loss_on)
    assert weights.shape == t.shape
    assert weights.isfinite().all()
    assert (weights >= 0).all()


@pytest.mark.parametrize("gamma", [0.0, -1.0])
def test_a_gamma_that_is_not_positive_is_refused(gamma):
    with pytest.raises(ValueError, match=r"weighting.gamma must be positive"):
        MinSNR(gamma)


def test_an_infinite_gamma_leaves_the_snr():
    rates = Rates(RATIOS.sqrt(), torch.ones(5))
    torch.testing.assert_close(MinSNR(math.inf)(rates, Image()), RATIOS)
