"""Rows whose recorder found that their header is damaged: their fields may be anything."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from miostitch.arrays import Bools
from miostitch.schema import CHECKED

FAILED = frozenset({"false", "0", "0.0"})
PASSED = frozenset({"true", "1", "1.0"})
UNCHECKED = frozenset({"", "nan", "none", "<na>"})
"""Spellings, in lower case, of recorders and of the programs that write tables again."""


def unknown_checks(values: Iterable[str]) -> list[str]:
    """Find the values that are no outcome of a check."""
    return [value for value in values if _plain(value) not in FAILED | PASSED | UNCHECKED]


def is_failed(value: str) -> bool:
    """Whether an outcome, as it is written, says that a header is damaged."""
    return _plain(value) in FAILED


def find_failed(rows: pd.DataFrame | pa.Table) -> Bools:
    """Find the rows whose header failed its check, (row,); without the column none did."""
    if not has_column(rows, CHECKED.name):
        return np.zeros(len(rows), np.bool_)
    return failed_checks(rows[CHECKED.name].to_numpy())


def has_column(rows: pd.DataFrame | pa.Table, name: str) -> bool:
    """Whether rows have a column, be they of pandas or of pyarrow."""
    return name in (rows if isinstance(rows, pd.DataFrame) else rows.column_names)


def failed_checks(values: NDArray[Any]) -> Bools:
    """Find the outcomes, text as recorded, that say that a header is damaged, (row,)."""
    codes, distinct = pd.factorize(values)
    bad = np.array([is_failed(value) for value in distinct.tolist()], np.bool_)
    return np.append(bad, False)[codes]  # code -1: missing


def _plain(value: object) -> str:
    return str(value).strip().lower()
