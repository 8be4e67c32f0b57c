"""Blocks are written batch by batch: graphs do not grow with the recording."""

from concurrent.futures import Future
from typing import Any

import dask.array as da
import xarray as xr

from miostitch import computing
from miostitch.computing import Threads, computing_by
from miostitch.schema import FRAME
from miostitch.writing import BATCH_BLOCKS, BATCHES_AHEAD, write_batches

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
