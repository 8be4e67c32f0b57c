"""The rows of the metadata tables that belong to the output: one per buffer that was received."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.arrays import I64
from miostitch.buffers.header_check import find_failed
from miostitch.buffers.row_writer import RowFormat
from miostitch.execution.engine import Tables
from miostitch.recording.recording import RecordingRows
from miostitch.schema import CORRECTED, NO_FRAME
from miostitch.session.clocks import Clock, to_first_clock
from miostitch.session.session import Session

RECEIVER = "\0receiver"
"""Column that says which recording a row is from; no file can have a column of this name."""

TIMELY = "\0timely"
"""Column that says which row was received with its frame."""

RECEIVED = "buffer_recv_unix_time"
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

    def find(self, decides: NDArray[np.int8]) -> pd.DataFrame:
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
    return _of_frames(BlockRows.of(session, span, composed=False), source)


def rows_of_buffers(session: Session, span: slice, buffer_source: NDArray[np.int8]) -> pd.DataFrame:
    """One row for each buffer of composed frames.

    ``buffer_source``: recording that gave each buffer, or most of it, (frame, position); -1 nobody.

    Returns: As of :func:`rows_of_frames`, buffers of one time by position. A buffer whose row was
    lost, as of one that the buffer before it swallowed, has that of the first other recording that
    has one, else none.
    """
    return _of_buffers(BlockRows.of(session, span, composed=True), buffer_source)


def _of_frames(block: BlockRows, source: NDArray[np.int8]) -> pd.DataFrame:
    parts = []
    for number, candidate in enumerate(block.candidates):
        mine = np.flatnonzero(source == number)
        parts.append(_rows(block, number, candidate.source_frame[mine], block.start + mine))
    return _in_order(pd.concat(parts, ignore_index=True))


def _of_buffers(block: BlockRows, buffer_source: NDArray[np.int8]) -> pd.DataFrame:
    parts = []
    for number, candidate in enumerate(block.candidates):
        present = np.flatnonzero(candidate.source_frame != NO_FRAME)
        whole = _valid_rows(block, number, candidate.source_frame[present], present)
        parts += [whole, _valid_rows(block, number, candidate.fragments, candidate.places)]
    rows = pd.concat(parts, ignore_index=True)
    place, position = (
        rows[name].to_numpy() for name in ("reconstructed_frame_index", "frame_buffer_count")
    )
    gave = buffer_source[place, position]
    delivered = gave != NO_FRAME
    nothing = pd.Series(0, rows.index)
    short = rows.get("black_padding_px", nothing).fillna(0).clip(lower=0).to_numpy()
    order = np.lexsort((short, rows[RECEIVER].to_numpy() != gave, position, place))
    order = order[delivered[order]]
    first = np.ones(len(order), bool)
    at = place * block.buffers + position
    first[1:] = np.diff(at[order]) != 0
    chosen: pd.DataFrame = rows.iloc[order[first]].copy()
    chosen["reconstructed_frame_index"] += block.start
    by = (CORRECTED.name, PLACE[0])  # a stable sort leaves equal times by position
    return chosen.iloc[np.lexsort([chosen[name].to_numpy() for name in by])]


def frame_times(rows: pd.DataFrame, span: slice) -> NDArray[np.float64]:
    """Time of reception of the first and the last buffer of some output frames.

    Returns: float64 (2, frame) in s, on the first recording's clock unless the session keeps the
    clocks; NaN for a frame without rows. Of a frame with rows of several recordings the earliest
    and the latest.
    """
    # within a frame rows stand as received, and its first buffer is not always the first
    rows = rows[rows[TIMELY].to_numpy()]
    rows = rows.iloc[np.lexsort([rows[name].to_numpy() for name in reversed(PLACE)])]
    received, receiver = rows[CORRECTED.name].to_numpy(), rows[RECEIVER].to_numpy()
    positions = np.arange(span.start, span.stop)
    index = rows["reconstructed_frame_index"].to_numpy()
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


def _rows(block: BlockRows, number: int, frames: I64, places: I64) -> pd.DataFrame:
    """Rows of frames of a recording's video, which are told where they go."""
    own = block.candidates[number]
    rows = own.rows.read(frames)
    rows[TIMELY] = own.rows.timely(rows, frames)
    if own.clock is None:
        rows[CORRECTED.name] = rows[RECEIVED]
    else:  # what was stitched before is on one clock already, which is this recording's
        received = rows.get(CORRECTED.name, rows[RECEIVED]).to_numpy()
        rows[CORRECTED.name] = to_first_clock(received, own.clock)
    rows["reconstructed_frame_index"] = own.rows.of_each_row(places, frames)
    rows[RECEIVER] = number
    return rows


def _valid_rows(block: BlockRows, number: int, frames: I64, places: I64) -> pd.DataFrame:
    """Rows as of :func:`_rows` that are of their frame, and of a buffer of it.

    A row of another frame stands there only where a flipped header put it. Aligned by time, what
    is one frame may have another number in each recording.
    """
    rows, reader = _rows(block, number, frames, places), block.candidates[number].rows
    own = reader.of_each_row(reader.numbers(frames), frames)
    valid = (rows["frame_num"].to_numpy() == own) & ~find_failed(rows)
    valid &= rows["frame_buffer_count"].between(0, block.buffers - 1).to_numpy()
    kept: pd.DataFrame = rows[valid]
    return kept


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[np.argsort(rows["reconstructed_frame_index"].to_numpy(), kind="stable")]
