"""Which frame of which recording shows the same moment: the outer join of the recordings.

The device's counter ``frame_num`` says which frame is which, as long as the device runs: from boot
to boot it starts anew, so a recording is cut at its resets, and each *segment* is matched with the
other recordings' segments of the same boot by the receivers' clocks. How far a clock is ahead is
not known: frames of the same number in two segments suggest an offset. An offset is possible if
no two segments contradict it that overlap under it, and the better the more shared frames it
explains and the smaller it is, for receivers know the time of day: the evidence is the shared
frames / (1 + abs(offset) / s), and must be twice that of any other offset.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from miostitch.clocks import (
    DISORDER,
    LEAST_FRAMES,
    Clock,
    counter_resets,
    counter_shift,
    device_time,
    estimate_clock,
    frame_interval,
    to_first_clock,
)
from miostitch.errors import AlignmentError, UsageError
from miostitch.schema import NO_FRAME

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

TOLERANCE_S = 0.5
"""Offsets that differ by no more, and 200 ppm of the session's length, are one offset."""

_LENGTH_TOLERANCE = 200e-6
_CERTAIN = 2.0
_FAR_S = 60.0
_PLAUSIBLE = 0.75


@dataclass(frozen=True)
class FrameIdentity:
    """What alignment needs to know of one recording.

    Parameters
    ----------
    name
        The recording, for messages.
    frame_num
        Device counter of each frame of the video, int64 (source frame,); negative: unknown.
    num_buffers
        Distinct buffers received of each frame, (source frame,).
    time
        Time of each frame on the receiver's clock in s, (source frame,), as
        :func:`miostitch.clocks.frame_times` gives it; NaN, or None for all: unknown.
    """

    name: str
    frame_num: Ints
    num_buffers: NDArray[np.int16]
    time: Floats | None = None

    @property
    def times(self) -> Floats:
        """Time of each frame, NaN where unknown."""
        return np.full(len(self.frame_num), np.nan) if self.time is None else self.time


@dataclass(frozen=True)
class Duplicate:
    """A ``frame_num`` that one recording holds in several frames of its video."""

    recording: int
    frame_num: int
    kept: int
    dropped: tuple[int, ...]


@dataclass(frozen=True)
class Alignment:
    """Output frames and the frame of each recording that could fill them.

    Parameters
    ----------
    frame_num
        Device counter of each output frame, int64 (frame,), ascending within a boot.
    source_frame
        Frame of each recording's video, int64 (recording, frame); -1 where it has none.
    duplicates
        Frames of the recordings that gave way to a better piece of the same frame.
    boot_starts
        First output frame of each boot of the device.
    clocks
        Each recording's clock against the first one's.
    notices
        Resets, clocks that go backwards and the like.
    """

    frame_num: Ints
    source_frame: Ints
    duplicates: tuple[Duplicate, ...] = ()
    boot_starts: tuple[int, ...] = (0,)
    clocks: tuple[Clock, ...] = ()
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frame_num)

    @property
    def segment(self) -> Ints:
        """Boot of the device that each output frame belongs to, from 0, int64 (frame,)."""
        return np.searchsorted(self.boot_starts, np.arange(len(self)), side="right") - 1

    @property
    def unlinked(self) -> tuple[int, ...]:
        """Per recording, how many output frames it has alone."""
        present = self.source_frame != NO_FRAME
        alone = present.sum(axis=0) == 1
        return tuple(int(n) for n in (present & alone).sum(axis=1))

    @property
    def lost_frame_num(self) -> list[tuple[int, int]]:
        """First and last of every run of ``frame_num`` that no recording saw, boot by boot."""
        lost = []
        for start, stop in pairwise((*self.boot_starts, len(self))):
            number = np.unique(self.frame_num[start:stop])
            holes = np.flatnonzero(np.diff(number) > 1)
            lost += [(int(number[i]) + 1, int(number[i + 1]) - 1) for i in holes]
        return lost


@dataclass(frozen=True)
class _Segment:
    """Frames of one recording in one boot, each number once; or what is brought together of it.

    ``frame_num`` ascends; ``rows`` says which recordings the rows of ``source`` belong to.
    """

    rows: tuple[int, ...]
    frame_num: Ints
    source: Ints
    time: Floats  # on the first clock, once brought together
    moment: Floats  # in frames of the counter; where frames are joined by time only

    def take(self, order: NDArray[np.intp]) -> "_Segment":
        return _Segment(
            self.rows,
            self.frame_num[order],
            self.source[:, order],
            self.time[order],
            self.moment[order],
        )

    @property
    def span(self) -> tuple[float, float]:
        """Least and greatest time, from which single wrong times are kept out."""
        time = self.time[np.isfinite(self.time)]
        if not time.size:
            return np.nan, np.nan
        low, high = np.quantile(time, [0.01, 0.99])
        return float(low), float(high)


@dataclass(frozen=True)
class _Link:
    """Which segments of a recording belong to which boots, and how far its clock is ahead."""

    evidence: float
    certain: bool
    offset_s: float
    pairs: tuple[tuple[int, int, int], ...]  # boot, segment, shift of the counter


_Join = Callable[[_Segment, _Segment], _Segment]


def align(
    recordings: Sequence[FrameIdentity],
    *,
    method: Literal["auto", "frame-num", "time"] = "auto",
    max_gap: float | None = None,
) -> Alignment:
    """Join recordings frame by frame, keeping every frame that any of them saw.

    A jump of ``frame_num`` is radio loss: the frames nobody saw are no frames of the result.
    Of several frames with one ``frame_num`` in a boot of a recording, the one with most distinct
    buffers is the candidate; among equals, the first.

    Parameters
    ----------
    recordings
        One identity per recording; their order is the order of the result's rows.
    method
        ``auto`` joins frames by ``frame_num``; where the counter was reset, boot by boot, and
        boots are told apart by the receivers' times. ``frame-num`` takes no notice of resets and
        times. ``time`` joins frames that are each other's nearest in time, for recordings whose
        counters count alike but started apart, or are often wrong: the scale is the device's
        counter, from the numbers around each frame, so that no clock's offset, drift or steps
        matter. Numbers that are a few frames apart contradict the times; such frames stay single.
    max_gap
        How far the times of one frame may lie apart by ``time``, in s; half a frame interval by
        default.

    Returns
    -------
    Alignment
        Frames in the order of boots, then of ``frame_num`` (by ``time``: of their moments).

    Raises
    ------
    AlignmentError
        A recording has no frame, or shares none with the others, or it is not certain which.
    UsageError
        No such method, or `max_gap` is not above 0.

    Notes
    -----
    By ``time``, frames without a time are not used.
    """
    if method not in ("auto", "frame-num", "time"):
        msg = f"method={method!r}: give auto, frame-num or time"
        raise UsageError(msg)
    if max_gap is not None and not max_gap > 0:
        msg = f"max_gap={max_gap!r}: give a time above 0 s"
        raise UsageError(msg)
    by_time = method == "time"
    segments, duplicates, notices = _segments(recordings, cut=method != "frame-num", timed=by_time)
    join = _join_by_number
    if by_time:
        interval = _interval(recordings, segments)
        segments = [[_timed(part, recordings, interval) for part in own] for own in segments]
        gap = 0.5 if max_gap is None else max_gap / interval
        join = lambda boot, part: _join_by_time(boot, part, gap)  # noqa: E731
        boots = _gather(recordings, segments, join, interval)
    elif max(map(len, segments)) > 1:
        boots = _gather(recordings, segments, join, None)
    else:
        _require_overlap(recordings, [own[0].frame_num for own in segments])
        boots = [segments[0][0]]
        for (part,) in segments[1:]:
            boots[0] = join(boots[0], part)
    return _result(recordings, boots, tuple(duplicates), notices)


def _segments(
    recordings: Sequence[FrameIdentity], *, cut: bool, timed: bool
) -> tuple[list[list[_Segment]], list[Duplicate], list[str]]:
    """Cut every recording at its resets."""
    segments, duplicates, notices = [], [], []
    for number, recording in enumerate(recordings):
        time = recording.times
        known = np.flatnonzero((recording.frame_num >= 0) & (np.isfinite(time) | (not timed)))
        if not len(known):
            missing = "a frame_num and a time" if timed else "a frame_num"
            msg = f"{recording.name}: no frame of the video has a row with {missing}"
            raise AlignmentError(msg)
        frame_num = recording.frame_num[known]
        resets = counter_resets(frame_num)
        for at in resets:
            notices.append(
                f"{recording.name}: the device's counter was reset at frame {known[at]} of the "
                f"video (frame_num {frame_num[at - 1]}, then {frame_num[at]})"
                + ("" if cut else "; joined by frame_num all the same")
            )
        seen = time[known][np.isfinite(time[known])]
        back = np.flatnonzero(np.diff(seen) < 0)
        if back.size:
            notices.append(
                f"{recording.name}: times of reception go backwards {back.size} times, by up to "
                f"{-np.diff(seen).min():.3f} s; they are kept as they are"
            )
        own = []
        for frames in np.split(known, resets if cut else []):
            key, position, repeated = _best_pieces(number, recording, frames)
            own.append(_Segment((number,), key, position[None], time[position], time[position]))
            duplicates += repeated
        segments.append(own)
    return segments, duplicates, notices


def _best_pieces(
    number: int, recording: FrameIdentity, frames: NDArray[np.intp]
) -> tuple[Ints, Ints, list[Duplicate]]:
    """Distinct ``frame_num`` of some frames, the frame that stands for each, and the others."""
    frame_num = recording.frame_num[frames]
    # lexsort is stable: equal frame_num and num_buffers stay in the order of the video
    order = np.lexsort((-recording.num_buffers[frames].astype(np.int64), frame_num))
    frame_num, position = frame_num[order], frames[order]
    first = np.ones(len(order), bool)
    first[1:] = frame_num[1:] != frame_num[:-1]
    starts = np.flatnonzero(first)
    sizes = np.diff(starts, append=len(order))
    duplicates = [
        Duplicate(
            number,
            int(frame_num[start]),
            int(position[start]),
            tuple(int(p) for p in position[start + 1 : start + size]),
        )
        for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True)
    ]
    return frame_num[starts], position[starts], duplicates


def _join_by_number(boot: _Segment, part: _Segment) -> _Segment:
    """Bring the frames of equal number together."""
    frame_num = np.union1d(boot.frame_num, part.frame_num)
    source = np.full((len(boot.rows) + len(part.rows), len(frame_num)), NO_FRAME, np.int64)
    time = np.full(len(frame_num), np.nan)
    at, own = (np.searchsorted(frame_num, piece.frame_num) for piece in (boot, part))
    source[: len(boot.rows), at], source[len(boot.rows) :, own] = boot.source, part.source
    time[own] = part.time
    time[at] = np.where(np.isfinite(boot.time), boot.time, time[at])
    return _Segment(boot.rows + part.rows, frame_num, source, time, time)


def _join_by_time(boot: _Segment, part: _Segment, gap: float) -> _Segment:
    """Bring each other's nearest together; both in the order of their moments."""
    near, back = _nearest(boot.moment, part.moment), _nearest(part.moment, boot.moment)
    apart = np.abs(boot.frame_num - part.frame_num[near])
    linked = (
        (back[near] == np.arange(len(near)))
        & (np.abs(part.moment[near] - boot.moment) <= gap)
        & ((apart == 0) | (apart > DISORDER))
    )
    alone = np.ones(len(part.moment), bool)
    alone[near[linked]] = False
    fields = [(getattr(boot, name), getattr(part, name)[alone]) for name in _COLUMNS]
    source = np.full(
        (len(boot.rows) + len(part.rows), len(linked) + alone.sum()), NO_FRAME, np.int64
    )
    source[: len(boot.rows), : len(linked)] = boot.source
    source[len(boot.rows) :, np.flatnonzero(linked)] = part.source[:, near[linked]]
    source[len(boot.rows) :, len(linked) :] = part.source[:, alone]
    frame_num, time, moment = map(np.concatenate, fields)
    joined = _Segment(boot.rows + part.rows, frame_num, source, time, moment)
    return joined.take(np.argsort(moment, kind="stable"))


_COLUMNS = ("frame_num", "time", "moment")


def _nearest(of: Floats, among: Floats) -> NDArray[np.intp]:
    """Position of the nearest of ascending values."""
    after = np.searchsorted(among, of).clip(0, len(among) - 1)
    before = (after - 1).clip(0)
    return np.where(of - among[before] <= among[after] - of, before, after)
