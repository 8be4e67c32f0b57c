"""Blocks are written batch by batch: graphs do not grow with the recording."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from miostitch.errors import ResourceError
from miostitch.execution import executors as computing
from miostitch.execution.batches import BATCH_BLOCKS, BATCHES_AHEAD, BlockVideo, write_batches
from miostitch.execution.executors import Threads, computing_by
from miostitch.execution.workspace import Workspace
from miostitch.schema import FRAME, VIDEO
from miostitch.store.chunks import read_block
from miostitch.store.layout import create_store

FRAMES, BLOCK = 10_000_000, 4096


class Counter(Threads):
    """Counts the tasks that it is given, and those of them that are not yet taken."""

    def __init__(self) -> None:
        super().__init__(2)
        self.largest = self.blocks = self.open = self.most_open = 0

    def submit(self, graph: computing.Graph, key: Any, name: str) -> Future[Any]:
        self.largest = max(self.largest, len(graph))
        self.blocks += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return super().submit(graph, key, name)


def test_ten_million_frames_are_a_few_tasks_at_a_time() -> None:
    sums = [0, 0]

    def build(span: slice) -> xr.Dataset:
        frames = da.arange(span.start, span.stop, chunks=BLOCK)
        return xr.Dataset({"number": (FRAME, frames), "double": (FRAME, 2 * frames)})

    with Counter() as counter, computing_by(counter):

        def finish(span: slice, computed: xr.Dataset) -> None:
            counter.open -= -(-(span.stop - span.start) // BLOCK)
            for at, values in enumerate(computed.data_vars.values()):
                sums[at] += int(values.sum())

        write_batches(build, [], FRAMES, BLOCK, finish)
    assert counter.blocks == -(-FRAMES // BLOCK)
    assert counter.largest <= 4
    # those that wait for their tables, those that are computed, and those that are being asked for
    assert counter.most_open <= (BATCHES_AHEAD + 2) * BATCH_BLOCKS
    total = FRAMES * (FRAMES - 1) // 2
    assert sums == [total, 2 * total]


def test_a_block_of_another_run_is_not_written(tmp_path: Path) -> None:
    """What a worker finishes of a killed run does not get into the run that came after."""
    old, new = (np.full((4, 3, 2), value, np.uint8) for value in (1, 2))
    workspace = Workspace(tmp_path, "x", [".zarr"])
    store = str(workspace.staged(".zarr"))

    def begin(option: int) -> None:
        workspace.resume({"option": option})
        create_store(store, shape=old.shape, chunk_frames=4, attrs={}, zarr_format=3)

    def write(frames: np.ndarray, overtaken: bool) -> None:
        def late(block: np.ndarray) -> np.ndarray:
            if overtaken:
                begin(2)
                write(new, overtaken=False)
            return block

        plain = xr.DataArray(frames, dims=VIDEO.dims).chunk(4)
        lazy = plain.data.map_blocks(late, meta=frames[:0])
        made = xr.Dataset({"video": (VIDEO.dims, lazy)})
        video = BlockVideo("video", store, None)
        write_batches(lambda _: made, [video], 4, 4, lambda *_: None)

    with workspace.open([], force=False, resumable=True):
        begin(1)
        with pytest.raises(ResourceError, match="another run"):
            write(old, overtaken=True)
        np.testing.assert_array_equal(read_block(store, 0, 4), new)
