"""The tables of a stitched recording, written span by span behind the blocks."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from miostitch.buffers.csv_writer import TableWriter
from miostitch.buffers.damage import complete
from miostitch.buffers.row_writer import BufferTable
from miostitch.execution.products import SCORES, TIMESTAMPS
from miostitch.schema import (
    COMPOSITION_VARIABLES,
    FRAME,
    FRAME_VARIABLES,
    NO_FRAME,
    PIXEL_SCORES,
    POSITION,
    REPAIR_VARIABLES,
    REPAIRED_COLUMNS,
    SCORE_VARIABLES,
)
from miostitch.session.session import Session
from miostitch.stitching.composition import AGREEMENT, Evidence
from miostitch.stitching.rows import frame_times, rows_of_buffers, rows_of_frames
from miostitch.store.layout import write_frame_tables, write_group
from miostitch.text import printable

TABLE_SCORES = ("num_buffers", "black_padding", "black_pixels", "noisy_pixels")

SCORE_COLUMNS = (
    "index",
    "frame_num",
    "selected_video",
    "compare_video",
    *(f"{role}_{name}" for role in ("selected", "compare") for name in TABLE_SCORES),
    "selected_edge_score",
    "compare_edge_score",
    "diff_pixels",
)
"""Columns of ``S_scores.csv``: mio's, and the pixels in which the two candidates differ."""

KNOWN_SCORES = tuple(v.name for v in SCORE_VARIABLES if v not in PIXEL_SCORES)

MOST_EDGE_ENERGY = 8 * 255
"""Largest |gx| + |gy| of a pixel, and the largest of its scores."""

TIMESTAMP_COLUMNS = ("frame", "timestamp_first", "timestamp_last")

FrameColumns = dict[str, NDArray[Any]]


def frame_columns(
    session: Session, span: slice, frames: xr.Dataset, rows: pd.DataFrame
) -> FrameColumns:
    """The per-frame variables of the store for some computed output frames.

    Returns: An array (frame,) for each of :data:`miostitch.schema.FRAME_VARIABLES`.
    """
    source = frames.source.to_numpy().astype(np.int8)
    composed = "buffer_evidence" in frames
    if composed:
        received = (frames.buffer_evidence != Evidence.NOBODY).sum(POSITION)
        num_buffers = received.to_numpy().astype(np.int16)
    else:
        num_buffers = session.table("num_buffers", span)[source, np.arange(len(source))]
    first, last = frame_times(session, rows, span)
    return {
        "frame_num": session.frame_num(span),
        "timestamp_first": first,
        "timestamp_last": last,
        "source": source,
        "num_buffers": num_buffers,
        "missing_pixels": frames.missing_pixels.to_numpy(),
        **damage_flags(session, span, frames, composed=composed),
    }


def damage_flags(
    session: Session, span: slice, frames: xr.Dataset, *, composed: bool
) -> FrameColumns:
    """Tell which output frames are damaged.

    ``frames``: computed ``missing_pixels`` and ``noisy_pixels`` (frame,).

    Returns: ``damaged`` and ``unrecoverable``, bool (frame,).
    """
    missing = frames.missing_pixels.to_numpy() > 0
    if composed:
        unrecoverable = missing
    else:
        unrecoverable = ~complete(session.delivered_anywhere(span), session.bounds)
    noisy = frames.noisy_pixels.to_numpy() > 0
    return {"damaged": missing | noisy, "unrecoverable": unrecoverable}


class StitchedTables:
    """Writes ``S.csv``, ``S_timestamps.csv``, ``S_scores.csv`` and the tables of the store."""

    def __init__(
        self, session: Session, store: str, path: Callable[[str], Path], *, composed: bool
    ) -> None:
        self._session, self._store = session, store
        count, recordings = session.shape[0], len(session.recordings)
        self.frames: FrameColumns = {v.name: np.empty(count, v.dtype) for v in FRAME_VARIABLES}
        self.scores: FrameColumns = {
            v.name: np.empty((recordings, count), _score_dtype(session)) for v in PIXEL_SCORES
        }
        self.composition: FrameColumns = {
            v.name: np.empty((count, session.buffers), v.dtype)
            for v in (COMPOSITION_VARIABLES if composed else ())
        }
        self.agreement = np.zeros(len(AGREEMENT), np.int64)
        names = list(
            dict.fromkeys(c for r in session.recordings for t in r.tables for c in t.columns)
        )
        with ExitStack() as files:
            self._buffers = files.enter_context(BufferTable(names, path(".csv"), store))
            self._timestamps = files.enter_context(TableWriter(path(TIMESTAMPS), TIMESTAMP_COLUMNS))
            self._score_table = files.enter_context(TableWriter(path(SCORES), SCORE_COLUMNS))
            self._files = files.pop_all()

    def append(self, span: slice, computed: xr.Dataset) -> None:
        """Write what belongs to a span of output frames."""
        if self.composition:
            rows = rows_of_buffers(self._session, span, computed.buffer_source.to_numpy())
        else:
            rows = rows_of_frames(self._session, span, computed.source.to_numpy())
        frames = frame_columns(self._session, span, computed, rows)
        for name, values in frames.items():
            self.frames[name][span] = values
        for name, values in self.composition.items():
            values[span] = computed[name]
        self.agreement += computed.shared_buffers.sum(FRAME).to_numpy()
        scores = self._scores(span, computed)
        for name, kept in self.scores.items():
            kept[:, span] = scores[name]
        positions = np.arange(span.start, span.stop)
        self._timestamps.append(
            pd.DataFrame({"frame": positions} | {n: frames[n] for n in TIMESTAMP_COLUMNS[1:]})
        )
        self._score_table.append(self._score_rows(positions, frames, scores, computed))
        self._buffers.append(rows)

    def close(self) -> None:
        """Complete every table."""
        self._files.close()
        names = [printable(recording.name) for recording in self._session.recordings]
        attrs = {"recordings": names}
        write_frame_tables(self._store, self.frames)
        write_group(self._store, "scores", SCORE_VARIABLES, self._all_scores, attrs)
        if self.composition:
            composition = self.composition.__getitem__
            write_group(self._store, "composition", COMPOSITION_VARIABLES, composition, attrs)
        repairs = _repairs(self._session)
        if len(repairs["row"]):
            write_group(self._store, "repairs", REPAIR_VARIABLES, repairs.__getitem__, attrs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._files.__exit__(kind, error, traceback)

    def _scores(self, span: slice, computed: xr.Dataset) -> FrameColumns:
        """All scores of all candidates, -1 where a recording lacks the frame."""
        known = {name: self._known_scores(name, span) for name in KNOWN_SCORES}
        absent = known["source_frame"] == NO_FRAME
        pixels = {
            variable.name: np.where(
                absent, NO_FRAME, computed.scores.sel(score=variable.name).to_numpy()
            )
            for variable in PIXEL_SCORES
        }
        return known | pixels

    def _known_scores(self, name: str, span: slice) -> NDArray[np.integer]:
        """One of the scores that need no pixels, hence are not held for all frames."""
        source_frame = self._session.source_frame(span)
        if name == "source_frame":
            return source_frame
        return np.where(source_frame == NO_FRAME, NO_FRAME, self._session.table(name, span))

    def _all_scores(self, name: str) -> NDArray[np.integer]:
        """One score of all candidates of all frames."""
        held = self.scores.get(name)
        return self._known_scores(name, slice(None)) if held is None else held.astype(np.int64)

    def _score_rows(
        self,
        positions: NDArray[np.int64],
        frames: FrameColumns,
        scores: FrameColumns,
        computed: xr.Dataset,
    ) -> pd.DataFrame:
        names = np.array([printable(r.name) for r in self._session.recordings], object)
        columns = np.arange(len(positions))
        choice = {n: computed.choice.sel(role=n).to_numpy() for n in ("source", "other", "tie")}
        none = choice["other"] == NO_FRAME
        rows: dict[str, Any] = {
            "index": positions,
            "frame_num": frames["frame_num"],
            "selected_video": names[choice["source"]],
            "compare_video": np.where(none, None, names[choice["other"]]),
        }
        for role, number, empty in (
            ("selected", choice["source"], np.zeros_like(none)),
            ("compare", choice["other"], none),
        ):
            for name in TABLE_SCORES:
                rows[f"{role}_{name}"] = _nullable(scores[name][number, columns], empty)
            # mio's sign: the larger the better
            edges = -scores["edge_energy"][number, columns]
            rows[f"{role}_edge_score"] = _nullable(edges, choice["tie"] == 0)
        rows["diff_pixels"] = _nullable(computed.diff_pixels.to_numpy(), none)
        return pd.DataFrame(rows)[list(SCORE_COLUMNS)]


def _score_dtype(session: Session) -> np.dtype[np.integer]:
    """The narrowest type that holds the scores of a frame: hours of them are in memory."""
    return np.min_scalar_type(-MOST_EDGE_ENERGY * session.shape[1] * session.shape[2])


def _repairs(session: Session) -> FrameColumns:
    """Every repaired cell of all recordings."""
    parts = [
        table.repairs.assign(recording=number, segment=segment)
        for number, recording in enumerate(session.recordings)
        for segment, table in enumerate(recording.tables)
    ]
    cells = pd.concat(parts, ignore_index=True)
    codes = {name: code for code, name in enumerate(REPAIRED_COLUMNS)}
    cells["column"] = cells["column"].map(codes)
    return {v.name: cells[v.name].to_numpy().astype(v.dtype) for v in REPAIR_VARIABLES}


def _nullable(values: NDArray[np.integer], empty: NDArray[np.bool_]) -> pd.Series:
    return pd.Series(pd.arrays.IntegerArray(values.astype(np.int64), empty))
