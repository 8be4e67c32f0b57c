"""One pass over the frames of a result: blocks are computed side by side and written in order."""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack

import numpy as np
import xarray as xr
from dask.local import get_sync
from numpy.typing import NDArray

from miostitch.computing import thread_count
from miostitch.schema import VIDEO
from miostitch.sinks import FrameWriter
from miostitch.stored_blocks import write_block

TABLE_BLOCKS = 32
"""Blocks whose tables are written together: looking rows up costs most at the start."""

TABLES_AHEAD = 2
"""Such spans that may wait for their tables."""

Frames = NDArray[np.uint8]
Writers = Mapping[str, Callable[[], AbstractContextManager[FrameWriter]]]


def write_in_order(
    build: Callable[[slice], xr.Dataset],
    writers: Writers,
    count: int,
    block: int,
    finish: Callable[[slice], None],
    *,
    store: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Compute videos of the same frames and write each to its file.

    Parameters
    ----------
    build
        Makes the lazy videos of a span of frames, uint8 (frame, height, width).
    writers
        Opens the file of a video, by the name of its variable.
    count
        Frames.
    block
        Frames per task.
    finish
        Called with spans of some blocks, in order, on a thread of its own: writes their tables.
    store
        Takes the variable ``video``; ``None`` for none.
    progress
        Called with the number of frames of every written block.

    Raises
    ------
    MiostitchError
        Whatever a stage raises; no thread is left behind.

    Notes
    -----
    A task makes its block of all videos at once, so what they share is computed once, and
    compresses it for the store. While one block goes to the files the next ones are computed: one
    per thread, and that many and one are in memory, whatever ``count``.
    """
    workers = thread_count()
    waiting: deque[tuple[slice, Future[dict[str, Frames]]]] = deque()
    told = 0
    finished: deque[Future[None]] = deque()

    def compute(span: slice) -> dict[str, Frames]:
        # the function itself: by its name, dask would load distributed to look it up
        made = build(span).compute(scheduler=get_sync)
        if store is not None:
            write_block(store, span.start, made[VIDEO.name].to_numpy())
        return {name: made[name].to_numpy() for name in writers}

    def write(span: slice, computed: Future[dict[str, Frames]]) -> None:
        nonlocal told
        for name, frames in computed.result().items():
            files[name].write(frames)
        if span.stop == count or span.stop - told >= TABLE_BLOCKS * block:
            finished.append(tables.submit(finish, slice(told, span.stop)))
            told = span.stop
            if len(finished) > TABLES_AHEAD:
                finished.popleft().result()
        if progress is not None:
            progress(span.stop - span.start)

    with ExitStack() as stack:
        files = {name: stack.enter_context(writer()) for name, writer in writers.items()}
        tables = stack.enter_context(ThreadPoolExecutor(1, "miostitch-tables"))
        pool = stack.enter_context(ThreadPoolExecutor(workers, "miostitch-block"))
        for start in range(0, count, block):
            span = slice(start, min(start + block, count))
            waiting.append((span, pool.submit(compute, span)))
            if len(waiting) > workers:
                write(*waiting.popleft())
        while waiting:
            write(*waiting.popleft())
        for each in finished:
            each.result()
