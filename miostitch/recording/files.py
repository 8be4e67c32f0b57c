"""The files of a recording: found, opened, their lag measured, each table fitted to its video."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from miostitch.buffers.frame_table import FrameTable
from miostitch.buffers.table import Metadata, buffer_layout, read_metadata
from miostitch.errors import (
    InputError,
    MetadataError,
    MismatchError,
    MissingInputError,
    TruncatedVideoError,
    UsageError,
    VideoError,
)
from miostitch.ranges import runs
from miostitch.recording.lag import Lag, Pictures, measure_lag
from miostitch.recording.losses import Loss
from miostitch.schema import NO_FRAME
from miostitch.text import amount
from miostitch.video.source import DEFAULT_MAX_FRAME_PIXELS, VideoSource, open_video

Path_ = str | os.PathLike[str]


@dataclass(frozen=True)
class ReadOptions:
    """How to read recordings.

    Parameters
    ----------
    salvage
        Go on with what matches where a table and its video disagree.
    max_frame_pixels
        Refuse videos whose frames are declared larger.
    need_table
        Whether a video without a table is refused.
    repair
        Repair flipped headers where the redundant fields leave no doubt.
    lag
        Picture ``i + lag`` belongs to frame ``i`` of the table; ``"auto"``: as measured.

    Raises
    ------
    UsageError
        The lag is neither a number nor ``"auto"``.
    """

    salvage: bool = False
    max_frame_pixels: int = DEFAULT_MAX_FRAME_PIXELS
    need_table: bool = True
    repair: bool = True
    lag: int | Literal["auto"] = 0

    def __post_init__(self) -> None:
        if self.lag != "auto" and not isinstance(self.lag, int):
            raise UsageError(f"lag {self.lag!r}: give a number of frames, or auto")


@dataclass(frozen=True)
class Files:
    """The opened files of one recording."""

    videos: tuple[VideoSource, ...]  # One video, or the segments of a recording in their order
    # The metadata table of each video; empty for a recording without tables.
    tables: tuple[Metadata, ...]
    measured_lag: Lag  # What the pictures say about the lag, or other recordings of the session
    notices: tuple[str, ...]  # What a user should be told about the files

    @property
    def exact(self) -> bool:
        """Whether pixels and rows can be told apart: a lossy codec leaves no exact values."""
        return bool(self.tables) and not any(video.lossy for video in self.videos)

    @cached_property
    def pictures(self) -> Pictures:
        """The pictures of all segments, and what the tables say of them; it needs tables."""
        counts = [video.frame_count for video in self.videos]
        firsts = [0, *np.cumsum(counts).tolist()]
        lost = [video.lost + first for video, first in zip(self.videos, firsts, strict=False)]
        frames = [t.frames.placed(0, count) for t, count in zip(self.tables, counts, strict=True)]

        def read(positions: NDArray[np.int64]) -> NDArray[np.uint8]:
            owner = np.searchsorted(firsts, positions, side="right") - 1
            parts = [
                self.videos[number].read(positions[owner == number] - firsts[number])
                for number in np.unique(owner).tolist()
            ]
            return np.concatenate(parts)

        return Pictures(FrameTable.concat(frames), firsts, read, np.concatenate(lost))

    def frames(
        self, lag: int = 0, *, salvage: bool = False
    ) -> tuple[FrameTable, tuple[str, ...], tuple[Loss, ...]]:
        """Bring the tables to one row per picture.

        Returns: The frames of all videos, what a user should be told, and what was left out as
        damaged.
        """
        if not self.tables:
            blank = FrameTable.concat([FrameTable.blank(v.frame_count) for v in self.videos])
            return (blank, *_bare_holes(self.videos)) if salvage else (blank, (), ())
        advice, measured = [], self.measured_lag
        if measured.lag not in (None, lag):
            advice.append(f"{self.videos[0].path}: {_lag_text(measured, lag)}")
        frames, notices, losses = [], [], []
        for video, table in zip(self.videos, self.tables, strict=True):
            try:
                kept, found, lost = _match(video, table, lag, salvage=salvage)
            except MismatchError as error:
                raise MismatchError("; ".join([str(error), *advice])) from error
            frames.append(kept)
            notices += found
            losses += lost
        return FrameTable.concat(frames), (*notices, *advice), tuple(losses)


def open_files(spec: Path_, options: ReadOptions) -> Files:
    """Open the videos and tables of a recording and measure its lag."""
    paths = segment_paths(spec)
    for path in paths:
        _require(path, need_table=options.need_table)
    videos = [
        open_video(path, max_frame_pixels=options.max_frame_pixels, salvage=options.salvage)
        for path in paths
    ]
    if len({(video.height, video.width) for video in videos}) > 1:
        sizes = ", ".join(f"{v.path}: {v.width}x{v.height}" for v in videos)
        raise InputError(f"the segments of one recording differ in frame size ({sizes})")
    tables = [
        read_metadata(table_path(path), salvage=options.salvage, repair=options.repair)
        for path in paths
        if os.path.isfile(table_path(path))
    ]
    if tables and len(tables) < len(videos):
        raise MissingInputError(f"{paths[0]}: some segments have a table and others none")
    notices = [notice for video in videos for notice in video.notices]
    notices += [f"{table.path}: {notice}" for table in tables for notice in table.notices]
    return _measured(Files(tuple(videos), tuple(tables), Lag(), tuple(notices)))


def table_path(video: str) -> str:
    """Where the table of a video is expected."""
    return str(Path(video).with_suffix(".csv"))


def segment_paths(spec: Path_) -> list[str]:
    """The videos that an argument names."""
    text = os.fspath(spec)
    paths = [text] if os.path.exists(text) else text.split(",")
    if len(set(paths)) < len(paths) or "" in paths:
        raise UsageError(f"{text!r}: name a video, or segments separated by single commas")
    return paths


def recording_names(inputs: Sequence[Path_]) -> list[str]:
    """A name for each recording: the stem of its first video, with parent folders where equal.

    >>> recording_names(["left/rec.avi", "right/rec.avi"])
    ['left-rec', 'right-rec']
    """
    if isinstance(inputs, str | os.PathLike) or not len(inputs):
        raise UsageError(f"{inputs!r}: give a list of recordings, one at least")
    firsts = [Path(os.path.abspath(segment_paths(spec)[0])).with_suffix("") for spec in inputs]
    for depth in range(1, max(len(path.parts) for path in firsts) + 1):
        names = ["-".join(path.parts[1:][-depth:]) for path in firsts]
        if len(set(names)) == len(names):
            return names
    raise UsageError(f"{inputs[0]}: given twice, or in two formats; name each recording once")


def _require(path: str, *, need_table: bool) -> None:
    """Check that a video, and its table if need be, are there."""
    if not os.path.isfile(path):
        what = "is a folder; name the video in it" if os.path.isdir(path) else "no such video"
        raise MissingInputError(f"{path}: {what}; check the path")
    if path.lower().endswith(".csv"):
        raise InputError(f"{path}: is a table; name the video, its table is found beside it")
    if need_table and not os.path.isfile(table_path(path)):
        msg = f"{path}: its table {table_path(path)} is missing; put it beside the video"
        raise MissingInputError(msg)


def _measured(files: Files) -> Files:
    """Measure the lag over all segments together."""
    if not files.exact:
        return files
    first = files.videos[0]
    try:
        bounds = buffer_layout(files.tables, first.height * first.width)
        return replace(files, measured_lag=measure_lag(files.pictures, bounds))
    except MetadataError:  # aligning reports it
        return files
    except VideoError as error:  # reading it for a result will be refused, looking at it is not
        notice = f"{first.path}: its lag was not measured: {error}"
        return replace(files, notices=(*files.notices, notice))


def _lag_text(measured: Lag, applied: int) -> str:
    """Say that the pictures are not where the run takes them to be, and what to do."""
    lag = measured.lag or 0
    count = amount(abs(lag), "frame")
    where = (
        f"lag {count} behind" if lag > 0 else f"run {count} ahead of" if lag else "are level with"
    )
    but = f", not at lag {applied}" if applied else ""
    return f"pictures {where} the table{but} ({measured}); --lag auto puts that right"


def _match(
    video: VideoSource, table: Metadata, lag: int, *, salvage: bool
) -> tuple[FrameTable, list[str], list[Loss]]:
    """Bring the table to one row per picture, or say why that cannot be done."""
    pictures, described = video.frame_count, len(table.frames)
    first, end = max(0, lag), described + lag  # pictures that the table describes
    if first >= min(pictures, end):
        none = f"none of its {amount(pictures, 'picture')} has a row"
        raise UsageError(f"{video.path}: at lag {lag} {none}; set --lag")
    notices = _unpaired(video, table, lag)
    if end == pictures + 1:
        frame_num = int(table.frames.frame_num[-1])
        notices.append(
            f"{table.path}: frame {described - 1} (frame_num {frame_num}) has no picture, as is "
            "usual for the last one; its rows are left out"
        )
    elif end != pictures:
        at = f" at lag {lag}" if lag else ""
        msg = (
            f"{table.path}: describes frames 0 to {described - 1}, but {video.path} has frames 0 "
            f"to {pictures - 1}{at}; --salvage goes on with the first {min(end, pictures) - first}"
        )
        if not salvage:
            raise MismatchError(msg)
        notices.append(msg.replace("; --salvage goes on with", "; salvaged"))
    kept = table.frames.placed(lag, pictures)
    kept, holes = _without_holes(video, kept, salvage=salvage)
    if holes:
        notices.append(f"{_holes_text(video, holes)}; they are left out")
    bare = first + np.flatnonzero(kept.num_rows[first:] == 0)
    if len(bare):
        msg = (
            f"{table.path}: no row for {len(bare)} of {amount(pictures, 'frame')} of {video.path}, "
            f"the first is frame {bare[0]}; --salvage goes on without them"
        )
        if not salvage:
            raise MismatchError(msg)
        notices.append(msg.replace("; --salvage goes on without them", "; they are left out"))
    return kept, notices, [*holes, *_beyond(video, table, lag), *_bare(table, bare)]


def _without_holes(
    video: VideoSource, frames: FrameTable, *, salvage: bool
) -> tuple[FrameTable, list[Loss]]:
    """Forget the numbers of pictures that are lost in holes of the file, or refuse them."""
    holes = _holes(video, frames)
    if holes and not salvage:
        msg = f"{_holes_text(video, holes)}; --salvage goes on without them"
        raise TruncatedVideoError(msg)
    if not holes:
        return frames, holes
    # a picture that is not there cannot be a candidate, whatever its rows say
    known = frames.frame_num.copy()
    known[video.lost] = NO_FRAME
    return replace(frames, frame_num=known), holes


def _holes(video: VideoSource, frames: FrameTable) -> list[Loss]:
    return [
        Loss(
            video.path,
            first,
            last,
            (int(frames.frame_num[first]), int(frames.frame_num[last])),
            byte,
            "hole in the video",
        )
        for first, last, byte in video.holes
    ]


def _bare_holes(videos: Sequence[VideoSource]) -> tuple[tuple[str, ...], tuple[Loss, ...]]:
    """What is lost in holes of videos without tables: what to tell of it, and the losses."""
    found = [(video, _holes(video, FrameTable.blank(video.frame_count))) for video in videos]
    told = [f"{_holes_text(video, holes)}; they are left out" for video, holes in found if holes]
    return tuple(told), tuple(loss for _, holes in found for loss in holes)


def _holes_text(video: VideoSource, holes: list[Loss]) -> str:
    where = "" if holes[0].byte is None else f" (byte {holes[0].byte})"
    return (
        f"{video.path}: {amount(len(video.lost), 'frame')} lost in holes of the file, the first is "
        f"frame {holes[0].first}{where}"
    )


def _beyond(video: VideoSource, table: Metadata, lag: int) -> list[Loss]:
    """Frames that the table describes behind the end of the video, more than the usual one."""
    pictures, end = video.frame_count, len(table.frames) + lag
    if end <= pictures + 1:
        return []
    frame_num = table.frames.frame_num[[pictures - lag, -1]]
    numbers = int(frame_num[0]), int(frame_num[1])
    return [Loss(video.path, pictures, end - 1, numbers, None, "the video ends before them")]


def _bare(table: Metadata, bare: NDArray[np.int64]) -> list[Loss]:
    """Pictures without a row."""
    unknown = NO_FRAME, NO_FRAME
    return [
        Loss(table.path, first, last, unknown, None, "no row in the table")
        for first, last in runs(bare).tolist()
    ]


def _unpaired(video: VideoSource, table: Metadata, lag: int) -> list[str]:
    """Say what a lag leaves over at the start: pictures without a row, or rows without one."""
    if lag > 0:
        what = f"{video.path}: the first pictures ({lag}) have no row at lag {lag}"
        return [f"{what}; they are left out"]
    if lag < 0:
        rows = int(table.frames.num_rows[:-lag].sum())
        what = f"{table.path}: the first frames ({-lag}) have no picture at lag {lag}"
        return [f"{what}; their rows ({rows}) are left out"]
    return []
