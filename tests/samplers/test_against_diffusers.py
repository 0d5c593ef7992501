"""Every step of DDPM and DDIM against diffusers' schedulers, given the same x_t, network output and noise.

Both sides walk one explicit list of times: diffusers' timestep k is t = (k + 1)/T, and the step from the last of them
goes to our t = 0, which is diffusers' alpha_bar of 1.
"""

from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.schedulers import scheduling_ddpm
from torch import Tensor

from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.target import Image, Noise, Prediction, Velocity
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.samplers.ddpm import DDPM
from ddpm_lightning.samplers.sampler import Sampler, ValueRange

T = 1000
SHAPE = (4, 1, 2, 3)
RESCALED = "rescaled "
"""Before the name of a schedule: with zero terminal SNR."""
SCHEDULES = {
    "linear": LinearSchedule(T),
    "squaredcos_cap_v2": CosineSchedule(T),
    RESCALED + "linear": LinearSchedule(T, zero_terminal_snr=True),
}
PREDICTION_TYPES = {"epsilon": Noise(), "sample": Image(), "v_prediction": Velocity()}

every_prediction = pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
ALL_STEPS_AT = 0.5
"""The eta with which DDIM walks all T steps too, which takes a second: none of its terms is zero then."""
CASES = [
    (beta_schedule, prediction_type, steps)
    for beta_schedule in SCHEDULES
    for prediction_type in PREDICTION_TYPES
    for steps in (1, 2, 3, 7, 50, T)
    # Predicted noise is no image where nothing but noise is left, and one step from there is what is new.
    if not (beta_schedule.startswith(RESCALED) and (prediction_type == "epsilon" or steps == T))
]


def oracle(kind: type, beta_schedule: str, prediction_type: str, **options: object):
    """A diffusers scheduler with its own alpha_bar table in float64.

    Its float32 betas of up to 0.999 leave 1 - beta with four digits, which would be all one could then compare.
    """
    name = beta_schedule.removeprefix(RESCALED)
    scheduler = kind(
        T,
        beta_schedule=name,
        rescale_betas_zero_snr=name != beta_schedule,
        prediction_type=prediction_type,
        clip_sample=False,
        **options,
    )
    accurate = SCHEDULES[beta_schedule].rates(torch.arange(1, T + 1, dtype=torch.float64) / T).alpha ** 2
    torch.testing.assert_close(accurate.float(), scheduler.alphas_cumprod, rtol=1e-4, atol=1e-6)
    scheduler.alphas_cumprod = accurate
    return scheduler


class Trajectory:
    """Runs one of our loops with a network that is any smooth function of (x_t, t), recording what it saw.

    The network claims that the image is tanh(x_t), so that x stays of unit size through a thousand steps.
    """

    def __init__(self, beta_schedule: str, prediction_type: str, steps: int, generator: torch.Generator) -> None:
        self.schedule = SCHEDULES[beta_schedule]
        self.target = PREDICTION_TYPES[prediction_type]
        self.timesteps = [round(T * (steps - i) / steps) - 1 for i in range(steps)]
        self.times = [(k + 1) / T for k in self.timesteps] + [0.0]
        self.start = torch.randn(SHAPE, generator=generator)
        self.noise = torch.randn(steps, *SHAPE, generator=generator)
        self.noise[-1] = 0  # ours adds none on the way to t = 0; diffusers adds beta's if that is a long way
        self.outputs: list[Tensor] = []

    def predicts_at(self, t: float) -> bool:
        return True

    def __call__(
        self, x_t: Tensor, t: Tensor, label: Tensor | None = None, estimate: Tensor | None = None
    ) -> Prediction:
        rates = self.schedule.rates(t)
        image, wide = x_t.tanh(), rates.broadcast_to(x_t)
        output = self.target(image, (x_t - wide.alpha * image) / wide.sigma, rates)
        self.outputs.append(output)
        return self.target.invert(output, x_t, rates)._replace(v=1.5 * x_t.cos())  # also outside [0, 1]

    def run(self, sampler: Sampler, clip: ValueRange | None = None) -> list[Tensor]:
        """x at every time of the list, the sample last."""
        states: list[Tensor] = []
        sample = sampler.loop(
            self,
            self.start,
            self.times,
            self.noise.__getitem__,
            clip=clip,
            callback=lambda s: states.append(s.x_t),
        )
        return [*states, sample]

    def check(self, states: list[Tensor], expected: list[Tensor]) -> None:
        alpha = self.schedule.rates(torch.tensor(self.times, dtype=torch.float64)).alpha.tolist()
        for (now, after), ours, theirs in zip(pairwise(alpha), states[1:], expected, strict=True):
            # Predicted noise becomes an image by a division by alpha, which carries float32 rounding along.
            amplified = 1e-6 * after / now if isinstance(self.target, Noise) else 0.0
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 + amplified)


@pytest.mark.parametrize(
    ("beta_schedule", "prediction_type", "steps", "eta"),
    [(*case, eta) for eta in (0.0, ALL_STEPS_AT, 1.0) for case in CASES if case[2] < T or eta == ALL_STEPS_AT],
)
def test_ddim(steps, beta_schedule, prediction_type, eta, generator):
    trajectory = Trajectory(beta_schedule, prediction_type, steps, generator)
    states = trajectory.run(DDIM(steps, eta=eta))
    scheduler = oracle(DDIMScheduler, beta_schedule, prediction_type, set_alpha_to_one=True)
    expected = []
    for i, (k, after) in enumerate(pairwise([*trajectory.timesteps, -1])):
        # Its previous timestep is k - T // num_inference_steps: this makes that the next one of the list.
        scheduler.num_inference_steps = Fraction(T, k - after)
        step = scheduler.step(
            trajectory.outputs[i], k, states[i], eta=eta, variance_noise=trajectory.noise[i], return_dict=False
        )
        expected.append(step[0])
    trajectory.check(states, expected)


@pytest.mark.parametrize(("beta_schedule", "prediction_type", "steps"), CASES)
@pytest.mark.parametrize("variance", ["small", "large", "learned"])
def test_ddpm(steps, beta_schedule, prediction_type, variance, generator, monkeypatch):
    trajectory = Trajectory(beta_schedule, prediction_type, steps, generator)
    states = trajectory.run(DDPM(steps, variance=variance))
    learned = variance == "learned"
    kind = "learned_range" if learned else f"fixed_{variance}"
    scheduler = oracle(DDPMScheduler, beta_schedule, prediction_type, variance_type=kind)
    scheduler.set_timesteps(timesteps=trajectory.timesteps)
    drawn = SimpleNamespace(noise=None)
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, **__: drawn.noise)
    expected = []
    for i, k in enumerate(trajectory.timesteps):
        drawn.noise = trajectory.noise[i]
        output = trajectory.outputs[i]
        if learned:
            output = torch.cat([output, 3 * states[i].cos() - 1], dim=1)
        expected.append(scheduler.step(output, k, states[i], return_dict=False)[0])
    trajectory.check(states, expected)


@every_prediction
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_clips_the_image_and_fits_the_noise(prediction_type, eta, generator):
    """diffusers does so with use_clipped_model_output."""
    trajectory = Trajectory("linear", prediction_type, 50, generator)
    trajectory.start = 3 * trajectory.start
    states = trajectory.run(DDIM(50, eta=eta), clip=(-0.3, 0.3))
    scheduler = oracle(DDIMScheduler, "linear", prediction_type, set_alpha_to_one=True)
    scheduler.register_to_config(clip_sample=True, clip_sample_range=0.3)
    scheduler.num_inference_steps = 50
    expected = [
        scheduler.step(
            trajectory.outputs[i],
            k,
            states[i],
            eta=eta,
            use_clipped_model_output=True,
            variance_noise=trajectory.noise[i],
            return_dict=False,
        )[0]
        for i, k in enumerate(trajectory.timesteps)
    ]
    trajectory.check(states, expected)
    assert states[-1].abs().max() <= 0.3
