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
from miostitch.buffers.header import Dialect
from miostitch.buffers.header_check import is_failed, unknown_checks
from miostitch.errors import MetadataError
from miostitch.schema import CHECKED, COLUMN_BY_NAME, NO_FRAME
from miostitch.text import amount

BLOCK_BYTES = 2**20  # parsed at once: about 14,000 rows
MAX_LINE_BYTES = 64 * BLOCK_BYTES  # a file with a longer line is no table
PLAIN = Dialect()
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


@dataclass(frozen=True)
class Cells:
    """Repaired cells of a block of a table; hashable, so that what was parsed can be recalled."""

    # Column, rows of the table, from 0, and their new values.
    columns: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()

    @classmethod
    def within(cls, table: Mapping[str, tuple[I64, I64]], row: int, stop: int) -> "Cells":
        """Those of some rows, out of a table's ascending rows and new values by column."""
        found = []
        for name, (rows, new) in table.items():
            part = slice(*np.searchsorted(rows, (row, stop)))
            if len(rows[part]):
                found.append((name, tuple(rows[part].tolist()), tuple(new[part].tolist())))
        return cls(tuple(found))

    def put_into(self, block: pa.Table, row: int) -> pa.Table:
        """Replace the repaired cells of a block that begins at row `row` of the table."""
        for name, rows, new in self.columns:
            if name not in block.column_names:
                block = block.append_column(name, [np.full(len(block), NO_FRAME)])
            values = block[name].to_numpy().copy()
            values[np.subtract(rows, row)] = new
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
    dialect: Dialect = PLAIN

    def parse(self, text: bytes, first_line: int) -> ParsedBlock:
        """Parse a block of complete lines; `first_line` is the number of the first in the file."""
        if b"\r" in text:
            alone = self.dialect.line_end == b"\r"
            text = text.replace(b"\r" if alone else b"\r\n", b"\n")
        if not _is_odd(text):
            with suppress(pa.ArrowInvalid):
                table = self._typed(text, self.floats, self.dialect)
                return ParsedBlock(table, first_line + np.arange(len(table)))
        return self._sifted(text, first_line)

    def no_rows(self) -> pa.Table:
        """The columns, as of any block, without a row."""
        return self._typed(b"", frozenset(), self.dialect)

    def _typed(self, text: bytes, floats: frozenset[str], dialect: Dialect) -> pa.Table:
        """Parse by pyarrow alone; ArrowInvalid where lines must be looked at one by one."""
        types = {
            name: _DTYPES[COLUMN_BY_NAME[name].dtype] if name in COLUMN_BY_NAME else pa.string()
            for name in self.columns
        } | dict.fromkeys(floats, pa.float64())
        spare = [f"\0{number}" for number in range(dialect.spare)]
        if not text:  # all lines were dropped
            return pa.schema(types.items()).empty_table()
        table = pa_csv.read_csv(
            pa.BufferReader(text),
            # one chunk per block, on the thread of the caller
            pa_csv.ReadOptions(
                use_threads=False, block_size=len(text) + 1, column_names=[*self.columns, *spare]
            ),
            pa_csv.ParseOptions(delimiter=dialect.delimiter),
            pa_csv.ConvertOptions(
                column_types=types | dict.fromkeys(spare, pa.string()),
                null_values=[],
                decimal_point=dialect.decimal,
            ),
        )
        valid = len(table) == text.count(b"\n")
        valid &= not any(any(table[name].to_pylist()) for name in spare)
        table = table.drop_columns(spare)
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
                kept.write(self._plain(raw.decode()) + "\n")
                lines.append(line)
                continue
            if not raw.strip():
                continue
            try:
                cells = self._cells(raw)
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
        table = self._typed(kept.getvalue().encode(), frozenset(), PLAIN)
        where = np.array(lines, "int64")
        return ParsedBlock(table, where, tuple(faults), tuple(headers), frozenset(floats))

    def _plain(self, row: str) -> str:
        """Write a row, whose cells need no quotes, with commas between them."""
        dialect = self.dialect
        row = row[: len(row) - dialect.spare]
        if dialect.delimiter == ",":
            return row
        return row.replace(",", ".").replace(dialect.delimiter, ",")

    def _cells(self, raw: bytes) -> list[str]:
        """Cells of a line, without empty ones behind those of the columns."""
        if b"\0" in raw:
            raise _FaultyLineError("NUL bytes (the computer lost power while recording?)")
        try:
            reader = csv.reader([raw.decode()], strict=True, delimiter=self.dialect.delimiter)
            cells = next(reader)
        except (UnicodeDecodeError, csv.Error) as error:
            raise _FaultyLineError("no comma separated UTF-8 text") from error
        while len(cells) > len(self.columns) and not cells[-1]:
            cells.pop()
        return cells

    def _plain_row(self) -> re.Pattern[bytes]:
        """Pattern of a row that pyarrow reads: most are, even in a block that it refused."""
        sign, commas = self.dialect.delimiter, self.dialect.delimiter == ","
        point = r"\." if commas else "[.,]"
        patterns = {"int64": "-?[0-9]{1,18}", "float64": rf"-?[0-9]{{1,18}}(?:{point}[0-9]+)?"}
        text = r"[ !#-+\--~]*" if commas else r"[ !#-+\--:<-~]*"
        cells = [
            _CHECKS
            if name == CHECKED.name
            else patterns[COLUMN_BY_NAME[name].dtype]
            if name in COLUMN_BY_NAME
            else text
            for name in self.columns
        ]
        digits = len(str(self.max_frame)) - 1
        cells[self.columns.index("reconstructed_frame_index")] = f"(?:-1|[0-9]{{1,{digits}}})"
        between = re.escape(sign)
        return re.compile((between.join(cells) + between * self.dialect.spare).encode())

    def _normalise(self, cells: list[str], floats: set[str]) -> None:
        """Write the numbers among the cells of a line plainly, in place."""
        if len(cells) != len(self.columns):
            named = amount(len(self.columns), "column")
            raise _FaultyLineError(f"{amount(len(cells), 'cell')} where the header names {named}")
        checks = [cells[i] for i, name in enumerate(self.columns) if name == CHECKED.name]
        failed = any(map(is_failed, checks))
        for i, name in enumerate(self.columns):
            if name == CHECKED.name and unknown_checks([cells[i]]):
                msg = f"column {name} is {cells[i][:40]!r}, neither True nor False"
                raise _FaultyLineError(msg)
            if name not in COLUMN_BY_NAME:
                continue
            whole = COLUMN_BY_NAME[name].dtype == "int64"
            if self.dialect.delimiter != ",":
                cells[i] = cells[i].replace(",", ".", 1)
            try:
                value = _integer(cells[i]) if whole else _real(cells[i])
            except ValueError as error:
                if failed and whole and name != "reconstructed_frame_index":
                    cells[i] = str(NO_FRAME)  # fields of a damaged header may be anything
                    continue
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


def text_blocks(path: str, file: BinaryIO, line_end: bytes = b"\n") -> Iterator[bytes]:
    """Yield the rest of a file in blocks of complete lines; only the last may lack its end."""
    rest = b""
    while chunk := _read(path, file):
        lines, end, tail = chunk.rpartition(line_end)
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
