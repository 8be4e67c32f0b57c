"""Compares tables with what the ordinary code writes, row by row and cell by cell."""

import csv
import filecmp
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from miostitch.buffers.csv_files import TableWriter
from miostitch.execution.products import LINE_TABLES, TIMESTAMPS
from miostitch.schema import FILLED
from miostitch.text import amount
from miostitch.verify.findings import LISTED, Findings, Kind
from miostitch.verify.products import Result
from miostitch.verify.store import ROWS, Store, grid

FRAME_COLUMN = "reconstructed_frame_index"
CHUNK_ROWS = 2**16
TIMES = ("timestamp_first", "timestamp_last")


def compare_all_tables(result: Result, folder: Path, suffixes: Iterable[str]) -> None:
    """Compare tables with those in a folder, which has one for each ending that could be made."""
    for suffix in suffixes:
        found, expected = result.path(suffix), folder / suffix
        if found.is_file() and expected.is_file():
            compare_tables(found, expected, result.findings)


def compare_tables(found: Path, expected: Path, findings: Findings) -> None:
    """Compare a table with the one that it should be; cells are compared as they are spelled."""
    if filecmp.cmp(found, expected, shallow=False):
        return
    before = findings.differences
    try:
        _compare(found, expected, findings)
    except (ValueError, OSError) as error:
        findings.add(Kind.UNREADABLE, found.name, str(error))
    if findings.differences == before:
        findings.add(Kind.ROWS, found.name, "cells are the same, but spelled differently")


def write_stored_tables(store: Store, found: Path, folder: Path) -> None:
    """Write those tables of a result that follow from its store alone.

    ``found``: its ``.csv``, for the order of the columns; ``folder``: takes a table by its ending.
    """
    names = store.buffer_columns
    shapes = {store.arrays[f"buffers/{name}"].shape for name in names.values()}
    if ROWS in store.arrays and len(shapes) == 1:
        header = _header(found) if found.is_file() else []
        columns = header if {*header} == {*names} else [*names]
        with TableWriter(folder / ".csv", columns) as table:
            for at, region in grid(store.arrays[ROWS]):
                arrays = {name: f"buffers/{names[name]}" for name in columns}
                parts = {n: store.read(array, at, region) for n, array in arrays.items()}
                if all(each is not None for each in parts.values()):
                    table.append(pd.DataFrame(parts))
    times = {name: store.values(name) for name in TIMES}
    if (filled := store.values(FILLED.name)) is not None:
        times[FILLED.name] = filled.astype(np.int8)
    if all(each is not None for each in times.values()):
        with TableWriter(folder / TIMESTAMPS, ["frame", *times]) as table:
            table.append(pd.DataFrame({"frame": np.arange(store.shape[0]), **times}))


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8", newline="") as file:  # pandas would name what has no name
            return next(csv.reader(file), [])
    except (ValueError, OSError, csv.Error):
        return []


def _compare(found: Path, expected: Path, findings: Findings) -> None:
    columns, ours = _header(expected), _header(found)
    key = next((k for s, k in LINE_TABLES.items() if found.name.endswith(s)), FRAME_COLUMN)
    if ours != columns:
        kind = Kind.ROWS if key == FRAME_COLUMN else Kind.UNREADABLE
        what = f"columns {', '.join(ours)}, not {', '.join(columns)}"
        findings.add(kind, found.name, what)
        columns = [name for name in columns if name in ours]
        if key not in columns:
            return
    report, nothing = partial(findings.add, Kind.ROWS, found.name), pd.DataFrame(columns=columns)
    more = sum(map(len, _chunks(found))) - sum(map(len, _chunks(expected)))
    for mine, theirs in zip_longest(_chunks(found), _chunks(expected), fillvalue=nothing):
        both = min(len(mine), len(theirs))
        wrong = mine[columns][:both].to_numpy() != theirs[columns][:both].to_numpy()
        places = np.flatnonzero(wrong.any(axis=1)).tolist()
        if more and (places or len(mine) != len(theirs)):  # all that follows is shifted
            at, side = [*places, both][0], mine if more > 0 else theirs
            what = "too many" if more > 0 else "missing"
            what = f"{amount(abs(more), 'row')} {what} from here on"
            report(what, frame=_number(side[key].iloc[at]), row=int(side.index[at]))
            return
        for at in places[:LISTED]:
            names = [name for name, bad in zip(columns, wrong[at], strict=True) if bad]
            cells = [side[names[0]].iloc[at] for side in (mine, theirs)]
            what = f"{', '.join(names)} differ: {cells[0]}, not {cells[1]}"
            frame, row = _number(theirs[key].iloc[at]), int(mine.index[at])
            report(what, frame=frame, row=row, column=names[0])
        findings.more(Kind.ROWS, len(places) - LISTED)


def _chunks(path: Path) -> Iterator[pd.DataFrame]:
    """A table as text, chunk by chunk; the index counts all rows."""
    options: dict[str, Any] = {"dtype": str, "na_filter": False, "chunksize": CHUNK_ROWS}
    options["skip_blank_lines"] = False  # which would shift the numbers of all rows behind
    names = _header(path) or None
    with pd.read_csv(path, encoding="utf-8", names=names, header=0, **options) as reader:
        yield from reader


def _number(cell: str) -> int | None:
    return int(cell) if cell.lstrip("-").isdigit() else None
