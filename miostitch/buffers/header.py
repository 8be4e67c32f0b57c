"""The first lines of a metadata table: its columns, and how its cells are written.

Spreadsheet programs save semicolons and decimal commas, a line ``sep=;``, lines that end with a
carriage return, and commas behind the last column. All of that can be told from the first lines.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from miostitch.errors import MetadataError
from miostitch.schema import REQUIRED_COLUMNS

MAX_HEADER_BYTES = 2**16
_SEPARATOR = re.compile(r"\"?sep=(.)\"?")
_DECIMAL_COMMA = re.compile(rb"[0-9],[0-9]")


@dataclass(frozen=True)
class Dialect:
    """How the cells of a table are written."""

    delimiter: str = ","
    decimal: str = "."
    line_end: bytes = b"\n"  # Last byte of a line
    spare: int = 0  # Columns behind the last one that have neither name nor cells


@dataclass(frozen=True)
class Header:
    """What the first lines of a table say."""

    text: bytes  # These lines
    columns: tuple[str, ...]
    dialect: Dialect
    lines: int  # How many they are


def read_header(path: str, file: BinaryIO) -> Header:
    """Read the first lines of a table, and leave the file behind them."""
    start = file.read(MAX_HEADER_BYTES)
    end = b"\r" if b"\r" in start and b"\n" not in start else b"\n"
    text, _, rest = start.partition(end)
    told = _SEPARATOR.fullmatch(text.decode("utf-8-sig", "replace").rstrip("\r"))
    lines, delimiter = 1, None
    if told and end in rest:
        lines, delimiter = 2, told[1]
        text += end + rest.partition(end)[0]
    text += end if len(text) < len(start) else b""
    names = text.splitlines(keepends=True)[-1] if text else b""
    found = delimiter or _find_delimiter(names)
    every = header_columns(path, names.replace(b"\r", b"\n") if end == b"\r" else names, found)
    columns = tuple(_named(every))
    body = start[len(text) :]
    decimal = "," if found != "," and _DECIMAL_COMMA.search(body) else "."
    file.seek(len(text))
    return Header(text, columns, Dialect(found, decimal, end, len(every) - len(columns)), lines)


def header_columns(path: str, header: bytes, delimiter: str = ",") -> tuple[str, ...]:
    """Read and check the column names in a line."""
    if not header.endswith(b"\n"):
        what = "the file holds no line" if header else "the file is empty"
        raise MetadataError(f"{path}: {what}; a header and one row per received buffer are needed")
    try:
        text = header.decode("utf-8-sig").rstrip("\r\n")
        columns = next(csv.reader([text], strict=True, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        msg = f"{path}: line 1: no comma separated UTF-8 text; save the table as that"
        raise MetadataError(msg) from error
    if len(columns) == 1 and re.search("[;\t|]", columns[0]):
        msg = f"{path}: line 1: the columns are not separated by commas; save the table with commas"
        raise MetadataError(msg)
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        _refuse_other_program(path, columns, missing)
        msg = (
            f"{path}: missing columns {', '.join(missing)}; found {', '.join(columns)}; "
            f"one row per received buffer with at least {', '.join(REQUIRED_COLUMNS)} is needed"
        )
        raise MetadataError(msg)
    _require_names(path, _named(columns))
    return tuple(columns)


def _named(columns: Sequence[str]) -> Sequence[str]:
    """Columns without those at the end that have no name."""
    while columns and not columns[-1]:
        columns = columns[:-1]
    return columns


def _find_delimiter(names: bytes) -> str:
    """What separates the names: a comma, unless there is none but others are."""
    if b"," in names:
        return ","
    return next((sign for sign in (";", "\t") if sign.encode() in names), ",")


def _require_names(path: str, columns: Sequence[str]) -> None:
    """Refuse columns that could not be told apart."""
    unnamed = [number for number, name in enumerate(columns, 1) if not name]
    if len(unnamed) > 1:
        msg = f"{path}: columns {', '.join(map(str, unnamed))} have no name"
        raise MetadataError(f"{msg}; name them in line 1, or delete them")
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        msg = f"{path}: the header names {', '.join(twice)} twice; keep one column of each name"
        raise MetadataError(msg)
    if odd := [name for name in columns if "\0" in name]:
        msg = f"{path}: the name of column {columns.index(odd[0]) + 1} has NUL bytes"
        raise MetadataError(f"{msg}; correct line 1")


def _refuse_other_program(path: str, columns: list[str], missing: list[str]) -> None:
    """Refuse a table that is known to lack columns, and say who wrote it."""
    if missing == ["reconstructed_frame_index"]:
        msg = "written by mio before 0.8.1, which did not record the frame of each buffer"
        raise MetadataError(f"{path}: {msg}; move the table away to use the video without it")
    if {"Frame Number", "Time Stamp (ms)"} <= {*columns}:
        msg = "has the times of frames of the Miniscope DAQ software, and no buffers"
        raise MetadataError(f"{path}: {msg}; move it away to use the video without it")
