"""The tables of a stitched recording, written span by span behind the blocks."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.buffers.csv_files import TableWriter
from miostitch.buffers.elapsed_time import measure_time
from miostitch.buffers.frame_table import complete
from miostitch.buffers.row_writer import BufferTable
from miostitch.composing.composition import AGREEMENT
from miostitch.composing.confidence import frame_confidence
from miostitch.execution.engine import Tables
from miostitch.execution.products import SCORES, TIMESTAMPS
from miostitch.recording.recording import Recording, list_repairs
from miostitch.schema import (
    COMPOSITION_VARIABLES,
    CORRECTED,
    FRAME_VARIABLES,
    NO_FRAME,
    PIXEL_SCORES,
    RECEPTION_SCORES,
    RECORDED,
    REPAIR_VARIABLES,
    SCORE_VARIABLES,
    Evidence,
)
from miostitch.session.agreement import AgreementWatch
from miostitch.session.clocks import time_attrs
from miostitch.session.session import Session
from miostitch.stitching.block import ALL_COLUMNS, StitchedBlock
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.rows import TIMES, RowPlan
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
    "confidence",
)
"""Columns of ``S_scores.csv``: mio's, the pixels in which the two candidates differ, confidence."""

IDENTICAL = "identical"
RECEPTION = tuple(variable.name for variable in RECEPTION_SCORES)
KNOWN_SCORES = tuple(
    v.name for v in SCORE_VARIABLES if v not in PIXEL_SCORES and v.name != IDENTICAL
)

MOST_EDGE_ENERGY = 8 * 255
"""Largest |gx| + |gy| of a pixel, and the largest of its scores."""

TIMESTAMP_COLUMNS = ("frame", "timestamp_first", "timestamp_last")

FrameColumns = dict[str, NDArray[Any]]


def frame_columns(
    session: Session, span: slice, block: StitchedBlock, times: NDArray[np.float64]
) -> FrameColumns:
    """The per-frame variables of the store for some output frames.

    ``times``: of the first and the last buffer, float64 (2, frame).

    Returns: An array (frame,) for each of :data:`miostitch.schema.FRAME_VARIABLES` but the times,
    which are measured of all frames together.
    """
    source = block.source
    composed = block.buffer_evidence.shape[1] > 0
    if composed:
        num_buffers = (block.buffer_evidence != Evidence.NOBODY).sum(axis=1).astype(np.int16)
    else:
        num_buffers = session.table("num_buffers", span)[source, np.arange(len(source))]
    first, last = times
    flags = damage_flags(session, span, block.missing_pixels, block.noisy_pixels, composed=composed)
    return {
        "frame_num": session.frame_num(span),
        "timestamp_first": first,
        "timestamp_last": last,
        "source": source,
        "num_buffers": num_buffers,
        "missing_pixels": block.missing_pixels,
        **flags,
        "confidence": frame_confidence(block.confidence),
    }


def left_out(
    flags: Mapping[str, NDArray[Any]], options: StitchOptions
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which frames are left out as damaged, and which of the others for their confidence.

    ``flags``: ``damaged`` and ``confidence`` of each frame, (frame,).
    """
    damaged = flags["damaged"] & options.drop_damaged
    least = 0.0 if options.min_confidence is None else options.min_confidence
    return damaged, (flags["confidence"] < least) & ~damaged


def damage_flags(
    session: Session,
    span: slice,
    missing_pixels: NDArray[np.integer],
    noisy_pixels: NDArray[np.integer],
    *,
    composed: bool,
) -> FrameColumns:
    """Tell which output frames are damaged.

    Returns: ``damaged`` and ``unrecoverable``, bool (frame,).
    """
    missing = missing_pixels > 0
    if composed:
        unrecoverable = missing
    else:
        unrecoverable = ~complete(session.delivered_anywhere(span), session.buffers)
    return {"damaged": missing | (noisy_pixels > 0), "unrecoverable": unrecoverable}


def store_attrs(session: Session, options: StitchOptions) -> dict[str, Any]:
    """Attributes of the store: nothing in them depends on the machine or the day."""
    return {
        "recordings": [printable(recording.name) for recording in session.recordings],
        "inputs": input_facts(session.recordings),
        "fps": str(session.fps),
        "config": options.provenance,
        "versions": {"miostitch": version("miostitch")},
        **({} if options.session is None else {"session": dict(options.session)}),
    }


def input_facts(recordings: Sequence[Recording]) -> list[dict[str, Any]]:
    """Name, size and digest of every file of some recordings, as their store keeps them."""
    return [
        {"name": printable(Path(path).name), "size": size, "digest": digest}
        for recording in recordings
        for path, size, digest in recording.inputs
    ]


def column_names(session: Session, *, composed: bool) -> list[str]:
    """Columns of the rows of a session, each once, and the corrected time last.

    In composed frames all pixels stand where they belong.
    """
    tables = [table for recording in session.recordings for table in recording.tables]
    names = dict.fromkeys(name for table in tables for name in table.row_columns)
    apart = (CORRECTED.name, RECORDED.name) if composed else (CORRECTED.name,)
    return [*(name for name in names if name not in apart), CORRECTED.name]


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
        self.scores[IDENTICAL] = np.empty((recordings, count), np.bool_)
        self.composition: FrameColumns = {
            v.name: np.empty((count, session.buffers), v.dtype)
            for v in (COMPOSITION_VARIABLES if composed else ())
        }
        self.agreement = np.zeros(len(AGREEMENT), np.int64)
        self._watch = AgreementWatch(session)
        self.time_attrs: dict[str, str | float] = {}  # Attributes of the store, once it is closed
        with ExitStack() as files:
            rows = BufferTable(column_names(session, composed=composed), path(".csv"), store)
            self._buffers = files.enter_context(rows)
            self._timestamps = files.enter_context(TableWriter(path(TIMESTAMPS), TIMESTAMP_COLUMNS))
            self._score_table = files.enter_context(TableWriter(path(SCORES), SCORE_COLUMNS))
            self._files = files.pop_all()

    def plan_rows(self, span: slice) -> RowPlan:
        """Plan the rows of some output frames, which are appended with their tables."""
        composed = bool(self.composition)
        return RowPlan.of(self._session, self._buffers.format, composed, span)

    def append(self, span: slice, tables: Tables) -> None:
        """Write what belongs to a span of output frames, its rows among it."""
        block = StitchedBlock(**{name: tables[name] for name in ALL_COLUMNS})
        self._watch.follow(span, block.agrees.T)
        frames = frame_columns(self._session, span, block, tables[TIMES].T)
        for name, values in frames.items():
            self.frames[name][span] = values
        for name, values in self.composition.items():
            values[span] = tables[name]
        self.agreement += block.shared_buffers.sum(axis=0)
        scores = candidate_scores(self._session, span, block)
        for name, kept in self.scores.items():
            kept[:, span] = scores[name]
        positions = np.arange(span.start, span.stop)
        self._timestamps.append(
            pd.DataFrame({"frame": positions} | {n: frames[n] for n in TIMESTAMP_COLUMNS[1:]})
        )
        self._score_table.append(score_rows(self._session, positions, frames, scores, block))
        self._buffers.append_packed(tables)

    def close(self) -> None:
        """Complete every table."""
        self._files.close()
        names = [printable(recording.name) for recording in self._session.recordings]
        attrs = {"recordings": names}
        counter, received = (self.frames[name] for name in ("frame_num", "timestamp_first"))
        elapsed = measure_time(counter, received, self._session.fps)
        self.frames |= elapsed.columns
        self.time_attrs = time_attrs(elapsed, counter)
        write_frame_tables(self._store, self.frames, attrs=self.time_attrs)
        write_group(self._store, "scores", SCORE_VARIABLES, self._all_scores, attrs)
        if self.composition:
            composition = self.composition.__getitem__
            write_group(self._store, "composition", COMPOSITION_VARIABLES, composition, attrs)
        repairs = list_repairs(self._session.recordings)
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

    def _all_scores(self, name: str) -> NDArray[Any]:
        """One score of all candidates of all frames."""
        held = self.scores.get(name)
        if held is None:
            return known_scores(self._session, name, slice(None))
        return held if name == IDENTICAL else held.astype(np.int64)


def candidate_scores(session: Session, span: slice, block: StitchedBlock) -> FrameColumns:
    """All scores of all candidates, (recording, frame); -1 where a recording lacks the frame."""
    known = {name: known_scores(session, name, span) for name in KNOWN_SCORES}
    absent = known["source_frame"] == NO_FRAME
    pixels = {
        variable.name: np.where(absent, NO_FRAME, values)
        for variable, values in zip(PIXEL_SCORES, block.scores.T, strict=True)
    }
    return known | pixels | {IDENTICAL: block.identical.T}


def known_scores(session: Session, name: str, span: slice) -> NDArray[Any]:
    """One of the scores that need no pixels, hence are not held for all frames."""
    if name in RECEPTION:
        found: NDArray[Any] = getattr(session, name)(span)
        return found
    source_frame = session.source_frame(span)
    if name == "source_frame":
        return source_frame
    return np.where(source_frame == NO_FRAME, NO_FRAME, session.table(name, span))


def score_rows(
    session: Session,
    positions: NDArray[np.int64],
    frames: FrameColumns,
    scores: FrameColumns,
    block: StitchedBlock,
) -> pd.DataFrame:
    """Lines of ``S_scores.csv`` for some output frames."""
    # to pick text from an array of pyarrow takes a tenth of the time of picking objects
    names = pd.array([printable(r.name) for r in session.recordings], dtype="string[pyarrow]")
    columns = np.arange(len(positions))
    none = block.other == NO_FRAME
    rows: dict[str, Any] = {
        "index": positions,
        "frame_num": frames["frame_num"],
        "selected_video": names[block.selected],
        "compare_video": names.take(block.other, allow_fill=True),
    }
    for role, number, empty in (
        ("selected", block.selected, np.zeros_like(none)),
        ("compare", block.other, none),
    ):
        for name in TABLE_SCORES:
            rows[f"{role}_{name}"] = _nullable(scores[name][number, columns], empty)
        # mio's sign: the larger the better
        edges = -scores["edge_energy"][number, columns]
        rows[f"{role}_edge_score"] = _nullable(edges, ~block.tie)
    rows["diff_pixels"] = _nullable(block.diff_pixels, none)
    # as text: programs write one and the same number in several ways
    rows["confidence"] = np.char.mod("%.6f", frame_confidence(block.confidence))
    return pd.DataFrame(rows)[list(SCORE_COLUMNS)]


def _score_dtype(session: Session) -> np.dtype[np.integer]:
    """The narrowest type that holds the scores of a frame: hours of them are in memory."""
    return np.min_scalar_type(-MOST_EDGE_ENERGY * session.shape[1] * session.shape[2])


def _nullable(values: NDArray[np.integer], empty: NDArray[np.bool_]) -> pd.Series:
    return pd.Series(pd.arrays.IntegerArray(values.astype(np.int64), empty))
