"""How far work is, and how long the rest takes."""

import pytest

from ddpm_lightning.console import pace as module
from ddpm_lightning.console.pace import Pace, percent_and_time_left


@pytest.fixture
def clock(monkeypatch):
    """`clock(seconds)`: lets time pass."""
    now = [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_resumed_work_counts_only_its_own_speed(clock):
    pace = Pace(200, done=100)
    assert pace.share == 0.5 and pace.seconds_left is None
    clock(1000)  # the first step, which allocates and compiles
    pace.advance(1)
    assert pace.seconds_left is None
    clock(10)
    pace.advance(20)
    assert pace.done == 121
    assert pace.seconds_left == pytest.approx((200 - 121) * 10 / 20)


def test_work_without_a_total_has_no_time_left(clock):
    pace = Pace(None)
    pace.advance(1)
    clock(1)
    pace.advance(1)
    assert pace.share is None and pace.seconds_left is None
    assert percent_and_time_left(pace) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.1, "20 %, 1 s left"), (5, "20 %, 40 s left"), (60, "20 %, 8 min 00 s left"), (3600, "20 %, 8 h 00 min left")],
)
def test_the_time_left_has_whole_seconds(clock, seconds, text):
    pace = Pace(10)
    pace.advance(1)
    clock(seconds)
    pace.advance(1)
    assert percent_and_time_left(pace) == text


def test_nothing_is_left_at_the_end(clock):
    pace = Pace(2)
    pace.advance(1)
    clock(1)
    pace.advance(1)
    assert percent_and_time_left(pace) == "100 %"
