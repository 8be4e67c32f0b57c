"""Metadata tables (``{stem}.csv``, one row per received buffer): read, look up, write.

A session of nine hours has five million rows, so the text is streamed and never held: a first
pass folds it into one row per frame and an index of blocks of text, and later passes parse just
the blocks that hold the rows asked for. The fast parser (pyarrow, without the GIL) vouches for a
block or refuses it as a whole; a refused block is sifted line by line, which finds the faulty
line exactly and leaves normalised text that the fast parser then reads. So there is one way from
text to numbers, and only odd blocks are slow.
"""

import csv
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from miostitch.errors import MetadataError, MissingInputError, ResourceError, UsageError
from miostitch.schema import COLUMN_BY_NAME, NO_FRAME, check_columns

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

BLOCK_BYTES = 2**20
"""Text parsed at once, in bytes: about 14,000 rows."""

MAX_LINE_BYTES = 64 * BLOCK_BYTES
"""Text without a line end beyond which a file is no table, in bytes."""

MASK_BITS = 64
"""Buffer positions that :attr:`FrameTable.buffers` can show."""

_CACHED_BLOCKS = 16
_MAX_HEADER_BYTES = 2**16
_EXACT_FLOAT = 2**53
_SPARE_FRAMES = 2**20
_SHORTEST_ROW_BYTES = 12
_DTYPES = {"int64": pa.int64(), "float64": pa.float64()}
# pyarrow takes 0x10 for 16, a lone CR for a line end, and NUL for text
_ODD_TEXT = (b"\0", b"\r", b"0x", b"0X")
_NUMBER = re.compile(r"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,6})?[ \t]*")
_PLAIN_INTEGER = re.compile(r"-?[0-9]{1,18}")
_SURVEYED = (
    "frame_num",
    "frame_buffer_count",
    "pixel_count",
    "buffer_recv_unix_time",
    "reconstructed_frame_index",
)
_BLOCK = np.dtype(
    [(name, "i8") for name in ("start", "size", "line", "rows", "frame_min", "frame_max")]
)


@dataclass(frozen=True, eq=False)
class FrameTable:
    """What a metadata table says per frame of the video, in arrays of shape (frame,).

    A frame without rows has ``num_rows`` 0, ``frame_num`` and ``first_row`` -1 and NaN times.

    Parameters
    ----------
    frame_num
        int64, the most frequent value of the frame's rows; in a tie that of the earliest buffer.
    num_rows
        int32, rows of the frame.
    num_buffers
        int16, distinct values of ``frame_buffer_count``.
    black_padding
        int64, zeros appended to the frame's buffers, in pixels.
    buffers
        uint64, bit k set: a row with ``frame_buffer_count`` k is there (k < 64).
    timestamp_first, timestamp_last
        float64, reception of the first and last buffer in buffer order, in s.
    first_row, row_span
        int64, first row of the frame in the file, and rows from there to its last one.
    """

    frame_num: "NDArray[np.int64]"
    num_rows: "NDArray[np.int32]"
    num_buffers: "NDArray[np.int16]"
    black_padding: "NDArray[np.int64]"
    buffers: "NDArray[np.uint64]"
    timestamp_first: "NDArray[np.float64]"
    timestamp_last: "NDArray[np.float64]"
    first_row: "NDArray[np.int64]"
    row_span: "NDArray[np.int64]"

    def __len__(self) -> int:
        return len(self.frame_num)

    def head(self, frames: int) -> "FrameTable":
        """Return the table of the first `frames` frames."""
        return FrameTable(**{name: array[:frames] for name, array in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Metadata:
    """One metadata table: its frames in memory, its rows within reach.

    Made by :func:`read_metadata`; small, picklable, and valid as long as the file is unchanged.

    Parameters
    ----------
    path
        The file.
    columns
        Column names as in the file; those that the schema does not know are carried as text.
    row_count
        Rows of the table.
    frames
        What the rows say per frame.
    orphan_rows
        Rows that belong to no frame.
    buffer_sizes
        int64 (n, 3): ``frame_buffer_count``, ``pixel_count``, rows that have this pair.
    notices
        What the user should know, one sentence each.
    digest
        blake2b of the whole file, hexadecimal.
    """

    path: str
    columns: tuple[str, ...]
    row_count: int
    frames: FrameTable
    orphan_rows: int
    buffer_sizes: "NDArray[np.int64]"
    notices: tuple[str, ...]
    digest: str
    _parser: "_Parser" = field(repr=False)
    _blocks: "NDArray[np.void]" = field(repr=False)

    def rows(self, frames: "NDArray[np.int64]") -> pd.DataFrame:
        """Return the rows of some frames.

        Parameters
        ----------
        frames
            Distinct source frames, in any order.

        Returns
        -------
        pandas.DataFrame
            int64, float64 and str columns, in the order of `frames`, within a frame by
            ``frame_buffer_count`` and then as in the file.

        Raises
        ------
        UsageError
            A frame is named twice or lies outside the table.
        MetadataError
            The file changed since it was read.

        Notes
        -----
        Parses the blocks (about 1 MiB of text each) whose range of frames meets `frames`, and
        keeps the last few of this process. A file in disorder costs time, not memory.
        """
        order = np.argsort(frames)
        wanted = np.asarray(frames, "int64")[order]
        if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < len(self.frames):
            msg = f"{self.path}: frames are 0 to {len(self.frames) - 1}, not {wanted[[0, -1]]}"
            raise UsageError(msg)
        if (np.diff(wanted) == 0).any():
            msg = f"{self.path}: the rows of a frame are asked for twice; name each frame once"
            raise UsageError(msg)
        low = np.searchsorted(wanted, self._blocks["frame_min"], "left")
        high = np.searchsorted(wanted, self._blocks["frame_max"], "right")
        touched = self._blocks[low < high]
        parts, ranks = [], []
        # without any block the first one gives the empty answer its columns
        for block in touched if len(touched) else self._blocks[:1]:
            table = self._block(block)
            index = table["reconstructed_frame_index"].to_numpy()
            place = np.searchsorted(wanted, index, "left")
            hit = place < np.searchsorted(wanted, index, "right")
            parts.append(table[hit])
            ranks.append(order[place[hit]])
        found = pd.concat(parts)
        by_rank = np.lexsort((found["frame_buffer_count"].to_numpy(), np.concatenate(ranks)))
        return found.iloc[by_rank].reset_index(drop=True)

    def batches(self) -> Iterator[pd.DataFrame]:
        """Stream the whole table in the order of the file, about 14,000 rows at a time.

        Raises
        ------
        MetadataError
            The file changed since it was read.
        """
        for block in self._blocks:
            yield _parse_block(self._parser, *block.item()[:4])

    def _block(self, block: "np.void") -> pd.DataFrame:
        return _cached_block(self.digest, self._parser, *block.item()[:4])


def read_metadata(path: str | os.PathLike[str], *, salvage: bool = False) -> Metadata:
    """Read a metadata table in one pass over its text.

    Parameters
    ----------
    path
        CSV file with a header line and at least the required columns of the schema, in any order.
    salvage
        Drop faulty rows and say so in a notice, instead of refusing the file.

    Raises
    ------
    MissingInputError
        There is no such file.
    MetadataError
        The file is no such table, or a row is faulty; the message names line, column and value.

    Notes
    -----
    Memory does not depend on the number of rows, except for about 300 bytes per frame
    meanwhile, of which 62 stay.
    The last line is dropped, with a notice, where it lacks a line end: it may be cut in a cell.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            return _survey(name, file, salvage)
    except FileNotFoundError as error:
        msg = f"{name}: there is no such file; the metadata stands beside the video"
        raise MissingInputError(msg) from error
    except OSError as error:
        msg = f"{name}: cannot be read: {error.strerror}"
        raise MetadataError(msg) from error


def buffer_layout(tables: Iterable[Metadata], frame_pixels: int) -> "NDArray[np.int64]":
    """Find out which range of the flattened frame each buffer carries.

    Parameters
    ----------
    tables
        Recordings of one session; their rows vote together on the size of each position.
    frame_pixels
        Height times width.

    Returns
    -------
    numpy.ndarray
        int64 bounds of shape (buffers + 1,): buffer k is ``frame.ravel()[bounds[k]:bounds[k+1]]``.

    Raises
    ------
    MetadataError
        The most frequent sizes do not add up to the frame.
    """
    tables = list(tables)
    sizes_seen = [np.empty((0, 3), "int64"), *(table.buffer_sizes for table in tables)]
    position, pixels, votes = np.concatenate(sizes_seen).T
    possible = (position >= 0) & (pixels > 0) & (pixels <= frame_pixels)
    ballot = _folded(
        {"position": position[possible], "pixels": pixels[possible], "votes": votes[possible]},
        keys=("position", "pixels"),
        folds={"votes": np.add},
    )
    elected = np.lexsort((ballot["pixels"], -ballot["votes"], ballot["position"]))
    elected = elected[_run_starts([ballot["position"][elected]])]
    unbroken = ballot["position"][elected] == np.arange(len(elected))
    sizes = ballot["pixels"][elected][unbroken]
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    end = int(np.searchsorted(bounds, frame_pixels))
    if end == len(bounds) or bounds[end] != frame_pixels:
        msg = (
            f"{', '.join(table.path for table in tables)}: buffers of {sizes.tolist()} pixels do "
            f"not add up to a frame of {frame_pixels}; do table and video belong together?"
        )
        raise MetadataError(msg)
    return bounds[: end + 1]


class TableWriter:
    r"""A CSV file written batch by batch.

    Cells are written plainly: integers as integers, floats in their shortest exact form, text as
    it is (quoted only where it must be), missing values as empty cells, lines ended by ``\n``.

    Parameters
    ----------
    path
        The file, replaced if it exists.
    columns
        Columns to write, in this order.

    Raises
    ------
    ResourceError
        The file cannot be written, here or in any method: no space, no permission.
    """

    def __init__(self, path: str | os.PathLike[str], columns: Sequence[str]) -> None:
        self.path = os.fspath(path)
        self.columns = list(columns)
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(self.columns)
        try:
            self._file = open(self.path, "wb")  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise self._failed(error) from error
        self._write(header.getvalue().encode())

    def append(self, table: pd.DataFrame) -> None:
        """Write the rows of `table`, which has at least the columns of the file.

        Raises
        ------
        ResourceError
            No space is left.
        """
        self._write(_csv_text(pa.Table.from_pandas(table[self.columns], preserve_index=False)))

    def close(self) -> None:
        """Finish the file: all of it is on disk afterwards.

        Raises
        ------
        ResourceError
            No space is left.
        """
        try:
            with self._file:
                self._file.flush()
                os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: "TracebackType | None",
    ) -> None:
        if error is None:
            self.close()
        else:
            with suppress(OSError):
                self._file.close()

    def _write(self, text: bytes) -> None:
        try:
            self._file.write(text)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> ResourceError:
        return ResourceError(
            f"{self.path}: cannot be written: {error.strerror}; free some space or name another "
            f"folder, and run again"
        )


@dataclass(frozen=True)
class _Parsed:
    """Rows of one block of text, and what was odd about it."""

    table: pa.Table
    lines: "NDArray[np.int64]"  # of the rows, in the file
    faults: tuple[tuple[int, str], ...] = ()
    headers: tuple[int, ...] = ()  # lines that repeat the header
    floats: frozenset[str] = frozenset()  # integer columns with cells such as 16.0


@dataclass(frozen=True)
class _Parser:
    """From text to typed columns, the same in every pass over a file."""

    path: str
    columns: tuple[str, ...]
    max_frame: int  # a corrupt index must not allocate a table of 2^31 frames
    salvage: bool
    floats: frozenset[str] = frozenset()  # integer columns to read as floats

    def parse(self, text: bytes, first_line: int) -> _Parsed:
        text = text.replace(b"\r\n", b"\n") if b"\r" in text else text
        if not any(odd in text for odd in _ODD_TEXT):
            try:
                table = self._typed(text, self.floats)
            except pa.ArrowInvalid:
                pass
            else:
                return _Parsed(table, first_line + np.arange(len(table)))
        return self._sifted(text, first_line)

    def _typed(self, text: bytes, floats: frozenset[str]) -> pa.Table:
        """Parse whole and quickly; ArrowInvalid wherever a line by line look is needed."""
        types = {
            name: pa.float64()
            if name in floats
            else _DTYPES[COLUMN_BY_NAME[name].dtype]
            if name in COLUMN_BY_NAME
            else pa.string()
            for name in self.columns
        }
        if not text:  # nothing is left of a sifted block
            return pa.schema(types.items()).empty_table()
        table = pa_csv.read_csv(
            pa.BufferReader(text),
            # one chunk per block, on the thread of the caller
            pa_csv.ReadOptions(
                use_threads=False, block_size=len(text) + 1, column_names=self.columns
            ),
            convert_options=pa_csv.ConvertOptions(column_types=types, null_values=[]),
        )
        sound = len(table) == text.count(b"\n")
        for i, name in enumerate(self.columns):
            if types[name] == pa.float64():
                magnitude = np.abs(table[name].to_numpy())
                sound &= bool((magnitude < (_EXACT_FLOAT if name in floats else np.inf)).all())
            if name in floats:
                table = table.set_column(i, name, table[name].cast(pa.int64()))
        frame = table["reconstructed_frame_index"].to_numpy()
        if not (sound and ((frame >= NO_FRAME) & (frame <= self.max_frame)).all()):
            raise pa.ArrowInvalid
        return table

    def _sifted(self, text: bytes, first_line: int) -> _Parsed:
        """Part good lines from faulty ones, write their numbers plainly, and parse that."""
        kept = io.StringIO()
        write = csv.writer(kept, lineterminator="\n").writerow
        is_plain = self._plain_row().fullmatch
        lines, faults, headers, floats = [], [], [], set[str]()
        for line, raw in enumerate(text.split(b"\n")[:-1], first_line):
            if is_plain(raw):
                kept.write(raw.decode() + "\n")
                lines.append(line)
                continue
            if not raw.strip():
                continue
            try:
                cells = _cells(raw)
                if tuple(cells) == self.columns:
                    headers.append(line)
                    continue
                self._normalise(cells, floats)
            except _FaultyLineError as fault:
                if not self.salvage:
                    msg = (
                        f"{self.path}: line {line}: {fault}; mend or delete the line, or drop "
                        f"such buffers with --salvage"
                    )
                    raise MetadataError(msg) from None
                faults.append((line, str(fault)))
            else:
                write(cells)
                lines.append(line)
        table = self._typed(kept.getvalue().encode(), frozenset())
        where = np.array(lines, "int64")
        return _Parsed(table, where, tuple(faults), tuple(headers), frozenset(floats))

    def _plain_row(self) -> re.Pattern[bytes]:
        """Pattern of a row beyond doubt, as most are even in a block that has odd ones."""
        patterns = {"int64": "-?[0-9]{1,18}", "float64": r"-?[0-9]{1,18}(?:\.[0-9]+)?"}
        cells = [
            patterns[COLUMN_BY_NAME[name].dtype] if name in COLUMN_BY_NAME else r"[ !#-+\--~]*"
            for name in self.columns
        ]
        digits = len(str(self.max_frame)) - 1
        cells[self.columns.index("reconstructed_frame_index")] = f"(?:-1|[0-9]{{1,{digits}}})"
        return re.compile(",".join(cells).encode())

    def _normalise(self, cells: list[str], floats: set[str]) -> None:
        if len(cells) != len(self.columns):
            msg = f"{len(cells)} cells where the header names {len(self.columns)} columns"
            raise _FaultyLineError(msg)
        for i, name in enumerate(self.columns):
            if name not in COLUMN_BY_NAME:
                continue
            whole = COLUMN_BY_NAME[name].dtype == "int64"
            if whole and _PLAIN_INTEGER.fullmatch(cells[i]):
                value = cells[i]
            else:
                try:
                    value = _integer(cells[i]) if whole else _real(cells[i])
                except ValueError as error:
                    msg = f"column {name} is {cells[i][:40]!r}, {error}"
                    raise _FaultyLineError(msg) from None
                if whole and not cells[i].strip(" \t+-").isdecimal():
                    floats.add(name)
            if name == "reconstructed_frame_index" and not NO_FRAME <= int(value) <= self.max_frame:
                msg = f"column {name} is {value}, neither -1 nor a frame this file has rows for"
                raise _FaultyLineError(msg)
            cells[i] = value


class _FaultyLineError(Exception):
    """A line that is no row; never leaves this module."""


def _cells(raw: bytes) -> list[str]:
    if b"\0" in raw:
        raise _FaultyLineError("NUL bytes (the computer lost power while recording?)")
    try:
        return next(csv.reader([raw.decode()], strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise _FaultyLineError("no comma separated UTF-8 text") from error


def _integer(cell: str) -> str:
    if not _NUMBER.fullmatch(cell):
        raise ValueError("not an integer")
    value = Decimal(cell.strip())
    if not -(2**63) <= value < 2**63:
        raise ValueError("more than 64 bits hold")
    if value != value.to_integral_value():
        raise ValueError("not an integer")
    return str(int(value))


def _real(cell: str) -> str:
    if not _NUMBER.fullmatch(cell) or not np.isfinite(float(cell)):
        raise ValueError("not a finite number")
    return repr(float(cell))


def _survey(path: str, file: BinaryIO, salvage: bool) -> Metadata:
    """Read the whole text once."""
    # every row takes some bytes, so the size of the file bounds the frames it can name
    max_frame = os.fstat(file.fileno()).st_size // _SHORTEST_ROW_BYTES + _SPARE_FRAMES
    header = file.readline(_MAX_HEADER_BYTES)
    digest = hashlib.blake2b(header)
    parser = _Parser(path, _columns(path, header), max_frame, salvage)
    tally = _Tally()
    blocks = []
    line = 2
    for start, text in _texts(path, file, digest, len(header)):
        if not text.endswith(b"\n"):
            if b"\0" not in text:
                tally.cut.note(1, f"line {line}")
                break
            text += b"\n"  # for the parser to say what is wrong with it
        parsed = parser.parse(text, line)
        parser = replace(parser, floats=parser.floats | parsed.floats)
        framed = tally.add(parsed)
        if len(parsed.table):
            blocks.append((start, len(text), line, len(parsed.table), *framed))
        line += text.count(b"\n")
    if tally.row_count == tally.orphan_rows:
        what = "no rows" if not tally.row_count else "no row that belongs to a frame"
        raise MetadataError(f"{path}: {what}; nothing was recorded, or the file was cut")
    sizes = tally.sizes.result()
    return Metadata(
        path=path,
        columns=parser.columns,
        row_count=tally.row_count,
        frames=tally.frame_table(),
        orphan_rows=tally.orphan_rows,
        buffer_sizes=np.stack([sizes[name] for name in ("position", "pixels", "rows")], axis=1),
        notices=tally.notices([name for name in parser.columns if name in parser.floats]),
        digest=digest.hexdigest(),
        _parser=parser,
        _blocks=np.array(blocks, _BLOCK),
    )


def _columns(path: str, header: bytes) -> tuple[str, ...]:
    if not header.endswith(b"\n"):
        what = "the file holds no line" if header else "the file is empty"
        raise MetadataError(f"{path}: {what}; a header and one row per received buffer are needed")
    try:
        columns = next(csv.reader([header.decode("utf-8-sig").rstrip("\r\n")], strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        msg = f"{path}: line 1: no comma separated UTF-8 text; save the table as that"
        raise MetadataError(msg) from error
    if len(columns) == 1 and re.search("[;\t]", columns[0]):
        msg = f"{path}: line 1: the columns are not separated by commas; save the table with commas"
        raise MetadataError(msg)
    check_columns(columns, path)
    return tuple(columns)


def _texts(
    path: str, file: BinaryIO, digest: "hashlib.blake2b", start: int
) -> Iterator[tuple[int, bytes]]:
    """Yield (first byte, text) of blocks of whole lines; only the last may lack its line end."""
    rest = b""
    while chunk := file.read(BLOCK_BYTES):
        digest.update(chunk)
        lines, end, tail = chunk.rpartition(b"\n")
        if end:
            text = rest + lines + end
            yield start, text
            start += len(text)
            rest = tail
        else:
            rest += chunk
        if len(rest) > MAX_LINE_BYTES:
            raise MetadataError(f"{path}: a line of over {MAX_LINE_BYTES} bytes; no such table")
    if rest:
        yield start, rest


def _parse_block(parser: _Parser, start: int, size: int, line: int, rows: int) -> pd.DataFrame:
    try:
        with open(parser.path, "rb") as file:
            file.seek(start)
            parsed = parser.parse(file.read(size), line)
    except OSError as error:
        msg = f"{parser.path}: line {line}: cannot be read any more: {error.strerror}"
        raise MetadataError(msg) from error
    if len(parsed.table) != rows:
        msg = f"{parser.path}: line {line}: the file changed while it was used; run again"
        raise MetadataError(msg)
    frame: pd.DataFrame = parsed.table.to_pandas()
    return frame


@lru_cache(_CACHED_BLOCKS)
def _cached_block(digest: str, parser: _Parser, *block: int) -> pd.DataFrame:
    """Parse a block, or recall it; `digest` tells apart two contents under one path."""
    return _parse_block(parser, *block)


@dataclass
class _Occurrences:
    count: int = 0
    first: str = ""

    def note(self, count: int, where: str) -> None:
        self.first = self.first or where
        self.count += count

    def __str__(self) -> str:
        return self.first if self.count == 1 else f"{self.first} (and {self.count - 1} more)"


class _Tally:
    """What the first pass gathers; independent of the order of the rows, but for row numbers."""

    def __init__(self) -> None:
        self.row_count = self.orphan_rows = 0
        self.cut, self.headers, self.faults = _Occurrences(), _Occurrences(), _Occurrences()
        self.backwards, self.ties = _Occurrences(), _Occurrences()
        self.votes = _Fold(
            ("frame", "frame_num"),
            rows=np.add,
            padding=np.add,
            buffers=np.bitwise_or,
            first=np.minimum,
            last=np.maximum,
            first_row=np.minimum,
            last_row=np.maximum,
        )
        self.strays = _Fold(("frame", "position"))  # positions that the mask cannot show
        self.sizes = _Fold(("position", "pixels"), rows=np.add)
        self._last_time = -np.inf

    def add(self, parsed: _Parsed) -> tuple[int, int]:
        """Count a block and return the range of its frames."""
        rows = len(parsed.table)
        number, position, pixels, time, frame = (parsed.table[c].to_numpy() for c in _SURVEYED)
        padding = np.zeros(rows, "int64")
        if "black_padding_px" in parsed.table.column_names:
            padding = parsed.table["black_padding_px"].to_numpy().clip(min=0)
        in_mask = (position >= 0) & (position < MASK_BITS)
        bit = np.uint64(1) << position.clip(0, MASK_BITS - 1).astype("uint64")
        # complex numbers order by real part, then imaginary part: by position, then time
        moment = position + 1j * time
        row = self.row_count + np.arange(rows)
        votes = {
            "frame": frame,
            "frame_num": number,
            "rows": np.ones(rows, "int64"),
            "padding": padding,
            "buffers": np.where(in_mask, bit, np.uint64(0)),
            "first": moment,
            "last": moment,
            "first_row": row,
            "last_row": row,
        }
        framed = frame != NO_FRAME
        self.votes.add({name: values[framed] for name, values in votes.items()})
        stray = framed & ~in_mask
        self.strays.add({"frame": frame[stray], "position": position[stray]})
        self.sizes.add({"position": position, "pixels": pixels, "rows": votes["rows"]})
        self._note(parsed, time)
        self.row_count += rows
        self.orphan_rows += rows - int(framed.sum())
        return (int(frame[framed].min()), int(frame.max())) if framed.any() else (0, NO_FRAME)

    def _note(self, parsed: _Parsed, time: "NDArray[np.float64]") -> None:
        times = np.concatenate([[self._last_time], time])
        backwards = np.flatnonzero(times[1:] < times[:-1])
        if len(backwards):
            self.backwards.note(len(backwards), f"line {parsed.lines[backwards[0]]}")
        self._last_time = times[-1]
        for line in parsed.headers:
            self.headers.note(1, f"line {line}")
        for line, fault in parsed.faults:
            self.faults.note(1, f"line {line}: {fault}")

    def frame_table(self) -> FrameTable:
        votes = self.votes.result()
        frame, rows = votes["frame"], votes["rows"]
        ranked = np.lexsort((votes["frame_num"], votes["first"], -rows, frame))
        starts = _run_starts([frame[ranked]])
        elected = ranked[starts]
        second = ranked[(starts + 1).clip(max=len(ranked) - 1)]
        tied = (
            (second != elected)
            & (frame[second] == frame[elected])
            & (rows[second] == rows[elected])
        )
        if tied.any():
            self.ties.note(int(tied.sum()), f"frame {frame[elected][tied][0]}")
        frame_num = votes.pop("frame_num")[elected]
        total = _folded(votes, ("frame",), self.votes.folds)
        at = total["frame"]
        count = int(at[-1]) + 1

        def dense(values: "NDArray[Any]", dtype: str, fill: float = 0) -> "NDArray[Any]":
            array = np.full(count, fill, dtype)
            array[at] = values
            return array

        strays = np.bincount(self.strays.result()["frame"], minlength=count)
        return FrameTable(
            frame_num=dense(frame_num, "int64", NO_FRAME),
            num_rows=dense(total["rows"], "int32"),
            num_buffers=(strays + dense(np.bitwise_count(total["buffers"]), "int64")).astype(
                "int16"
            ),
            black_padding=dense(total["padding"], "int64"),
            buffers=dense(total["buffers"], "uint64"),
            timestamp_first=dense(total["first"].imag, "float64", np.nan),
            timestamp_last=dense(total["last"].imag, "float64", np.nan),
            first_row=dense(total["first_row"], "int64", -1),
            row_span=dense(total["last_row"] - total["first_row"] + 1, "int64"),
        )

    def notices(self, floats: Sequence[str]) -> tuple[str, ...]:
        """Say what was odd, one sentence per kind."""
        return tuple(
            sentence
            for count, sentence in (
                (len(floats), f"integral floats read as integers in columns {', '.join(floats)}"),
                (self.headers.count, f"2nd header at {self.headers} skipped"),
                (self.faults.count, f"{self.faults.count} rows dropped, first {self.faults.first}"),
                (self.cut.count, f"last line is cut, dropped: {self.cut}"),
                (
                    self.backwards.count,
                    f"receive times go backwards at {self.backwards.count} rows, first at "
                    f"{self.backwards.first}",
                ),
                (
                    self.ties.count,
                    f"tie in {self.ties}: frame_num is taken from the earliest buffer",
                ),
            )
            if count
        )


class _Fold:
    """A table with one row per distinct key, fed batch by batch in any order."""

    def __init__(self, keys: tuple[str, ...], **folds: np.ufunc) -> None:
        self.keys, self.folds = keys, folds
        self._parts: list[dict[str, NDArray[Any]]] = []
        self._pending = self._folded = 0

    def add(self, batch: "Mapping[str, NDArray[Any]]") -> None:
        self._parts.append(_folded(batch, self.keys, self.folds))
        self._pending += len(self._parts[-1][self.keys[0]])
        if self._pending > self._folded + 2**16:  # folds seldom enough to stay linear
            self.result()

    def result(self) -> "dict[str, NDArray[Any]]":
        names = (*self.keys, *self.folds)
        # popped column by column, so that no second copy of the whole table stands
        whole = {name: np.concatenate([part.pop(name) for part in self._parts]) for name in names}
        whole = _folded(whole, self.keys, self.folds)
        self._parts = [dict(whole)]
        self._pending, self._folded = 0, len(whole[self.keys[0]])
        return whole


def _folded(
    columns: "Mapping[str, NDArray[Any]]", keys: Sequence[str], folds: Mapping[str, np.ufunc]
) -> "dict[str, NDArray[Any]]":
    order = np.lexsort([columns[key] for key in reversed(keys)])
    starts = _run_starts([columns[key][order] for key in keys])
    return {
        **{key: columns[key][order][starts] for key in keys},
        **{name: fold.reduceat(columns[name][order], starts) for name, fold in folds.items()},
    }


def _run_starts(keys: "Sequence[NDArray[Any]]") -> "NDArray[np.intp]":
    """First position of every run of equal keys."""
    new = np.zeros(len(keys[0]), bool)
    new[:1] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(new)


def _csv_text(table: pa.Table) -> bytes:
    text = io.BytesIO()
    try:
        options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
        pa_csv.write_csv(table, text, options)
        return text.getvalue()
    except pa.ArrowInvalid:  # a cell needs quotes, and pyarrow would quote all text or none
        cells = [column.cast(pa.string()).to_pylist() for column in table.columns]
        quoted = io.StringIO()
        csv.writer(quoted, lineterminator="\n").writerows(zip(*cells, strict=True))
        return quoted.getvalue().encode()
