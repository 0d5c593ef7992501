import pytest
import torch
from ddpm_lightning.diffusion.parameterization import Image, Noise, Velocity, image_from_noise, noise_from_image

from ddpm_lightning.diffusion.forward_process import q_sample

PARAMETERIZATIONS = [Noise(), Image(), Velocity()]
every_parameterization = pytest.mark.parametrize("parameterization", PARAMETERIZATIONS, ids=lambda p: p.name)


@every_parameterization
@pytest.mark.parametrize("time", [0.001, 0.01, 0.3, 0.5, 0.98, "mixed"])
@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (6, 3, 5, 2), (6, 7), (6,)], ids=str)
def test_the_target_inverts_to_image_and_noise(schedule, parameterization, time, shape, generator):
    t = torch.linspace(0.002, 0.98, shape[0]) if time == "mixed" else torch.full(shape[:1], time)
    rates = schedule.rates(t)
    x_0, noise = torch.randn(2, *shape, generator=generator)
    x_t = q_sample(x_0, noise, rates)
    prediction = parameterization.invert(parameterization.target(x_0, noise, rates), x_t, rates)
    assert prediction.image.shape == prediction.noise.shape == shape
    # Float32 rounding, divided by the smaller rate.
    tolerance = 1e-6 / min(rates.signal.min().item(), rates.noise.min().item())
    torch.testing.assert_close(prediction.image, x_0, rtol=0, atol=tolerance)
    torch.testing.assert_close(prediction.noise, noise, rtol=0, atol=tolerance)


@every_parameterization
def test_any_output_gives_image_and_noise_that_make_x_t(schedule, parameterization, generator):
    rates = schedule.rates(torch.tensor([0.01, 0.3, 0.6, 0.9]))
    x_t, output = torch.randn(2, 4, 3, 5, 5, generator=generator)
    prediction = parameterization.invert(output, x_t, rates)
    torch.testing.assert_close(q_sample(*prediction, rates), x_t, rtol=0, atol=1e-5)


def test_targets_by_hand(schedule):
    rates = schedule.rates(torch.tensor([0.4]))
    x_0, noise = torch.tensor([[2.0]]), torch.tensor([[-3.0]])
    assert Noise().target(x_0, noise, rates).item() == -3
    assert Image().target(x_0, noise, rates).item() == 2
    velocity = rates.signal.item() * -3 - rates.noise.item() * 2
    assert Velocity().target(x_0, noise, rates).item() == pytest.approx(velocity)


def test_noise_and_image_of_x_t_determine_each_other(schedule, generator):
    rates = schedule.rates(torch.tensor([0.1, 0.7]))
    x_t, image = torch.randn(2, 2, 1, 3, 3, generator=generator)
    noise = noise_from_image(x_t, image, rates)
    torch.testing.assert_close(image_from_noise(x_t, noise, rates), image, rtol=0, atol=1e-5)


@every_parameterization
def test_a_converted_weight_counts_the_same_error_alike(schedule, parameterization, generator):
    """weight * |image error|^2 = converted weight * |target error|^2 for any output."""
    t = torch.linspace(0.05, 0.95, 10, dtype=torch.float64)
    rates, snr = schedule.rates(t), schedule.log_snr(t).exp()
    x_0, noise, output = torch.randn(3, 10, 2, 3, 3, generator=generator, dtype=torch.float64)
    x_t = q_sample(x_0, noise, rates)
    weight = torch.rand(10, generator=generator, dtype=torch.float64) + 0.1

    def squared(error: torch.Tensor) -> torch.Tensor:
        return error.square().flatten(1).sum(1)

    on_image = weight * squared(parameterization.invert(output, x_t, rates).image - x_0)
    on_target = squared(parameterization.target(x_0, noise, rates) - output)
    torch.testing.assert_close(parameterization.convert_weight(weight, snr) * on_target, on_image)


@pytest.mark.parametrize("t_max", [0.0, -0.5, 1.01])
def test_a_first_time_outside_the_schedule_is_refused(t_max):
    with pytest.raises(ValueError, match=r"loss_on.t_max must lie in \(0, 1\]"):
        Noise(t_max=t_max)
