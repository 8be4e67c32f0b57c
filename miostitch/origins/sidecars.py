"""What is known of the frames of a file besides their pixels, looked up frame by frame.

A file of frames, a video or a store, has sidecars of the same stem: the table of its buffers,
tables with one line per frame, and a store next to a video or a video next to a store. All of them
must describe the same number of frames, or they are no sidecars.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import xarray as xr

from miostitch.arrays import I64
from miostitch.buffers.csv_files import REMEDY, FrameLines
from miostitch.buffers.elapsed_time import ElapsedTime, time_of_store
from miostitch.buffers.table import Metadata, read_metadata
from miostitch.errors import InputError, MismatchError, Notice, UsageError
from miostitch.execution.products import LINE_TABLES, OF_ROWS, STORE, TABLE
from miostitch.execution.products import VIDEO as AVI
from miostitch.execution.results import LostFrames
from miostitch.fitting.tables import lost_frames, salvaged
from miostitch.ranges import join_ranges
from miostitch.recording.datasets import open_store_beside
from miostitch.recording.files import ReadOptions, RecordingFiles, Segment, table_path
from miostitch.recording.recording import (
    Recording,
    is_next_to,
    list_repairs,
    reopen_video,
)
from miostitch.schema import FILLED, FRAME, FRAME_VARIABLES, REPAIR, VIDEO
from miostitch.store.chunks import damaged_blocks
from miostitch.store.datasets import open_table
from miostitch.store.reader import Store
from miostitch.store.validation import reading
from miostitch.text import amount, printable
from miostitch.video.source import VideoSource, open_video

LEFT_OUT = "it is left out"
REPAIRS = "repairs"


class BufferRows(Protocol):
    """What has rows of buffers that are looked up by frame."""

    @property
    def buffer_columns(self) -> tuple[str, ...]:
        """Columns of the rows."""

    @property
    def row_counts(self) -> I64:
        """Rows of each frame, (frame,)."""

    def rows(self, frames: I64) -> pd.DataFrame:
        """Rows of distinct frames, ascending, in their order."""


class FrameTables(Protocol):
    """What a store says of its frames."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups."""

    @property
    def recordings(self) -> Sequence[str]:
        """Names of the recordings that the frames are from."""

    @property
    def elapsed(self) -> ElapsedTime:
        """When the frames were made."""

    def table(self, group: str = "") -> xr.Dataset:
        """The arrays of a group, or of the root."""


class Lines(Protocol):
    """A table with one line per frame."""

    columns: list[str]
    count: int

    def of(self, frames: I64) -> pd.DataFrame:
        """Lines of distinct frames, ascending, in their order; every cell as text."""


@dataclass(frozen=True)
class StoredFrames:
    """What a store says of its frames."""

    store: Store

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups."""
        return self.store.groups

    @property
    def recordings(self) -> Sequence[str]:
        """Names of the recordings that the frames are from."""
        return self.store.recordings

    @property
    def elapsed(self) -> ElapsedTime:
        """When the frames were made."""
        return time_of_store(self.store)

    def table(self, group: str = "") -> xr.Dataset:
        """The arrays of a group, or of the root."""
        return open_table(self.store, group)


@dataclass(frozen=True)
class RecordedFrames:
    """What a store would say of a recording that was not stitched: the root, by its table alone."""

    recording: Recording

    @property
    def groups(self) -> tuple[str, ...]:
        """The only group besides the root: what was repaired, if anything was."""
        return (REPAIRS,) if any(len(t.repairs) for t in self.recording.tables) else ()

    @property
    def recordings(self) -> Sequence[str]:
        """Names of the recordings that the frames are from."""
        return [printable(Path(self.recording.path).stem)]

    def table(self, group: str = "") -> xr.Dataset:
        """The root for no name, else what was repaired."""
        if not group:
            return self._root
        cells = list_repairs([self.recording])
        columns = {name: (REPAIR, values) for name, values in cells.items()}
        return xr.Dataset(columns, attrs={"recordings": self.recordings})

    @cached_property
    def elapsed(self) -> ElapsedTime:
        """When the frames were made."""
        return self.recording.time

    @cached_property
    def _root(self) -> xr.Dataset:
        table, count = self.recording.frames, self.recording.shape[0]
        missing = np.zeros(count, np.int64)  # of a video without a table nothing is known to be
        if self.recording.tables:
            bounds = self.recording.bounds
            given = table.given_pixels(np.arange(count), bounds)
            missing = bounds[-1] - given.clip(0).sum(axis=1)
        known = {
            **vars(table),
            "source": np.zeros(count),
            "missing_pixels": missing,
            "damaged": missing > 0,
            "unrecoverable": missing > 0,
            "confidence": np.full(count, np.nan),
            **self.elapsed.columns,
        }
        columns = {v.name: known[v.name][:count].astype(v.dtype) for v in FRAME_VARIABLES}
        return xr.Dataset({name: (FRAME, values) for name, values in columns.items()})


@dataclass(frozen=True)
class Origin:
    """A file of frames and its sidecars."""

    path: str  # The video or the store, or the name of a stitch that is not written
    frames: int  # How many it has
    video: VideoSource | None  # The video; None for a store alone
    store: Store | None  # The store; None for a video alone
    buffers: BufferRows | None  # Its buffers; None without a table
    has_table: bool  # Whether they stand in a ``.csv``
    tables: FrameTables  # What a store says of its frames
    lines: Mapping[str, Lines]  # Tables with one line per frame, by their ending
    # Name, size and digest of every file that the frames were recorded in.
    inputs: tuple[Mapping[str, Any], ...]
    notices: tuple[Notice, ...] = ()  # What a user should be told
    losses: tuple[LostFrames, ...] = ()  # What of it is left out because it is damaged
    repair: bool = True  # Whether its rows were repaired where need be

    @property
    def kinds(self) -> set[str]:
        """Endings of the products that can be made of this file."""
        files = {AVI: self.video, STORE: self.store, TABLE: self.has_table or None}
        return {*self.lines, *(kind for kind, file in files.items() if file is not None)}

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Attributes of its store; nothing without one."""
        return self.store.attrs if self.store else {}

    @cached_property
    def times(self) -> pd.DataFrame:
        """Lines of its frames in a table of time stamps, without the frames' positions."""
        root = self.tables.table()
        times = {n: root[n].to_numpy() for n in ("timestamp_first", "timestamp_last")}
        if FILLED.name in root:
            times[FILLED.name] = root[FILLED.name].to_numpy().astype(np.int8)
        return pd.DataFrame(times)

    @cached_property
    def elapsed(self) -> ElapsedTime:
        """When its frames were made."""
        return self.tables.elapsed

    @property
    def fps(self) -> Fraction:
        """Frame rate, exact."""
        if self.video is not None:
            return self.video.fps
        assert self.store is not None
        return Fraction(self.store.attrs["fps"])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its frames."""
        file = self.video or self.store
        assert file is not None
        return file.height, file.width

    @property
    def table_elsewhere(self) -> str:
        """Its table, if that is not next to it under its name."""
        tables = self.buffers.tables if isinstance(self.buffers, Recording) else ()
        return next((t.path for t in tables if not is_next_to(t, self.path)), "")

    @property
    def files(self) -> list[str]:
        """Everything that is read."""
        stem = Path(self.path).with_suffix("")
        found = [self.path]
        if isinstance(self.buffers, Recording):
            found += [table.path for table in self.buffers.tables]
        elif self.has_table:
            found.append(table_path(self.path))
        found += [opened.path for opened in (self.video, self.store) if opened is not None]
        return found + [f"{stem}{suffix}" for suffix in self.lines]


def find_origin(path: str, options: ReadOptions, table: str = "") -> Origin:
    """Open a video or a store and everything next to it; the table of a video may be elsewhere."""
    if path.endswith(STORE):
        return _of_store(Store.open(path), options)
    reading = replace(options, need_table=False)
    if table:
        recording = Recording.open(RecordingFiles((Segment(path, table),)), reading)
    else:
        recording = reopen_video(path, reading)
    return _of_video(path, recording, options)


def rows_at(buffers: BufferRows, frames: I64, positions: I64) -> pd.DataFrame:
    """Rows of some frames, in any order and maybe repeatedly, counted by `positions`."""
    distinct, place = np.unique(frames, return_inverse=True)
    counts = buffers.row_counts[distinct]
    taken = join_ranges((np.cumsum(counts) - counts)[place], counts[place])
    chosen = buffers.rows(distinct).iloc[taken]
    return chosen.assign(reconstructed_frame_index=np.repeat(positions, counts[place]))


def lines_at(lines: Lines, key: str, frames: I64, positions: I64) -> pd.DataFrame:
    """Lines of some frames, in any order and maybe repeatedly, counted by `positions`."""
    distinct, place = np.unique(frames, return_inverse=True)
    return lines.of(distinct).iloc[place].assign(**{key: positions})


@dataclass(frozen=True)
class _Sidecars:
    """Looks for sidecars; those that describe something else are refused, or left out."""

    options: ReadOptions
    notices: list[Notice] = field(default_factory=list)  # Of what is left out

    def leave_out(self, error: InputError) -> None:
        self.notices.append(salvaged(error, LEFT_OUT, salvage=self.options.salvage))

    def matches(self, path: str, found: int, expected: int, what: str) -> bool:
        """Whether a file describes as many things as it should."""
        if found != expected:
            self.leave_out(_miscounted(path, found, expected, what))
        return found == expected

    def rows_match(self, table: Metadata, store: Store) -> bool:
        """Whether a table has the rows of the store next to it, if that has any."""
        expected = store.buffer_rows if store.buffer_columns else table.row_count
        return self.matches(table.path, table.row_count, expected, "row")

    def store(self, path: str, frames: int) -> Store | None:
        """The store next to a video, if it has the same frames."""
        try:
            store = open_store_beside(path)
        except InputError as error:
            self.notices.append(Notice("", str(error), LEFT_OUT))
            return None
        same = store is not None and self.matches(store.path, store.frames, frames, "frame")
        return store if same else None

    def lines(self, path: str, frames: int) -> dict[str, FrameLines]:
        """Tables next to a file with one line per frame."""
        found = {}
        for suffix, key in LINE_TABLES.items():
            beside = f"{Path(path).with_suffix('')}{suffix}"
            if os.path.isfile(beside):  # also where that is too long for a name
                try:
                    found[suffix] = _open_lines(beside, key, frames, check=self.options.salvage)
                except InputError as error:
                    self.leave_out(error)
        return found


def _of_video(path: str, recording: Recording, options: ReadOptions) -> Origin:
    frames = recording.shape[0]
    sidecars = _Sidecars(options)
    store, lines = sidecars.store(path, frames), sidecars.lines(path, frames)
    _require_level(path, options, store, lines)
    inputs: Sequence[Mapping[str, Any]] = [
        {"name": Path(file.path).name, "size": file.size, "digest": file.digest}
        for file in recording.inputs
    ]
    if store is not None:
        inputs = store.attrs.get("inputs", inputs)
    notices, losses = recording.notices, recording.losses
    has_table = bool(recording.tables)
    if store is not None and has_table:
        table = recording.tables[0]
        has_table = sidecars.rows_match(table, store)
        if not has_table:  # nor does what was said of it hold
            notices = tuple(notice for notice in notices if notice.path != table.path)
            losses = tuple(loss for loss in losses if loss.file != printable(table.path))
    return Origin(
        path,
        frames,
        recording.videos[0],
        store,
        recording if has_table else _stored_rows(store),
        has_table,
        StoredFrames(store) if store else RecordedFrames(recording),
        lines,
        tuple(inputs),
        (*notices, *sidecars.notices),
        losses,
        options.repair,
    )


def _of_store(store: Store, options: ReadOptions) -> Origin:
    path, sidecars = store.path, _Sidecars(options)
    beside, video = str(Path(path).with_suffix(AVI)), None
    if os.path.isfile(beside):
        video = open_video(beside, max_frame_pixels=options.max_frame_pixels)
        same = sidecars.matches(beside, video.frame_count, store.frames, "frame")
        video = video if same else None
    rows, has_table = _stored_rows(store), False
    if rows and os.path.isfile(table_path(path)):
        has_table = sidecars.rows_match(
            read_metadata(table_path(path), salvage=options.salvage), store
        )
    losses = _damaged(store) if options.salvage else ()
    if losses:
        lost = sum(last + 1 - first for first, last in (loss.frames for loss in losses))
        msg = f"{amount(lost, 'frame')} lost in damaged chunks, the first is frame"
        sidecars.notices.append(Notice(path, f"{msg} {losses[0].frames[0]}", "they are left out"))
    lines = sidecars.lines(path, store.frames)
    return Origin(
        path,
        store.frames,
        video,
        store,
        rows,
        has_table,
        StoredFrames(store),
        lines,
        tuple(store.attrs.get("inputs", [])),
        tuple(sidecars.notices),
        losses,
    )


def _open_lines(path: str, key: str, frames: int, *, check: bool) -> FrameLines:
    table = FrameLines(path, key)
    if not 0 <= table.count - frames <= 1:  # like the table, it may have one more
        why = ", for its last line is cut" if table.cut else ""
        raise _miscounted(path, table.count, frames, "frame", why)
    if check:  # while it can still be left out
        table.check(frames)
    return table


def _require_level(
    path: str, options: ReadOptions, store: Store | None, lines: Mapping[str, FrameLines]
) -> None:
    """Refuse a lag where something next to a video has all rows in their places."""
    placed = [store.path] if store else []
    placed += [f"{Path(path).with_suffix('')}{suffix}" for suffix in lines if suffix in OF_ROWS]
    if placed and options.lag:
        msg = f"{path}: the video is shifted against its table by {options.lag}, but {placed[0]}"
        raise UsageError(f"{msg} was made without a lag; make it again, or use --lag 0")


def _damaged(store: Store) -> tuple[LostFrames, ...]:
    """What is lost with damaged chunks of a store."""
    with reading(store.path, VIDEO.name):
        found = damaged_blocks(store.path)
    numbers = open_table(store)["frame_num"].to_numpy()
    return tuple(
        lost_frames(d.file, d.first, d.last, numbers[[d.first, d.last]], d.why) for d in found
    )


def _stored_rows(store: Store | None) -> Store | None:
    """A store if it has buffers, which must stand in the order of its frames."""
    if store is None or not store.buffer_columns:
        return None
    store.require_rows_in_order()
    return store


def _miscounted(path: str, found: int, expected: int, what: str, why: str = "") -> MismatchError:
    msg = f"has {amount(found, what)}, but there should be {expected}{why}"
    return MismatchError(Notice(path, msg, REMEDY))
