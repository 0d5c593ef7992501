"""Reading all images of a source into one array."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ddpm_lightning.data.sources.source import ImageSource
from ddpm_lightning.processes import available_cores

_CHUNK = 64  # images: after a Ctrl-C, each thread still finishes its chunk


def fill(source: ImageSource, images: np.ndarray) -> dict[int, str]:
    """Reads all images of a source, in as many threads as there are cores if that is slow.

    Threads run in parallel here, because Pillow releases Python's lock while it decodes and resizes.

    Args:
        source: where the images come from.
        images: uint8 (N, C, H, W), to be filled.

    Returns:
        for each damaged image, its row and the reason.

    Raises:
        DataFileError, MemoryError: as `source.read`.
    """
    damaged: dict[int, str] = {}
    chunks = [range(start, min(start + _CHUNK, len(images))) for start in range(0, len(images), _CHUNK)]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), disable=not source.slow_to_read)
    pool = ThreadPoolExecutor(available_cores() if source.slow_to_read else 1)
    with bar:
        task = bar.add_task(f"Reading {source.name}", total=len(images))
        try:
            reads = [pool.submit(source.read, chunk, images[chunk.start : chunk.stop]) for chunk in chunks]
            for chunk, read in zip(chunks, reads, strict=True):
                damaged |= read.result()
                bar.advance(task, len(chunk))
        finally:
            pool.shutdown(cancel_futures=True)
    return damaged
