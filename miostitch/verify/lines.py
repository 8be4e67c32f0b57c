"""Compares tables that have one line per frame with the store."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.errors import InputError
from miostitch.schema import NO_FRAME, PIXEL_SCORES
from miostitch.text import amount, printable
from miostitch.verify.findings import Kind
from miostitch.verify.inputs import SPAN_FRAMES
from miostitch.verify.result import Result, choices
from miostitch.verify.rows import INDEX, Comparison, Rows

Ints = NDArray[np.int64]
ROLES = ("selected", "compare")
TABLE_SCORES = ("num_buffers", "black_padding", "black_pixels", "noisy_pixels")
SCORE_COLUMNS = (
    *("index", "frame_num", "selected_video", "compare_video"),
    *(f"{role}_{name}" for role in ROLES for name in TABLE_SCORES),
    *(f"{role}_edge_score" for role in ROLES),
    "diff_pixels",
)
TIMESTAMP_COLUMNS = ("frame", "timestamp_first", "timestamp_last")

EMPTY, NO_NUMBER = -(2**63), -(2**63) + 1
"""Stand for an empty cell, and for one that is no integer."""


def check_lines(
    result: Result,
    suffix: str,
    expected: Callable[[slice], pd.DataFrame],
    told: str,
    unknown: Sequence[str] = (),
) -> None:
    """Compare a table with one line per frame."""
    path, count = result.path(suffix), result.store.shape[0]
    comparison = Comparison(result.findings, path.name, told)
    columns = list(expected(slice(0, 0)).columns)
    try:
        parts = _lines(path, columns, expected(slice(0, min(1, count))))
        lines = Rows(iter(parts))
        for start in range(0, count, SPAN_FRAMES):
            stop = min(start + SPAN_FRAMES, count)
            wanted = expected(slice(start, stop)).rename(columns={columns[0]: INDEX})
            wanted = wanted.drop(columns=list(unknown))
            found, at = lines.take(len(wanted), stop), lines.taken
            comparison.rows(found.reindex(columns=wanted.columns), wanted, at - len(found))
        more = len(lines.rest(2**62))
    except (InputError, ValueError, OSError) as error:
        result.findings.add(Kind.UNREADABLE, path.name, str(error))
        return
    if more:
        message = f"{amount(more, 'line')} of no frame of the result"
        result.findings.add(Kind.ROWS, path.name, message, row=lines.taken - more)


def _lines(path: Path, columns: list[str], like: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Lines of a table, of the types of the expected ones."""
    options: dict[str, Any] = {"dtype": str, "na_filter": False, "chunksize": 2**16}
    with pd.read_csv(path, encoding="utf-8", **options) as reader:
        for part in reader:
            if list(part.columns) != columns:
                found = ", ".join(map(str, part.columns))
                raise InputError(f"columns {found}, not {', '.join(columns)}")
            typed = {name: _typed(part[name].to_numpy(), like[name].dtype.kind) for name in columns}
            yield pd.DataFrame(typed).rename(columns={columns[0]: INDEX})


def _typed(cells: NDArray[Any], kind: str) -> NDArray[Any]:
    if kind not in "if":
        return cells
    as_type: Callable[[str], Any] = int if kind == "i" else float
    empty: Any = EMPTY if kind == "i" else np.nan
    try:
        return np.array([as_type(cell) if cell else empty for cell in cells], f"{kind}8")
    except ValueError:
        values = [_number(cell, as_type, empty) for cell in cells]
        return np.array(values, f"{kind}8")


def _number(cell: str, as_type: Callable[[str], Any], empty: Any) -> Any:
    try:
        return as_type(cell) if cell else empty
    except ValueError:
        return NO_NUMBER if as_type is int else np.inf


def can_tell_scores(result: Result) -> bool:
    """Whether there is a table of scores, and all that its lines are told by."""
    there = result.path("_scores.csv").is_file() and "frame_num" in result.frames
    return there and choices(result, slice(0, 0)) is not None


def expected_timestamps(result: Result, span: slice) -> pd.DataFrame:
    """Lines of the table of time stamps."""
    values = {name: result.frames[name].values[span] for name in TIMESTAMP_COLUMNS[1:]}
    return pd.DataFrame({"frame": np.arange(span.start, span.stop), **values})


def expected_scores(result: Result, differing: Ints, span: slice) -> pd.DataFrame:
    """Lines of the table of scores.

    ``differing``: pixels in which the two best candidates differ, (frame,); -1 unknown.
    """
    choice = choices(result, span)
    assert choice is not None
    names = np.array([printable(name) for name in [*result.names, ""]], object)
    columns, none = np.arange(len(choice.best)), choice.other == NO_FRAME
    values: dict[str, Any] = {
        "index": np.arange(span.start, span.stop),
        "frame_num": result.frames["frame_num"].values[span],
        "selected_video": names[choice.best],
        "compare_video": names[choice.other],
    }
    scores = {name: read.values[:, span].astype(np.int64) for name, read in result.scores.items()}
    for role, number in zip(ROLES, (choice.best, choice.other), strict=True):
        for name in TABLE_SCORES:
            values[f"{role}_{name}"] = np.where(
                number == NO_FRAME, EMPTY, scores[name][number, columns]
            )
        edges = -scores[PIXEL_SCORES[-1].name][number, columns]
        values[f"{role}_edge_score"] = np.where(choice.tie, edges, EMPTY)
    values["diff_pixels"] = np.where(none, EMPTY, differing[span])
    return pd.DataFrame(values)[list(SCORE_COLUMNS)]
