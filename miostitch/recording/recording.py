"""One receiver's recording: its videos and tables, opened once, and what they say together.

A Dataset names its files by their paths alone, so that it can be selected, joined, compared,
pickled and stored like any other. Its lazy video keeps the Recording alive that it was made of;
whoever needs that again, to write what was edited, finds it here, unless a file has changed.
"""

import os
from bisect import bisect_right
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self
from weakref import WeakValueDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.arrays import I64, U8
from miostitch.buffers.elapsed_time import ElapsedTime, measure_time, measured_rate
from miostitch.buffers.frame_table import FrameTable
from miostitch.buffers.table import (
    Metadata,
    as_frame,
    buffer_layout,
    read_metadata,
)
from miostitch.errors import (
    InputError,
    MetadataError,
    MismatchError,
    MissingInputError,
    Notice,
    Severity,
    UsageError,
    VideoError,
)
from miostitch.execution.results import LostFrames
from miostitch.fitting.cuts import Placement
from miostitch.fitting.repeats import describe_repeats, find_repeats
from miostitch.fitting.tables import Fit, compare_rates, fit_bare, fit_placed, fit_table
from miostitch.recording.block_readers import BlockReader, RecordingRows
from miostitch.recording.files import (
    ReadOptions,
    RecordingFiles,
    Segment,
    StrPath,
    describe_missing_table,
    find_segments,
    find_unused_table,
    require_recorded,
    table_path,
)
from miostitch.recording.lag import Lag, Pictures, measure_lag, measure_segment_lags
from miostitch.recording.placing import settle_placements
from miostitch.recording.segment_order import describe_order, find_ends, order_segments
from miostitch.schema import MAX_RECORDINGS, NO_FRAME, REPAIR_VARIABLES, REPAIRED_COLUMNS
from miostitch.video.source import VideoSource, open_video

_USED_ONCE = "stitching uses each of them once"

_opened: WeakValueDictionary[Hashable, "Recording"] = WeakValueDictionary()


class InputFile(NamedTuple):
    """A file that was read: path, size in bytes, hexadecimal blake2b digest."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True, eq=False)
class Recording:
    """One receiver's recording: videos that follow each other, and the tables next to them."""

    name: str  # Stem of the first video
    videos: tuple[VideoSource, ...]  # One video, or the segments of a recording in their order
    tables: tuple[Metadata, ...]  # The table of each video; empty for a recording without tables
    options: ReadOptions  # How it was read
    # One row per picture over all videos; without a table every ``frame_num`` is -1.
    frames: FrameTable
    notices: tuple[Notice, ...] = ()  # What a user should be told about the files
    lag: int = 0  # Picture ``i + lag`` of a video has the row of frame ``i`` of its table
    measured_lag: Lag = field(default_factory=Lag)  # What the pictures say, if they were asked
    segment_lags: tuple[Lag, ...] = ()  # The same of each of several segments alone
    losses: tuple[LostFrames, ...] = ()  # What was left out because the files are damaged
    lag_notices: tuple[Notice, ...] = ()  # Those of the notices that a measured lag gives rise to
    # Of each video which frames of its table it shows, where that is no matter of one lag; or none.
    placements: tuple[Placement | None, ...] = ()
    # Frames that repeat an earlier one, which has their number, and that one, (pair, 2).
    repeats: I64 = field(default_factory=lambda: np.empty((0, 2), np.int64))

    @classmethod
    def open(
        cls, spec: StrPath, options: ReadOptions | None = None, *, measure: bool = False
    ) -> "Recording":
        """Open a video, or several that follow each other, with the tables next to them."""
        [recording] = open_recordings([spec], options, measure=measure)
        return recording

    @classmethod
    def from_videos(cls, *videos: VideoSource, name: str = "") -> Self:
        """A recording that is nothing but videos."""
        return cls.of_files(name, videos, (), ReadOptions())

    @classmethod
    def of_files(
        cls,
        name: str,
        videos: Sequence[VideoSource],
        tables: Sequence[Metadata],
        options: ReadOptions,
    ) -> Self:
        """A recording whose tables are not fitted yet, as if the lag were 0; see `with_lag`."""
        notices = [Notice(video.path, text) for video in videos for text in video.notices]
        for table in tables:
            notices += [Notice(table.path, text) for text in table.oddities]
            notices += _header_notices(table)
        counts = [video.frame_count for video in videos]
        if tables:
            pairs = zip(tables, counts, strict=True)
            frames = FrameTable.concat([table.frames.placed(0, count) for table, count in pairs])
        else:
            frames = FrameTable.blank(sum(counts))
        return cls(name, tuple(videos), tuple(tables), options, frames, tuple(notices))

    @property
    def path(self) -> str:
        """The first video, for messages."""
        return self.videos[0].path

    @property
    def lossy(self) -> bool:
        """Whether pixels are not exactly those that were recorded."""
        return any(video.lossy for video in self.videos)

    @property
    def exact(self) -> bool:
        """Whether pixels can be compared with rows: a lossy codec leaves no exact values."""
        return bool(self.tables) and not self.lossy

    @cached_property
    def timed(self) -> bool:
        """Whether the rows have times by which frames and clocks can be measured."""
        return bool(np.isfinite(self.frames.timestamp_first).any())

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width."""
        return self.first_frames[-1], self.videos[0].height, self.videos[0].width

    @cached_property
    def first_frames(self) -> list[int]:
        """Position of each video's first frame in the recording, and of the end."""
        return [0, *np.cumsum([video.frame_count for video in self.videos]).tolist()]

    def locate(self, frame: int) -> tuple[str, int]:
        """The path of the video that a frame of the recording is in, and where it is there."""
        number = bisect_right(self.first_frames, frame, hi=len(self.videos)) - 1
        return self.videos[number].path, frame - self.first_frames[number]

    @property
    def time(self) -> ElapsedTime:
        """When every frame was made, by the table; by the frame rate where there is none."""
        count, table = self.shape[0], self.frames
        times = table.timestamp_first[:count]
        return measure_time(table.frame_num[:count], times, self.videos[0].fps)

    @cached_property
    def lost(self) -> I64:
        """Frames that are known to be lost in holes of the videos, int64 (lost frame,)."""
        pairs = zip(self.videos, self.first_frames, strict=False)
        return np.concatenate([video.lost + first for video, first in pairs])

    @cached_property
    def bounds(self) -> I64:
        """Limits of the buffers in a flattened frame, int64 (buffer + 1,), if the tables tell."""
        return buffer_layout(self.tables, self.shape[1] * self.shape[2])

    @cached_property
    def known_bounds(self) -> I64 | None:
        """The same, or None where the tables make no frame."""
        try:
            return self.bounds
        except MetadataError:
            return None

    @cached_property
    def inputs(self) -> tuple[InputFile, ...]:
        """Every file of the recording with a digest of its content."""
        videos = [InputFile(v.path, os.path.getsize(v.path), video_digest(v)) for v in self.videos]
        tables = [InputFile(t.path, os.path.getsize(t.path), t.digest) for t in self.tables]
        return (*videos, *tables)

    @property
    def pictures(self) -> Pictures:
        """The pictures of all videos, and what tables that are not fitted yet say of them."""
        return Pictures(self.frames, self.first_frames, self.read, self.lost)

    def with_lag(self, lag: int) -> "Recording":
        """Fit the tables to the videos, once."""
        try:
            fits = [self._fit(number, lag) for number in range(len(self.videos))]
        except MismatchError as error:
            found = (self.measured() if self.measured_lag.lag is None else self).measured_lag
            if found.lag in (None, lag):
                raise
            raise MismatchError(f"{error}; {found.describe()}; use --lag auto") from error
        frames = FrameTable.concat([fit.frames for fit in fits])
        notices = [notice for fit in fits for notice in fit.notices]
        rate = measured_rate(frames.frame_num, frames.timestamp_first)
        notices += compare_rates(self.path, self.videos[0].fps, rate)
        return replace(
            self,
            frames=frames,
            notices=(*self.notices, *notices),
            lag=lag,
            losses=tuple(loss for fit in fits for loss in fit.losses),
        )

    def without_repeats(self) -> "Recording":
        """The same, of which frames that were written again have no number of their own."""
        if not self.exact or self.known_bounds is None:
            return self
        try:
            repeats = find_repeats(self.frames, self.read, self.known_bounds)
        except VideoError:  # reading it for a result will be refused, looking at it is not
            return self
        if not len(repeats):
            return self
        number = self.frames.frame_num.copy()
        said = Notice(self.path, describe_repeats(repeats, number), _USED_ONCE)
        number[repeats[:, 0]] = NO_FRAME
        frames = replace(self.frames, frame_num=number)
        return replace(self, frames=frames, repeats=repeats, notices=(*self.notices, said))

    def _fit(self, number: int, lag: int) -> Fit:
        """Fit the table of a video to it."""
        video, salvage = self.videos[number], self.options.salvage
        if not self.tables:
            return fit_bare(video, salvage=salvage)
        if placement := self.placement(number):
            return fit_placed(video, self.tables[number], placement)
        return fit_table(video, self.tables[number], lag, salvage=salvage)

    def placement(self, number: int) -> Placement | None:
        """Which frames of its table a video shows; none where that is a matter of one lag."""
        return self.placements[number] if self.placements else None

    def with_lag_notices(self, *said: Notice) -> "Recording":
        """The same with notices that a measured lag gives rise to."""
        notices, lag_notices = (*self.notices, *said), (*self.lag_notices, *said)
        return replace(self, notices=notices, lag_notices=lag_notices)

    def measured(self) -> "Recording":
        """Measure the lag over all videos together, from at most 256 pictures."""
        if not self.exact or self.known_bounds is None:  # aligning reports that
            return self
        try:
            found = measure_lag(self.pictures, self.known_bounds)
            segments = measure_segment_lags(self.pictures, self.known_bounds)
        except VideoError as error:  # reading it for a result will be refused, looking at it is not
            text = f"whether the video is shifted against its table was not measured: {error}"
            return self.with_lag_notices(Notice(self.path, text))
        return replace(self, measured_lag=found, segment_lags=segments)

    def segment(self, path: str) -> "Recording":
        """The recording that one of the videos makes alone, called by this path."""
        number = [os.path.abspath(video.path) for video in self.videos].index(path)
        tables = [
            table.moved(
                table_path(path) if is_next_to(table, path) else os.path.abspath(table.path)
            )
            for table in self.tables[number : number + 1]
        ]
        videos = [replace(self.videos[number], path=path)]
        alone = Recording.of_files(Path(path).stem, videos, tables, self.options)
        found = self.placement(number)
        fitted = replace(alone, placements=(found,) if found else ()).with_lag(self.lag)
        start, stop = self.first_frames[number : number + 2]
        frames = replace(fitted.frames, frame_num=self.frames.frame_num[start:stop])
        return replace(fitted, frames=frames)

    def reader(self, frames: I64) -> BlockReader:
        """What a task needs to read these frames, -1 for none, and no more."""
        shape, count = (len(frames), *self.shape[1:]), self.shape[0]
        if len(self.videos) == 1:
            return BlockReader(shape, ((np.arange(len(frames)), self.videos[0].subset(frames)),))
        beyond = frames[(frames < NO_FRAME) | (frames >= count)]
        if len(beyond):
            raise VideoError(f"{self.path}: frame {beyond[0]} does not exist; there are {count}")
        parts = []
        for video, (start, stop) in zip(self.videos, pairwise(self.first_frames), strict=True):
            inside = np.flatnonzero((frames >= start) & (frames < stop))
            if len(inside):
                parts.append((inside, video.subset(frames[inside] - start)))
        return BlockReader(shape, tuple(parts))

    def read(self, frames: I64) -> U8:
        """Frames in any order, uint8 (frame, height, width)."""
        return self.reader(frames).read()

    @property
    def strayed_tables(self) -> list[str]:
        """Paths of its tables, if any of them does not stand next to its video under its name."""
        pairs = [*zip(self.tables, self.videos, strict=False)]
        astray = not all(is_next_to(table, video.path) for table, video in pairs)
        return [table.path for table, _ in pairs] if astray else []

    @property
    def buffer_columns(self) -> tuple[str, ...]:
        """Columns of the rows, which only a recording with tables has."""
        names = dict.fromkeys(name for table in self.tables for name in table.row_columns)
        return tuple(names)

    @property
    def row_counts(self) -> I64:
        """Rows of each frame, (frame,)."""
        return self.frames.num_rows.astype(np.int64)

    def rows(self, frames: I64) -> pd.DataFrame:
        """Buffers of these frames, in the order of ``frames``, within a frame as received.

        The column ``reconstructed_frame_index`` counts within the file the row came from.
        """
        return as_frame(self.row_reader(frames).read(frames))

    def row_reader(self, frames: I64) -> RecordingRows:
        """What a task needs to read the rows of these frames, and no more."""
        frames = np.sort(frames)
        parts = []
        for number, table in enumerate(self.tables):
            start, stop = self.first_frames[number : number + 2]
            place = frames - start - self.lag  # in the table; a picture may have no row there
            inside = (frames >= start) & (frames < stop)
            if placement := self.placement(number):
                place = placement.frame[(frames - start).clip(0, stop - start - 1)]
            here = inside & (place >= 0) & (place < len(table.frames))
            parts.append((np.where(here, place, NO_FRAME), table.row_reader(place[here])))
        return RecordingRows(
            frames,
            self.frames.frame_num[frames],
            self.frames.num_rows[frames],
            self.frames.timestamp_first[frames],
            max(table.longest_frame_s for table in self.tables),
            tuple(parts),
        )


def _header_notices(table: Metadata) -> list[Notice]:
    """Say what was repaired in a table, and what its recorder found damaged."""
    texts = filter(None, (table.repair_notice, table.check_notice))
    return [Notice(table.path, text, severity=Severity.NOTE) for text in texts]


def require_numbered(recordings: int) -> None:
    """Refuse more recordings than there are numbers for."""
    if recordings > MAX_RECORDINGS:
        msg = f"{recordings} recordings; at most {MAX_RECORDINGS} are supported in one result"
        raise UsageError(f"{msg}; name fewer, or join what one receiver recorded under one name")


def open_recordings(
    specs: Sequence[StrPath],
    options: ReadOptions | None = None,
    *,
    names: Sequence[str] | None = None,
    measure: bool = False,
) -> list[Recording]:
    """Open the recordings of one session.

    Their lags are measured from at most 256 pictures of each if that is asked for, or needed.
    """
    options = options or ReadOptions()
    if not specs:
        return []
    with ThreadPoolExecutor(len(specs), "miostitch-open") as pool:  # tables take the time
        opened = [*pool.map(partial(_open_files, options=options), specs)]
        if names is not None:
            opened = [replace(each, name=name) for each, name in zip(opened, names, strict=True)]
        measured = measure or options.lag == "auto"
        if measured:
            opened = [*pool.map(Recording.measured, opened)]
    settled = settle_placements(opened, options.lag, measured=measured)
    return [
        replace(each, measured_lag=its.measured, placements=its.placements)
        .with_lag(its.applied)
        .with_lag_notices(*its.notices)
        .without_repeats()
        for each, its in zip(opened, settled, strict=True)
    ]


def _open_files(spec: StrPath, options: ReadOptions) -> Recording:
    """Open the videos and tables of a recording, which are not fitted yet."""
    segments = find_segments(spec)
    for segment in segments:
        _require_files(segment, need_table=options.need_table)
    videos = [
        open_video(
            segment.video, max_frame_pixels=options.max_frame_pixels, salvage=options.salvage
        )
        for segment in segments
    ]
    if len({(video.height, video.width) for video in videos}) > 1:
        sizes = ", ".join(f"{v.path}: {v.width}x{v.height}" for v in videos)
        raise InputError(f"the segments of one recording differ in frame size ({sizes})")
    tables = [
        read_metadata(segment.table_path, salvage=options.salvage, repair=options.repair)
        for segment in segments
        if os.path.isfile(segment.table_path)
    ]
    if tables and len(tables) < len(videos):
        raise MissingInputError(f"{videos[0].path}: some segments have a table and others none")
    notices = [] if tables else [n for each in segments for n in find_unused_table(each.video)]
    if len(tables) > 1:
        videos, tables, notices = _put_in_order(videos, tables)
    name = spec.name if isinstance(spec, RecordingFiles) else ""
    found = Recording.of_files(name or Path(videos[0].path).stem, videos, tables, options)
    return replace(found, notices=(*found.notices, *notices))


def _put_in_order(
    videos: list[VideoSource], tables: list[Metadata]
) -> tuple[list[VideoSource], list[Metadata], list[Notice]]:
    """Put segments in the order of their reception, and say so where they were in another."""
    paths = [video.path for video in videos]
    order = order_segments(paths, [find_ends(table.frames) for table in tables])
    if order == sorted(order):
        return videos, tables, []
    said = describe_order([paths[place] for place in order])
    notice = Notice(paths[0], said, severity=Severity.NOTE)
    return [videos[place] for place in order], [tables[place] for place in order], [notice]


def _require_files(segment: Segment, *, need_table: bool) -> None:
    """Check that a video, and its table if need be, are there."""
    path = segment.video
    require_recorded(path)
    if path.lower().endswith(".csv"):
        raise InputError(f"{path}: is a table; name the video, its table is found next to it")
    if segment.table and not os.path.isfile(segment.table):
        raise MissingInputError(f"{segment.table}: no such table; check the path")
    if need_table and not os.path.isfile(segment.table_path):
        raise MissingInputError(f"{path}: {describe_missing_table(path)}")


def list_repairs(recordings: Sequence[Recording]) -> dict[str, NDArray[Any]]:
    """Every repaired cell of some recordings: an array for each of the schema's variables."""
    parts = [
        table.repairs.assign(recording=number, segment=segment)
        for number, recording in enumerate(recordings)
        for segment, table in enumerate(recording.tables)
    ]
    if not parts:
        return {v.name: np.empty(0, v.dtype) for v in REPAIR_VARIABLES}
    cells = pd.concat(parts, ignore_index=True)
    codes = {name: code for code, name in enumerate(REPAIRED_COLUMNS)}
    cells["column"] = cells["column"].map(codes)
    return {v.name: cells[v.name].to_numpy().astype(v.dtype) for v in REPAIR_VARIABLES}


def remember_recording(recording: Recording) -> Recording:
    """Let a recording be found as long as anything holds it.

    Returns: It, or the same recording if that is open already: whoever holds either holds both.
    """
    options = replace(recording.options, lag=recording.lag)
    paths = _paths(recording)
    keys = [_key(path, options) for path in paths]
    known = _opened.get(keys[0])
    same = known is not None and (known.name, _paths(known)) == (recording.name, paths)
    if known is not None and same and _table_paths(known) == _table_paths(recording):
        return known
    _opened.update(dict.fromkeys(keys, recording))
    return recording


def _paths(recording: Recording) -> list[str]:
    return [os.path.abspath(video.path) for video in recording.videos]


def _table_paths(recording: Recording) -> list[str]:
    return [os.path.abspath(table.path) for table in recording.tables]


def is_next_to(table: Metadata, video: str) -> bool:
    """Whether a table is the one that is found next to a video under its name."""
    return os.path.abspath(table.path) == os.path.abspath(table_path(video))


def reopen_video(path: str, options: ReadOptions) -> Recording:
    """The recording of one video: part of one that is open and was read so, or opened again."""
    known = find_opened(path, options)
    return Recording.open(path, options) if known is None else known.segment(path)


def find_opened(path: str, options: ReadOptions) -> Recording | None:
    """The recording that is open and was read so, of which this is a video."""
    return _opened.get(_key(path, options))


def _key(path: str, options: ReadOptions) -> Hashable:
    states = tuple(_state(file) for file in (path, table_path(path)))
    return path, states, replace(options, need_table=False, strict=False)


def _state(path: str) -> tuple[int, ...]:
    """What changes when a file is written again; nothing where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def video_digest(video: VideoSource) -> str:
    """Digest of a video without reading it whole: size, first and last MiB, frame index."""
    digest = blake2b(video.index_digest.encode())
    with open(video.path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(size.to_bytes(8, "little"))
        digest.update(file.read(2**20))
        file.seek(max(0, size - 2**20))
        digest.update(file.read(2**20))
    return digest.hexdigest()
