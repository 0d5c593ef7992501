import pytest
import torch
from scipy.stats import truncnorm

from choices import choices, make
from ddpm_lightning.diffusion.randomness import Purpose, keyed_uniform
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.schedules.discrete import DiscreteSchedule
from ddpm_lightning.diffusion.schedules.edm import EDMSchedule
from ddpm_lightning.diffusion.schedules.flow import FlowSchedule
from ddpm_lightning.diffusion.schedules.limited import LimitedCosineSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.timesteps import (
    DiscreteTimesteps,
    LogitNormal,
    LogNormal,
    TimestepDistribution,
    UniformTimesteps,
)

CHOICES = choices("timesteps")
LARGEST_UNIFORM = 1 - 2.0**-24
every_choice = pytest.mark.parametrize("choice", CHOICES)


class AsTheyAre(TimestepDistribution):
    """The uniform numbers themselves."""

    def times(self, uniform, schedule):
        return uniform


def uniform_numbers(slots: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One number for each sample, and one for the batch."""
    own = keyed_uniform(0, Purpose.TIME, slots, step=step)
    return own, keyed_uniform(0, Purpose.SHARED_TIME, torch.zeros(1, dtype=torch.long), step=step)[0]


def times(
    distribution: TimestepDistribution,
    schedule: Schedule,
    batch_size: int,
    slots: torch.Tensor | None = None,
    step: int = 0,
) -> torch.Tensor:
    slots = torch.arange(batch_size) if slots is None else slots
    return distribution(schedule, *uniform_numbers(slots, step), slots, batch_size)


def test_the_expected_choices_exist():
    expected = {"uniform_discrete", "uniform_continuous", "stratified", "log_normal", "logit_normal"}
    assert expected <= {*CHOICES}


@every_choice
@pytest.mark.parametrize("stratified", [False, True])
def test_times_are_finite_and_between_t_min_and_one(path, choice, stratified):
    distribution, slots = make("timesteps", choice, stratified=stratified), torch.arange(5)
    for uniform in (0.0, 0.5, LARGEST_UNIFORM):
        t = distribution(path, torch.full((5,), uniform), torch.tensor(uniform), slots, 5)
        assert t.shape == (5,)
        assert t.dtype == torch.float32
        assert t.isfinite().all()
        assert (t >= torch.tensor(path.t_min)).all()
        assert (t <= 1).all()


@every_choice
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_tables_of_few_steps_have_times_too(choice, num_steps):
    schedule, uniform = LinearSchedule(num_steps, scale_betas=False), torch.tensor([0.0, 0.5, LARGEST_UNIFORM])
    t = make("timesteps", choice).times(uniform, schedule)
    assert (t >= torch.tensor(1 / num_steps)).all()
    assert (t <= 1).all()


@every_choice
def test_times_never_fall_with_the_uniform_number(path, choice):
    uniform = torch.linspace(0, LARGEST_UNIFORM, 2001, dtype=torch.float64)
    assert (make("timesteps", choice).times(uniform, path).diff() >= 0).all()
    assert (make("timesteps", choice).times(uniform.float(), path).diff() >= 0).all()


@pytest.mark.parametrize("distribution", [LogitNormal(), LogNormal(), UniformTimesteps()], ids=str)
def test_continuous_times_rise_with_the_uniform_number(path, distribution):
    uniform = torch.linspace(0.001, 0.999, 2001, dtype=torch.float64)
    assert (distribution.times(uniform, path).diff() > 0).all()


def test_uniform_times_are_a_straight_line_that_ends_below_one(path):
    uniform = torch.linspace(0, LARGEST_UNIFORM, 101, dtype=torch.float64)
    t = UniformTimesteps().times(uniform, path)
    torch.testing.assert_close(t, path.t_min + uniform * (1 - path.t_min), rtol=1e-12, atol=0)
    latest = UniformTimesteps().times(torch.tensor([LARGEST_UNIFORM]), path)
    assert latest < 1


def test_the_latest_uniform_time_still_has_signal(path):
    """Even on paths without signal at t = 1, so that losses that divide by alpha can be trained on these times."""
    latest = UniformTimesteps().times(torch.tensor([LARGEST_UNIFORM]), path)
    assert path.rates(latest).alpha > 0
    assert path.log_snr(latest).isfinite()


def test_discrete_times_are_the_nodes_of_the_schedule():
    assert make("timesteps", "uniform_discrete", "schedule=linear", "schedule.num_steps=50").num_steps == 50
    assert make("timesteps", "uniform_discrete", "schedule=flow").num_steps == 1000


def test_discrete_times_are_nodes_all_equally_likely():
    num_steps, count = 20, 40_000
    t = times(
        DiscreteTimesteps(stratified=False, num_steps=num_steps), LinearSchedule(num_steps, scale_betas=False), count
    )
    nodes = (t * num_steps).round()
    torch.testing.assert_close(t, nodes / num_steps, rtol=0, atol=0)
    observed = nodes.long().bincount(minlength=num_steps + 1)
    assert observed[0] == 0
    chi_square = ((observed[1:] - count / num_steps) ** 2 / (count / num_steps)).sum().item()
    assert chi_square < 43.8  # the 0.999 quantile with 19 degrees of freedom


@pytest.fixture(scope="module")
def draws() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The uniform numbers of 2000 batches of 16."""
    return [uniform_numbers(torch.arange(16), step) for step in range(2000)]


@pytest.mark.parametrize("choice", ["uniform_discrete", "uniform_continuous", "stratified"])
def test_over_many_batches_every_time_is_equally_likely(choice, draws):
    """The Kolmogorov-Smirnov distance to the uniform distribution on [1/T, 1], pooled and for a single slot."""
    num_steps, slots = 1000, torch.arange(16)
    distribution, schedule = make("timesteps", choice), LinearSchedule(num_steps)
    t = torch.stack([distribution(schedule, own, shared, slots, 16) for own, shared in draws])
    for sample in (t.flatten(), t[:, 3]):
        expected = (torch.arange(len(sample)) + 0.5) / len(sample)
        observed = (sample.sort().values - 1 / num_steps) / (1 - 1 / num_steps)
        assert (observed - expected).abs().max() < 1.95 / len(sample) ** 0.5 + 1 / num_steps  # the 0.999 quantile


QUANTILES = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64)


def truncated_normal(mean: float, std: float, low: float, high: float) -> torch.Tensor:
    return torch.from_numpy(truncnorm.ppf(QUANTILES.numpy(), (low - mean) / std, (high - mean) / std, mean, std))


@pytest.mark.parametrize(("location", "scale"), [(0.0, 1.0), (-0.5, 0.6), (1.0, 3.0)])
def test_logits_of_times_on_the_straight_path_are_normal(location, scale):
    """Esser et al. 2024, section 3.1, from t_min on."""
    t = LogitNormal(location=location, scale=scale).times(QUANTILES, FlowSchedule(t_min=0.01))
    expected = truncated_normal(location, scale, torch.logit(torch.tensor(0.01).double()).item(), torch.inf)
    torch.testing.assert_close(torch.logit(t), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("p_mean", "p_std"), [(-1.2, 1.2), (0.0, 3.0), (-5.0, 1.0)])
def test_log_sigma_on_edms_path_is_normal(p_mean, p_std):
    """Karras et al. 2022, table 1, truncated at sigma_min and sigma_max."""
    schedule = EDMSchedule()
    sigma = schedule.rates(LogNormal(p_mean=p_mean, p_std=p_std).times(QUANTILES, schedule)).sigma
    ends = torch.tensor([0.002, 80.0], dtype=torch.float64).log().tolist()
    torch.testing.assert_close(sigma.log(), truncated_normal(p_mean, p_std, *ends), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("distribution", [LogitNormal(location=-0.3), LogNormal(p_mean=-0.3, p_std=1.0)], ids=str)
def test_the_same_noise_levels_are_drawn_on_every_path(path, distribution):
    """log(sigma / alpha) is normal, truncated where the path ends, up to the snapping of times to nodes."""
    rates = path.rates(distribution.times(QUANTILES, path))
    ends = -path.log_snr(torch.tensor([path.t_min, 1.0], dtype=torch.float64)) / 2
    expected = truncated_normal(-0.3, 1.0, *ends.tolist())
    tolerance = 1e-3 if isinstance(path, DiscreteSchedule) else 1e-6
    torch.testing.assert_close((rates.sigma / rates.alpha).log(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("p_mean", "nearest"), [(-2.5, "t_min"), (-60.0, "t_min"), (7.0, "1"), (60.0, "1")])
def test_noise_levels_beyond_the_path_are_at_its_near_end(p_mean, nearest):
    """The path ends many standard deviations away from the mean, at log(sigma / alpha) = -1.1 and 3.9."""
    schedule = LimitedCosineSchedule()
    t = LogNormal(p_mean=p_mean, p_std=0.1).times(torch.tensor([1e-3, 0.5, LARGEST_UNIFORM]), schedule)
    expected = schedule.t_min if nearest == "t_min" else 1.0
    torch.testing.assert_close(t, torch.full((3,), expected), rtol=0, atol=0.05)


@pytest.mark.parametrize("batch_size", [1, 2, 32, 37])
@pytest.mark.parametrize("step", range(5))
def test_stratified_has_one_uniform_number_in_each_stratum(batch_size, step):
    """Strata of width 1/B that start at the smallest number."""
    u = times(AsTheyAre(stratified=True), FlowSchedule(), batch_size, step=step).double()
    offset = u.min()
    strata = ((u - offset) * batch_size).round()
    assert torch.equal(strata.sort().values, torch.arange(batch_size, dtype=torch.float64))
    assert offset < 1 / batch_size
    assert u.max() < 1
    torch.testing.assert_close(u, offset + strata / batch_size, rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 32, 37])
@pytest.mark.parametrize("step", range(5))
def test_stratified_puts_one_time_in_each_stratum(batch_size, step):
    t = times(UniformTimesteps(stratified=True), LinearSchedule(), batch_size, step=step)
    position = (t.double() - 1 / 1000) / (1 - 1 / 1000)
    offset = position.min()  # strata start at the smallest time: they are of equal width, and wrap round
    strata = ((position - offset) * batch_size).round()
    assert torch.equal(strata.sort().values, torch.arange(batch_size, dtype=torch.float64))
    assert offset < 1 / batch_size


@every_choice
def test_stratified_times_depend_only_on_offset_and_position(choice):
    schedule, slots, offset = FlowSchedule(), torch.arange(8), torch.tensor(0.3)
    distribution = make("timesteps", choice, stratified=True)
    ours = distribution(schedule, torch.full((8,), torch.nan), offset, slots, 8)
    expected = distribution.times((0.3 + torch.arange(8) / 8) % 1, schedule)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0)


@every_choice
def test_other_times_depend_only_on_each_samples_number(choice):
    schedule, uniform = FlowSchedule(), torch.rand(8, generator=torch.Generator().manual_seed(0))
    distribution = make("timesteps", choice, stratified=False)
    ours = distribution(schedule, uniform, torch.tensor(torch.nan), torch.arange(8), 8)
    assert torch.equal(ours, distribution.times(uniform, schedule))


def test_stratified_batches_differ():
    first, second = (times(UniformTimesteps(), LinearSchedule(), 8, step=step) for step in (0, 1))
    assert (first.sort().values - second.sort().values).abs().min() > 1e-4


@every_choice
@pytest.mark.parametrize("stratified", [False, True])
def test_a_batch_on_two_devices_has_the_times_of_the_whole(path, choice, stratified):
    distribution = make("timesteps", choice, stratified=stratified)
    whole = times(distribution, path, 10)
    halves = [times(distribution, path, 10, slots) for slots in torch.arange(10).split(5)]
    assert torch.equal(torch.cat(halves), whole)
    assert len(whole.unique()) > 5


@pytest.mark.parametrize(
    ("make_distribution", "options", "message"),
    [
        (LogitNormal, {"scale": 0.0}, "timesteps.scale must be above 0, not 0.0"),
        (LogitNormal, {"scale": -1.0}, "timesteps.scale must be above 0, not -1.0"),
        (LogNormal, {"p_std": 0.0}, "timesteps.p_std must be above 0, not 0.0"),
        (LogNormal, {"p_std": -1.2}, "timesteps.p_std must be above 0, not -1.2"),
        (DiscreteTimesteps, {"num_steps": 0}, "timesteps.num_steps must be at least 1, not 0"),
    ],
)
def test_invalid_options_are_refused(make_distribution, options, message):
    with pytest.raises(ValueError, match=message):
        make_distribution(**options)
