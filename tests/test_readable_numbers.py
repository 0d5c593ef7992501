import pytest

from ddpm_lightning.readable_numbers import decimals, duration, magnitude, significant


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0523, "0.0523 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7380, "2 h 03 min"),
        (100800, "1 d 04 h"),
    ],
)
def test_durations_have_two_units_and_never_show_sixty(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(970, "970"), (12345, "12.3 k"), (999_949, "1.00 M"), (1.5e6, "1.50 M"), (2e9, "2.00 G")]
)
def test_counts_have_three_digits_and_a_unit(count, text):
    assert magnitude(count) == text


@pytest.mark.parametrize(("value", "text"), [(812.3, "812"), (0.01234, "0.0123"), (5, "5.00"), (-0.5, "-0.500")])
def test_numbers_have_three_significant_digits(value, text):
    assert significant(value) == text


def test_a_value_near_zero_does_not_lengthen_the_others():
    assert decimals([1e-9, 5.0]) == 4
    assert decimals([0.0]) == 0
