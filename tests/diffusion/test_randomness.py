import pytest
import torch

from ddpm_lightning.diffusion.randomness import Purpose, golden_spread, keyed_normal, keyed_uniform, philox

ALL_ONES = (0xFFFFFFFF,) * 6
DIGITS_OF_PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)
KNOWN_ANSWERS = {  # Random123's kat_vectors for philox4x32-10: counter and key, then the answer
    (0,) * 6: (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ALL_ONES: (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    DIGITS_OF_PI: (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
}


@pytest.mark.parametrize(("words", "answer"), KNOWN_ANSWERS.items(), ids=["zeros", "ones", "pi"])
def test_philox_gives_the_published_answers(words, answer):
    counter = [torch.tensor([word]) for word in words[:4]]
    assert tuple(int(word) for word in philox(tuple(counter), words[4:])) == answer


def test_a_uniform_number_is_the_published_word():
    """The first word of counter 0 and key 0, as a uniform number."""
    ours = keyed_uniform(0, Purpose.TIME, torch.zeros(1, dtype=torch.long))
    assert ours.item() == (0x6627E8D5 >> 8) / 2**24


@pytest.fixture(scope="module")
def million() -> torch.Tensor:
    return keyed_normal(3, Purpose.NOISE, torch.arange(1000), (10, 100), step=7).double().flatten()


def test_normals_have_the_moments_of_the_standard_normal(million):
    """Bounds of four standard errors."""
    error = 4 / len(million) ** 0.5
    assert million.mean().abs() < error
    assert (million.var() - 1).abs() < error * 2**0.5
    assert million.pow(3).mean().abs() < error * 15**0.5
    assert (million.pow(4).mean() - 3).abs() < error * 96**0.5


def test_normals_follow_the_normal_distribution_function(million):
    expected = torch.special.ndtr(million.sort().values)
    empirical = (torch.arange(len(million), dtype=torch.float64) + 0.5) / len(million)
    assert (expected - empirical).abs().max() < 1.95 / len(million) ** 0.5  # Kolmogorov-Smirnov at 0.999


def test_tails_are_there_and_finite(million):
    assert million.isfinite().all()
    assert 4.4 < million.abs().max() < 6.8  # the most extreme of a million lies near 4.9


def test_uniforms_fill_the_half_open_unit_interval():
    u = keyed_uniform(1, Purpose.TIME, torch.arange(200_000))
    assert u.dtype == torch.float32
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    expected = (torch.arange(len(u)) + 0.5) / len(u)
    assert (u.sort().values - expected).abs().max() < 1.95 / len(u) ** 0.5


def test_streams_of_different_keys_are_independent():
    """Correlations between streams that differ in one part of the key or counter: items, steps, purposes, seeds."""
    items, shape = torch.arange(100), (1000,)
    base = {"seed": 5, "purpose": Purpose.NOISE, "items": items, "shape": shape}
    streams = torch.stack(
        [
            keyed_normal(**base).flatten(),
            keyed_normal(**base, step=1).flatten(),
            keyed_normal(**base, micro_batch=1).flatten(),
            keyed_normal(**base | {"purpose": Purpose.SAMPLER_NOISE}).flatten(),
            keyed_normal(**base | {"seed": 6}).flatten(),
            keyed_normal(**base | {"items": items + 100}).flatten(),
        ]
    )
    off_diagonal = torch.corrcoef(streams) - torch.eye(len(streams))
    assert off_diagonal.abs().max() < 5 / streams.shape[1] ** 0.5
    squares = torch.corrcoef(streams.square()) - torch.eye(len(streams))
    assert squares.abs().max() < 5 / streams.shape[1] ** 0.5


@pytest.mark.parametrize("power", [1, 2], ids=["values", "squares"])
def test_numbers_within_and_across_items_are_uncorrelated(power):
    """Squares too: two normals of one Box-Muller radius would have uncorrelated values and be dependent."""
    x = keyed_normal(5, Purpose.NOISE, torch.arange(20_000), (8,)) ** power
    within = torch.corrcoef(x.T) - torch.eye(8)
    assert within.abs().max() < 5 / len(x) ** 0.5
    neighbours = torch.corrcoef(torch.stack([x[:-1].flatten(), x[1:].flatten()]))[0, 1]
    assert neighbours.abs() < 5 / x.numel() ** 0.5


def test_an_items_numbers_do_not_depend_on_the_others():
    together = keyed_normal(9, Purpose.INITIAL_SAMPLE, torch.arange(50), (3, 5, 5))
    chosen = torch.tensor([41, 7, 7, 30])
    assert torch.equal(keyed_normal(9, Purpose.INITIAL_SAMPLE, chosen, (3, 5, 5)), together[chosen])
    uniform = keyed_uniform(9, Purpose.FLIP, torch.arange(50), step=3)
    assert torch.equal(keyed_uniform(9, Purpose.FLIP, chosen, step=3), uniform[chosen])


def test_drawing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    keyed_normal(9, Purpose.NOISE, torch.arange(5), (3,))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 7, 5)])
def test_shapes_need_not_hold_a_multiple_of_four(shape):
    x = keyed_normal(0, Purpose.NOISE, torch.arange(6), shape)
    assert x.shape == (6, *shape)
    assert x.dtype == torch.float32
    assert len(x.unique()) == x.numel()


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_does_not_fit_is_refused(seed):
    with pytest.raises(ValueError, match=r"a seed must lie in \[0, 2\^32\)"):
        keyed_uniform(seed, Purpose.TIME, torch.arange(1))


@pytest.mark.parametrize("start", [0, 1, 17, 1000, 987_654])
def test_any_run_of_indices_is_evenly_spread(start):
    """Gaps on the circle, of at most three lengths, lie between 0.38 and 1.9 times the mean (Swierczkowski 1958)."""
    for count in (2, 3, 5, 10, 32, 100, 1000):
        x = golden_spread(torch.arange(start, start + count)).double().sort().values
        gaps = torch.cat([x.diff(), x[:1] + 1 - x[-1:]]) * count
        assert gaps.min() > 0.38
        assert gaps.max() < 1.9
        assert len((gaps / count * 1e5).round().unique()) <= 6  # three lengths, each rounded to one of two sides


def test_spread_numbers_start_with_zero_and_the_golden_ratio():
    x = golden_spread(torch.arange(3))
    golden = (5**0.5 - 1) / 2
    torch.testing.assert_close(x, torch.tensor([0.0, golden, 2 * golden - 1]))
    assert x.dtype == torch.float32


def test_a_spread_number_depends_on_its_index_alone():
    x = golden_spread(torch.arange(50))
    assert torch.equal(golden_spread(torch.tensor([41, 7, 30])), x[[41, 7, 30]])


def test_spread_numbers_stay_below_one():
    """Multiples by Fibonacci numbers come nearest to a whole number."""
    fibonacci = [1, 2]
    while fibonacci[-1] < 10**9:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    x = golden_spread(torch.tensor(fibonacci))
    assert (x >= 0).all()
    assert (x < 1).all()
