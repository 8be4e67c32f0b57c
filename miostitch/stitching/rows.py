"""The rows of the metadata tables that belong to the output: one per buffer that was received."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.schema import CORRECTED, NO_FRAME
from miostitch.session.clocks import to_first_clock
from miostitch.session.session import Session

RECEIVER = "receiver"
"""Column that says which recording a row is from; it is in no file."""

RECEIVED = "buffer_recv_unix_time"
PLACE = ("reconstructed_frame_index", "frame_buffer_count")


def rows_of_frames(session: Session, span: slice, source: NDArray[np.int8]) -> pd.DataFrame:
    """Rows of whole frames.

    ``source``: recording that gave each of them, (frame,).

    Returns: The tables' columns, ``reconstructed_frame_index`` counting output frames, and
    :data:`RECEIVER`, and the corrected time; by frame, then as received.
    """
    positions = np.arange(span.start, span.stop)
    source_frame = session.source_frame(span)
    parts = []
    for number in range(len(session.recordings)):
        mine = np.flatnonzero(source == number)
        parts.append(_rows(session, number, source_frame[number, mine], positions[mine]))
    return _in_order(pd.concat(parts, ignore_index=True))


def rows_of_buffers(session: Session, span: slice, buffer_source: NDArray[np.int8]) -> pd.DataFrame:
    """One row for each buffer of composed frames.

    ``buffer_source``: recording that gave each buffer, or most of it, (frame, position); -1 nobody.

    Returns: As of :func:`rows_of_frames`, buffers of one time by position. A buffer whose row was
    lost, as of one that the buffer before it swallowed, has that of the first other recording that
    has one, else none.
    """
    parts = []
    for number, source_frame in enumerate(session.source_frame(span)):
        places, pieces = session.pieces(number, source_frame)
        present = np.flatnonzero(source_frame != NO_FRAME)
        whole = _valid_rows(session, number, source_frame[present], present)
        parts += [whole, _valid_rows(session, number, pieces, places)]
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
    at = place * session.buffers + position
    first[1:] = np.diff(at[order]) != 0
    chosen: pd.DataFrame = rows.iloc[order[first]].copy()
    chosen["reconstructed_frame_index"] += span.start
    by = (CORRECTED.name, PLACE[0])  # a stable sort leaves equal times by position
    return chosen.iloc[np.lexsort([chosen[name].to_numpy() for name in by])]


def frame_times(session: Session, rows: pd.DataFrame, span: slice) -> NDArray[np.float64]:
    """Time of reception of the first and the last buffer of some output frames.

    Returns: float64 (2, frame) in s, on the first recording's clock unless the session keeps the
    clocks; NaN for a frame without rows. Of a frame with rows of several recordings the earliest
    and the latest.
    """
    # within a frame rows stand as received, and its first buffer is not always the first
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
        mixed = np.flatnonzero(there)[least < most]
        times[0, mixed] = np.minimum.reduceat(received, starts)[least < most]
        times[1, mixed] = np.maximum.reduceat(received, starts)[least < most]
    return times


def _rows(
    session: Session, number: int, frames: NDArray[np.int64], places: NDArray[np.int64]
) -> pd.DataFrame:
    """Rows of frames of a recording's video, which are told where they go."""
    recording = session.recordings[number]
    rows: pd.DataFrame = recording.rows(frames)
    if not session.one_clock:
        rows[CORRECTED.name] = rows[RECEIVED]
    else:  # what was stitched before is on one clock already, which is this recording's
        received = rows.get(CORRECTED.name, rows[RECEIVED]).to_numpy()
        rows[CORRECTED.name] = to_first_clock(received, session.alignment.clocks[number])
    index = np.repeat(places, recording.frames.num_rows[frames])
    rows["reconstructed_frame_index"] = index
    rows[RECEIVER] = number
    return rows


def _valid_rows(
    session: Session, number: int, frames: NDArray[np.int64], places: NDArray[np.int64]
) -> pd.DataFrame:
    """Rows as of :func:`_rows` that are of their frame, and of a buffer of it.

    A row of another frame stands there only where a flipped header put it. Aligned by time, what
    is one frame may have another number in each recording.
    """
    recording = session.recordings[number]
    rows = _rows(session, number, frames, places)
    own = np.repeat(recording.frames.frame_num[frames], recording.frames.num_rows[frames])
    valid = rows["frame_num"].to_numpy() == own
    valid &= rows["frame_buffer_count"].between(0, session.buffers - 1).to_numpy()
    kept: pd.DataFrame = rows[valid]
    return kept


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[np.argsort(rows["reconstructed_frame_index"].to_numpy(), kind="stable")]
