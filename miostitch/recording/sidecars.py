"""What is known of the frames of a file besides their pixels, looked up frame by frame.

A file of frames, a video or a store, has companions of the same stem: the table of its buffers,
tables with one line per frame, and a store beside a video or a video beside a store. All of them
must tell of the same number of frames, or they are not companions.
"""

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.buffers.table import Metadata, read_metadata
from miostitch.errors import InputError, MismatchError, UsageError
from miostitch.execution.products import LINE_TABLES, OF_ROWS, STORE
from miostitch.recording.files import ReadOptions, table_path
from miostitch.recording.frame_metadata import FrameTables, RecordedFrames, StoredFrames
from miostitch.recording.losses import Loss
from miostitch.recording.recording import Recording, load_recording
from miostitch.schema import BUFFER, VIDEO
from miostitch.store.chunks import damaged_blocks
from miostitch.store.groups import open_group
from miostitch.store.layout import StoreFacts, store_facts
from miostitch.store.validation import reading
from miostitch.text import amount
from miostitch.video.source import VideoSource, open_video

SCANNED_BYTES, CHECKED_LINES = 2**22, 2**14
"""How much of a table is in memory while its lines are counted, and while they are checked."""

REMEDY = "; make it anew, or --salvage leaves it out"


class Rows(Protocol):
    """Rows of buffers, looked up by frame."""

    columns: tuple[str, ...]
    counts: NDArray[np.int64]
    """Rows of each frame, (frame,)."""

    def of(self, frames: NDArray[np.int64]) -> pd.DataFrame:
        """Rows of distinct frames, ascending, in their order."""


class TableRows:
    """Rows of the table beside a video."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.columns = recording.tables[0].columns
        self.counts = recording.frames.num_rows.astype(np.int64)

    def of(self, frames: NDArray[np.int64]) -> pd.DataFrame:
        """Rows of distinct frames, ascending, in their order."""
        return self._recording.rows(frames)


class StoredRows:
    """Rows of the ``buffers`` group of a store, which stand in the order of the frames."""

    def __init__(self, path: str, facts: StoreFacts) -> None:
        self._buffers = open_group(path, "buffers")
        self.columns = facts.buffer_columns
        index = self._buffers["reconstructed_frame_index"].to_numpy()
        sorted_ = not len(index) or (index[0] >= 0 and (np.diff(index) >= 0).all())
        if not sorted_ or index[-1:].max(initial=0) >= facts.frames:
            msg = f"{path}: its buffers are not those of its {amount(facts.frames, 'frame')}"
            raise MismatchError(f"{msg}, in their order; --salvage does not help, stitch again")
        self.counts = np.bincount(index, minlength=facts.frames)
        self._starts = np.cumsum(self.counts) - self.counts

    def of(self, frames: NDArray[np.int64]) -> pd.DataFrame:
        """Rows of distinct frames, ascending, in their order."""
        rows = _ranges(self._starts[frames], self.counts[frames])
        chosen = self._buffers.isel({BUFFER: rows})
        return pd.DataFrame({name: chosen[name].to_numpy() for name in self.columns})


class FrameLines:
    """A table with one line per frame, of which only the places of the lines are in memory.

    A last line without its end may be cut in a cell; it is not counted, and ``cut`` is true.
    """

    def __init__(self, path: str, key: str) -> None:
        self._path, self._key = path, key
        ends = [np.zeros(1, np.int64)]
        try:
            with open(path, "rb") as file:
                header = file.readline()
                position = start = file.tell()
                while text := file.read(SCANNED_BYTES):
                    found = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
                    ends.append(found + position + 1)
                    position += len(text)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}{REMEDY}") from error
        self._starts = np.concatenate(ends)
        self._starts[0] = start
        self.cut = bool(position > self._starts[-1])
        self.columns = header.decode("utf-8-sig", "replace").rstrip("\r\n").split(",")
        self.count = len(self._starts) - 1
        if key not in self.columns or len({*self.columns}) < len(self.columns):
            what = f"no column {key}" if key not in self.columns else "two columns of one name"
            raise InputError(f"{path}: line 1: {what if header else 'the file is empty'}{REMEDY}")

    def of(self, frames: NDArray[np.int64]) -> pd.DataFrame:
        """Lines of distinct frames, ascending, in their order; every cell as it stands there."""
        rows = self._cells(frames)
        for frame, row in zip(frames.tolist(), rows, strict=False):
            if len(row) != len(self.columns):
                what = f"has {amount(len(row), 'cell')}, where there should be {len(self.columns)}"
                raise self._wrong(frame, what)
        lines = pd.DataFrame(rows, columns=self.columns)
        told = pd.to_numeric(lines[self._key], errors="coerce").to_numpy()
        both = min(len(told), len(frames))
        wrong = frames[:both][told[:both] != frames[:both]]
        if len(told) != len(frames) or len(wrong):
            at = int(wrong[0] if len(wrong) else frames[-1])
            raise self._wrong(at, f"does not tell of frame {at}")
        return lines

    def check(self, count: int) -> None:
        """Read the lines of the first `count` frames, some at a time."""
        for start in range(0, count, CHECKED_LINES):
            self.of(np.arange(start, min(start + CHECKED_LINES, count)))

    def _cells(self, frames: NDArray[np.int64]) -> list[list[str]]:
        """Cells of lines as they stand in the text."""
        text = bytearray()
        try:
            with open(self._path, "rb") as file:
                for run in np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1):
                    start, stop = self._starts[[run[0], run[-1] + 1]].tolist()
                    file.seek(start)
                    text += file.read(stop - start)
        except OSError as error:
            raise InputError(f"{self._path}: cannot be read any more: {error.strerror}") from error
        rows: list[list[str]] = []
        try:
            rows += csv.reader(StringIO(text.decode()))
        except UnicodeDecodeError as error:
            line = text.count(b"\n", 0, error.start)
            raise self._wrong(int(frames[line]), "is not UTF-8") from error
        except csv.Error as error:
            raise self._wrong(int(frames[len(rows)]), f"is no line: {error}") from error
        return rows

    def _wrong(self, frame: int, what: str) -> MismatchError:
        return MismatchError(f"{self._path}: line {frame + 2} {what}{REMEDY}")


@dataclass(frozen=True)
class Origin:
    """A file of frames and its companions."""

    path: str  # The video or the store
    frames: int  # How many it has
    video: VideoSource | None  # The video; None for a store alone
    # Path of the store and what it is; None for a video alone.
    store: tuple[str, StoreFacts] | None
    rows: Rows | None  # Its buffers; None without a table
    has_table: bool  # Whether they stand in a ``.csv``
    tables: FrameTables  # What a store says of its frames
    lines: Mapping[str, FrameLines]  # Tables with one line per frame, by their ending
    # Name, size and digest of every file that the frames were recorded in.
    inputs: tuple[Mapping[str, Any], ...]
    notices: tuple[str, ...] = ()  # What a user should be told
    losses: tuple[Loss, ...] = ()  # What of it is left out because it is damaged

    @property
    def kinds(self) -> set[str]:
        """Endings of the products that can be made of this file."""
        found = {*self.lines}
        found |= {".avi"} if self.video is not None else set()
        found |= {STORE} if self.store is not None else set()
        return found | ({".csv"} if self.has_table else set())

    @cached_property
    def times(self) -> pd.DataFrame:
        """Lines of its frames in a table of time stamps, without the frames' positions."""
        root = self.tables.open("")
        assert root is not None
        return pd.DataFrame({n: root[n].to_numpy() for n in ("timestamp_first", "timestamp_last")})

    @property
    def files(self) -> list[str]:
        """Everything that is read."""
        stem = Path(self.path).with_suffix("")
        found = [self.path, table_path(self.path)] if self.has_table else [self.path]
        found += [] if self.video is None else [self.video.path]
        found += [] if self.store is None else [self.store[0]]
        return found + [f"{stem}{suffix}" for suffix in self.lines]


@dataclass
class _Search:
    """Looks for companions of a number of frames."""

    frames: int
    salvage: bool
    notices: list[str] = field(default_factory=list)

    def agrees(self, path: str, found: int) -> bool:
        """Whether a file tells of all frames."""
        return self._equal(path, found, self.frames, "frame")

    def rows_agree(self, table: Metadata, store: StoreFacts) -> bool:
        """Whether a table has as many rows as the store beside it, if that has any."""
        if not store.buffer_columns:
            return True
        return self._equal(table.path, table.row_count, store.buffer_rows, "row")

    def _equal(self, path: str, found: int, expected: int, what: str) -> bool:
        if found != expected:
            self._leave_out(_miscounted(path, found, expected, what))
        return found == expected

    def lines(self, stem: str) -> dict[str, FrameLines]:
        """Tables with one line per frame."""
        found = {}
        for suffix, key in LINE_TABLES.items():
            path = f"{stem}{suffix}"
            if os.path.isfile(path):  # also where that is too long for a name
                try:
                    found[suffix] = self._line_table(path, key)
                except InputError as error:
                    self._leave_out(error)
        return found

    def _line_table(self, path: str, key: str) -> FrameLines:
        table = FrameLines(path, key)
        if not 0 <= table.count - self.frames <= 1:  # like the table, it may have one more
            why = ", for its last line is cut" if table.cut else ""
            raise _miscounted(path, table.count, self.frames, "frame", why)
        if self.salvage:  # while it can still be left out
            table.check(self.frames)
        return table

    def _leave_out(self, error: InputError) -> None:
        """Raise an error, or note that a file is left out for it."""
        if not self.salvage:
            raise error
        self.notices.append(f"{str(error).removesuffix(REMEDY)}; it is left out")


def find_origin(path: str, options: ReadOptions) -> Origin:
    """Open a video or a store and everything beside it."""
    return (_of_store if path.endswith(STORE) else _of_video)(path, options)


def rows_at(rows: Rows, frames: NDArray[np.int64], positions: NDArray[np.int64]) -> pd.DataFrame:
    """Rows of some frames, in any order and maybe repeatedly, and where they go.

    ``frames``: frames, (frame,); ``positions``: their positions in the output, which
    ``reconstructed_frame_index`` becomes, (frame,).
    """
    distinct, place = np.unique(frames, return_inverse=True)
    counts = rows.counts[distinct]
    taken = _ranges((np.cumsum(counts) - counts)[place], counts[place])
    chosen = rows.of(distinct).iloc[taken]
    return chosen.assign(reconstructed_frame_index=np.repeat(positions, counts[place]))


def lines_at(
    lines: FrameLines, key: str, frames: NDArray[np.int64], positions: NDArray[np.int64]
) -> pd.DataFrame:
    """Lines of some frames, in any order and maybe repeatedly, counted by `positions`."""
    distinct, place = np.unique(frames, return_inverse=True)
    return lines.of(distinct).iloc[place].assign(**{key: positions})


def _of_video(path: str, options: ReadOptions) -> Origin:
    # rows are passed on as received: who reads the result repairs them where need be
    recording = load_recording(path, replace(options, need_table=False, repair=False))
    video, stem = recording.videos[0], str(Path(path).with_suffix(""))
    search = _Search(recording.shape[0], options.salvage)
    inputs = [
        {"name": Path(file.path).name, "size": file.size, "digest": file.digest}
        for file in recording.inputs
    ]
    store = None
    if os.path.isdir(stem + STORE):
        try:
            facts = store_facts(stem + STORE)
        except InputError as error:
            search.notices.append(f"{error}; it is left out")
        else:
            if search.agrees(stem + STORE, facts.frames):
                store, inputs = (stem + STORE, facts), facts.attrs.get("inputs", inputs)
    lines, notices, losses = search.lines(stem), recording.notices, recording.losses
    placed = [stem + STORE] * bool(store) + [stem + s for s in lines if s in OF_ROWS]
    if placed and options.lag:
        msg = f"{path}: lag {options.lag}: {placed[0]} beside it has all rows in their places"
        raise UsageError(f"{msg}; leave --lag out")
    has_table = bool(recording.tables)
    if has_table and store and not search.rows_agree(recording.tables[0], store[1]):
        # nor does what was said of it hold
        has_table, table = False, recording.tables[0].path
        notices = tuple(each for each in notices if not each.startswith(f"{table}: "))
        losses = tuple(loss for loss in losses if loss.file != table)
    return Origin(
        path,
        recording.shape[0],
        video,
        store,
        TableRows(recording) if has_table else _stored_rows(store),
        has_table,
        StoredFrames(*store) if store else RecordedFrames(path, options),
        lines,
        tuple(inputs),
        (*notices, *search.notices),
        losses,
    )


def _of_store(path: str, options: ReadOptions) -> Origin:
    facts, stem = store_facts(path), str(Path(path).with_suffix(""))
    search = _Search(facts.frames, options.salvage)
    video, has_table = None, False
    if os.path.isfile(f"{stem}.avi"):
        beside = open_video(f"{stem}.avi", max_frame_pixels=options.max_frame_pixels)
        video = beside if search.agrees(beside.path, beside.frame_count) else None
    rows = _stored_rows((path, facts))
    if rows and os.path.isfile(f"{stem}.csv"):
        table = read_metadata(f"{stem}.csv", salvage=options.salvage)
        has_table = search.rows_agree(table, facts)
    losses = _damaged(path, facts) if options.salvage else ()
    if losses:
        lost = sum(loss.last + 1 - loss.first for loss in losses)
        msg = f"{path}: {amount(lost, 'frame')} lost in damaged chunks, the first is frame"
        search.notices.append(f"{msg} {losses[0].first}; they are left out")
    return Origin(
        path,
        facts.frames,
        video,
        (path, facts),
        rows,
        has_table,
        StoredFrames(path, facts),
        search.lines(stem),
        tuple(facts.attrs.get("inputs", [])),
        tuple(search.notices),
        losses,
    )


def _damaged(path: str, facts: StoreFacts) -> tuple[Loss, ...]:
    """What is lost with damaged chunks of a store."""
    with reading(path, VIDEO.name):
        found = damaged_blocks(path)
    times = StoredFrames(path, facts).open("")
    assert times is not None
    numbers = times["frame_num"].to_numpy()
    return tuple(
        Loss(d.file, d.first, d.last, (int(numbers[d.first]), int(numbers[d.last])), None, d.why)
        for d in found
    )


def _stored_rows(store: tuple[str, StoreFacts] | None) -> StoredRows | None:
    return StoredRows(*store) if store and store[1].buffer_columns else None


def _miscounted(path: str, found: int, expected: int, what: str, why: str = "") -> MismatchError:
    msg = f"{path}: tells of {amount(found, what)}, where there should be {expected}{why}"
    return MismatchError(msg + REMEDY)


def _ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of ranges that begin at `starts`, one range after the other."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())
