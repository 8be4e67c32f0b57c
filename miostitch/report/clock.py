"""When the frames of a result were received: elapsed time and the time of day."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from miostitch.arrays import F64, I64
from miostitch.buffers.elapsed_time import measured_rate, read_start, time_of_store
from miostitch.schema import MEASURED_FPS
from miostitch.store.reader import Store
from miostitch.text import clock, utc_text


@dataclass(frozen=True, eq=False)
class FrameClock:
    """The time of every frame."""

    time: F64  # Seconds from the first frame, ascending, (frame,)
    # Unix time of the first frame; None: none is known, times are by the rate of the file
    start: float | None
    fps: float | None  # Frames per second by the timestamps; None: not known

    @classmethod
    def of(cls, store: Store, frame_num: I64, time: F64 | None = None) -> Self:
        """The clock of a store, whose times may be in memory already."""
        if time is None:
            measured = time_of_store(store)
            time, start = measured.seconds, measured.start
        else:
            start = read_start(store.attrs)
        if not np.isfinite(start):
            return cls(time, None, None)
        fps = store.attrs.get(MEASURED_FPS) or measured_rate(frame_num, time)
        return cls(time, start, None if fps is None else float(fps))

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the last one."""
        return float(self.time[-1] - self.time[0]) if len(self.time) else 0.0

    @cached_property
    def digits(self) -> int:
        """Decimals of seconds that tell a frame from the next one."""
        steps = np.diff(self.time)
        return 1 if not len(steps) or float(np.median(steps)) >= 0.1 else 3  # s

    def elapsed(self, frame: int) -> str:
        """Time from the first frame, h:mm:ss and as much of a second as tells frames apart."""
        return clock(float(self.time[frame]), self.digits)

    def of_day(self, frame: int) -> str:
        """Date and time of a frame in UTC; nothing where it is not known."""
        if self.start is None:
            return ""
        return utc_text(self.start + float(self.time[frame]), self.digits)
