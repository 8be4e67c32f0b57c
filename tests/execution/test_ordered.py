"""Videos of the same frames are written in order, and what they share is computed once."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from miostitch.execution.executors import Threads, computing_by
from miostitch.execution.ordered import REMOTE_BLOCKS, write_in_order
from miostitch.schema import FRAME, VIDEO

COUNT, BLOCK = 50, 4
FRAMES = np.arange(COUNT * 6, dtype=np.uint8).reshape(COUNT, 2, 3)


class Kept:
    """A file that keeps what is written."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray[Any, Any]] = []

    def write(self, frames: np.ndarray[Any, Any]) -> None:
        self.parts.append(frames)


def opens(kept: Kept) -> Callable[[], AbstractContextManager[Kept]]:
    return lambda: nullcontext(kept)


def test_what_videos_share_is_computed_once() -> None:
    called: list[int] = []

    def slow(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        called.append(len(block))
        return block + np.uint8(1)

    meta = np.empty((0, 0, 0), np.uint8)
    data = da.from_array(FRAMES, chunks=(BLOCK, -1, -1))
    shared = data.map_blocks(slow, dtype=np.uint8, meta=meta)
    videos = {VIDEO.name: shared, "a": shared + np.uint8(1), "b": shared + np.uint8(2)}
    lazy = xr.Dataset({name: (VIDEO.dims, video) for name, video in videos.items()})
    files = {name: Kept() for name in videos}
    told: list[slice] = []
    write_in_order(
        lambda span: lazy.isel({FRAME: span}),
        {name: opens(file) for name, file in files.items()},
        COUNT,
        BLOCK,
        told.append,
    )
    for more, name in enumerate(videos, 1):
        np.testing.assert_array_equal(np.concatenate(files[name].parts), FRAMES + np.uint8(more))
    assert sum(called) == COUNT
    assert [(span.start, span.stop) for span in told] == [(0, COUNT)]


class Elsewhere(Threads):
    """As a cluster of many workers; counts the blocks that it has at a time."""

    shares_memory = False
    now = most = 0

    def run(self, task: Callable[[], Any], name: str) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        done = task()
        self.now -= 1
        return done


def test_a_cluster_gets_a_few_blocks_at_a_time() -> None:
    lazy = xr.Dataset({VIDEO.name: (VIDEO.dims, da.from_array(FRAMES, chunks=(1, -1, -1)))})
    kept = Kept()
    with Elsewhere(100) as runner, computing_by(runner):
        write_in_order(
            lambda span: lazy.isel({FRAME: span}),
            {VIDEO.name: opens(kept)},
            COUNT,
            1,
            lambda _: None,
        )
    np.testing.assert_array_equal(np.concatenate(kept.parts), FRAMES)
    assert 0 < runner.most <= REMOTE_BLOCKS


def test_an_error_ends_the_run() -> None:
    lazy = xr.Dataset({VIDEO.name: (VIDEO.dims, da.from_array(FRAMES, chunks=(BLOCK, -1, -1)))})

    class Full(Kept):
        def write(self, frames: np.ndarray[Any, Any]) -> None:
            raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        write_in_order(
            lambda span: lazy.isel({FRAME: span}),
            {VIDEO.name: opens(Full())},
            COUNT,
            BLOCK,
            lambda _: None,
        )
