"""Which frame of which recording shows the same moment: the outer join of the recordings.

The device's counter ``frame_num`` says which frame is which, as long as the device runs. At a
reboot it starts anew: a recording is cut there, and each segment is matched with the other
recordings' segments of the same boot (:mod:`miostitch.session.reboots`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import pairwise
from typing import Literal

import numpy as np

from miostitch.arrays import F64, I16, I32, I64
from miostitch.buffers.clock_steps import find_steps
from miostitch.buffers.device_counter import counter_resets, run_spans
from miostitch.buffers.elapsed_time import frame_interval
from miostitch.errors import AlignmentError, Notice, Severity, UsageError
from miostitch.ranges import distinct, run_starts
from miostitch.schema import NO_FRAME
from miostitch.session.clocks import Clock, estimate_clock, to_first_clock
from miostitch.session.reboots import (
    USUAL_OFFSET_S,
    CountAlike,
    Segment,
    in_moments,
    join_by_number,
    join_by_time,
    link,
)
from miostitch.text import amount, utc_text

_SAME_INTERVAL = 0.01
_NO_BOOT_S = 0.5
_STEP_S = 1e-3  # pieces of a split frame scatter less


@dataclass(frozen=True)
class FrameIdentity:
    """What alignment needs to know of one recording."""

    name: str  # The recording, for messages
    frame_num: I64  # Device counter of each frame of the video, (frame,); negative: unknown
    num_buffers: I16  # Distinct buffers received of each frame, (frame,)
    # Time of each frame on the receiver's clock in s, (frame,), as `FrameTable.start_times` gives
    # it; NaN where it is unknown.
    time: F64
    # Gives the path of the video that a frame of the recording is in, and where it is there.
    locate: Callable[[int], tuple[str, int]] | None = None


@dataclass(frozen=True)
class Duplicate:
    """A ``frame_num`` that one recording holds in several frames of its video."""

    recording: int
    frame_num: int
    kept: int
    dropped: tuple[int, ...]


@dataclass(frozen=True)
class Alignment:
    """Output frames and the frame of each recording that could fill them."""

    frame_num: I64  # Device counter of each output frame, (frame,), ascending within a boot
    # Frame of each recording's video, (recording, frame); -1 where it has none.
    source_frame: I32
    # Frames of the recordings that gave way to a better piece of the same frame.
    duplicates: tuple[Duplicate, ...] = ()
    boot_starts: tuple[int, ...] = (0,)  # First output frame of each boot of the device
    clocks: tuple[Clock, ...] = ()  # Each recording's clock against the first one's
    notices: tuple[Notice, ...] = ()  # Resets, clocks that go backwards and the like

    def __len__(self) -> int:
        return len(self.frame_num)

    def frame_num_runs(self, frames: I32 | None = None) -> list[tuple[int, int]]:
        """The lowest and highest number that frames, or all, have of each boot."""
        every = np.arange(len(self)) if frames is None else frames
        return run_spans(self.frame_num[every], self.segment[every])

    @property
    def segment(self) -> I64:
        """Boot of the device that each output frame belongs to, from 0, (frame,)."""
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
            number = distinct(self.frame_num[start:stop])
            holes = np.flatnonzero(np.diff(number) > 1)
            lost += [(int(number[i]) + 1, int(number[i + 1]) - 1) for i in holes]
        return lost


def align(
    recordings: Sequence[FrameIdentity],
    *,
    method: Literal["auto", "frame-num", "time"] = "auto",
    max_gap: float | None = None,
    count_alike: CountAlike | None = None,
) -> Alignment:
    """Join recordings frame by frame, keeping every frame that any of them saw.

    ``count_alike`` compares pixels where the clocks do not show which boots are the same.

    Of several frames with one ``frame_num`` in a boot of a recording, the one with most distinct
    buffers is the candidate; among equals, the first.
    """
    if method not in ("auto", "frame-num", "time"):
        msg = f"method={method!r}: give auto, frame-num or time"
        raise UsageError(msg)
    if max_gap is not None and not max_gap > 0:
        msg = f"max_gap={max_gap!r}: give a time above 0 s"
        raise UsageError(msg)
    by_time = method == "time"
    if max_gap is not None and not by_time:
        msg = f"max_gap={max_gap!r}: has an effect by time alone"
        raise UsageError(f"{msg}; add --align time (method='time'), or leave it out")
    segments, duplicates, notices = _segments(recordings, cut=method != "frame-num", timed=by_time)
    if by_time:
        interval = _interval(recordings, segments)
        segments = [[in_moments(part, interval) for part in own] for own in segments]
        gap = 0.5 if max_gap is None else max_gap / interval
        boots = _gather(recordings, segments, partial(join_by_time, gap=gap), interval)
    elif max(map(len, segments)) > 1:
        boots = _gather(recordings, segments, join_by_number, count_alike=count_alike)
    else:
        _require_overlap(recordings, [own[0].frame_num for own in segments])
        boots = [reduce(join_by_number, (own[0] for own in segments))]
    return _result(recordings, boots, tuple(duplicates), notices)


def _segments(
    recordings: Sequence[FrameIdentity], *, cut: bool, timed: bool
) -> tuple[list[list[Segment]], list[Duplicate], list[Notice]]:
    """Cut every recording at its resets."""
    segments, duplicates, notices = [], [], []
    for number, recording in enumerate(recordings):
        time = recording.time
        known = np.flatnonzero((recording.frame_num >= 0) & (np.isfinite(time) | (not timed)))
        if not len(known):
            missing = "a frame_num and a time" if timed else "a frame_num"
            msg = f"{recording.name}: no frame of the video has a row with {missing}"
            remedy = "leave it out, or check the columns frame_num and header_crc_ok of its table"
            raise AlignmentError(f"{msg}; {remedy}")
        frame_num = recording.frame_num[known]
        resets = counter_resets(frame_num)
        for at in resets:
            path, frame = recording.name, int(known[at])
            if recording.locate is not None:
                path, frame = recording.locate(frame)
            numbers = f"(frame_num {frame_num[at - 1]}, then {frame_num[at]})"
            text = f"the device restarted at frame {frame} of the video {numbers}"
            remedy = "" if cut else "frames are matched by frame_num all the same"
            notices.append(Notice(path, text, remedy))
        notices += _describe_clock(recording.name, frame_num, time[known])
        own = []
        for frames in np.split(known, resets if cut else []):
            key, position, repeated = _best_pieces(number, recording, frames)
            own.append(Segment((number,), key, position[None], time[position], time[position]))
            duplicates += repeated
        segments.append(own)
    return segments, duplicates, notices


def _describe_clock(path: str, frame_num: I64, time: F64) -> list[Notice]:
    """Say where a clock was set while the device ran, or goes back otherwise; (frame,)."""
    notices, seen = [], np.flatnonzero(np.isfinite(time))
    set_at, steps = find_steps(frame_num, time)
    if len(set_at):
        largest = int(np.abs(steps).argmax())
        text = f"its clock was set {amount(len(set_at), 'time')} while the device counted on, "
        text += f"at frame_num {frame_num[set_at[largest]]} by {steps[largest]:+.3f} s"
        remedy = "times of reception are kept as they are, elapsed time is without these steps"
        notices.append(Notice(path, text, remedy))
    change = np.diff(time[seen])[~np.isin(seen[1:], set_at)]
    back = np.flatnonzero(change < -_STEP_S)
    if back.size:
        text = f"times of reception go backwards {amount(back.size, 'time')}, by up to "
        text += f"{-change.min():.3f} s"
        notices.append(Notice(path, text, "they are kept as they are"))
    return notices


def _best_pieces(
    number: int, recording: FrameIdentity, frames: I64
) -> tuple[I64, I64, list[Duplicate]]:
    """Distinct ``frame_num`` of some frames, the frame that stands for each, and the others."""
    frame_num = recording.frame_num[frames]
    # lexsort is stable: equal frame_num and num_buffers stay in the order of the video
    order = np.lexsort((-recording.num_buffers[frames].astype(np.int64), frame_num))
    frame_num, position = frame_num[order], frames[order]
    starts = run_starts(frame_num)
    sizes = np.diff(starts, append=len(order))
    duplicates = []
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        kept, *dropped = position[start : start + size].tolist()
        duplicates.append(Duplicate(number, int(frame_num[start]), kept, tuple(dropped)))
    return frame_num[starts], position[starts], duplicates


def _interval(recordings: Sequence[FrameIdentity], segments: list[list[Segment]]) -> float:
    """Frame interval of the first recording, checked against the others'."""
    found = []
    for recording, own in zip(recordings, segments, strict=True):
        longest = max(own, key=lambda part: len(part.frame_num))
        order = np.argsort(longest.source[0])
        found.append(frame_interval(longest.frame_num[order], longest.time[order]))
        if not abs(found[-1] / found[0] - 1) < _SAME_INTERVAL:
            msg = (
                f"{recording.name}: frame_num and times of reception do not rise together "
                f"(a frame takes {found[-1]:.4g} s, in {recordings[0].name} {found[0]:.4g} s); "
                "its frames cannot be joined by time; --align frame-num does without"
            )
            raise AlignmentError(msg)
    return found[0]


def _gather(
    recordings: Sequence[FrameIdentity],
    segments: list[list[Segment]],
    join: Callable[[Segment, Segment], Segment],
    interval: float | None = None,
    count_alike: CountAlike | None = None,
) -> list[Segment]:
    """Join recordings boot by boot, those first that are linked best."""
    boots, waiting = list(segments[0]), list(range(1, len(segments)))
    while waiting:
        links = {}
        for number in waiting:
            links[number] = link(boots, segments[number], interval, count_alike)
            if links[number][0].certain and abs(links[number][0].offset_s) < _NO_BOOT_S:
                break  # no other boot lies as near
        else:
            number = max(links, key=lambda n: links[n][0].evidence)
        agreement, parts = links[number]
        if not agreement.certain:
            linked = [n for n in range(len(segments)) if n not in waiting]
            ours, others = (
                np.concatenate([part.frame_num for n in group for part in segments[n]])
                for group in (waiting, linked)
            )
            # where no times are known, runs that share numbers are not even paired
            shared = bool(agreement.pairs) or bool(np.isin(ours, others).any())
            raise _no_overlap(recordings, linked, waiting, doubtful=shared)
        for at, part in parts:
            if at is None:
                boots.append(part)
            else:
                boots[at] = join(boots[at], part)
        waiting.remove(number)
    return sorted(boots, key=lambda boot: boot.span[0])


def _result(
    recordings: Sequence[FrameIdentity],
    boots: list[Segment],
    duplicates: tuple[Duplicate, ...],
    notices: list[Notice],
) -> Alignment:
    """Put the boots one after the other, and compare the clocks."""
    sizes = [len(boot.frame_num) for boot in boots]
    starts = [0, *np.cumsum(sizes).tolist()]
    source_frame = np.full((len(recordings), starts[-1]), NO_FRAME, np.int32)
    for boot, start, size in zip(boots, starts, sizes, strict=False):
        source_frame[list(boot.rows), start : start + size] = boot.source
    frame_num = np.concatenate([boot.frame_num for boot in boots])
    clocks = _clocks(recordings, source_frame)
    for recording, clock in zip(recordings, clocks, strict=True):
        if abs(clock.offset_s) > USUAL_OFFSET_S:
            text = f"its clock is {clock.offset_s:.0f} s ahead of that of {recordings[0].name}"
            remedy = "check that these are recordings of the same session"
            notices.append(Notice(recording.name, text, remedy, Severity.DOUBT))
    return Alignment(
        frame_num, source_frame, duplicates, tuple(starts[:-1]), clocks, tuple(notices)
    )


def _clocks(recordings: Sequence[FrameIdentity], source_frame: I32) -> tuple[Clock, ...]:
    """Every recording's clock against the first, directly or through others."""
    clocks = [Clock() for _ in recordings]
    reference = np.full(source_frame.shape[1], np.nan)
    waiting = list(range(len(recordings)))
    while waiting:
        common = [(np.isfinite(reference) & (source_frame[n] != NO_FRAME)).sum() for n in waiting]
        number = waiting.pop(int(np.argmax(common)))  # the first one to begin with
        present = np.flatnonzero(source_frame[number] != NO_FRAME)
        time = recordings[number].time[source_frame[number, present]]
        if number:
            clocks[number] = estimate_clock(time, reference[present])
            time = to_first_clock(time, clocks[number])
        else:
            clocks[0] = Clock(0.0, None, int(np.isfinite(time).sum()))
        unknown = ~np.isfinite(reference[present])
        reference[present[unknown]] = time[unknown]
    return tuple(clocks)


def _require_overlap(recordings: Sequence[FrameIdentity], keys: list[I64]) -> None:
    """Check that a chain of shared frames links all recordings."""
    seen, linked, waiting = keys[0], [0], list(range(1, len(keys)))
    while waiting:
        found = [i for i in waiting if np.isin(keys[i], seen, assume_unique=True).any()]
        if not found:
            raise _no_overlap(recordings, linked, waiting)
        seen = distinct(np.concatenate([seen, *(keys[i] for i in found)]))
        linked += found
        waiting = [i for i in waiting if i not in found]


def _no_overlap(
    recordings: Sequence[FrameIdentity],
    linked: list[int],
    waiting: list[int],
    *,
    doubtful: bool = False,
) -> AlignmentError:
    """Say which recordings cannot be linked, with the ranges of all."""
    ours, others = (", ".join(recordings[i].name for i in group) for group in (waiting, linked))
    ranges = "; ".join(_range(recordings[i]) for i in (*linked, *waiting))
    if doubtful:
        return AlignmentError(
            f"the device restarted, and the clocks do not show which run of {ours} is "
            f"which of {others} ({ranges}); check that these are recordings of one session and the "
            "segments of each in their order; else trim each recording to one run of the device, "
            "and stitch the runs one by one"
        )
    return AlignmentError(
        f"no overlap: {ours} shares no frame_num with {others} ({ranges}); "
        "are these recordings of the same session?"
    )


def _range(recording: FrameIdentity) -> str:
    known = recording.frame_num[recording.frame_num >= 0]
    text = f"{recording.name} has frame_num {known.min()} to {known.max()}"
    time = recording.time[np.isfinite(recording.time)]
    if not time.size:
        return text
    return f"{text}, received from {utc_text(time.min())} to {utc_text(time.max())} UTC"
