"""Compares tables with what the ordinary code writes, row by row and cell by cell."""

import filecmp
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.buffers.csv_writer import TableWriter
from miostitch.recording.sidecars import LINE_TABLES, TIMESTAMPS
from miostitch.verify.findings import LISTED, Findings, Kind
from miostitch.verify.store import ROWS, Store, grid

FRAME_COLUMN, POSITION_COLUMN = "reconstructed_frame_index", "frame_buffer_count"
CHUNK_ROWS = 2**16
TIMES = ("timestamp_first", "timestamp_last")


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
    names = store.members("buffers")
    if ROWS in store.arrays and len({store.arrays[f"buffers/{n}"].shape for n in names}) == 1:
        header = _header(found) if found.is_file() else []
        columns = header if {*header} == {*names} else names
        with TableWriter(folder / ".csv", columns) as table:
            for at, region in grid(store.arrays[ROWS]):
                parts = {name: store.read(f"buffers/{name}", at, region) for name in columns}
                if all(each is not None for each in parts.values()):
                    table.append(pd.DataFrame(parts))
    times = {name: store.values(name) for name in TIMES}
    if all(each is not None for each in times.values()):
        with TableWriter(folder / TIMESTAMPS, ["frame", *TIMES]) as table:
            table.append(pd.DataFrame({"frame": np.arange(store.shape[0]), **times}))


def _header(path: Path) -> list[str]:
    try:
        return [*pd.read_csv(path, nrows=0).columns]
    except (ValueError, OSError):
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
    for first, mine, theirs in _windows(found, expected, key):
        rows = np.arange(first, first + len(mine))
        if len(mine) != len(theirs):
            mine, theirs, rows = _matched(mine, theirs, rows, key, (found.name, findings))
        _compare_cells(mine[columns], theirs[columns], rows, key, (found.name, findings))


def _windows(
    found: Path, expected: Path, key: str
) -> Iterator[tuple[int, pd.DataFrame, pd.DataFrame]]:
    """Rows of the same frames of both tables, and which row of the first table they begin at.

    Tables of equally many rows are compared row by row, else by the frames that they are of.
    """
    if _count(found) == _count(expected):
        first = 0
        for mine, theirs in zip(_chunks(found), _chunks(expected), strict=True):
            yield first, mine.reset_index(drop=True), theirs.reset_index(drop=True)
            first += len(mine)
        return
    ours, first, parts = _Rows(_chunks(found), key), 0, _chunks(expected)
    held = next(parts, pd.DataFrame())
    while len(held):
        more = next(parts, pd.DataFrame())
        # the last frame of a chunk may go on in the next one
        stop = _frames(held, key)[-1] + more.empty
        whole = _frames(held, key) < stop
        mine = ours.until(stop)
        yield first, mine, held[whole].reset_index(drop=True)
        first += len(mine)
        held = pd.concat([held[~whole], more], ignore_index=True) if len(more) else more
    while len(mine := ours.until(np.inf)):
        yield first, mine, mine.iloc[:0]
        first += len(mine)


class _Rows:
    """Rows of a table, taken frame by frame."""

    def __init__(self, chunks: Iterator[pd.DataFrame], key: str) -> None:
        self._chunks, self._key = chunks, key
        self._held = next(chunks, pd.DataFrame())

    def until(self, stop: float) -> pd.DataFrame:
        """The next rows, up to the first one of this frame or a later one."""
        parts = []
        while len(self._held):
            beyond = np.flatnonzero(_frames(self._held, self._key) >= stop)
            cut = int(beyond[0]) if len(beyond) else len(self._held)
            parts.append(self._held[:cut])
            self._held = self._held[cut:] if len(beyond) else next(self._chunks, pd.DataFrame())
            if len(beyond) or stop == np.inf:
                break
        return pd.concat(parts, ignore_index=True) if parts else self._held


def _frames(rows: pd.DataFrame, key: str) -> NDArray[np.float64]:
    return pd.to_numeric(rows[key], errors="coerce").fillna(-1).to_numpy(np.float64)


def _chunks(path: Path) -> Iterator[pd.DataFrame]:
    options: dict[str, Any] = {"dtype": str, "na_filter": False, "chunksize": CHUNK_ROWS}
    with pd.read_csv(path, encoding="utf-8", **options) as reader:
        yield from reader


def _count(path: Path) -> int:
    return sum(len(part) for part in _chunks(path))


def _matched(
    found: pd.DataFrame,
    expected: pd.DataFrame,
    rows: NDArray[np.int64],
    key: str,
    report: tuple[str, Findings],
) -> tuple[pd.DataFrame, pd.DataFrame, NDArray[np.int64]]:
    """The rows that both have, after those were noted that only one has."""
    file, findings = report
    keys = [key, POSITION_COLUMN] if POSITION_COLUMN in expected else [key]
    sides = [
        side[keys].assign(again=side.groupby(keys).cumcount(), at=np.arange(len(side)))
        for side in (found, expected)
    ]
    both = sides[0].merge(sides[1], "outer", [*keys, "again"], indicator=True)
    lost, extra, shared = (
        both[both["_merge"] == side].sort_values(order)
        for side, order in (("right_only", "at_y"), ("left_only", "at_x"), ("both", "at_x"))
    )
    for row in lost.head(LISTED).to_dict("records"):
        what = f"the row of buffer {row[POSITION_COLUMN]}" if len(keys) > 1 else "the line"
        findings.add(Kind.ROWS, file, f"{what} is missing", frame=_number(row[key]))
    for row in extra.head(LISTED).to_dict("records"):
        at, what = int(rows[int(row["at_x"])]), "is one row too many"
        findings.add(Kind.ROWS, file, what, frame=_number(row[key]), row=at)
    for side in (lost, extra):
        findings.more(Kind.ROWS, len(side) - LISTED)
    mine, theirs = (shared[name].to_numpy(np.int64) for name in ("at_x", "at_y"))
    return (
        found.iloc[mine].reset_index(drop=True),
        expected.iloc[theirs].reset_index(drop=True),
        rows[mine],
    )


def _compare_cells(
    found: pd.DataFrame,
    expected: pd.DataFrame,
    rows: NDArray[np.int64],
    key: str,
    report: tuple[str, Findings],
) -> None:
    file, findings = report
    wrong = found.to_numpy() != expected.to_numpy()
    places = np.flatnonzero(wrong.any(axis=1))
    for at in places[:LISTED].tolist():
        names = [str(name) for name, bad in zip(expected, wrong[at], strict=True) if bad]
        first = names[0]
        what = f"{', '.join(names)} differ: {found[first][at]}, not {expected[first][at]}"
        frame, row = _number(expected[key][at]), int(rows[at])
        findings.add(Kind.ROWS, file, what, frame=frame, row=row, column=first)
    findings.more(Kind.ROWS, len(places) - LISTED)


def _number(cell: str) -> int | None:
    return int(cell) if cell.lstrip("-").isdigit() else None
