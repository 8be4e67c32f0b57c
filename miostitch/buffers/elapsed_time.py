"""Elapsed time of every frame: finite and strictly increasing, whatever was received when."""

from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from miostitch.schema import NO_FRAME

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_STEP_S = 1e-6
"""What two frames are apart at least."""

MOST_LOST = 1000
"""Frames that may be lost between two frames; a counter that jumps farther is wrong."""


@dataclass(frozen=True)
class ElapsedTime:
    """When every frame was made, (frame,)."""

    seconds: Floats  # From the first frame on; strictly increasing
    estimated: NDArray[np.bool_]  # Where no time of reception tells
    start: float  # Unix time of the first frame, in s; NaN if none has a time of reception


def measure_time(frame_num: Ints, received: Floats, fps: Fraction) -> ElapsedTime:
    """Measure the time of every frame.

    A frame has the time at which it was received, unless that contradicts the times of others: as
    few as possible are then left out (the rest is a longest increasing subsequence). Those, and
    frames of which nothing was received, are estimated: between two frames in proportion to the
    device's counter; before the first one and after the last one by the usual interval, which is
    that of the video where fewer than two frames have a time.

    ``frame_num, received``: the device's counter, -1 if unknown, and the time of reception in s,
    NaN if unknown, of the frames in the order of the video, (frame,).
    """
    positions = np.arange(len(frame_num))
    known = np.flatnonzero(np.isfinite(received))
    known = known[_longest_increasing(received[known] - LEAST_STEP_S * known)]
    if not len(known):
        return ElapsedTime(positions / float(fps), np.ones(len(frame_num), np.bool_), np.nan)
    times = received[known] - received[known[0]]
    place = _count_frames(frame_num)
    steps = np.diff(times) / np.diff(place[known])
    interval = float(np.median(steps)) if len(steps) else float(1 / fps)
    seconds = np.interp(place, place[known], times)
    first, last = known[0], known[-1]
    seconds[:first] = (positions[:first] - first) * interval
    seconds[last:] = times[-1] + (positions[last:] - last) * interval
    estimated = np.ones(len(frame_num), np.bool_)
    estimated[known] = False
    return ElapsedTime(seconds - seconds[0], estimated, float(received[first] + seconds[0]))


def _count_frames(frame_num: Ints) -> Floats:
    """Where each frame stands among those of the device, those lost between two included."""
    steps = np.diff(frame_num, prepend=frame_num[:1] - 1)
    numbered = frame_num != NO_FRAME
    told = numbered & np.append(False, numbered[:-1]) & (steps > 0) & (steps <= MOST_LOST)
    return np.cumsum(np.where(told, steps, 1)).astype(np.float64)


def _longest_increasing(values: Floats) -> Ints:
    """Positions of a longest subsequence that is strictly increasing."""
    if (np.diff(values) > 0).all():
        return np.arange(len(values))
    lowest: list[float] = []  # last value of the best subsequence of each length, and its position
    ends: list[int] = []
    previous = np.full(len(values), NO_FRAME)
    for position, value in enumerate(values.tolist()):
        length = bisect_left(lowest, value)
        previous[position] = ends[length - 1] if length else NO_FRAME
        lowest[length : length + 1] = [value]
        ends[length : length + 1] = [position]
    chain = np.empty(len(ends), np.int64)
    position = ends[-1]
    for place in reversed(range(len(ends))):
        chain[place] = position
        position = int(previous[position])
    return chain
