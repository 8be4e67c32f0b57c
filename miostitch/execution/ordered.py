"""One pass over the frames of a result: blocks are computed side by side and written in order."""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from dask.base import optimize
from dask.core import flatten
from dask.local import get_sync
from dask.optimization import cull
from numpy.typing import NDArray

from miostitch.execution.checkpoint import Journal
from miostitch.execution.executors import Graph, runner
from miostitch.execution.sinks import FrameWriter
from miostitch.execution.workspace import require_run, run_of
from miostitch.schema import VIDEO
from miostitch.store.chunks import recall_block, sync_block, write_block

TABLE_BLOCKS = 32
"""Blocks whose tables are written together: looking rows up costs most at the start."""

REMOTE_BLOCKS = 8
"""Blocks that a cluster computes at a time: their pictures come back, and wait for their turn."""

TABLES_AHEAD = 2
"""Such spans that may wait for their tables."""

Frames = NDArray[np.uint8]
Writers = Mapping[str, Callable[[], AbstractContextManager[FrameWriter]]]


@dataclass(frozen=True)
class NotedStore:
    """A store that takes ``video``, and where its finished blocks are noted."""

    path: str  # The store
    journal: Journal  # The notes

    def has(self, span: slice) -> bool:
        """Whether an earlier run noted a block."""
        return self.journal.recall(span.start) is not None

    def note(self, span: slice, *, recalled: bool) -> None:
        """Note a block that was written, or count one that was recalled."""
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

    ``build``: makes the lazy videos of a span of frames, uint8 (frame, height, width).

    A task makes its block of all videos at once, so what they share is computed once, and
    compresses it for the store. While one block goes to the files the next ones are computed: one
    per thread, and that many and one are in memory, whatever ``count``. On a cluster the workers
    compute the blocks, a few at a time, and write those of the store; the pictures for the files
    are sent back.
    """
    waiting: deque[tuple[slice, Future[tuple[dict[str, Frames], bool]]]] = deque()
    told = 0
    finished: deque[Future[None]] = deque()

    def compute(span: slice) -> tuple[dict[str, Frames], bool]:
        block = _block(build(span), tuple(writers), span, store)
        return blocks_by.run(block, f"block-{span.start}")

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
        blocks_by = stack.enter_context(runner())
        workers = blocks_by.workers
        if not blocks_by.shares_memory:
            workers = min(workers, REMOTE_BLOCKS)
        pool = stack.enter_context(ThreadPoolExecutor(workers, "miostitch-block"))
        # first of all: the pool would wait for every block that is begun
        stack.push(lambda *failure: blocks_by.cancel() if failure[0] else None)
        for start in range(0, count, block):
            span = slice(start, min(start + block, count))
            waiting.append((span, pool.submit(compute, span)))
            if len(waiting) > workers:
                write(*waiting.popleft())
        while waiting:
            write(*waiting.popleft())
        for each in finished:
            each.result()


@dataclass(frozen=True)
class _Block:
    """Makes one block of some videos wherever it is called; opaque to dask."""

    graph: Graph
    keys: Mapping[str, Any]
    same: tuple[str, ...]  # Videos that are ``video``, by whatever name
    wanted: tuple[str, ...]  # Videos that are handed back
    start: int
    stop: int
    store: str = ""
    run: str = ""
    noted: bool = False  # Whether an earlier run has written it there

    def __call__(self) -> tuple[dict[str, Frames], bool]:
        """Give the videos, and whether ``video`` is that of the earlier run."""
        known = recall_block(self.store, self.start, self.stop) if self.noted else None
        have = {} if known is None else dict.fromkeys(self.same, known)
        missing = [name for name in self.keys if name not in have]
        keys = [self.keys[name] for name in missing]
        if keys:
            made = get_sync(cull(self.graph, keys)[0], keys)
            have |= zip(missing, made, strict=True)
        if self.store and known is None:
            require_run(self.store, self.run)
            write_block(self.store, self.start, have[VIDEO.name])
        return {name: have[name] for name in self.wanted}, known is not None


def _block(
    lazy: xr.Dataset, wanted: tuple[str, ...], span: slice, store: NotedStore | None
) -> _Block:
    # together, else what they share would be computed for each of them
    [optimised] = optimize(lazy.chunk(-1))
    graph = dict(optimised.__dask_graph__())
    keys = {str(n): next(flatten(each.data.__dask_keys__())) for n, each in optimised.items()}
    block = _Block(graph, keys, _same(lazy), wanted, span.start, span.stop)
    if store is None:
        return block
    return replace(block, store=store.path, run=run_of(store.path), noted=store.has(span))


def _same(lazy: xr.Dataset) -> tuple[str, ...]:
    """Videos that are ``video``, by whatever name."""
    if VIDEO.name not in lazy:
        return ()
    name = lazy[VIDEO.name].data.name
    return tuple(str(each) for each, video in lazy.items() if video.data.name == name)
