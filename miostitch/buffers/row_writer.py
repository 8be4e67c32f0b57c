"""Writes the buffer rows of a result, to its ``.csv`` and to its store."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from miostitch.buffers.csv_files import TableWriter, csv_text
from miostitch.buffers.table import Rows
from miostitch.schema import COLUMN_BY_NAME, CORRECTED, NO_FRAME
from miostitch.store.layout import BufferColumns

TEXT, COLUMN = "text", "column "
"""Names of packed rows: their text, uint8 (byte,), and before the name of a column its values."""

PackedRows = Mapping[str, NDArray[Any]]
"""Rows as they are written; those of several are joined along the first axis."""


@dataclass(frozen=True)
class RowFormat:
    """How rows are written; small and picklable."""

    columns: tuple[str, ...]
    text: bool = True  # Whether they go to a table
    arrays: bool = True  # Whether they go to a store

    @classmethod
    def of(cls, columns: Iterable[str], *, text: bool = True, arrays: bool = True) -> Self:
        """Write these columns: the corrected time last, the others as they are."""
        return cls(tuple(sorted(columns, key=lambda name: name == CORRECTED.name)), text, arrays)

    def pack(self, rows: Rows) -> PackedRows:
        """Make of rows what is written: missing columns are filled, unknown ones left out."""
        columns = {name: _complete(rows, name) for name in self.columns}
        packed: dict[str, NDArray[Any]] = {}
        if self.text:
            packed[TEXT] = np.frombuffer(csv_text(columns), np.uint8)
        if self.arrays:
            packed |= {COLUMN + name: values.to_numpy() for name, values in columns.items()}
        return packed


class BufferTable:
    """Writes rows to a table, to the ``buffers`` group of a store, or to both."""

    def __init__(self, columns: Iterable[str], table: Path | None, store: str | None) -> None:
        self.format = RowFormat.of(columns, text=table is not None, arrays=store is not None)
        names = self.format.columns
        self._table = TableWriter(table, names) if table else None
        self._arrays = None
        if store:
            known = {n: COLUMN_BY_NAME[n] for n in names if n in COLUMN_BY_NAME}
            dtypes = {n: known[n].dtype if n in known else "str" for n in names}
            attrs = {name: {"long_name": c.doc, "units": c.unit} for name, c in known.items()}
            self._arrays = BufferColumns(store, dtypes, attrs)

    def append(self, rows: pd.DataFrame) -> None:
        """Write rows: missing columns are filled, unknown ones left out."""
        self.append_packed(
            self.format.pack(pa.Table.from_pandas(rows, preserve_index=False, nthreads=1))
        )

    def append_packed(self, packed: PackedRows) -> None:
        """Write rows that were packed as :attr:`format` says, wherever that was."""
        if self._table:
            self._table.append_text(packed[TEXT])
        if self._arrays:
            self._arrays.append({name: packed[COLUMN + name] for name in self.format.columns})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._table:
            self._table.__exit__(*failure)
        if self._arrays and failure[0] is None:
            self._arrays.close()


def _complete(rows: Rows, name: str) -> pa.ChunkedArray:
    """A column as it is written, with values also where a recording's table lacks it."""
    known = COLUMN_BY_NAME.get(name)
    dtype = pa.string() if known is None else pa.type_for_alias(known.dtype)
    there = name in rows.column_names
    values = rows[name].cast(dtype) if there else pa.chunked_array([pa.nulls(len(rows), dtype)])
    if not values.null_count:
        return values
    if known is CORRECTED:
        return pc.coalesce(values, rows["buffer_recv_unix_time"])
    return values.fill_null(_default(name))


def _default(column: str) -> int | str:
    """Value of a column that a recording's table lacks."""
    if column not in COLUMN_BY_NAME:
        return ""
    return 0 if column == "black_padding_px" else NO_FRAME
