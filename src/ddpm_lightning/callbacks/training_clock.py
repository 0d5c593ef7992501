"""The time that a training spends on its steps."""

from time import perf_counter

import torch


def wait_for(device: torch.device) -> None:
    """Returns when the device has finished its work; on a GPU a clock read without this is too early."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class TrainingClock:
    """Images and seconds of training steps, without the first ones and without what interrupts the training.

    Attributes:
        images: trained on, by all devices together.
        seconds: spent on them.

    Args:
        warmup_batches: batches that do not count, in which memory is allocated and code may be compiled.
    """

    def __init__(self, warmup_batches: int) -> None:
        self.images = 0
        self.seconds = 0.0
        self._warmup_batches = warmup_batches
        self._device = torch.device("cpu")
        self._batches = 0  # since this start
        self._last: float | None = None  # time up to which training was counted; None while it is interrupted

    def start(self, device: torch.device) -> None:
        """Begins, or continues with what was counted before."""
        self._device, self._batches, self._last = device, 0, None

    def begin_batch(self) -> None:
        if self._last is None:
            self._last = perf_counter()

    def end_batch(self, images: int) -> None:
        self._batches += 1
        if self._batches <= self._warmup_batches:
            wait_for(self._device)
            self._last = None
        elif self._last is not None:  # None if another callback has saved a checkpoint at the end of this batch
            now = perf_counter()
            self.seconds += now - self._last
            self.images += images
            self._last = now

    def interrupt(self) -> None:
        """Stops the clock, after a GPU has finished the steps that were launched ahead of it."""
        if self._last is not None:
            start = perf_counter()
            wait_for(self._device)
            self.seconds += perf_counter() - start
            self._last = None

    @property
    def images_per_second(self) -> float | None:
        """None while nothing has been counted."""
        return self.images / self.seconds if self.images else None
