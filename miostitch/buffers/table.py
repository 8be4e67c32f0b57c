"""Metadata tables (``{stem}.csv``, one row per received buffer): read and look up.

A session of nine hours has five million rows, so the text is streamed and never held: a first
pass folds it into one row per frame and an index of blocks of text, and later passes parse just
the blocks that hold the rows asked for.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, BinaryIO, TypeAlias
from zlib import crc32

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from miostitch.arrays import I64
from miostitch.buffers.device_counter import find_noise
from miostitch.buffers.frame_table import MASK_BITS, Fold, FrameTable, FrameTally, folded
from miostitch.buffers.header import read_header
from miostitch.buffers.header_check import find_failed
from miostitch.buffers.parser import Cells, ParsedBlock, TableParser, text_blocks
from miostitch.buffers.reception import longest_frame, settle_reception
from miostitch.buffers.repair import NO_REPAIRS, derive_layout, repair_batches
from miostitch.errors import MetadataError, MissingInputError, UsageError
from miostitch.schema import CORRECTED, NO_FRAME, RECORDED
from miostitch.text import amount

Rows: TypeAlias = pa.Table
"""Rows of a table, column by column: what pyarrow does with them does not hold the GIL."""

_CACHED_BLOCKS = 16
_SPARE_FRAMES = 2**20
_SHORTEST_ROW_BYTES = 12
_LISTED_FAULTS = 1000
SPREADSHEET_LINES = (2**16, 2**20)
"""Lines that spreadsheet programs have room for, in their older and their present formats."""

ROUNDING, LEAST_ROWS = 1e-3, 64
"""How far tenths of seconds may be from integers, and in how many rows, to be called rounded."""

_TALLIED = (
    "frame_num",
    "frame_buffer_count",
    "buffer_recv_unix_time",
    CORRECTED.name,
    "black_padding_px",
    "reconstructed_frame_index",
)
_PLACE = ("start", "size", "line", "row", "crc")  # where a block is, and what its text was
_BLOCK = np.dtype([(name, "i8") for name in (*_PLACE, "rows", "frame_min", "frame_max")])


@dataclass(frozen=True, eq=False)
class Metadata:
    """One metadata table: its frames in memory, its rows within reach.

    Made by :func:`read_metadata`; small, picklable, and valid as long as the file is unchanged.
    """

    path: str  # The file
    # Column names as in the file; those that the schema does not know are carried as text.
    columns: tuple[str, ...]
    row_count: int  # Rows of the table
    frames: FrameTable  # What the rows say per frame
    orphan_rows: int  # Rows that belong to no frame
    failed_rows: int  # Rows whose header failed the recorder's check, and which count as lost
    # int64 (n, 3): ``frame_buffer_count``, ``pixel_count``, rows that have this pair.
    buffer_sizes: I64
    # Repaired cells: ``row`` (from 0), ``column``, ``old``, ``new``, ``evidence``, by row.
    repairs: pd.DataFrame
    oddities: tuple[str, ...]  # What the user should know, one sentence each
    digest: str  # blake2b of the whole file, hexadecimal
    longest_frame_s: float  # Within what time the buffers of a frame are received, in s
    noise: I64  # First and last frame of stretches whose numbers are noise's, (stretch, 2)
    dropped_rows: int  # Faulty rows that were dropped
    faults: tuple[tuple[int, str], ...]  # Line and fault of the first thousand of them
    _parser: TableParser = field(repr=False)
    _blocks: NDArray[np.void] = field(repr=False)

    @property
    def row_columns(self) -> tuple[str, ...]:
        """Columns of its rows as they are read: those of the file, and what repairs add."""
        added = RECORDED.name not in self.columns and len(self._moved) > 0
        return (*self.columns, RECORDED.name) if added else self.columns

    @property
    def stitched(self) -> bool:
        """Whether it is the table of a result, whose video is not behind it."""
        return CORRECTED.name in self.columns

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know, one sentence each."""
        usual = (self.repair_notice, self.check_notice)
        return (*self.oddities, *(text for text in usual if text))

    @property
    def check_notice(self) -> str:
        """How many headers failed the recorder's check; nothing if none did."""
        if not self.failed_rows:
            return ""
        return f"{amount(self.failed_rows, 'row')} with a failed header check; counted as lost"

    @property
    def repair_notice(self) -> str:
        """What was repaired; nothing without repairs."""
        if not len(self.repairs):
            return ""
        first, more = self.repairs.iloc[0], len(self.repairs) - 1
        where = f"{first['column']} in row {first['row']} (from 0)"
        cells = amount(len(self.repairs), "flipped header cell")
        return f"{cells} repaired: {where}" + (f" (and {more} more)" if more else "")

    def moved(self, path: str) -> "Metadata":
        """The same file, called by another path."""
        return replace(self, path=path, _parser=replace(self._parser, path=path))

    def rows(self, frames: I64) -> pd.DataFrame:
        """Rows in the order of `frames`, within a frame as they were received.

        Parses the blocks of text whose range of frames meets `frames`, and keeps the last few of
        this process. A file in disorder costs time, not memory.
        """
        return as_frame(self.row_reader(frames).read(frames))

    def row_reader(self, frames: I64) -> "RowReader":
        """What a task needs to read the rows of these frames, and no more."""
        wanted = np.sort(np.asarray(frames, "int64"))
        if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < len(self.frames):
            msg = f"{self.path}: frames are 0 to {len(self.frames) - 1}, not {wanted[[0, -1]]}"
            raise UsageError(msg)
        if (np.diff(wanted) == 0).any():
            msg = f"{self.path}: the rows of a frame are asked for twice; name each frame once"
            raise UsageError(msg)
        blocks = self._blocks[_touches(self._blocks, wanted)]
        cells = tuple(map(self._repaired_cells, blocks))
        # an absolute path, for any process
        parser = replace(self._parser, path=os.path.abspath(self.path))
        return RowReader(self.digest, parser, blocks, cells)

    def batches(self) -> Iterator[pd.DataFrame]:
        """Stream the whole table in the order of the file, about 14,000 rows at a time."""
        for block in self._blocks:
            cells = self._repaired_cells(block)
            yield as_frame(_parse_block(self._parser, cells, *block.item()[: len(_PLACE)]))

    def _repaired_cells(self, block: np.void) -> Cells:
        row, rows = int(block["row"]), int(block["rows"])
        return Cells.within(self._repaired, row, row + rows)

    @cached_property
    def _repaired(self) -> dict[str, tuple[I64, I64]]:
        cells = self.repairs.groupby("column")
        found = {str(c): (t["row"].to_numpy(), t["new"].to_numpy()) for c, t in cells}
        if len(moved := self._moved):
            found[RECORDED.name] = moved["row"].to_numpy(), moved["old"].to_numpy()
        return found

    @property
    def _moved(self) -> pd.DataFrame:
        """Repairs of positions by which the recorder had placed the pixels."""
        return self.repairs[self.repairs["column"] == "frame_buffer_count"]


@dataclass(frozen=True, eq=False)
class RowReader:
    """Reads the rows of some frames of a table; small and picklable."""

    digest: str  # Of the table
    parser: TableParser
    blocks: NDArray[np.void]  # Those that have rows of the frames, (block,)
    cells: tuple[Cells, ...]  # Repaired cells of each of them

    def read(self, frames: I64) -> Rows:
        """Rows in the order of `frames`, within a frame as they were received."""
        order = np.argsort(frames)
        wanted = np.asarray(frames, "int64")[order]
        parts, ranks = [], [order[:0]]
        for number in np.flatnonzero(_touches(self.blocks, wanted)).tolist():
            at = self.blocks[number].item()[: len(_PLACE)]
            table = _cached_block(self.digest, self.parser, self.cells[number], *at)
            index = table["reconstructed_frame_index"].to_numpy()
            place = np.searchsorted(wanted, index)
            hit = np.flatnonzero(wanted[place.clip(max=len(wanted) - 1)] == index)
            parts.append(table.take(hit))
            ranks.append(order[place[hit]])
        found = join_rows(parts or [self.parser.no_rows()])
        by_rank = np.argsort(np.concatenate(ranks), kind="stable")
        if (np.diff(by_rank) < 0).any():  # else it is a copy of millions of rows for nothing
            found = found.take(by_rank)
        return found


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Put rows one after the other; a column that some of them lack is null there."""
    return pa.concat_tables(parts, promote_options="default")


def set_columns(rows: Rows, columns: Mapping[str, NDArray[Any]]) -> Rows:
    """Replace columns of rows, or append them; NaN becomes null."""
    known = {name: rows[name] for name in rows.column_names}
    return pa.table(known | {n: pa.array(v, from_pandas=True) for n, v in columns.items()})


def as_frame(rows: Rows) -> pd.DataFrame:
    """Rows for those who work with pandas."""
    frame: pd.DataFrame = rows.to_pandas()
    return frame


def _touches(blocks: NDArray[np.void], wanted: I64) -> NDArray[np.bool_]:
    """Which blocks may have rows of some frames, which ascend."""
    low = np.searchsorted(wanted, blocks["frame_min"], "left")
    touches: NDArray[np.bool_] = low < np.searchsorted(wanted, blocks["frame_max"], "right")
    return touches


def read_metadata(
    path: str | os.PathLike[str], *, salvage: bool = False, repair: bool = False
) -> Metadata:
    """Read a metadata table in one pass over its text, holding 200 bytes per frame.

    The last line is dropped, with a notice, where it lacks a line end: it may be cut in a cell.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            return _settled(_survey(name, file, salvage=salvage, repair=repair))
    except FileNotFoundError as error:
        msg = f"{name}: there is no such file; the table must be next to the video"
        raise MissingInputError(msg) from error
    except OSError as error:
        msg = f"{name}: cannot be read: {error.strerror}"
        raise MetadataError(msg) from error


def buffer_layout(tables: Iterable[Metadata], frame_pixels: int) -> I64:
    """Find the bounds (buffer + 1,): buffer k is ``frame.ravel()[bounds[k]:bounds[k+1]]``."""
    tables = list(tables)
    _require_one_layout(tables, frame_pixels)
    sizes_seen = [np.empty((0, 3), "int64"), *(table.buffer_sizes for table in tables)]
    bounds = vote_layout(np.concatenate(sizes_seen), frame_pixels)
    if bounds[-1] != frame_pixels:
        msg = (
            f"{', '.join(table.path for table in tables)}: buffers of {np.diff(bounds).tolist()} "
            f"pixels do not add up to a frame of {frame_pixels}; do table and video belong "
            "together?"
        )
        raise MetadataError(msg)
    if len(bounds) - 1 > MASK_BITS:
        msg = f"{tables[0].path}: {len(bounds) - 1} buffers per frame; at most {MASK_BITS} are"
        raise MetadataError(f"{msg} supported")
    return bounds


def _require_one_layout(tables: Sequence[Metadata], frame_pixels: int) -> None:
    """Check that tables do not each describe frames that are divided in another way."""
    found: dict[str, str] = {}
    for table in tables:
        bounds = vote_layout(table.buffer_sizes, frame_pixels)
        if bounds[-1] == frame_pixels:
            found.setdefault(str(np.diff(bounds).tolist()), table.path)
    if len(found) > 1:
        sizes = ", ".join(f"of {sizes} in {path}" for sizes, path in found.items())
        msg = f"buffers differ in their pixels ({sizes}); are these recordings of the same session?"
        raise MetadataError(msg)


def vote_layout(seen: I64, frame_pixels: int) -> I64:
    """Bounds of the buffers by the usual size of each; the last is the frame's end if they fit.

    ``seen``: (size, 3): position in the frame, pixels, and how many rows say so.
    """
    seen = seen[(seen[:, 0] >= 0) & (seen[:, 1] > 0) & (seen[:, 1] <= frame_pixels)]
    columns = dict(zip(("position", "pixels", "votes"), seen.T, strict=True))
    ballot = folded(columns, keys=("position", "pixels"), folds={"votes": np.add})
    ranked = np.lexsort((ballot["pixels"], -ballot["votes"], ballot["position"]))
    positions, first = np.unique(ballot["position"][ranked], return_index=True)
    sizes = ballot["pixels"][ranked][first][positions == np.arange(len(positions))]
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    end = int(np.searchsorted(bounds, frame_pixels))
    return bounds[: end + 1] if frame_pixels in bounds else bounds


def _settled(read: Metadata) -> Metadata:
    """Leave out the numbers of noise, and the times of rows not received with their frame."""
    read = _without_noise(read)
    longest = longest_frame(read.frames)
    frames, late = settle_reception(read.frames, longest, read.rows)
    far = f"{amount(late, 'row')} received long before or after their frame; their times left out"
    oddities = (*read.oddities, far) if late else read.oddities
    return replace(read, frames=frames, longest_frame_s=longest, oddities=oddities)


def _without_noise(read: Metadata) -> Metadata:
    """Leave out the numbers of frames that were made of noise."""
    noise, number = find_noise(read.frames.frame_num), read.frames.frame_num.copy()
    for first, last in noise.tolist():
        number[first : last + 1] = NO_FRAME
    return replace(read, frames=replace(read.frames, frame_num=number), noise=noise)


def _survey(path: str, file: BinaryIO, *, salvage: bool, repair: bool) -> Metadata:
    """Read the whole text once."""
    reading = _Reading(path, file, salvage)
    failures = 0
    tally, sizes, logs = FrameTally(), Fold(("position", "pixels"), rows=np.add), []
    # the rows of a result were repaired when it was made, and come from several receivers
    repair = repair and not reading.stitched
    for table, log in _repaired(reading.batches(), repair=repair):
        rows = {name: table[name].to_numpy() for name in _TALLIED if name in table}
        moved = log[log["column"] == "frame_buffer_count"]
        recorded = recorded_positions(table)
        recorded[moved["row"]] = moved["old"].to_numpy()
        failed = find_failed(table)
        failures += int(failed.sum())
        tally.add(rows | {"recorded_position": recorded.to_numpy(), "failed": failed})
        pixels = table["pixel_count"].to_numpy()
        votes = (~failed).astype(np.int64)
        sizes.add({"position": rows["frame_buffer_count"], "pixels": pixels, "rows": votes})
        logs.append(log)
    blocks, oddities, parser = np.array(reading.blocks, _BLOCK), reading.oddities, reading.parser
    if not (blocks["frame_max"] > NO_FRAME).any():
        what = "no row that belongs to a frame" if len(blocks) else "no rows"
        but = "".join(f", {notice}" for notice in oddities.notices([]))
        raise MetadataError(f"{path}: {what}{but}; nothing was recorded, or the file was cut")
    frames, tied = tally.result()
    if oddities.rounded:
        unknown = np.full(len(frames), np.nan)
        frames = replace(frames, timestamp_first=unknown, timestamp_last=unknown.copy())
    if len(tied):
        oddities.ties.note(len(tied), f"frame {tied[0]}")
    repairs = pd.concat([log for log in logs if len(log)] or logs[:1], ignore_index=True)
    row_count = int(blocks["rows"].sum())
    found = np.stack([*sizes.result().values()], axis=1)
    return Metadata(
        path=path,
        columns=parser.columns,
        row_count=row_count,
        frames=frames,
        orphan_rows=row_count - int(frames.num_rows.sum()),
        buffer_sizes=found[found[:, 2] > 0],  # without those that only failed headers claim
        repairs=repairs,
        oddities=oddities.notices([name for name in parser.columns if name in parser.floats]),
        digest=reading.digest.hexdigest(),
        failed_rows=failures,
        longest_frame_s=np.inf,
        noise=np.empty((0, 2), np.int64),
        dropped_rows=oddities.faults.count + oddities.cut.count,
        faults=tuple(oddities.listed),
        _parser=parser,
        _blocks=blocks,
    )


def _repaired(
    batches: Iterator[pd.DataFrame], *, repair: bool
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Repair a stream of rows, where it is wanted and the headers are redundant."""
    first = next(batches, None)
    if first is None:
        return
    layout = derive_layout(first) if repair else None
    everything = chain([first], batches)
    if layout is None:
        yield from ((table, NO_REPAIRS) for table in everything)
    else:
        yield from repair_batches(everything, layout)


def recorded_positions(rows: pd.DataFrame) -> pd.Series:
    """Where in its frame the pixels of each row stand, (row,), as the recorder placed them."""
    position = rows["frame_buffer_count"].copy()
    if RECORDED.name in rows:
        position = rows[RECORDED.name].where(rows[RECORDED.name] != NO_FRAME, position)
    return position


class _Reading:
    """One pass over the text of a table, and what is learned on the way."""

    def __init__(self, path: str, file: BinaryIO, salvage: bool) -> None:
        # every row takes some bytes, so the size of the file bounds the frames it can name
        max_frame = os.fstat(file.fileno()).st_size // _SHORTEST_ROW_BYTES + _SPARE_FRAMES
        self._path, self._file = path, file
        self._header = read_header(path, file)
        columns, dialect = self._header.columns, self._header.dialect
        self.parser = TableParser(path, columns, max_frame, salvage, dialect=dialect)
        self.digest = hashlib.blake2b(self._header.text)
        self.stitched = CORRECTED.name in columns
        self.oddities = _Oddities(ordered=not self.stitched)
        self.blocks: list[tuple[int, ...]] = []

    def batches(self) -> Iterator[pd.DataFrame]:
        """Parse block by block; the index of the rows goes on from block to block."""
        start, line, row = len(self._header.text), self._header.lines + 1, 0
        end = self._header.dialect.line_end
        for text in text_blocks(self._path, self._file, end):
            self.digest.update(text)
            whole = text.endswith(end)
            if not whole and b"\0" not in text:
                self.oddities.end_is_cut(line)
                break
            # a tail of NUL bytes is ended for the parser to say what is wrong with it
            parsed = self.parser.parse(text if whole else text + end, line)
            floats = self.parser.floats | parsed.floats
            self.parser = replace(self.parser, floats=floats)
            self.oddities.look_at(parsed)
            if count := len(parsed.table):
                frame = parsed.table["reconstructed_frame_index"].to_numpy()
                framed = frame[frame != NO_FRAME]
                span = (framed.min(), framed.max()) if len(framed) else (0, NO_FRAME)
                place = (start, len(text), line, row, crc32(text))
                self.blocks.append((*place, count, *map(int, span)))
                table = parsed.table.to_pandas()
                table.index = pd.RangeIndex(row, row + count)
                yield table
                row += count
            start += len(text)
            line += text.count(end)
        self.oddities.ends_at(line - 1)


def _parse_block(parser: TableParser, repaired: Cells, *place: int) -> Rows:
    start, size, line, row, crc = place
    try:
        with open(parser.path, "rb") as file:
            file.seek(start)
            text = file.read(size)
    except OSError as error:
        msg = f"{parser.path}: line {line}: cannot be read any more: {error.strerror}"
        raise MetadataError(msg) from error
    if crc32(text) != crc:
        msg = f"{parser.path}: line {line}: the file changed while it was used; run again"
        raise MetadataError(msg)
    return repaired.put_into(parser.parse(text, line).table, row)


@lru_cache(_CACHED_BLOCKS)
def _cached_block(digest: str, parser: TableParser, repaired: Cells, *block: int) -> Rows:
    """Parse a block, or recall it; `digest` tells apart two contents under one path."""
    return _parse_block(parser, repaired, *block)


@dataclass
class _Occurrences:
    count: int = 0
    first: str = ""

    def note(self, count: int, where: str) -> None:
        self.first = self.first or where
        self.count += count

    def __str__(self) -> str:
        return self.first if self.count == 1 else f"{self.first} (and {self.count - 1} more)"


class _Oddities:
    """What the user should know about a table.

    ``ordered``: whether rows stand as received; of a result, of several receivers, they do not.
    """

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self.headers, self.faults, self.cut = _Occurrences(), _Occurrences(), _Occurrences()
        self.backwards, self.ties, self.full = _Occurrences(), _Occurrences(), _Occurrences()
        self._fine, self._rows = False, 0
        self.listed: list[tuple[int, str]] = []
        self._last_time = -np.inf

    def end_is_cut(self, line: int) -> None:
        self.cut.note(1, f"line {line}")
        self._list(line, "the line is cut")

    def ends_at(self, line: int) -> None:
        """Note the last line, and whether a spreadsheet program had no room for more."""
        if line in SPREADSHEET_LINES:
            self.full.note(1, f"line {line}")

    @property
    def rounded(self) -> bool:
        """Whether the times are too coarse for what clocks are compared by."""
        return not self._fine and self._rows >= LEAST_ROWS

    def look_at(self, parsed: ParsedBlock) -> None:
        times = np.append(self._last_time, parsed.table["buffer_recv_unix_time"].to_numpy())
        backwards = np.flatnonzero(times[1:] < times[:-1])
        if self._ordered and len(backwards):
            self.backwards.note(len(backwards), f"line {parsed.lines[backwards[0]]}")
        self._last_time = times[-1]
        self._rows += len(times) - 1
        if not self._fine:
            seconds = parsed.table["buffer_recv_unix_time"].to_numpy()
            tenths = 10 * seconds.clip(-1e15, 1e15)
            self._fine = bool((np.abs(tenths - np.rint(tenths)) > ROUNDING).any())
        for line in parsed.headers:
            self.headers.note(1, f"line {line}")
        for line, fault in parsed.faults:
            self.faults.note(1, f"line {line}: {fault}")
            self._list(line, fault)

    def _list(self, line: int, fault: str) -> None:
        if len(self.listed) < _LISTED_FAULTS:
            self.listed.append((line, fault))

    def notices(self, floats: Sequence[str]) -> tuple[str, ...]:
        """Say what was odd, one sentence per kind."""
        faults, backwards = self.faults, self.backwards
        times = amount(backwards.count, "row")
        rounded = "times of reception are rounded, as a spreadsheet program saves them"
        sentences = (
            (len(floats), f"integral floats read as integers in columns {', '.join(floats)}"),
            (self.rounded, f"{rounded}: no clock, rate or time of a frame is measured"),
            (self.full.count, f"a spreadsheet program may have cut the table at {self.full}"),
            (self.headers.count, f"2nd header at {self.headers} skipped"),
            (faults.count, f"{amount(faults.count, 'row')} dropped, first {faults.first}"),
            (self.cut.count, f"last line is cut, dropped: {self.cut}"),
            (backwards.count, f"receive times go backwards at {times}, first at {backwards.first}"),
            (self.ties.count, f"tie in {self.ties}: frame_num is taken from the earliest buffer"),
        )
        return tuple(sentence for count, sentence in sentences if count)
