"""One pass: lazy blocks, batch by batch, into a store and the videos beside it."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from miostitch.schema import FRAME
from miostitch.sinks import FrameWriter, VideoSink
from miostitch.store import read_block, write_block

BATCH_BLOCKS = 64
"""Blocks per dask graph: so many that the end of a batch costs little, and yet a small graph."""

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
    One graph per batch of blocks, computed by dask's current scheduler of this process; memory is
    bounded by the blocks in flight, whatever ``count``.
    """
    starts = range(0, count, block)
    with ExitStack() as stack:
        sinks = [
            stack.enter_context(_sink(video, starts, count, block))
            if video.writer is not None
            else None
            for video in videos
        ]
        finisher = stack.enter_context(ThreadPoolExecutor(1, "miostitch-tables"))
        finished: Future[None] | None = None
        for start in range(0, count, block * BATCH_BLOCKS):
            span = slice(start, min(start + block * BATCH_BLOCKS, count))
            frames = build(span)
            for video, sink in zip(videos, sinks, strict=True):
                announce = _announce(sink, progress if video is videos[0] else None)
                written = _written(frames[video.name], span, video.store, announce)
                frames = frames.drop_vars(video.name).assign({f"{video.name}_written": written})
            computed = frames.compute()
            if finished is not None:
                finished.result()
            finished = finisher.submit(finish, span, computed)
            for sink in sinks:
                if sink is not None:
                    sink.check()
        if finished is not None:
            finished.result()


Announce = Callable[[int, NDArray[np.uint8]], None]


def _sink(video: BlockVideo, starts: Iterable[int], count: int, block: int) -> VideoSink:
    def fetch(start: int) -> NDArray[np.uint8]:
        return read_block(video.store, start, min(start + block, count))

    assert video.writer is not None
    return VideoSink(video.writer, starts, fetch, KEPT_BLOCKS)


def _announce(sink: VideoSink | None, progress: Callable[[int], None] | None) -> Announce:
    def announce(start: int, frames: NDArray[np.uint8]) -> None:
        if sink is not None:
            sink.feed.offer(start, frames)
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
        name=f"write-{video.data.name}",
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
