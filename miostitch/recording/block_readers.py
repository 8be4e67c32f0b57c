"""What a task needs to read the frames and the rows of a block of a recording, and no more."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import F64, I64, U8, Bools
from miostitch.buffers.header_check import find_failed
from miostitch.buffers.reception import reception_times
from miostitch.buffers.table import RowReader, Rows, join_rows
from miostitch.schema import NO_FRAME
from miostitch.video.readers import FrameReader


@dataclass(frozen=True, eq=False)
class RecordingRows:
    """Reads the rows of some frames of a recording; small and picklable."""

    frames: I64  # Which it can read, ascending
    frame_num: I64  # What the recording says of each of them
    num_rows: NDArray[np.integer]
    first: F64  # When the first buffer of each of them was received; NaN: not known
    longest_s: float  # Within what time the buffers of a frame are received
    # Of each table the places of the frames in it, -1 for those that are not, and its reader.
    parts: tuple[tuple[I64, RowReader], ...]

    def read(self, frames: I64) -> Rows:
        """Rows as of :meth:`Recording.rows`, of some of the frames."""
        at, pieces, places = np.searchsorted(self.frames, frames), [], []
        for place, table in self.parts:
            inside = np.flatnonzero(place[at] != NO_FRAME)
            pieces.append(table.read(place[at[inside]]))
            places.append(np.repeat(inside, self.num_rows[at[inside]]))
        if len(pieces) == 1:
            return pieces[0]
        return join_rows(pieces).take(np.argsort(np.concatenate(places), kind="stable"))

    def of_each_row(self, values: I64, frames: I64) -> I64:
        """Repeat a value of each of some frames for every row that is read of it."""
        return np.repeat(values, self.num_rows[np.searchsorted(self.frames, frames)])

    def numbers(self, frames: I64) -> I64:
        """The device's number of each of some frames, (frame,)."""
        return self.frame_num[np.searchsorted(self.frames, frames)]

    def timely(self, rows: Rows, frames: I64) -> Bools:
        """Which rows of these frames, as :meth:`read` gives them, say when their frame came."""
        first = np.repeat(self.first[at := np.searchsorted(self.frames, frames)], self.num_rows[at])
        return ~find_failed(rows) & (np.abs(reception_times(rows) - first) <= self.longest_s)


@dataclass(frozen=True)
class BlockReader:
    """Reads the frames of one block; small and picklable."""

    shape: tuple[int, int, int]  # Frames, height and width of the block
    # Places in the block and the reader of the frames that go there.
    parts: tuple[tuple[I64, FrameReader], ...]

    def read(self, out: U8 | None = None) -> U8:
        """The block, into a C-contiguous or a new array; zero where no part has a frame.

        Returns: uint8 (frame, height, width).
        """
        if out is None:
            out = np.empty(self.shape, np.uint8)
        if len(self.parts) == 1 and len(self.parts[0][0]) == self.shape[0]:
            return self.parts[0][1].read(out)
        out[:] = 0
        for places, reader in self.parts:
            out[places] = reader.read()
        return out
