"""Steps of a receiver's clock that the device's counter contradicts.

A clock that is set while it runs, as by NTP, makes times jump by minutes between two frames whose
numbers follow each other. The counter says how much time really passed.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from miostitch.arrays import F64, I64
from miostitch.buffers.device_counter import device_runs
from miostitch.schema import NO_FRAME

LEAST_STEP_S = 0.5  # a receiver that is busy for a moment is late by less
LEAST_STEP_FRAMES = 5  # or, of a slow device, less than so many frames
LEAST_STRETCH = 8  # frames between two steps; a wrong time here and there is none
MOST_LOST = 1000  # frames lost between two; a counter that jumps farther does not tell the time
_BUSY_S = 10.0  # for which a receiver may be busy
_AROUND = 25  # frames on either side of a step that say how long it is


@dataclass(frozen=True)
class FrameCount:
    """Where each frame stands among those of the device, lost ones included, (frame,)."""

    place: F64
    untold: I64  # How often, up to here, the counter did not say how many frames were lost

    @classmethod
    def by_counter(cls, frame_num: I64) -> "FrameCount":
        """Count by the numbers that rise together in each run of the device, -1: unknown.

        A number that does not rise with those around it is wrong, and one of them all: its frame
        stands between its neighbours.
        """
        known = np.flatnonzero(frame_num != NO_FRAME)
        run = device_runs(frame_num[known])
        parts = np.split(known, np.flatnonzero(np.diff(run)) + 1)
        right = [part[longest_increasing(frame_num[part])] for part in parts]
        at = np.concatenate(right)
        run = np.repeat(np.arange(len(right)), [len(part) for part in right])
        passed, steps = np.diff(at), np.diff(frame_num[at])
        told = (np.diff(run) == 0) & (steps - passed < MOST_LOST)
        steps = np.where(told, steps, passed)
        count = np.arange(len(frame_num))
        if not len(at):
            return cls(count.astype(np.float64), np.zeros(len(count), np.int64))
        places = np.append(0, np.cumsum(steps)).astype(np.float64)
        place = np.interp(count, at, places)
        place += (count - at[0]).clip(max=0) + (count - at[-1]).clip(min=0)
        untold = np.append(0, np.cumsum(~told))
        return cls(place, untold[np.searchsorted(at, count).clip(max=len(at) - 1)])


def find_steps(frame_num: I64, time: F64) -> tuple[I64, F64]:
    """Find where a clock was set.

    Returns: The first frame after each step, and how far the clock was set forward, in s.
    """
    known, counted = np.flatnonzero(np.isfinite(time)), FrameCount.by_counter(frame_num)
    bridged, setting = bridge_steps(counted.place[known], counted.untold[known], time[known])
    at = np.flatnonzero(np.diff(setting)) + 1
    return known[at], np.diff(time[known] - bridged)[at - 1]


def bridge_steps(place: F64, untold: I64, received: F64) -> tuple[F64, I64]:
    """Take the steps of a clock out of times of reception.

    Returns: The times on the clock before the first step, and how each frame's clock was set, from
    0, (frame,).
    """
    setting = np.zeros(len(received), np.int64)
    interval = _usual_interval(place, received)
    if not interval > 0:  # NaN is not
        return received, setting
    lead = received - place * interval  # of the clock, ahead of the counter
    stretches = _find_stretches(lead, interval)
    offsets = [0.0]  # of each setting
    mine = 0
    for before, after in pairwise(stretches):
        last, first = before[1] - 1, after[0]
        step = _measure_step(lead, before, after, interval)
        told = untold[last] == untold[first]
        # forwards, frames that the counter does not tell of may have been lost
        contradicted = told if step > 0 else received[first] <= received[last]
        if abs(step) >= least_step(interval) and contradicted:
            mine = _setting_of(offsets[mine] + step, offsets, interval)
        setting[first:] = mine
    return received - np.array(offsets)[setting], setting


def _usual_interval(place: F64, received: F64) -> float:
    """Time in s from frame to frame; NaN for frames that have no step between them.

    Over as many frames as a stretch has at least, so that neither the scatter of single times nor
    steps matter.
    """
    if len(place) < 2 * LEAST_STRETCH:
        return np.nan
    frames = place[LEAST_STRETCH:] - place[:-LEAST_STRETCH]
    return float(np.median((received[LEAST_STRETCH:] - received[:-LEAST_STRETCH]) / frames))


def least_step(interval: float) -> float:
    """How far clock and counter must differ to contradict each other, in s."""
    return max(LEAST_STEP_S, LEAST_STEP_FRAMES * interval)


def _find_stretches(lead: F64, interval: float) -> list[tuple[int, int]]:
    """First frame, and the one after the last, of long parts without a step."""
    jumps = np.flatnonzero(np.abs(np.diff(lead)) >= least_step(interval)) + 1
    edges = [0, *jumps.tolist(), len(lead)]
    return [(first, stop) for first, stop in pairwise(edges) if stop - first >= LEAST_STRETCH]


def _measure_step(
    lead: F64, before: tuple[int, int], after: tuple[int, int], interval: float
) -> float:
    """How far the clock steps ahead of the counter between two stretches, in s.

    What a receiver was too busy to read it then reads at once: that is no step, and over soon.
    """
    jump = abs(lead[after[0]] - lead[before[1] - 1])
    behind = min(after[0] + int(min(jump, _BUSY_S) / interval), after[1] - LEAST_STRETCH)
    beginning = lead[behind : min(behind + _AROUND, after[1])]
    end = lead[max(before[0], before[1] - _AROUND) : before[1]]
    return float(np.median(beginning) - np.median(end))


def _setting_of(offset: float, offsets: list[float], interval: float) -> int:
    """Number of the setting that a clock has again, to half a frame, or a new one."""
    nearest = min(range(len(offsets)), key=lambda number: abs(offsets[number] - offset))
    if abs(offsets[nearest] - offset) < interval / 2:
        return nearest
    offsets.append(offset)
    return len(offsets) - 1


def longest_increasing(values: F64 | I64) -> I64:
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
