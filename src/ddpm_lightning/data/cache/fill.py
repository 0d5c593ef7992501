"""Reading a whole data set into an array on disk: in several processes, and resumable.

A journal has a line for each chunk of images that is on disk. A process that is killed leaves the array and the
journal; the next one reads only the chunks that the journal does not have.
"""

import json
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ddpm_lightning.data.sources.source import ImageSource
from ddpm_lightning.processes import available_cores, end_with

log = logging.getLogger(__name__)

_CHUNK = 256  # images: a second's work or so of decoding photographs, which is what a kill loses
_worker_task: tuple[ImageSource, Path]
"""In a reading process: what it reads, and where to."""


def fill(source: ImageSource, array: Path, journal: Path) -> dict[int, str]:
    """Read all images of a source that the journal does not have into the array.

    Args:
        source: where the images come from.
        array: an .npy file of uint8 (N, C, H, W), there already.
        journal: a file of JSON lines, made when absent.

    Returns:
        for each damaged image, its row and the reason.

    Raises:
        DataFileError: a file that is not one image's alone is missing or damaged.
        MemoryError: the system killed a reading process.
    """
    size = len(np.load(array, mmap_mode="r", allow_pickle=False))
    damaged: dict[int, str] = {}
    chunks = []
    done = dict(_read_journal(journal))
    for start in range(0, size, _CHUNK):
        chunk = range(start, min(start + _CHUNK, size))
        if chunk in done:
            damaged |= done[chunk]
        else:
            chunks.append(chunk)
    if done:
        log.info("going on with a build that was cut short: %d of %d images are there", size - _count(chunks), size)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), disable=not source.slow_to_read)
    with bar, journal.open("a") as file:
        task = bar.add_task(f"Reading {source.name}", total=size, completed=size - _count(chunks))
        for chunk, reasons in _read_chunks(source, array, chunks):
            damaged |= reasons
            # Begun, not ended, with a new line: the last one may be half a line.
            file.write("\n" + json.dumps([chunk.start, chunk.stop, [*reasons.items()]]))
            file.flush()
            bar.advance(task, len(chunk))
    return damaged


def _count(chunks: Sequence[range]) -> int:
    return sum(map(len, chunks))


def _read_journal(journal: Path) -> Iterator[tuple[range, dict[int, str]]]:
    """The chunks that are on disk, each with its damaged images."""
    for line in journal.read_text().splitlines() if journal.exists() else ():
        try:
            start, stop, reasons = json.loads(line)
        except ValueError:  # nothing, or half a line of a process that was killed
            continue
        yield range(start, stop), dict(reasons)


def _read_chunks(source: ImageSource, array: Path, chunks: Sequence[range]) -> Iterator[tuple[range, dict[int, str]]]:
    """Each chunk with its damaged images, once it is on disk; in no particular order."""
    workers = min(available_cores(), len(chunks)) if source.slow_to_read else 0
    if workers < 2:
        for chunk in chunks:
            yield chunk, _read_chunk(source, array, chunk)
        return
    # Spawned, not forked: a process that runs torch's threads must not be forked.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin, initargs=(os.getpid(), source, array))
    try:
        futures = {pool.submit(_read_chunk_of_task, chunk): chunk for chunk in chunks}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise MemoryError(f"a process that was reading {source.name} was killed: is there enough memory?") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(parent: int, source: ImageSource, array: Path) -> None:
    """In a reading process: it ends with its parent, also by a kill; a Ctrl-C is for the parent alone."""
    global _worker_task
    _worker_task = (source, array)  # once, for the list of files may be long
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)


def _read_chunk_of_task(chunk: range) -> dict[int, str]:
    return _read_chunk(*_worker_task, chunk)


def _read_chunk(source: ImageSource, array: Path, chunk: range) -> dict[int, str]:
    images = np.lib.format.open_memmap(array, mode="r+")
    damaged = source.read(chunk, images[chunk.start : chunk.stop])
    images.flush()
    return damaged
