"""Elapsed time of every frame: finite and strictly increasing, whatever was received when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import F64, I64, Bools
from miostitch.buffers.clock_steps import FrameCount, bridge_steps, longest_increasing
from miostitch.errors import InputError
from miostitch.schema import START_TIME, TIME_VARIABLES
from miostitch.store.reader import Store

NAMES = TIME, ESTIMATED = tuple(variable.name for variable in TIME_VARIABLES)
LEAST_STEP_S = 1e-6
"""What two frames are apart at least."""

SAME_RATE = 0.01
"""By what share two frame rates may differ of which one is stated."""


@dataclass(frozen=True)
class ElapsedTime:
    """When every frame was made, (frame,)."""

    seconds: F64  # From the first frame on; strictly increasing
    estimated: Bools  # Where no time of reception tells
    start: float  # Unix time of the first frame, in s; NaN if none has a time of reception

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The variables of the schema that say this of every frame."""
        values = self.seconds, self.estimated
        return {v.name: each for v, each in zip(TIME_VARIABLES, values, strict=True)}

    @property
    def attrs(self) -> dict[str, str]:
        """The attribute that says when the first frame was made; none if that is not known."""
        try:
            start = datetime.fromtimestamp(self.start, UTC)
        except (ValueError, OverflowError, OSError):  # unknown, or a clock beyond all years
            return {}
        return {START_TIME: start.isoformat(timespec="microseconds")}


def frame_interval(frame_num: I64, time: F64) -> float:
    """Time in s from frame to frame of one boot; NaN where numbers and times rise apart.

    ``frame_num, time``: in the order of the video, (frame,).
    """
    # a long lever, so that the scatter of single times does not matter
    # and short beside the recording, so that a step of the clock changes few of the pairs
    lever = min(64, max(len(time) // 4, min(len(time) - 1, 1)))
    if not lever:
        return np.nan
    frames = frame_num[lever:] - frame_num[:-lever]
    rising = (frames > 0) & (frames <= 8 * lever)
    steps = (time[lever:] - time[:-lever])[rising] / frames[rising]
    steps = steps[np.isfinite(steps)]
    interval = float(np.median(steps)) if steps.size else np.nan
    return interval if interval > 0 else np.nan


def measured_rate(frame_num: I64, time: F64) -> float | None:
    """Frames per s by counter and clock; None where they do not tell.

    ``frame_num, time``: -1 and NaN where unknown, in the order of the video, (frame,).
    """
    known = (frame_num >= 0) & np.isfinite(time)
    interval = frame_interval(frame_num[known], time[known])
    # a clock that was set while it ran may leave a rate of nothing
    return None if np.isnan(interval) else round(1 / interval, 6) or None


def stated_rate(said: float, measured: float | None) -> float:
    """Frames per s to be stated: as measured where a file says another rate by more than 1 %."""
    return said if measured is None or abs(said / measured - 1) <= SAME_RATE else measured


def measure_time(frame_num: I64, received: F64, fps: Fraction) -> ElapsedTime:
    """Measure the time of every frame.

    A frame has the time at which it was received, unless that contradicts the others. Where the
    clock steps while the device's counter goes on, the step is taken out; the frames on one side of
    it are estimated: as few as possible. So are frames whose times do not rise with the others, and
    those of which nothing was received: they have a time between those around them in proportion
    to the counter, before the first one and after the last one by the usual interval, which is that
    of the video where fewer than two frames have a time. Without any time, frames are counted.

    ``frame_num, received``: the device's counter, -1 if unknown, and the time of reception in s,
    NaN if unknown, of the frames in the order of the video, (frame,).
    """
    positions, counted = np.arange(len(frame_num)), FrameCount.by_counter(frame_num)
    place = counted.place
    known = np.flatnonzero(np.isfinite(received))
    times, setting = bridge_steps(place[known], counted.untold[known], received[known])
    rising = longest_increasing(times - LEAST_STEP_S * known)
    known, times, setting = known[rising], times[rising], setting[rising]
    if not len(known):
        seconds = (place - place[:1]) / float(fps)
        return ElapsedTime(seconds, np.ones(len(frame_num), np.bool_), np.nan)
    right = np.flatnonzero(setting == np.bincount(setting).argmax())
    seconds = np.interp(place, place[known], times - times[0])
    steps = np.diff(times) / np.diff(place[known])
    interval = float(np.median(steps)) if len(steps) else float(1 / fps)
    first, last = known[0], known[-1]
    seconds[:first] = (positions[:first] - first) * interval
    seconds[last:] = times[-1] - times[0] + (positions[last:] - last) * interval
    seconds -= seconds[0]
    estimated = np.ones(len(frame_num), np.bool_)
    estimated[known[right]] = False
    start = float(received[known[right[0]]] - seconds[known[right[0]]])
    return ElapsedTime(seconds, estimated, start)


def join_times(
    files: Sequence[ElapsedTime], origin: I64, frame: I64, frame_num: I64, fps: Fraction
) -> ElapsedTime:
    """Measure the time of frames that are taken from files.

    The times stay as they are, from the first of these frames on, where they rise from frame to
    frame: gaps stay gaps. Otherwise, as of files that were joined in the wrong order or whose
    start is unknown, they are measured again.

    ``origin, frame, frame_num``: the file of each frame, its position there, and the device's
    counter, (frame,).
    """
    starts = np.array([file.start for file in files])
    used = np.unique(origin).tolist()
    known = [number for number in used if np.isfinite(starts[number])]
    first = known[0] if known else used[0]
    seconds, estimated = np.empty(len(frame)), np.empty(len(frame), np.bool_)
    for number in used:
        mine = origin == number
        ahead = 0.0 if number == first else starts[number] - starts[first]
        seconds[mine] = files[number].seconds[frame[mine]] + ahead
        estimated[mine] = files[number].estimated[frame[mine]]
    if (np.diff(seconds) > 0).all():  # which NaN does not
        start = float(starts[first] + seconds[0])
        return ElapsedTime(seconds - seconds[0], estimated, start)
    measured = measure_time(frame_num, np.where(estimated, np.nan, seconds), fps)
    return ElapsedTime(measured.seconds, measured.estimated, float(starts[first] + measured.start))


def read_start(attrs: Mapping[str, Any]) -> float:
    """Unix time of the first frame in s, by a store's or a Dataset's attributes; NaN: unknown."""
    told = attrs.get(START_TIME)
    if told is None:
        return np.nan
    try:
        return datetime.fromisoformat(told).timestamp()
    except (TypeError, ValueError) as error:
        raise InputError(f"{START_TIME} {told!r} is no time: {error}; make it again") from error


def time_of_store(store: Store) -> ElapsedTime:
    """The time of every frame as stored; stores of format 1 have none, so it is measured."""
    stored = store.arrays("", NAMES)
    if {*NAMES} <= {*stored}:
        return ElapsedTime(stored[TIME], stored[ESTIMATED], read_start(store.attrs))
    known = store.arrays("", ("frame_num", "timestamp_first"))
    fps = Fraction(store.attrs["fps"])
    return measure_time(known["frame_num"], known["timestamp_first"], fps)
