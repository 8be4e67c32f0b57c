"""One pass: lazy blocks, batch by batch, into a store and the videos beside it."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from threading import Condition, Event

import dask
import dask.array as da
import dask.threaded
import numpy as np
import xarray as xr
from dask.system import CPU_COUNT
from numpy.typing import NDArray

from miostitch.schema import FRAME
from miostitch.sinks import FrameWriter, VideoSink
from miostitch.store import read_block, write_block

BATCH_BLOCKS = 8
"""Least blocks per dask graph; up to ten, dask computes them in their order."""

BATCHES_AHEAD = 2
"""Batches that may be computed and not yet in the tables."""

KEPT_BLOCKS = 4
"""Finished blocks that may wait in memory for a video encoder."""


@dataclass(frozen=True)
class BlockVideo:
    """A lazy video of the result, where its blocks go, and the file that follows them.

    Parameters
    ----------
    name
        Variable of the batches, (frame, height, width).
    store
        Store that takes the blocks.
    writer
        Opens the video file; ``None`` for a store alone.
    """

    name: str
    store: str
    writer: Callable[[], AbstractContextManager[FrameWriter]] | None


def write_batches(
    build: Callable[[slice], xr.Dataset],
    videos: Sequence[BlockVideo],
    count: int,
    block: int,
    finish: Callable[[slice, xr.Dataset], None],
    *,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Compute all frames and write them.

    Parameters
    ----------
    build
        Makes the lazy Dataset for a span of output frames.
    videos
        Variables of that Dataset that are written block by block; the others are computed.
    count
        Output frames.
    block
        Frames per block and chunk.
    finish
        Takes each span and what was computed for it, in order, on a thread of its own.
    progress
        Called with the number of frames of every finished block, from any thread.

    Raises
    ------
    MiostitchError
        Whatever a stage raises; no thread is left behind.

    Notes
    -----
    One graph per batch of blocks. The next batch is built while one computes, and starts when so
    few blocks of it are left that a thread would be idle. Memory is bounded by the blocks in
    flight, whatever ``count``.
    """
    starts = range(0, count, block)
    workers = dask.config.get("num_workers", None) or CPU_COUNT
    batch = block * max(BATCH_BLOCKS, workers)
    stopped = Event()
    with ExitStack() as stack:
        sinks = [
            stack.enter_context(_sink(video, starts, count, block))
            if video.writer is not None
            else None
            for video in videos
        ]
        pool = stack.enter_context(ThreadPoolExecutor(workers, "miostitch-block"))
        drivers = stack.enter_context(ThreadPoolExecutor(BATCHES_AHEAD, "miostitch-batch"))
        finisher = stack.enter_context(ThreadPoolExecutor(1, "miostitch-tables"))
        stack.push(lambda *failure: stopped.set() if failure[0] else None)
        finished: deque[Future[None]] = deque()
        before = _Countdown(0)
        for start in range(0, count, batch):
            span = slice(start, min(start + batch, count))
            left = _Countdown(len(range(span.start, span.stop, block)))
            frames = build(span)
            for video, sink in zip(videos, sinks, strict=True):
                first = video is videos[0]
                announce = _announce(
                    stopped, sink, left if first else None, progress if first else None
                )
                written = _written(frames[video.name], span, video.store, announce)
                frames = frames.drop_vars(video.name).assign({f"{video.name}_written": written})
            before.wait_below(workers)
            computed = drivers.submit(_compute, frames, pool, left)
            finished.append(finisher.submit(_finish, finish, span, computed))
            before = left
            if len(finished) > BATCHES_AHEAD:
                finished.popleft().result()
            for sink in sinks:
                if sink is not None:
                    sink.check()
        for future in finished:
            future.result()


class _Countdown:
    """Blocks of a batch that are not yet written."""

    def __init__(self, blocks: int) -> None:
        self._left = blocks
        self._changed = Condition()

    def step(self) -> None:
        with self._changed:
            self._left -= 1
            self._changed.notify_all()

    def end(self) -> None:
        """Let nobody wait for a batch that failed."""
        with self._changed:
            self._left = 0
            self._changed.notify_all()

    def wait_below(self, blocks: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._left < blocks)


def _compute(frames: xr.Dataset, pool: ThreadPoolExecutor, left: _Countdown) -> xr.Dataset:
    try:
        # the function itself: by its name, dask would load distributed to look it up
        return frames.compute(scheduler=dask.threaded.get, pool=pool)
    finally:
        left.end()


def _finish(
    finish: Callable[[slice, xr.Dataset], None], span: slice, computed: Future[xr.Dataset]
) -> None:
    finish(span, computed.result())


Announce = Callable[[int, NDArray[np.uint8]], None]


def _sink(video: BlockVideo, starts: Iterable[int], count: int, block: int) -> VideoSink:
    def fetch(start: int) -> NDArray[np.uint8]:
        return read_block(video.store, start, min(start + block, count))

    assert video.writer is not None
    return VideoSink(video.writer, starts, fetch, KEPT_BLOCKS)


def _announce(
    stopped: Event,
    sink: VideoSink | None,
    left: _Countdown | None,
    progress: Callable[[int], None] | None,
) -> Announce:
    def announce(start: int, frames: NDArray[np.uint8]) -> None:
        if stopped.is_set():
            raise InterruptedError  # ends the batches that are still computed
        if sink is not None:
            sink.feed.offer(start, frames)
        if left is not None:
            left.step()
        if progress is not None:
            progress(len(frames))

    return announce


def _written(video: xr.DataArray, span: slice, store: str, announce: Announce) -> xr.DataArray:
    """Lazily write a video's blocks; the value is the position of every written frame."""
    positions = da.arange(span.start, span.stop, chunks=(video.chunksizes[FRAME],))
    data = da.blockwise(
        partial(_write_block, store=store, announce=announce),
        "f",
        positions,
        "f",
        video.data,
        "fhw",
        dtype=np.int64,
        meta=np.empty(0, np.int64),
        name=f"write-{store}-{video.data.name}",  # one video may go to several stores
    )
    return xr.DataArray(data, dims=FRAME)


def _write_block(
    positions: NDArray[np.int64],
    nested: Sequence[Sequence[NDArray[np.uint8]]],
    *,
    store: str,
    announce: Announce,
) -> NDArray[np.int64]:
    frames = nested[0][0]  # dask nests a list per contracted dimension
    write_block(store, int(positions[0]), frames)
    announce(int(positions[0]), frames)
    return positions
