"""From the command of a sweep to its table."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow
SEEDS = 5


@pytest.fixture(scope="module")
def same_twice(shell: Callable, tiny_options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of one configuration under two names, which validate on other images and so train on others."""
    place = tmp_path_factory.mktemp("same_twice")
    seeds = ",".join(map(str, range(SEEDS)))
    train = Path(__file__).resolve().parents[2] / "train.py"
    result = shell(train, "-m", *tiny_options, "name=same", "dataset.split.seed=0,1", f"seed={seeds}", cwd=place)
    assert result.returncode == 0, result.stderr
    return place / "multirun" / "same" / "report"


def test_a_configuration_ties_with_itself(same_twice):
    rows = pd.read_csv(same_twice / "report.csv")
    assert list(rows["dataset.split.seed"].sort_values()) == [0, 1]
    assert (rows["kid_lenet_mnist_n"] == SEEDS).all()
    assert rows["kid_lenet_mnist_mean"].nunique() == 2  # they are no copies of each other
    assert list(rows["kid_lenet_mnist_verdict"]) == ["tie", "tie"]


def test_the_report_says_so(same_twice):
    text = (same_twice / "report.md").read_text()
    assert "KID (lenet_mnist): no significant differences" in text
    assert "Intervals of KID (lenet_mnist) cover seeds and samples" in text
    assert {path.name for path in same_twice.iterdir()} == {
        "report.md",
        "report.csv",
        "report.html",
        "samples.png",
        "intervals.png",
        "effects.png",
    }
