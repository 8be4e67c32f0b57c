"""What a report knows: the tables of a store, in memory."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import F32, I8, I16, I32, I64, U8, Bools
from miostitch.buffers.frame_table import Reception
from miostitch.buffers.header_check import failed_checks
from miostitch.buffers.table import vote_layout
from miostitch.report.clock import FrameClock
from miostitch.schema import CHECKED, NO_FRAME, RECORDED, REPAIR_VARIABLES, Evidence
from miostitch.store.layout import BUFFER_CHUNK
from miostitch.store.reader import Store
from miostitch.store.validation import require_recordings

FILTERS = ("remove_stripes", "subtract_background")
"""Steps of a history that change pixels."""

ROW_COLUMNS = (
    "reconstructed_frame_index",
    "frame_buffer_count",
    "black_padding_px",
    CHECKED.name,
    RECORDED.name,
)


@dataclass(frozen=True, eq=False)
class Frames:
    """Columns of the root group, (frame,), as :mod:`miostitch.schema` describes them."""

    frame_num: I64
    source: I8
    missing_pixels: I32
    damaged: Bools
    unrecoverable: Bools
    # How likely each frame is exact, NaN unknown; None in a store of an older version.
    confidence: F32 | None = None
    filled: Bools | None = None  # Which frames are made to fill gaps; None of no regular time base


@dataclass(frozen=True, eq=False)
class Scores:
    """Columns of the group ``scores``, (recording, frame)."""

    source_frame: I64
    num_buffers: I16
    black_padding: I64
    noisy_pixels: I64
    edge_energy: I64
    # Whether all pixels of the candidate are those of the result; None in a store of old.
    identical: Bools | None = None
    # What was received of the frame, fragments included; None in a store of an older version.
    received_buffers: I16 | None = None
    complete: Bools | None = None


@dataclass(frozen=True, eq=False)
class Composition:
    """Columns of the group ``composition``, (frame, position)."""

    buffer_source: I8
    buffer_evidence: U8


@dataclass(frozen=True, eq=False)
class ReportData:
    """The tables of a store."""

    names: Sequence[str]  # Names of the recordings; ``source`` counts in them
    fps: Fraction  # Frames per second, as the file says
    clock: FrameClock
    height: int
    width: int
    # Limits of the buffers in the flattened frame, int64 (buffer + 1,); empty where the rows do not
    # tell them.
    bounds: I64
    buffers: int  # Buffers that the device sends of a frame
    frames: Frames
    scores: Scores | None  # None where the store has none
    composition: Composition | None  # None where frames were chosen
    # Buffers that the result lacks, wholly or in part, bool (frame, position); no positions where
    # nothing tells.
    lost: Bools

    @property
    def count(self) -> int:
        """Frames of the result."""
        return len(self.frames.source)

    @cached_property
    def confidence(self) -> F32:
        """How likely each frame is exact, (frame,); NaN unknown."""
        if self.frames.confidence is None:
            return np.full(self.count, np.nan, np.float32)
        return self.frames.confidence

    @cached_property
    def present(self) -> Bools:
        """Whether a recording has a candidate, (recording, frame)."""
        if self.scores is None:
            return np.zeros((len(self.names), self.count), np.bool_)
        return np.asarray(self.scores.source_frame != NO_FRAME)

    @cached_property
    def lacking(self) -> I16:
        """Buffers that a recording lacks, (recording, frame); all where it lacks the frame."""
        if self.scores is None:
            return np.zeros((len(self.names), self.count), np.int16)
        return np.asarray(np.maximum(np.int16(self.buffers) - self._received, 0), np.int16)

    @property
    def _received(self) -> I16:
        """Buffers that a recording received, (recording, frame); of its candidate, if too old."""
        scores = self.scores
        if scores is None:
            return np.zeros((len(self.names), self.count), np.int16)
        known = scores.num_buffers if scores.received_buffers is None else scores.received_buffers
        return np.where(self.present, known, 0).astype(np.int16)

    def reception(self, number: int) -> Reception:
        """Count what a recording received of the frames that it has."""
        here = self.present[number]
        return Reception.of(self._received[number, here], self.whole[number, here], self.buffers)

    @cached_property
    def whole(self) -> Bools:
        """Whether a recording received every buffer of a frame, (recording, frame)."""
        if self.scores is None:
            return self.present
        if self.scores.complete is not None:
            return self.scores.complete
        return np.asarray((self.lacking == 0) & (self.scores.black_padding <= 0) & self.present)


def read_data(store: Store, known: Mapping[str, NDArray[Any]] | None = None) -> ReportData:
    """Read what a report needs of a store's tables: some 200 bytes per frame and two recordings.

    ``known``: the variables of the root group, (frame,), where they are still in memory.
    """
    columns = known or store.arrays("", _names(Frames))
    count = len(store.recordings)
    if count and "source" in columns:
        require_recordings(store.path, "source", columns["source"], count)
    scores = composition = None
    if "scores" in store.groups:
        # a filtered frame equals none that was received
        names = [n for n in _names(Scores) if n != "identical" or not pixels_changed(store)]
        scores = Scores(**store.arrays("scores", names))
    bounds = _read_bounds(store)
    most = 0 if scores is None else int(scores.num_buffers.max(initial=0))
    buffers = max(len(bounds) - 1, most)
    if "composition" in store.groups:
        composition = Composition(**store.arrays("composition", _names(Composition)))
        given = composition.buffer_source
        require_recordings(store.path, "composition/buffer_source", given, count)
        lost = composition.buffer_evidence == Evidence.NOBODY
        buffers = lost.shape[1]
    else:
        lost = _read_lost(store, buffers)
    return ReportData(
        names=list(store.recordings),
        fps=Fraction(store.attrs["fps"]),
        clock=FrameClock.of(store, columns["frame_num"], columns.get("time")),
        height=store.height,
        width=store.width,
        bounds=bounds,
        buffers=buffers,
        frames=Frames(**{n: columns[n] for n in _names(Frames) if n in columns}),
        scores=scores,
        composition=composition,
        lost=lost,
    )


def pixels_changed(store: Store) -> bool:
    """Whether the frames are no longer what was received, but filtered."""
    steps = (each.get("step") for each in store.attrs.get("history", []))
    return any(step in FILTERS for step in steps)


def _names(table: type[Any]) -> list[str]:
    return [each.name for each in fields(table)]


def read_repairs(store: Store) -> dict[str, NDArray[Any]]:
    """Every repaired cell, (repair,), by the names of the schema; empty where there is none."""
    return store.arrays("repairs", [variable.name for variable in REPAIR_VARIABLES])


def _read_bounds(store: Store) -> I64:
    """Limits of the buffers by the first rows; empty if they tell none."""
    pixels = store.height * store.width
    if "buffers" not in store.groups:
        return np.empty(0, np.int64)
    names = ("frame_buffer_count", "pixel_count")
    position, size = store.arrays("buffers", names, slice(BUFFER_CHUNK)).values()
    bounds = vote_layout(np.column_stack([position, size, np.ones_like(size)]), pixels)
    return bounds if bounds[-1] == pixels else np.empty(0, np.int64)


def _read_lost(store: Store, buffers: int) -> Bools:
    """Which buffers no row delivers whole, bool (frame, position); no positions without rows."""
    if "buffers" not in store.groups:
        return np.zeros((store.frames, 0), np.bool_)
    lost = np.ones((store.frames, buffers), np.bool_)
    for start in itertools.count(0, BUFFER_CHUNK):
        rows = store.arrays("buffers", ROW_COLUMNS, slice(start, start + BUFFER_CHUNK))
        frame, position = rows["reconstructed_frame_index"], rows["frame_buffer_count"]
        sound = (frame >= 0) & (frame < store.frames) & (position >= 0) & (position < buffers)
        if "black_padding_px" in rows:
            sound &= rows["black_padding_px"] <= 0
        if RECORDED.name in rows:
            sound &= rows[RECORDED.name] == NO_FRAME
        if CHECKED.name in rows:
            sound &= ~failed_checks(rows[CHECKED.name])
        lost[frame[sound], position[sound]] = False
        if len(frame) < BUFFER_CHUNK:
            break
    return lost
