"""Writes the buffer rows of a result, to its ``.csv`` and to its store."""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

import pandas as pd

from miostitch.buffers.csv_writer import TableWriter
from miostitch.schema import COLUMN_BY_NAME, CORRECTED, NO_FRAME
from miostitch.store.layout import BufferColumns


class BufferTable:
    """Writes rows to a table, to the ``buffers`` group of a store, or to both."""

    def __init__(self, columns: Iterable[str], table: Path | None, store: str | None) -> None:
        # that one last, the others as they are
        names = sorted(columns, key=lambda name: name == CORRECTED.name)
        self._defaults = {name: _default(name) for name in names}
        self._table = TableWriter(table, list(self._defaults)) if table else None
        self._arrays = None
        if store:
            known = {n: COLUMN_BY_NAME[n] for n in self._defaults if n in COLUMN_BY_NAME}
            dtypes = {n: known[n].dtype if n in known else "str" for n in self._defaults}
            attrs = {name: {"long_name": c.doc, "units": c.unit} for name, c in known.items()}
            self._arrays = BufferColumns(store, dtypes, attrs)

    def append(self, rows: pd.DataFrame) -> None:
        """Write rows: missing columns are filled, unknown ones left out."""
        rows = rows.reindex(columns=list(self._defaults))
        if CORRECTED.name in self._defaults:
            rows[CORRECTED.name] = rows[CORRECTED.name].fillna(rows["buffer_recv_unix_time"])
        if rows.isna().any(axis=None):
            rows = rows.fillna(self._defaults)
        rows = rows.astype({n: c.dtype for n, c in COLUMN_BY_NAME.items() if n in self._defaults})
        if self._table:
            self._table.append(rows)
        if self._arrays:
            self._arrays.append({name: rows[name].to_numpy() for name in self._defaults})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._table:
            self._table.__exit__(*failure)
        if self._arrays and failure[0] is None:
            self._arrays.close()


def _default(column: str) -> int | str:
    """Value of a column that a recording's table lacks."""
    if column not in COLUMN_BY_NAME:
        return ""
    return 0 if column == "black_padding_px" else NO_FRAME
