"""A table fitted to its video: one row per picture, and what is left over on either side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from miostitch.arrays import I64
from miostitch.buffers.frame_table import FrameTable
from miostitch.buffers.table import Metadata
from miostitch.errors import (
    InputError,
    MismatchError,
    Notice,
    Severity,
    TruncatedVideoError,
    UsageError,
)
from miostitch.execution.results import LostFrames
from miostitch.fitting.cuts import Placement
from miostitch.ranges import runs
from miostitch.schema import NO_FRAME
from miostitch.text import amount, printable
from miostitch.video.source import VideoSource

RATE_TOLERANCE = 0.1
"""How far the frame rates of a file and of its timestamps may be apart before it is said."""

WITHOUT, LEFT_OUT = "--salvage leaves them out", "they are left out"

_NAMED = 3  # places in one message


@dataclass(frozen=True)
class Fit:
    """What a video and its table have in common."""

    frames: FrameTable  # One row per picture
    notices: tuple[Notice, ...]  # What a user should be told
    losses: tuple[LostFrames, ...]  # What is left out as damaged


def fit_table(video: VideoSource, table: Metadata, lag: int, *, salvage: bool) -> Fit:
    """Bring a table to one row per picture, or say why that cannot be done."""
    pictures, described = video.frame_count, len(table.frames)
    first, end = max(0, lag), described + lag  # pictures that the table describes
    if first >= min(pictures, end):
        none = f"none of its {amount(pictures, 'frame')} has a row"
        raise UsageError(f"{video.path}: at lag {lag} {none}; set --lag")
    notices = [*_unpaired_start(video, table, lag), *_unpaired_end(video, table, lag, salvage)]
    notices += describe_noise(video, table, lag)
    kept = table.frames.placed(lag, pictures)
    kept, holes, said = _without_holes(video, kept, salvage)
    notices += said
    bare = first + np.flatnonzero(kept.num_rows[first:] == 0)
    if len(bare):
        text = f"no row for {len(bare)} of {amount(pictures, 'frame')} of {video.path}"
        missing = Notice(table.path, f"{text}, the first is frame {bare[0]}", WITHOUT)
        notices.append(salvaged(MismatchError(missing), LEFT_OUT, salvage=salvage))
    losses = (*holes, *_beyond(video, table, lag), *_bare(table, bare))
    return Fit(kept, tuple(notices), losses)


def fit_placed(video: VideoSource, table: Metadata, placement: Placement) -> Fit:
    """Bring a table to one row per picture, each of the frame that it shows for certain."""
    kept = table.frames.shown(placement.frame)
    kept, holes, notices = _without_holes(video, kept, salvage=True)
    open_ = np.setdiff1d(np.flatnonzero(placement.frame == NO_FRAME), video.lost)
    unknown, why = np.full(2, NO_FRAME), "which frame of the table it shows is not certain"
    losses = [lost_frames(video.path, first, last, unknown, why) for first, last in _runs(open_)]
    number, why = table.frames.frame_num, "the video does not show it for certain"
    losses += [
        lost_frames(table.path, first, last, number[[first, last]], why)
        for first, last in _runs(placement.missing)
    ]
    notices = (*notices, _placed_notice(video, table, placement, len(open_)))
    return Fit(kept, notices, (*holes, *losses))


def _runs(numbers: I64) -> list[list[int]]:
    return runs(numbers).tolist() if len(numbers) else []


def _placed_notice(
    video: VideoSource, table: Metadata, placement: Placement, left_out: int
) -> Notice:
    """Say where frames are missing, and what was done."""
    number, said = table.frames.frame_num.tolist(), []
    for kind, sign in (("images", 1), ("rows", -1)):
        places = [
            f"of {amount(abs(more), 'frame')} between frame_num {number[before]} "
            f"and {number[behind]}"
            for before, behind, more in placement.breaks
            if more * sign > 0
        ]
        if len(places) > _NAMED:
            places[_NAMED:] = [f"in {len(places) - _NAMED} more places"]
        if places:
            said.append(f"{kind} {', '.join(places)} are missing")
    rest = f"{left_out} of {amount(len(placement.frame), 'image')} cannot be assigned to a row"
    if not said:
        return Notice(video.path, rest, "left out")
    done = "what follows is brought to its rows"
    return Notice(video.path, " and ".join(said), f"{done}; {rest}; left out" if left_out else done)


def _without_holes(
    video: VideoSource, kept: FrameTable, salvage: bool
) -> tuple[FrameTable, list[LostFrames], tuple[Notice, ...]]:
    """Take out what is lost in holes: what is not there cannot be a candidate."""
    holes = _find_holes(video, kept)
    if not holes:
        return kept, [], ()
    error = TruncatedVideoError(Notice(video.path, _holes_text(video, holes), WITHOUT))
    notice = salvaged(error, LEFT_OUT, salvage=salvage)
    known = kept.frame_num.copy()
    known[video.lost] = NO_FRAME
    return replace(kept, frame_num=known), holes, (notice,)


def fit_bare(video: VideoSource, *, salvage: bool) -> Fit:
    """What is known of a video without a table: salvaged, where pictures are lost."""
    blank = FrameTable.blank(video.frame_count)
    holes = _find_holes(video, blank) if salvage else []
    notices = [Notice(video.path, _holes_text(video, holes), LEFT_OUT)] if holes else []
    return Fit(blank, tuple(notices), tuple(holes))


def compare_rates(path: str, said: Fraction, measured: float | None) -> list[Notice]:
    """Say that the frame rate of a file is not the one that counter and clock show."""
    if measured is None or abs(float(said) / measured - 1) <= RATE_TOLERANCE:
        return []
    text = f"the file says {float(said):.4g} frames/s, the timestamps say {measured:.4g}"
    return [Notice(path, text, "analyse it by its time stamps; the file keeps its rate")]


def describe_noise(video: VideoSource, table: Metadata, lag: int) -> list[Notice]:
    """Say where a recording has noise instead of frames, and how to remove it."""
    pictures, said = video.frame_count, []
    for first, last in (table.noise + lag).clip(0, pictures - 1).tolist():
        text = f"frames {first} to {last} are noise, as received while the device is off: their "
        text += "frame_num do not count"
        command = f"miostitch remove-frames {video.path} --frames {first}-{last} -o FOLDER"
        if last == pictures - 1:
            command = f"miostitch trim {video.path} -e {last - first + 1} -o FOLDER"
        elif not first:
            command = f"miostitch trim {video.path} -s {last + 1} -o FOLDER"
        remedy = f"stitching leaves them out; remove them with {command}"
        said.append(Notice(video.path, text, remedy))
    return said


def lost_frames(
    file: str, first: int, last: int, numbers: I64, why: str, byte: int | None = None
) -> LostFrames:
    """Frames that follow each other and are lost; `numbers` (2,), -1 where one is not known."""
    known = None if NO_FRAME in numbers else (int(numbers[0]), int(numbers[1]))
    return LostFrames(printable(file), (first, last), known, byte, why)


def salvaged(error: InputError, remedy: str, *, salvage: bool) -> Notice:
    """Raise the error that something does not match, or with salvage say what was done instead."""
    if not salvage:
        raise error
    return replace(error.notice, remedy=remedy)


def _unpaired_start(video: VideoSource, table: Metadata, lag: int) -> list[Notice]:
    """Say what a lag leaves over at the start: pictures without a row, or rows without one."""
    if lag > 0:
        text = f"at lag {lag} the video begins {amount(lag, 'frame')} before its table"
        return [Notice(video.path, text, "what has no row is left out", Severity.NOTE)]
    if lag < 0:
        rows = int(table.frames.num_rows[:-lag].sum())
        text = f"at lag {lag} the table begins {amount(-lag, 'frame')} before its video"
        return [Notice(table.path, text, f"{amount(rows, 'row')} left out", Severity.NOTE)]
    return []


def _unpaired_end(video: VideoSource, table: Metadata, lag: int, salvage: bool) -> list[Notice]:
    """Say what is left over at the end, which one frame usually is, or refuse more."""
    pictures, described = video.frame_count, len(table.frames)
    first, end = max(0, lag), described + lag
    if end == pictures:
        return []
    if end == pictures + 1:
        frame = f"frame {described - 1} (frame_num {int(table.frames.frame_num[-1])})"
        text = f"the last {frame} was not saved as an image, which is usual"
        return [Notice(table.path, text, "its rows are left out", Severity.NOTE)]
    at, kept = f" at lag {lag}" if lag else "", min(end, pictures) - first
    mismatch = Notice(
        table.path,
        f"describes frames 0 to {described - 1}, but {video.path} has frames 0 to "
        f"{pictures - 1}{at}",
        "--salvage finds where frames are missing",
    )
    return [salvaged(MismatchError(mismatch), f"salvaged the first {kept}", salvage=salvage)]


def _find_holes(video: VideoSource, frames: FrameTable) -> list[LostFrames]:
    """What is lost in holes of a video."""
    number, why = frames.frame_num, "hole in the video"
    return [
        lost_frames(video.path, first, last, number[[first, last]], why, byte)
        for first, last, byte in video.holes
    ]


def _holes_text(video: VideoSource, holes: Sequence[LostFrames]) -> str:
    where = "" if holes[0].byte is None else f" (byte {holes[0].byte})"
    return (
        f"{amount(len(video.lost), 'frame')} lost in holes of the file, the first is frame "
        f"{holes[0].frames[0]}{where}"
    )


def _beyond(video: VideoSource, table: Metadata, lag: int) -> list[LostFrames]:
    """Frames that the table describes behind the end of the video, more than the usual one."""
    pictures, end = video.frame_count, len(table.frames) + lag
    if end <= pictures + 1:
        return []
    numbers = table.frames.frame_num[[pictures - lag, -1]]
    return [lost_frames(video.path, pictures, end - 1, numbers, "the video ends before them")]


def _bare(table: Metadata, bare: I64) -> list[LostFrames]:
    """Pictures without a row."""
    unknown, why = np.full(2, NO_FRAME), "no row in the table"
    spans = runs(bare).tolist()
    return [lost_frames(table.path, first, last, unknown, why) for first, last in spans]
