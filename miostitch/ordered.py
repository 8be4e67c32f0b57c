"""One pass over the frames of a result: blocks are computed side by side and written in order."""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr
from dask.local import get_sync
from numpy.typing import NDArray

from miostitch.computing import thread_count
from miostitch.journal import Journal
from miostitch.schema import VIDEO
from miostitch.sinks import FrameWriter
from miostitch.stored_blocks import recall_block, sync_block, write_block

TABLE_BLOCKS = 32
"""Blocks whose tables are written together: looking rows up costs most at the start."""

TABLES_AHEAD = 2
"""Such spans that may wait for their tables."""

Frames = NDArray[np.uint8]
Writers = Mapping[str, Callable[[], AbstractContextManager[FrameWriter]]]


@dataclass(frozen=True)
class NotedStore:
    """A store that takes ``video``, and where its finished blocks are noted.

    Parameters
    ----------
    path
        The store.
    journal
        The notes.
    """

    path: str
    journal: Journal

    def recall(self, span: slice) -> Frames | None:
        """Read a block that an earlier run noted; None if it did not, or a chunk is damaged."""
        noted = self.journal.recall(span.start) is not None
        return recall_block(self.path, span.start, span.stop) if noted else None

    def note(self, span: slice, *, recalled: bool) -> None:
        """Note a block that was written, or count one that was recalled.

        Raises
        ------
        ResourceError
            An earlier block could not be brought to the disk.
        """
        if recalled:
            self.journal.recalled += 1
        else:
            self.journal.note(span.start, (), partial(sync_block, self.path, span.start))
        self.journal.check()


def write_in_order(
    build: Callable[[slice], xr.Dataset],
    writers: Writers,
    count: int,
    block: int,
    finish: Callable[[slice], None],
    *,
    store: NotedStore | None = None,
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
        Takes the variable ``video``; ``None`` for none. Of a block that an earlier run noted, and
        whose chunk is sound, ``video`` is read instead of computed.
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
    waiting: deque[tuple[slice, Future[tuple[dict[str, Frames], bool]]]] = deque()
    told = 0
    finished: deque[Future[None]] = deque()

    def compute(span: slice) -> tuple[dict[str, Frames], bool]:
        lazy, known = build(span), store.recall(span) if store else None
        have = {} if known is None else {name: known for name in _same(lazy)}
        # the function itself: by its name, dask would load distributed to look it up
        made = lazy.drop_vars(have).compute(scheduler=get_sync)
        have |= {str(name): each.to_numpy() for name, each in made.items()}
        if store and known is None:
            write_block(store.path, span.start, have[VIDEO.name])
        return {name: have[name] for name in writers}, known is not None

    def write(span: slice, computed: Future[tuple[dict[str, Frames], bool]]) -> None:
        nonlocal told
        blocks, known = computed.result()
        if store:
            store.note(span, recalled=known)
        for name, frames in blocks.items():
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
        if store:
            stack.enter_context(store.journal)
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


def _same(lazy: xr.Dataset) -> list[str]:
    """Videos that are ``video``, by whatever name."""
    name = lazy[VIDEO.name].data.name
    return [str(each) for each, video in lazy.items() if video.data.name == name]
