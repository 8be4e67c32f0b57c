"""Text of a metadata table to typed columns, the same in every pass over a file.

pyarrow parses a block of text, without the GIL. Only where it refuses a block, lines are looked at
one by one, to name the faulty ones; the numbers of the others are written plainly, and pyarrow
parses that.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from miostitch.arrays import I64
from miostitch.buffers.header_check import unknown_checks
from miostitch.errors import MetadataError
from miostitch.schema import CHECKED, COLUMN_BY_NAME, NO_FRAME, REQUIRED_COLUMNS
from miostitch.text import amount

BLOCK_BYTES = 2**20  # parsed at once: about 14,000 rows
MAX_LINE_BYTES = 64 * BLOCK_BYTES  # a file with a longer line is no table
_EXACT_FLOAT = 2**53
_DTYPES = {"int64": pa.int64(), "float64": pa.float64()}
_NUMBER = re.compile(r"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,6})?[ \t]*")
_CHECKS = "(?:True|False|true|false|[01])?"  # as they are written mostly
_PLAIN_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True)
class ParsedBlock:
    """Rows of one block of text."""

    table: pa.Table  # int64, float64 and string columns in the order of the file
    lines: I64  # Line of each row in the file, (row,)
    faults: tuple[tuple[int, str], ...] = ()  # Line and fault of each row that was dropped
    headers: tuple[int, ...] = ()  # Lines that repeat the header
    floats: frozenset[str] = frozenset()  # Integer columns with cells such as 16.0


@dataclass(frozen=True, eq=False)
class Cells:
    """Repaired cells of a table; those of no two tables are equal."""

    # Ascending rows, from 0, and their new values, (cell,) each, by column.
    columns: Mapping[str, tuple[I64, I64]]

    def put_into(self, block: pa.Table, row: int) -> pa.Table:
        """Replace the repaired cells of a block that begins at row `row` of the table."""
        for name, (rows, new) in self.columns.items():
            first, stop = np.searchsorted(rows, (row, row + len(block)))
            if first < stop:
                values = block[name].to_numpy().copy()
                values[rows[first:stop] - row] = new[first:stop]
                block = block.set_column(block.column_names.index(name), name, [values])
        return block


@dataclass(frozen=True)
class TableParser:
    """Parses the blocks of one file; small and picklable."""

    path: str
    columns: tuple[str, ...]
    # Largest frame of a row: a corrupt index must not allocate a table of 2^31 frames.
    max_frame: int
    salvage: bool  # Whether faulty rows are dropped instead of refusing the file
    floats: frozenset[str] = frozenset()  # Integer columns to read as floats

    def parse(self, text: bytes, first_line: int) -> ParsedBlock:
        """Parse a block of complete lines; `first_line` is the number of the first in the file."""
        text = text.replace(b"\r\n", b"\n") if b"\r" in text else text
        if not _is_odd(text):
            with suppress(pa.ArrowInvalid):
                table = self._typed(text, self.floats)
                return ParsedBlock(table, first_line + np.arange(len(table)))
        return self._sifted(text, first_line)

    def _typed(self, text: bytes, floats: frozenset[str]) -> pa.Table:
        """Parse by pyarrow alone; ArrowInvalid where lines must be looked at one by one."""
        types = {
            name: _DTYPES[COLUMN_BY_NAME[name].dtype] if name in COLUMN_BY_NAME else pa.string()
            for name in self.columns
        } | dict.fromkeys(floats, pa.float64())
        if not text:  # all lines were dropped
            return pa.schema(types.items()).empty_table()
        table = pa_csv.read_csv(
            pa.BufferReader(text),
            # one chunk per block, on the thread of the caller
            pa_csv.ReadOptions(
                use_threads=False, block_size=len(text) + 1, column_names=self.columns
            ),
            convert_options=pa_csv.ConvertOptions(column_types=types, null_values=[]),
        )
        valid = len(table) == text.count(b"\n")
        for i, name in enumerate(self.columns):
            if types[name] == pa.float64():
                magnitude = np.abs(table[name].to_numpy())
                valid &= bool((magnitude < (_EXACT_FLOAT if name in floats else np.inf)).all())
            if name in floats:
                table = table.set_column(i, name, table[name].cast(pa.int64()))
        if CHECKED.name in self.columns:
            valid &= not unknown_checks(table[CHECKED.name].unique().to_pylist())
        frame = table["reconstructed_frame_index"].to_numpy()
        if not (valid and ((frame >= NO_FRAME) & (frame <= self.max_frame)).all()):
            raise pa.ArrowInvalid
        return table

    def _sifted(self, text: bytes, first_line: int) -> ParsedBlock:
        """Parse line by line: drop or refuse faulty ones, write the others plainly."""
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
        return ParsedBlock(table, where, tuple(faults), tuple(headers), frozenset(floats))

    def _plain_row(self) -> re.Pattern[bytes]:
        """Pattern of a row that pyarrow reads: most are, even in a block that it refused."""
        patterns = {"int64": "-?[0-9]{1,18}", "float64": r"-?[0-9]{1,18}(?:\.[0-9]+)?"}
        cells = [
            _CHECKS
            if name == CHECKED.name
            else patterns[COLUMN_BY_NAME[name].dtype]
            if name in COLUMN_BY_NAME
            else r"[ !#-+\--~]*"
            for name in self.columns
        ]
        digits = len(str(self.max_frame)) - 1
        cells[self.columns.index("reconstructed_frame_index")] = f"(?:-1|[0-9]{{1,{digits}}})"
        return re.compile(",".join(cells).encode())

    def _normalise(self, cells: list[str], floats: set[str]) -> None:
        """Write the numbers among the cells of a line plainly, in place."""
        if len(cells) != len(self.columns):
            named = amount(len(self.columns), "column")
            raise _FaultyLineError(f"{amount(len(cells), 'cell')} where the header names {named}")
        for i, name in enumerate(self.columns):
            if name == CHECKED.name and unknown_checks([cells[i]]):
                msg = f"column {name} is {cells[i][:40]!r}, neither True nor False"
                raise _FaultyLineError(msg)
            if name not in COLUMN_BY_NAME:
                continue
            whole = COLUMN_BY_NAME[name].dtype == "int64"
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


def _is_odd(text: bytes) -> bool:
    """Whether pyarrow might read 0x10 as 16, a lone CR as a line end, or NUL as text."""
    # single bytes are found ten times as fast as pairs; of "0"x10 pyarrow takes the quotes away
    return (
        b"\0" in text
        or b"\r" in text
        or any(x in text and (b"0" + x in text or b'"' in text) for x in (b"x", b"X"))
    )


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
    if _PLAIN_INTEGER.fullmatch(cell):
        return cell
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


def header_columns(path: str, header: bytes) -> tuple[str, ...]:
    """Read and check the column names in the first line of a file."""
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
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        msg = (
            f"{path}: missing columns {', '.join(missing)}; found {', '.join(columns)}; "
            f"one row per received buffer with at least {', '.join(REQUIRED_COLUMNS)} is needed"
        )
        raise MetadataError(msg)
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        msg = f"{path}: the header names {', '.join(twice)} twice; keep one column of each name"
        raise MetadataError(msg)
    return tuple(columns)


def text_blocks(path: str, file: BinaryIO) -> Iterator[bytes]:
    """Yield the rest of a file in blocks of complete lines; only the last may lack its end."""
    rest = b""
    while chunk := _read(path, file):
        lines, end, tail = chunk.rpartition(b"\n")
        if end:
            yield rest + lines + end
            rest = tail
        else:
            rest += chunk
        if len(rest) > MAX_LINE_BYTES:
            raise MetadataError(f"{path}: a line of over {MAX_LINE_BYTES} bytes; no such table")
    if rest:
        yield rest


def _read(path: str, file: BinaryIO) -> bytes:
    try:
        return file.read(BLOCK_BYTES)
    except OSError as error:
        msg = f"{path}: byte {file.tell()}: cannot be read: {error.strerror}; check the disk"
        raise MetadataError(msg) from error
