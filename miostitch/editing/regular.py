"""One frame per tick of the device's counter: frames that no receiver has are filled, or split.

Positions and times are plain arrays here; what is filled is computed block by block.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from miostitch.arrays import F64, I64, U8, Bools
from miostitch.buffers.clock_steps import longest_increasing
from miostitch.buffers.device_counter import device_runs
from miostitch.buffers.elapsed_time import LEAST_STEP_S
from miostitch.errors import InputError, Notice, UsageError
from miostitch.ranges import MAX_FRAMES, join_ranges, rising_runs, run_starts
from miostitch.schema import COMPOSITE, VIDEO
from miostitch.text import amount

Fill = Literal["previous", "linear", "zero"]
FILLS: tuple[Fill, ...] = ("previous", "linear", "zero")

MOST_FILLED = 20
"""Frames of a gap that are filled by default; a longer one begins another epoch."""


LEFT_OUT, WORST_S = "left_out", "worst_s"
"""Of a regular time base: how many frames have no place in it, by why; how far one is from it."""


@dataclass(frozen=True)
class CountedFrames:
    """The frames of a recording that have a place in a regular time base."""

    kept: I64  # Their positions
    left_out: dict[str, int]  # How many are left out, and why

    @classmethod
    def of(cls, frame_num: I64, buffers: I64 | None) -> Self:
        """Find those whose numbers rise with the others in their run of the device.

        Of frames with the same number, as of a frame that was recorded in fragments, the one with
        the most ``buffers`` is kept, or else the first.
        """
        known = np.flatnonzero(frame_num >= 0)
        run = device_runs(frame_num[known])
        parts = np.split(known, np.flatnonzero(np.diff(run)) + 1)
        order = np.arange(len(frame_num))
        # equal numbers may follow each other here, as their positions tell them apart
        keys = frame_num * len(frame_num) + order
        rising = np.concatenate([part[longest_increasing(keys[part])] for part in parts])
        received = np.zeros(len(frame_num), np.int64) if buffers is None else buffers
        same = np.cumsum(np.diff(frame_num[rising], prepend=-1) != 0)
        best = np.lexsort((rising, -received[rising], same))
        kept = np.sort(rising[best[run_starts(same[best])]])
        counts = {
            "without a number": len(frame_num) - len(known),
            "out of order": len(known) - len(rising),
            "repeated": len(rising) - len(kept),
        }
        return cls(kept, {why: number for why, number in counts.items() if number})


@dataclass(frozen=True)
class RegularTimes:
    """When the frames of a regular time base were made."""

    seconds: F64  # By a straight line of each epoch, from the first frame on, (frame,)
    shift: float  # When the first frame was made by that line, in s after the recording's first
    worst_s: float  # How far a frame's own time is from that at most


@dataclass(frozen=True)
class RegularFrames:
    """The frames of a regular time base, by those of the recording they are made of."""

    received: I64  # `frame_num` of the frames of the recording, (received,)
    previous: I64  # The frame itself, or the one before the gap, (frame,)
    following: I64  # The frame itself, or the one behind the gap, (frame,)
    share: F64  # How far in the gap each is, 0 for what is no gap, (frame,)
    frame_num: I64  # (frame,)

    @classmethod
    def of(cls, received: I64, most: int, path: str = "") -> Self:
        """Find them by the device's counter.

        A gap of more than ``most`` frames, and a counter that falls, begin another epoch.
        """
        unknown = np.flatnonzero(received < 0)
        if len(unknown):
            msg = f"{path}: frame {unknown[0]} has no frame_num, as {len(unknown)} of them"
            raise InputError(f"{msg}, and a regular time base needs it; remove these frames")
        steps = np.diff(received)
        inside = (steps > 0) & (steps <= most + 1)
        counts = np.append(np.where(inside, steps, 1), 1)
        if counts.sum(dtype=np.float64) > MAX_FRAMES:
            longest = int(counts.argmax())
            msg = f"{path}: {counts[longest] - 1} frames are lost between frames {longest} and"
            raise UsageError(f"{msg} {longest + 1}, too many to be filled; give a lower max_fill")
        place = np.repeat(np.arange(len(received)), counts)  # of the last frame received
        ahead = join_ranges(np.zeros(len(counts), np.int64), counts)
        return cls(
            received,
            previous=place,
            following=np.where(ahead > 0, np.minimum(place + 1, len(received) - 1), place),
            share=ahead / counts[place],
            frame_num=received[place] + ahead,
        )

    @property
    def filled(self) -> Bools:
        """Which frames no receiver has, (frame,)."""
        return self.share > 0

    @property
    def epochs(self) -> list[tuple[int, int]]:
        """First and last frame of each epoch, which has every tick."""
        return rising_runs(self.frame_num)

    def fit(self, seconds: F64) -> RegularTimes:
        """Draw a straight line through the elapsed times of the frames of each epoch."""
        fitted, worst = np.empty(len(self.frame_num)), 0.0
        for first, last in self.epochs:
            mine = slice(int(self.previous[first]), int(self.previous[last]) + 1)
            line = fit_line(self.received[mine], seconds[mine])
            if first:  # however the lines cross, time rises
                late = fitted[first - 1] + LEAST_STEP_S - line(self.frame_num[first])
                line += max(0.0, float(late))
            fitted[first : last + 1] = line(self.frame_num[first : last + 1])
            off = np.abs(line(self.received[mine]) - seconds[mine])
            worst = max(worst, float(off.max()))
        return RegularTimes(fitted - fitted[0], float(fitted[0]), worst)

    def fill(self, video: xr.DataArray, how: Fill, block: int) -> xr.DataArray:
        """The frames as a lazy video, in blocks of so many; the video is in whole frames."""
        source = video.data
        ends = np.cumsum(source.chunks[0])
        name = f"regular-{tokenize(source.name, self.previous, self.share, how, block)}"
        tasks: dict[Any, Any] = {}
        for number, start in enumerate(range(0, len(self.previous), block)):
            plan = self.plan(slice(start, start + block), how)
            parts = []
            chunks = np.searchsorted(ends, [plan.first, plan.last], "right").tolist()
            for chunk in range(chunks[0], chunks[1] + 1):
                begin = int(ends[chunk] - source.chunks[0][chunk])
                low = max(plan.first - begin, 0)
                high = min(plan.last + 1 - begin, source.chunks[0][chunk])
                key = (f"part-{name}", number, chunk)
                # sliced so that dask reads no frame of the chunk but these
                part = (slice(low, high), slice(None), slice(None))
                tasks[key] = (operator.getitem, (source.name, chunk, 0, 0), part)
                parts.append(key)
            tasks[name, number, 0, 0] = (plan.fill_parts, parts)
        graph = HighLevelGraph.from_collections(name, tasks, dependencies=[source])
        sizes = da.core.normalize_chunks((block,), (len(self.previous),))
        shape = (*sizes, *source.chunks[1:])
        filled = da.Array(graph, name, shape, dtype=source.dtype, meta=source._meta)
        return xr.DataArray(filled, dims=VIDEO.dims, attrs=video.attrs)

    def plan(self, span: slice, how: Fill) -> "FilledBlock":
        """What makes some of the frames of those that were received."""
        previous, following = self.previous[span], self.following[span]
        first = int(previous[0])
        last = int(following[-1] if how == "linear" else previous[-1])
        return FilledBlock(first, last, previous - first, following - first, self.share[span], how)


@dataclass(frozen=True)
class FilledBlock:
    """A block of a regular time base."""

    first: int  # The first and the last frame of the recording that it is made of
    last: int
    previous: I64  # Position among these, (frame,)
    following: I64
    share: F64
    how: Fill

    def fill_parts(self, parts: Sequence[U8]) -> U8:
        """Make the frames of the ones received, which are in several arrays."""
        return self.fill(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def fill(self, frames: U8) -> U8:
        """Make the frames of the ones received, uint8 (frame, height, width)."""
        filled = frames[self.previous]
        gaps = np.flatnonzero(self.share > 0)
        if self.how == "zero":
            filled[gaps] = 0
        elif self.how == "linear":
            for gap in gaps.tolist():
                share = self.share[gap]
                mixed = filled[gap] * (1 - share) + frames[self.following[gap]] * share
                filled[gap] = (mixed + 0.5).astype(np.uint8)
        return filled


def list_notices(facts: Mapping[str, Any], seconds: F64) -> tuple[Notice, ...]:
    """Say where a recording does not fit in a regular time base.

    ``facts``: what is known of the base; ``seconds``: its times, (frame,).
    """
    notices = []
    left_out, worst_s = facts.get(LEFT_OUT, {}), facts.get(WORST_S, 0.0)
    if left_out:
        total = amount(sum(left_out.values()), "frame")
        listed = ", ".join(f"{number:,} {why}" for why, number in left_out.items())
        text = f"{total} without a place in a regular time base: {listed}"
        notices.append(Notice("", text, "they are left out; the history lists them"))
    steps = np.diff(seconds)
    if len(steps) and worst_s > np.median(steps):
        text = f"a frame is up to {worst_s:.3f} s from its place in a regular time base"
        remedy = (
            "its times are irregular, many are estimated, its clock was changed, or the device "
            "was restarted and its counter continued"
        )
        notices.append(Notice("", text, remedy))
    return tuple(notices)


def fit_line(frame_num: I64, seconds: F64) -> np.poly1d:
    """The straight line of times by numbers, both ascending; of one frame its time."""
    if len(frame_num) == 1:
        return np.poly1d([seconds[0]])
    middle = float(frame_num.mean())
    slope, offset = np.polyfit(frame_num - middle, seconds, 1)
    return np.poly1d([slope, offset - slope * middle])


def nothing_received(pixels: int) -> dict[str, int | bool]:
    """What is said of a filled frame of so many pixels where NaN cannot say that nothing is."""
    return {
        "source": COMPOSITE,
        "num_buffers": 0,
        "missing_pixels": pixels,
        "damaged": True,
        "unrecoverable": True,
    }


def require_fill(how: str, most: int) -> None:
    """Refuse a way to fill that is none."""
    if how not in FILLS:
        raise UsageError(f"fill {how!r}: must be {', '.join(FILLS[:-1])} or {FILLS[-1]}")
    if isinstance(most, bool) or not isinstance(most, int | np.integer) or most < 0:
        raise UsageError(f"max_fill {most!r}: must be a number of frames, 0 at least")
