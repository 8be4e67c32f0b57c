"""When the buffers of a frame were received, without those that came long before or after it.

A flipped header can give a row to a frame of minutes ago. Its time is no time of that frame.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa

from miostitch.arrays import F64, I64, Bools
from miostitch.buffers.frame_table import FrameTable
from miostitch.buffers.header_check import find_failed, has_column
from miostitch.schema import CORRECTED

MOST_INTERVALS = 8  # frames' time within which the buffers of one are received
LEAST_S = 1.0  # or this long, if that is longer: a busy computer takes a row late
_AT_ONCE = 4096  # frames whose rows are looked at together


def longest_frame(frames: FrameTable) -> float:
    """Learn within what time the buffers of a frame are received, in s; infinite: not known."""
    with np.errstate(over="ignore"):  # a corrupt time may be any number
        steps = np.diff(frames.timestamp_first[np.isfinite(frames.timestamp_first)])
        spans = frames.timestamp_last - frames.timestamp_first
        rising = steps[steps > 0]
        took = spans[spans > 0]
        usual = [float(np.median(found)) for found in (rising, took) if found.size]
    return max(LEAST_S, MOST_INTERVALS * max(usual)) if rising.size else np.inf


def settle_reception(
    frames: FrameTable, longest_s: float, read_rows: Callable[[I64], pd.DataFrame]
) -> tuple[FrameTable, int]:
    """Leave out the times of rows that were not received with the others of their frame.

    Returns: The table, of which each frame's last time is not before its first and at most
    ``longest_s`` after it; and how many rows were left out.
    """
    first, last = frames.timestamp_first.copy(), frames.timestamp_last.copy()
    known = np.isfinite(first)
    with np.errstate(over="ignore"):
        odd = np.flatnonzero(known & ~((last >= first) & (last - first <= longest_s)))
    if not len(odd):
        return frames, 0
    usual = np.setdiff1d(np.flatnonzero(known), odd, assume_unique=True)
    expected = np.interp(odd, usual, first[usual]) if len(usual) else first[odd]
    left_out = 0
    for start in range(0, len(odd), _AT_ONCE):
        part = odd[start : start + _AT_ONCE]
        rows = read_rows(part)
        rows = rows[~find_failed(rows)]
        index = rows["reconstructed_frame_index"].to_numpy()
        position = rows["frame_buffer_count"].to_numpy()
        time = reception_times(rows)
        for at, hint in zip(part.tolist(), expected[start:].tolist(), strict=False):
            own = np.flatnonzero(index == at)
            kept = own[_received_together(time[own], longest_s, hint)]
            ordered = kept[np.lexsort((time[kept], position[kept]))]
            first[at], last[at] = time[ordered[[0, -1]]]
            if last[at] < first[at]:  # out of order by a little
                first[at], last[at] = time[kept].min(), time[kept].max()
            left_out += len(own) - len(kept)
    return replace(frames, timestamp_first=first, timestamp_last=last), left_out


def reception_times(rows: pd.DataFrame | pa.Table) -> F64:
    """When rows were received: of a stitched table on the one clock of all of its rows, (row,)."""
    clock = CORRECTED.name if has_column(rows, CORRECTED.name) else "buffer_recv_unix_time"
    return np.asarray(rows[clock].to_numpy(), np.float64)


def _received_together(time: F64, longest_s: float, expected: float) -> Bools:
    """Find most of some times that lie together; of as many, those next to the expected time."""
    order = np.sort(time)
    counts = np.searchsorted(order, order + longest_s, "right") - np.arange(len(order))
    best = np.flatnonzero(counts == counts.max())
    begin = order[best[np.abs(order[best] - expected).argmin()]]
    return np.asarray((time >= begin) & (time <= begin + longest_s))
