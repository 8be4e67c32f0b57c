"""The tables of a store, read for its report."""

import itertools
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.report.statistics import Tables
from miostitch.schema import EVIDENCE, REPAIR_VARIABLES
from miostitch.store.layout import BUFFER_CHUNK
from miostitch.store.reader import Store

FRAME_TABLES = ("frame_num", "source", "missing_pixels", "damaged", "unrecoverable")
SCORE_TABLES = ("source_frame", "num_buffers", "black_padding", "noisy_pixels", "edge_energy")
ROW_COLUMNS = ("reconstructed_frame_index", "frame_buffer_count", "black_padding_px")


def read_tables(store: Store, frames: Mapping[str, NDArray[Any]] | None = None) -> Tables:
    """Read what a report needs of a store's tables.

    ``frames``: the variables of the root group, (frame,), where they are still in memory.

    Returns: At most some 200 bytes per frame for two recordings.
    """
    if frames is None:
        frames = store.arrays("", FRAME_TABLES)
    scores = store.arrays("scores", SCORE_TABLES)
    composition = store.arrays("composition", ("buffer_source", "buffer_evidence"))
    bounds = _bounds(store)
    most = int(scores["num_buffers"].max(initial=0)) if scores else 0
    buffers = max(len(bounds) - 1, most)
    if composition:
        lost = composition["buffer_evidence"] == EVIDENCE.index("nobody")
        buffers = lost.shape[1]
    else:
        lost = _lost(store, buffers)
    return Tables(
        names=list(store.recordings),
        fps=Fraction(store.attrs["fps"]),
        height=store.height,
        width=store.width,
        bounds=bounds,
        buffers=buffers,
        frames=frames,
        scores=scores,
        composition=composition,
        lost=lost,
    )


def read_repairs(store: Store) -> dict[str, NDArray[Any]]:
    """Every repaired cell, (repair,), by the names of the schema; empty where there is none."""
    return store.arrays("repairs", [variable.name for variable in REPAIR_VARIABLES])


def _bounds(store: Store) -> NDArray[np.int64]:
    """Limits of the buffers by the usual size of each in the first rows; empty if they tell none.

    See :func:`miostitch.buffers.table.buffer_layout`, which has all rows as they were received.
    """
    none, pixels = np.empty(0, np.int64), store.height * store.width
    if "buffers" not in store.groups:
        return none
    names = ("frame_buffer_count", "pixel_count")
    position, size = store.arrays("buffers", names, slice(BUFFER_CHUNK)).values()
    bounds = [0]
    while bounds[-1] < pixels:
        sizes, votes = np.unique(size[position == len(bounds) - 1], return_counts=True)
        if not len(sizes) or sizes[votes.argmax()] < 1:
            return none
        bounds.append(bounds[-1] + int(sizes[votes.argmax()]))
    return np.array(bounds) if bounds[-1] == pixels else none


def _lost(store: Store, buffers: int) -> NDArray[np.bool_]:
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
        lost[frame[sound], position[sound]] = False
        if len(frame) < BUFFER_CHUNK:
            break
    return lost
