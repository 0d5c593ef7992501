"""Work that reports how far it is."""

from contextlib import contextmanager

import pytest

from ddpm_lightning.tracking import Display, advance, shown_on, work


class Recorder(Display):
    """Writes down what it should show."""

    def __init__(self):
        self.events = []

    @contextmanager
    def work(self, what, total):
        self.events.append(f"{what}: {total}")
        try:
            yield lambda amount: self.events.append(f"{what} +{amount}")
        finally:
            self.events.append(f"{what} ends")


def test_work_without_a_display_is_silent(capfd):
    with work("drawing", 2):
        advance()
    advance()
    assert capfd.readouterr() == ("", "")


def test_the_innermost_work_advances():
    display = Recorder()
    with shown_on(display), work("outer", 3):
        with work("inner", 5):
            advance(5)
        advance()
    assert display.events == ["outer: 3", "inner: 5", "inner +5", "inner ends", "outer +1", "outer ends"]


def test_a_display_sees_nothing_after_an_error():
    display = Recorder()
    with pytest.raises(ValueError, match="broken"), shown_on(display), work("drawing", 2):
        raise ValueError("broken")
    with work("later", 1):
        advance()
    assert display.events == ["drawing: 2", "drawing ends"]
