"""When the frames of a result were received: elapsed time and the time of day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import F64, I64
from miostitch.store.reader import Store

TIMES = ("time", "timestamp_first")
"""Variables of a store that say when frames were received; stores of old have the second alone."""


@dataclass(frozen=True, eq=False)
class FrameClock:
    """The time of every frame."""

    time: F64  # Seconds from the first frame, ascending, (frame,)
    start: float | None  # Unix time of the first frame; None: not known
    measured: bool  # False: no frame has a timestamp, times are by the frame rate of the file
    fps: float | None  # Frames per second by the timestamps; None: not known

    @classmethod
    def of(cls, store: Store, columns: Mapping[str, NDArray[Any]], frame_num: I64) -> Self:
        """The clock of a store, of which some variables (frame,) are in memory already."""
        rate = Fraction(store.attrs["fps"])
        found: Mapping[str, NDArray[Any]] = {n: columns[n] for n in TIMES if n in columns}
        if "time" not in found:
            found = store.arrays("", TIMES[:1]) or found or store.arrays("", TIMES[1:])
        start = store.attrs.get("start_time")
        if "time" in found:
            times = found["time"].astype(np.float64, copy=False)
            first = None if start is None else datetime.fromisoformat(start).timestamp()
        else:
            times, first = _from_timestamps(found.get("timestamp_first"), len(frame_num), rate)
        if first is None:
            return cls(times, None, False, None)
        fps = store.attrs.get("measured_fps") or _measure_rate(times, frame_num)
        return cls(times, first, True, None if fps is None else float(fps))

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the last one."""
        return float(self.time[-1] - self.time[0]) if len(self.time) else 0.0

    def elapsed(self, frame: int) -> str:
        """Time from the first frame, h:mm:ss.s."""
        return elapsed_text(float(self.time[frame]))

    def of_day(self, frame: int) -> str:
        """Date and time of a frame in UTC; nothing where it is not known."""
        if self.start is None:
            return ""
        return clock_text(self.start + float(self.time[frame]))


def elapsed_text(seconds: float) -> str:
    """Seconds as h:mm:ss.s.

    >>> elapsed_text(3650.04), elapsed_text(59.99)
    ('1:00:50.0', '0:00:59.9')
    """
    tenths = int(seconds * 10 + 1e-6)
    return f"{tenths // 36000}:{tenths // 600 % 60:02}:{tenths // 10 % 60:02}.{tenths % 10}"


def clock_text(unix: float) -> str:
    """A Unix time in UTC.

    >>> clock_text(1772361000.26)
    '2026-03-01 10:30:00.2'
    """
    try:
        moment = datetime.fromtimestamp(unix, UTC)
    except (OverflowError, ValueError, OSError):  # a clock that was never set
        return f"{unix:.1f} s"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 100_000}"


def _from_timestamps(
    timestamps: F64 | None, frames: int, rate: Fraction
) -> tuple[F64, float | None]:
    """Times of all frames: those without a timestamp lie between or beyond their neighbours."""
    places = np.arange(frames, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(timestamps)) if timestamps is not None else np.empty(0, int)
    if timestamps is None or not len(known):
        return places / float(rate), None
    times = np.interp(places, known, timestamps[known])
    first, last = known[0], known[-1]
    times[:first] -= (first - places[:first]) / float(rate)
    times[last + 1 :] += (places[last + 1 :] - last) / float(rate)
    np.maximum.accumulate(times, out=times)
    start = float(times[0])
    return times - start, start


def _measure_rate(times: F64, frame_num: I64) -> float | None:
    """Frames per second of the device, by frames that follow one another."""
    follows = np.flatnonzero((np.diff(frame_num) == 1) & (frame_num[:-1] >= 0))
    seconds = float((times[follows + 1] - times[follows]).sum())
    return len(follows) / seconds if seconds > 0 else None
