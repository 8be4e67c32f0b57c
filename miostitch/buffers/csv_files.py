"""CSV files: all tables are written in the same plain spelling, and read again line by line."""

import csv
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import StringIO
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from miostitch.arrays import I64
from miostitch.errors import InputError, MismatchError, Notice, ResourceError
from miostitch.ranges import runs
from miostitch.text import amount

REMEDY = "make it again, or --salvage leaves it out"

# How much of a table is in memory while its lines are counted, and while they are checked.
SCANNED_BYTES, CHECKED_LINES = 2**22, 2**14


class TableWriter:
    r"""A CSV file written batch by batch.

    Cells are written plainly: integers as integers, floats in their shortest exact form, text as
    it is (quoted only where it must be), missing values as empty cells, lines ended by ``\n``.
    """

    def __init__(self, path: str | os.PathLike[str], columns: Sequence[str]) -> None:
        self.path = os.fspath(path)
        self.columns = list(columns)
        header = StringIO()
        csv.writer(header, lineterminator="\n").writerow(self.columns)
        try:
            self._file = open(self.path, "wb")  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise self._failed(error) from error
        self._write(header.getvalue().encode())

    def append(self, table: pd.DataFrame) -> None:
        """Write the rows of `table`, which has at least the columns of the file."""
        self._write(csv_text({name: table[name] for name in self.columns}))

    def append_text(self, lines: NDArray[np.uint8]) -> None:
        """Write lines that :func:`csv_text` made of the columns of the file."""
        self._write(lines.data)

    def close(self) -> None:
        """Close the file once all of it is on disk."""
        try:
            with self._file:
                self._file.flush()
                os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if failure[0] is None:
            self.close()
        else:
            with suppress(OSError):
                self._file.close()

    def _write(self, text: bytes | pa.Buffer | memoryview) -> None:
        try:
            self._file.write(text)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> ResourceError:
        remedy = "free some space or name another folder, and run again"
        return ResourceError(f"{self.path}: cannot be written: {error.strerror}; {remedy}")


def csv_text(columns: Mapping[str, pd.Series | pa.ChunkedArray]) -> bytes | pa.Buffer:
    """Lines of a table, as a :class:`TableWriter` writes them."""
    table = pa.table(dict(columns))
    text = pa.BufferOutputStream()
    try:
        options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
        pa_csv.write_csv(table, text, options)
        return text.getvalue()
    except pa.ArrowInvalid:  # a cell needs quotes, and pyarrow would quote all text or none
        cells = [column.cast(pa.string()).to_pylist() for column in table.columns]
        quoted = StringIO()
        csv.writer(quoted, lineterminator="\n").writerows(zip(*cells, strict=True))
        return quoted.getvalue().encode()


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
            what = f"cannot be read: {error.strerror}"
            raise InputError(Notice(path, what, REMEDY)) from error
        self._starts = np.concatenate(ends)
        self._starts[0] = start
        self.cut = bool(position > self._starts[-1])
        text_of_header = header.decode("utf-8-sig", "replace").rstrip("\r\n")
        self.columns = next(csv.reader([text_of_header]), [""])
        self.count = len(self._starts) - 1
        if key not in self.columns or len({*self.columns}) < len(self.columns):
            what = f"no column {key}" if key not in self.columns else "two columns of one name"
            what = f"line 1: {what if header else 'the file is empty'}"
            raise InputError(Notice(path, what, REMEDY))

    def of(self, frames: I64) -> pd.DataFrame:
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
            raise self._wrong(at, f"does not list frame {at}")
        return lines

    def check(self, count: int) -> None:
        """Read the lines of the first `count` frames, some at a time."""
        for start in range(0, count, CHECKED_LINES):
            self.of(np.arange(start, min(start + CHECKED_LINES, count)))

    def _cells(self, frames: I64) -> list[list[str]]:
        """Cells of lines as they stand in the text."""
        text = bytearray()
        try:
            with open(self._path, "rb") as file:
                for first, last in runs(frames):
                    start, stop = self._starts[[first, last + 1]].tolist()
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
        return MismatchError(Notice(self._path, f"line {frame + 2} {what}", REMEDY))
