"""The rows of the metadata tables that belong to the output: one per buffer that was received."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.arrays import I64
from miostitch.buffers.header_check import find_failed, has_column
from miostitch.buffers.reception import reception_times
from miostitch.buffers.row_writer import RowFormat
from miostitch.buffers.table import Rows, as_frame, join_rows, set_columns
from miostitch.execution.engine import Tables
from miostitch.recording.block_readers import RecordingRows
from miostitch.schema import CORRECTED, NO_FRAME, RECORDED
from miostitch.session.clocks import Clock, to_first_clock
from miostitch.session.session import Session

RECEIVER = "\0receiver"
"""Column that says which recording a row is from; no file can have a column of this name."""

TIMELY = "\0timely"
"""Column that says which row was received with its frame."""

RECEIVED = "buffer_recv_unix_time"
PADDING = "black_padding_px"
PLACE = ("reconstructed_frame_index", "frame_buffer_count")

TIMES = "times"
"""Times of the first and the last buffer, float64 (frame, 2), among what is made of the rows."""


@dataclass(frozen=True)
class CandidateRows:
    """Where a block has the rows of a recording's candidates."""

    rows: RecordingRows
    source_frame: I64  # The candidates, (frame,); -1 where absent
    # Where in the block each fragment belongs that was split off from a candidate, and which.
    places: I64
    fragments: I64
    clock: Clock | None  # None where all times stay as received


@dataclass(frozen=True)
class BlockRows:
    """What a task needs to find the rows of a block; small and picklable."""

    start: int  # First output frame of the block
    count: int  # Its frames
    candidates: tuple[CandidateRows, ...]  # Per recording
    buffers: int  # Of a frame
    composed: bool

    @classmethod
    def of(cls, session: Session, span: slice, *, composed: bool) -> "BlockRows":
        """Plan the rows of some output frames."""
        source_frame = session.source_frame(span)
        candidates = []
        for number, (recording, own) in enumerate(
            zip(session.recordings, source_frame, strict=True)
        ):
            places, fragments = session.pieces(number, own if composed else own[:0])
            frames = np.concatenate([own[own != NO_FRAME], fragments])
            clock = session.alignment.clocks[number] if session.one_clock else None
            rows = recording.row_reader(frames)
            candidates.append(CandidateRows(rows, own, places, fragments, clock))
        count = source_frame.shape[1]
        return cls(span.start, count, tuple(candidates), session.buffers, composed)

    def find(self, decides: NDArray[np.int8]) -> Rows:
        """Rows by what gave the frames, or the buffers."""
        return _of_buffers(self, decides) if self.composed else _of_frames(self, decides)


@dataclass(frozen=True)
class RowPlan:
    """What a task needs to make the rows of a block as they are written, and what they tell."""

    block: BlockRows
    format: RowFormat

    @classmethod
    def of(cls, session: Session, form: RowFormat, composed: bool, span: slice) -> "RowPlan":
        """Plan the rows of some output frames."""
        return cls(BlockRows.of(session, span, composed=composed), form)

    def make(self, tables: Tables) -> Tables:
        """Make them of what was decided of the block."""
        rows = self.block.find(tables[DECIDES[self.block.composed]])
        span = slice(self.block.start, self.block.start + self.block.count)
        return {TIMES: frame_times(rows, span).T, **self.format.pack(rows)}


DECIDES = ("source", "buffer_source")
"""The column of a block by which its rows are found, by frame and by buffer."""


def rows_of_frames(session: Session, span: slice, source: NDArray[np.int8]) -> pd.DataFrame:
    """Rows of whole frames.

    ``source``: recording that gave each of them, (frame,).

    Returns: The tables' columns, ``reconstructed_frame_index`` counting output frames, and
    :data:`RECEIVER`, and the corrected time; by frame, then as received.
    """
    return as_frame(_of_frames(BlockRows.of(session, span, composed=False), source))


def rows_of_buffers(session: Session, span: slice, buffer_source: NDArray[np.int8]) -> pd.DataFrame:
    """One row for each buffer of composed frames.

    ``buffer_source``: recording that gave each buffer, or most of it, (frame, position); -1 nobody.

    Returns: As of :func:`rows_of_frames`, buffers of one time by position, and all of them where
    receivers keep their clocks. A buffer whose row was
    lost, as of one that the buffer before it swallowed, has that of the first other recording that
    has one, else none.
    """
    return as_frame(_of_buffers(BlockRows.of(session, span, composed=True), buffer_source))


def _of_frames(block: BlockRows, source: NDArray[np.int8]) -> Rows:
    parts = []
    for number, candidate in enumerate(block.candidates):
        mine = np.flatnonzero(source == number)
        parts.append(_rows(block, number, candidate.source_frame[mine], block.start + mine))
    rows = join_rows(parts)
    return rows.take(np.argsort(rows[PLACE[0]].to_numpy(), kind="stable"))


def _of_buffers(block: BlockRows, buffer_source: NDArray[np.int8]) -> Rows:
    parts = []
    for number, candidate in enumerate(block.candidates):
        present = np.flatnonzero(candidate.source_frame != NO_FRAME)
        whole = _valid_rows(block, number, candidate.source_frame[present], present)
        parts += [whole, _valid_rows(block, number, candidate.fragments, candidate.places)]
    rows = join_rows(parts)
    place, position = (rows[name].to_numpy() for name in PLACE)
    gave = buffer_source[place, position]
    delivered = gave != NO_FRAME
    short = np.zeros(len(place), np.int64)
    if PADDING in rows.column_names:
        short = rows[PADDING].fill_null(0).to_numpy().clip(min=0)
    order = np.lexsort((short, rows[RECEIVER].to_numpy() != gave, position, place))
    order = order[delivered[order]]
    first = np.ones(len(order), bool)
    at = place * block.buffers + position
    first[1:] = np.diff(at[order]) != 0
    chosen = order[first]
    if any(candidate.clock is not None for candidate in block.candidates):
        # on one clock as they were received; a stable sort leaves equal times by position
        chosen = chosen[np.lexsort((rows[CORRECTED.name].to_numpy()[chosen], place[chosen]))]
    return set_columns(rows.take(chosen), {PLACE[0]: place[chosen] + block.start})


def frame_times(rows: pd.DataFrame | Rows, span: slice) -> NDArray[np.float64]:
    """Time of reception of the first and the last buffer of some output frames.

    Returns: float64 (2, frame) in s, on the first recording's clock unless the session keeps the
    clocks; NaN for a frame without rows. Of a frame with rows of several recordings the earliest
    and the latest.
    """
    # within a frame rows stand as received, and its first buffer is not always the first
    timely = rows[TIMELY].to_numpy()
    names = (*PLACE, CORRECTED.name, RECEIVER)
    columns = [rows[name].to_numpy()[timely] for name in names]
    order = np.lexsort(columns[1::-1])
    index, _, received, receiver = (column[order] for column in columns)
    positions = np.arange(span.start, span.stop)
    first, stop = (np.searchsorted(index, positions, side) for side in ("left", "right"))
    times = np.full((2, len(positions)), np.nan)
    there = first < stop
    times[:, there] = received[first[there]], received[stop[there] - 1]
    starts = first[there]
    if len(starts):
        # between two receivers' rows the order of the buffers is not exactly that of the times
        least, most = (f.reduceat(receiver, starts) for f in (np.minimum, np.maximum))
        disordered = (least < most) | (times[1, there] < times[0, there])
        mixed = np.flatnonzero(there)[disordered]
        times[0, mixed] = np.minimum.reduceat(received, starts)[disordered]
        times[1, mixed] = np.maximum.reduceat(received, starts)[disordered]
    return times


def _rows(block: BlockRows, number: int, frames: I64, places: I64) -> Rows:
    """Rows of frames of a recording's video, which are told where they go."""
    own = block.candidates[number]
    rows = own.rows.read(frames)
    recorded = np.full(len(rows), NO_FRAME)
    if has_column(rows, RECORDED.name):  # of some blocks of a table alone
        recorded = rows[RECORDED.name].fill_null(NO_FRAME).to_numpy()
        rows = rows.drop_columns(RECORDED.name)
    if own.clock is None:
        time = rows[RECEIVED].to_numpy()
    else:  # what was stitched before is on one clock already, which is this recording's
        time = to_first_clock(reception_times(rows), own.clock)
    columns = {
        TIMELY: own.rows.timely(rows, frames),
        CORRECTED.name: time,
        PLACE[0]: own.rows.of_each_row(places, frames),
        RECEIVER: np.full(len(rows), number),
        RECORDED.name: recorded,
    }
    return set_columns(rows, columns)


def _valid_rows(block: BlockRows, number: int, frames: I64, places: I64) -> Rows:
    """Rows as of :func:`_rows` that are of their frame, and of a buffer of it.

    A row of another frame stands there only where a flipped header put it. Aligned by time, what
    is one frame may have another number in each recording.
    """
    rows, reader = _rows(block, number, frames, places), block.candidates[number].rows
    own = reader.of_each_row(reader.numbers(frames), frames)
    valid = (rows["frame_num"].to_numpy() == own) & ~find_failed(rows)
    position = rows["frame_buffer_count"].to_numpy()
    valid &= (position >= 0) & (position < block.buffers)
    return rows.take(np.flatnonzero(valid))
