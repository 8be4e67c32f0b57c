"""Writes CSV files: metadata tables, and all other tables in the same plain spelling."""

import csv
import io
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from miostitch.errors import ResourceError


class TableWriter:
    r"""A CSV file written batch by batch.

    Cells are written plainly: integers as integers, floats in their shortest exact form, text as
    it is (quoted only where it must be), missing values as empty cells, lines ended by ``\n``.
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
        """Write the rows of `table`, which has at least the columns of the file."""
        self._write(csv_text(table[self.columns]))

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

    def _write(self, text: bytes | memoryview) -> None:
        try:
            self._file.write(text)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> ResourceError:
        remedy = "free some space or name another folder, and run again"
        return ResourceError(f"{self.path}: cannot be written: {error.strerror}; {remedy}")


def csv_text(rows: pd.DataFrame) -> bytes | memoryview:
    """Lines of a table, as a :class:`TableWriter` writes them."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    text = io.BytesIO()
    try:
        options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
        pa_csv.write_csv(table, text, options)
        return text.getbuffer()
    except pa.ArrowInvalid:  # a cell needs quotes, and pyarrow would quote all text or none
        cells = [column.cast(pa.string()).to_pylist() for column in table.columns]
        quoted = io.StringIO()
        csv.writer(quoted, lineterminator="\n").writerows(zip(*cells, strict=True))
        return quoted.getvalue().encode()
