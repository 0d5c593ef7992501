"""What a table's cells are sorted by."""

import math

import numpy as np
import pytest

from ddpm_lightning.report.rendering.cells import _key


@pytest.mark.parametrize(
    ("value", "key"),
    [(0.5, "0.5"), (np.float64(0.1), "0.1"), (-1e-7, "-1e-07"), (None, ""), (math.nan, ""), (math.inf, "")],
)
def test_the_key_of_a_number_is_its_shortest_exact_text(value, key):
    assert _key(value) == key
