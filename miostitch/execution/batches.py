"""One pass: lazy blocks, batch by batch, into a store and the videos beside it."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import optimize
from dask.optimization import cull
from numpy.typing import NDArray

from miostitch.execution.checkpoint import Journal, Values
from miostitch.execution.executors import Graph, Runner, runner
from miostitch.execution.memory import give_back
from miostitch.execution.sinks import FrameWriter, VideoSink
from miostitch.execution.workspace import require_run, run_of
from miostitch.schema import BLOCK, FRAME
from miostitch.store.chunks import read_block, recall_block, sync_block, write_block

BATCH_BLOCKS = 8
"""Least blocks per dask graph: to build one costs as much as a few frames."""

BATCHES_AHEAD = 2
"""Batches that may be computed and not yet in the tables."""

KEPT_BLOCKS = 4
"""Finished blocks that may wait in memory for a video encoder."""


@dataclass(frozen=True)
class BlockVideo:
    """A lazy video of the result, where its blocks go, and the file that follows them."""

    name: str  # Variable of the batches, (frame, height, width)
    store: str  # Store that takes the blocks
    # Opens the video file; ``None`` for a store alone.
    writer: Callable[[], AbstractContextManager[FrameWriter]] | None


def write_batches(
    build: Callable[[slice], xr.Dataset],
    videos: Sequence[BlockVideo],
    count: int,
    block: int,
    finish: Callable[[slice, xr.Dataset], None],
    *,
    progress: Callable[[int], None] | None = None,
    journal: Journal | None = None,
) -> None:
    """Compute all frames and write them.

    One graph per batch of blocks, and one task per block. The next batch is built while one
    computes. Memory is bounded by the blocks in flight, whatever ``count``.
    """
    starts = range(0, count, block)
    with ExitStack() as stack:
        sinks = {
            video.name: stack.enter_context(_sink(video, starts, count, block))
            for video in videos
            if video.writer is not None
        }
        for sink in sinks.values():
            sink.start()
        if journal is not None:
            stack.enter_context(journal)
        blocks_by = stack.enter_context(runner())
        finisher = stack.enter_context(ThreadPoolExecutor(1, "miostitch-tables"))
        # first of all: the finisher would wait for every block that is still to come
        stack.push(lambda *failure: blocks_by.cancel() if failure[0] else None)
        batch = block * max(BATCH_BLOCKS, blocks_by.workers)
        finished: deque[Future[None]] = deque()

        def done(part: slice, noted: bool, computed: Future[NDArray[Any]]) -> None:
            if computed.cancelled() or computed.exception():
                return
            for sink in sinks.values():
                sink.feed.announce(part.start)
            if journal is not None and not noted:
                sync = partial(_sync, [video.store for video in videos], part.start)
                journal.note(part.start, computed.result()[0], sync)
            if progress is not None:
                progress(part.stop - part.start)

        for start in range(0, count, batch):
            span = slice(start, min(start + batch, count))
            lazy = _written(build(span), span, videos, sinks if blocks_by.shares_memory else {})
            parts = [slice(at, min(at + block, count)) for at in range(start, span.stop, block)]
            graph, keys = _graph(lazy)
            noted = [_recalled(part, videos, sinks, journal) for part in parts]
            fresh = [part.start for part, known in zip(parts, noted, strict=True) if not known]
            new = dict(zip([part.start for part in parts], keys, strict=True))
            computed = _submit(blocks_by, graph, {begin: new[begin] for begin in fresh})
            blocks = [
                _known(known) if known else computed[part.start]
                for part, known in zip(parts, noted, strict=True)
            ]
            for part, known, future in zip(parts, noted, blocks, strict=True):
                future.add_done_callback(partial(done, part, bool(known)))
            finished.append(finisher.submit(_finish, finish, span, lazy, blocks))
            give_back()  # what lies between the tables, which grow; takes some milliseconds
            if len(finished) > BATCHES_AHEAD:
                finished.popleft().result()
            for sink in sinks.values():
                sink.check()
            if journal is not None:
                journal.check()
        for written in finished:
            written.result()
    give_back()  # the blocks themselves


def _sink(video: BlockVideo, starts: Iterable[int], count: int, block: int) -> VideoSink:
    def fetch(start: int) -> NDArray[np.uint8]:
        return read_block(video.store, start, min(start + block, count))

    assert video.writer is not None
    return VideoSink(video.writer, starts, fetch, KEPT_BLOCKS)


def _written(
    frames: xr.Dataset, span: slice, videos: Sequence[BlockVideo], sinks: Mapping[str, VideoSink]
) -> xr.Dataset:
    """Replace videos by the positions of their frames, which are known once these are written."""
    for video in videos:
        data = frames[video.name].data
        positions = da.arange(span.start, span.stop, chunks=(data.chunks[0],))
        keep = sinks[video.name].feed.keep if video.name in sinks else None
        store = os.path.abspath(video.store)
        written = da.blockwise(
            partial(_write_block, store=store, run=run_of(store), keep=keep),
            "f",
            positions,
            "f",
            data,
            "fhw",
            dtype=np.int64,
            meta=np.empty(0, np.int64),
            name=f"write-{video.store}-{data.name}",  # one video may go to several stores
        )
        name = f"{video.name}_written"
        frames = frames.drop_vars(video.name).assign({name: (FRAME, written)})
    return frames


def _write_block(
    positions: NDArray[np.int64],
    nested: Sequence[Sequence[NDArray[np.uint8]]],
    *,
    store: str,
    run: str,
    keep: Callable[[int, NDArray[np.uint8]], None] | None,
) -> NDArray[np.int64]:
    require_run(store, run)
    # blocks hold whole frames: one is all there is, and to have dask put it together would copy it
    [[frames]] = nested
    write_block(store, int(positions[0]), frames)
    if keep is not None:
        keep(int(positions[0]), frames)
    return positions


def _recalled(
    part: slice,
    videos: Sequence[BlockVideo],
    sinks: Mapping[str, VideoSink],
    journal: Journal | None,
) -> Values | None:
    """What an earlier run noted of a block that is sound in all stores; the encoders get it."""
    if journal is None or (noted := journal.recall(part.start)) is None:
        return None
    for video in videos:
        frames = recall_block(video.store, part.start, part.stop)
        if frames is None:
            return None
        if video.name in sinks:
            sinks[video.name].feed.keep(part.start, frames)
    journal.recalled += 1
    return noted


def _known(values: Values) -> Future[NDArray[Any]]:
    """What was computed before, as if it were computed now."""
    future: Future[NDArray[Any]] = Future()
    future.set_result(_as_one(*values))
    return future


def _sync(stores: Sequence[str], start: int) -> None:
    for store in stores:
        sync_block(store, start)


def _graph(lazy: xr.Dataset) -> tuple[Graph, list[Any]]:
    """The tasks that lead to all that is computed, and for each block the last of them."""
    inputs: list[Any] = []
    for variable in lazy.data_vars.values():
        inputs += [variable.data, [FRAME if dim == BLOCK else dim for dim in variable.dims]]
    blocks = da.blockwise(
        _as_one,
        (FRAME,),
        *inputs,
        adjust_chunks={FRAME: 1},
        align_arrays=False,
        concatenate=True,
        dtype=object,
        meta=np.empty(0, object),
    )
    [optimised] = optimize(blocks)
    return dict(optimised.__dask_graph__()), optimised.__dask_keys__()


def _submit(
    blocks_by: Runner, graph: Graph, keys: Mapping[int, Any]
) -> dict[int, Future[NDArray[Any]]]:
    """Compute blocks, each by itself and in their order; together, where they share tasks.

    Left to itself dask would begin at the last block, and keep several at a time.
    """
    parts = {begin: cull(graph, [key])[0] for begin, key in keys.items()}
    together = {task: each for part in parts.values() for task, each in part.items()}
    if len(together) == sum(map(len, parts.values())):
        return {b: blocks_by.submit(parts[b], key, f"block-{b}") for b, key in keys.items()}
    # so that no frame is read twice
    whole = blocks_by.submit(together, [*keys.values()], f"blocks-{min(keys)}")
    return {begin: _item(whole, number) for number, begin in enumerate(keys)}


def _item(whole: Future[Any], number: int) -> Future[NDArray[Any]]:
    """One of several blocks that are computed together."""
    item: Future[NDArray[Any]] = Future()

    def hand_over(done: Future[Any]) -> None:
        if done.cancelled():
            item.cancel()
            item.set_running_or_notify_cancel()
        elif error := done.exception():
            item.set_exception(error)
        else:
            item.set_result(done.result()[number])

    whole.add_done_callback(hand_over)
    return item


def _as_one(*values: NDArray[Any]) -> NDArray[Any]:
    block = np.empty(1, object)
    block[0] = values
    return block


def _finish(
    finish: Callable[[slice, xr.Dataset], None],
    span: slice,
    lazy: xr.Dataset,
    blocks: Sequence[Future[NDArray[Any]]],
) -> None:
    """Put the blocks together as the lazy Dataset was."""
    variables = lazy.data_vars.items()
    columns = zip(*(block.result()[0] for block in blocks), strict=True)
    computed = {
        name: variable.copy(data=np.concatenate(parts, _axis(variable)))
        for (name, variable), parts in zip(variables, columns, strict=True)
    }
    finish(span, lazy.assign(computed))


def _axis(variable: xr.DataArray) -> int:
    """Where a variable has its blocks: along its frames, or one entry for each."""
    return variable.dims.index(FRAME if FRAME in variable.dims else BLOCK)
