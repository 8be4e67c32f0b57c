"""One frame per tick of the device's counter: frames that no receiver has are filled, or split.

Positions and times are plain arrays here; what is filled is computed block by block.
"""

from dataclasses import dataclass
from typing import Literal, Self

import dask.array as da
import numpy as np
import xarray as xr

from miostitch.arrays import F64, I64, U8, Bools
from miostitch.buffers.elapsed_time import LEAST_STEP_S
from miostitch.errors import InputError, UsageError
from miostitch.ranges import join_ranges
from miostitch.schema import VIDEO

Fill = Literal["previous", "linear", "zero"]
FILLS: tuple[Fill, ...] = ("previous", "linear", "zero")

MOST_FILLED = 20
"""Frames of a gap that are filled by default; a longer one begins another epoch."""


@dataclass(frozen=True)
class RegularFrames:
    """The frames of a regular time base, by those of the recording they are made of."""

    previous: I64  # The frame itself, or the one before the gap, (frame,)
    following: I64  # The frame itself, or the one behind the gap, (frame,)
    share: F64  # How far in the gap each is, 0 for what is no gap, (frame,)
    frame_num: I64  # (frame,)
    seconds: F64  # By a straight line of each epoch, from the first frame on, (frame,)
    shift: float  # When the first frame was made by that line, in s after the recording's first
    epochs: list[tuple[int, int]]  # First and last frame of each, without a gap between
    worst_s: float  # How far a frame's own time is from that at most

    @classmethod
    def of(cls, frame_num: I64, seconds: F64, most: int, path: str = "") -> Self:
        """Find them, by the device's counter and the elapsed time of each frame.

        A gap of more than ``most`` frames, and a counter that falls, begin another epoch.
        """
        unknown = np.flatnonzero(frame_num < 0)
        if len(unknown):
            msg = f"{path}: frame {unknown[0]} has no frame_num, as {len(unknown)} of them"
            raise InputError(f"{msg}, and a regular time base needs it; remove these frames")
        steps = np.diff(frame_num)
        inside = (steps > 0) & (steps <= most + 1)
        counts = np.append(np.where(inside, steps, 1), 1)
        place = np.repeat(np.arange(len(frame_num)), counts)  # of the last frame received
        ahead = join_ranges(np.zeros(len(counts), np.int64), counts)
        ends = np.flatnonzero(~inside)
        own = np.append(0, np.cumsum(counts))[:-1]  # where each frame of the recording goes
        firsts = own[np.append(0, ends + 1)]
        lasts = own[np.append(ends, len(frame_num) - 1)]
        numbers = frame_num[place] + ahead
        fitted = np.empty(len(numbers))
        worst = 0.0
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
            mine = slice(int(place[first]), int(place[last]) + 1)
            line = fit_line(frame_num[mine], seconds[mine])
            if first:  # however the lines cross, time rises
                late = fitted[first - 1] + LEAST_STEP_S - line(numbers[first])
                line += max(0.0, float(late))
            fitted[first : last + 1] = line(numbers[first : last + 1])
            off = np.abs(line(frame_num[mine]) - seconds[mine])
            worst = max(worst, float(off.max()))
        return cls(
            previous=place,
            following=np.where(ahead > 0, np.minimum(place + 1, len(frame_num) - 1), place),
            share=ahead / counts[place],
            frame_num=numbers,
            seconds=fitted - fitted[0],
            shift=float(fitted[0]),
            epochs=[*zip(firsts.tolist(), lasts.tolist(), strict=True)],
            worst_s=worst,
        )

    @property
    def filled(self) -> Bools:
        """Which frames no receiver has, (frame,)."""
        return self.share > 0

    def fill(self, video: xr.DataArray, how: Fill, block: int) -> xr.DataArray:
        """The frames as a lazy video, in blocks of so many."""
        frames = video.data[self.previous].rechunk({0: block, 1: -1, 2: -1})
        share = da.from_array(self.share[:, None, None], chunks=(block, 1, 1))
        if how == "previous":
            filled = frames
        elif how == "zero":
            filled = da.map_blocks(_blacken, frames, share, dtype=np.uint8)
        else:
            others = video.data[self.following].rechunk({0: block, 1: -1, 2: -1})
            filled = da.map_blocks(_blend, frames, others, share, dtype=np.uint8)
        return xr.DataArray(filled, dims=VIDEO.dims, attrs=video.attrs)


def fit_line(frame_num: I64, seconds: F64) -> np.poly1d:
    """The straight line of times by numbers, both ascending; of one frame its time."""
    if len(frame_num) == 1:
        return np.poly1d([seconds[0]])
    middle = float(frame_num.mean())
    slope, offset = np.polyfit(frame_num - middle, seconds, 1)
    return np.poly1d([slope, offset - slope * middle])


def require_fill(how: str, most: int) -> None:
    """Refuse a way to fill that is none."""
    if how not in FILLS:
        raise UsageError(f"fill {how!r}: must be {', '.join(FILLS[:-1])} or {FILLS[-1]}")
    if most < 0:
        raise UsageError(f"max_fill {most}: must be a number of frames, 0 at least")


def _blacken(frames: U8, share: F64) -> U8:
    return np.where(share > 0, np.uint8(0), frames)


def _blend(frames: U8, others: U8, share: F64) -> U8:
    """Gray values on the straight line between those of two frames, rounded."""
    gaps = np.flatnonzero(share[:, 0, 0] > 0)
    blended = frames.copy()
    for gap in gaps.tolist():
        weight = share[gap, 0, 0]
        mixed = frames[gap] * (1 - weight) + others[gap] * weight
        blended[gap] = (mixed + 0.5).astype(np.uint8)
    return blended
