"""The tables of a store, read for its report."""

import itertools
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.report.statistics import Tables
from miostitch.schema import EVIDENCE, REPAIR_VARIABLES
from miostitch.store.layout import BUFFER_CHUNK, StoreFacts, read_arrays

FRAME_TABLES = ("frame_num", "source", "missing_pixels", "damaged", "unrecoverable")
SCORE_TABLES = ("source_frame", "num_buffers", "black_padding", "noisy_pixels", "edge_energy")
ROW_COLUMNS = ("reconstructed_frame_index", "frame_buffer_count", "black_padding_px")


def read_tables(
    path: str, facts: StoreFacts, frames: Mapping[str, NDArray[Any]] | None = None
) -> Tables:
    """Read what a report needs of a store's tables.

    ``frames``: the variables of the root group, (frame,), where they are still in memory.

    Returns: At most some 200 bytes per frame for two recordings.
    """
    names = list(facts.attrs.get("recordings", []))
    if frames is None:
        frames = read_arrays(path, "", FRAME_TABLES)
    scores = _read(path, facts, "scores", SCORE_TABLES)
    composition = _read(path, facts, "composition", ("buffer_source", "buffer_evidence"))
    bounds = _bounds(path, facts)
    most = int(scores["num_buffers"].max(initial=0)) if scores else 0
    buffers = max(len(bounds) - 1, most)
    if composition:
        lost = composition["buffer_evidence"] == EVIDENCE.index("nobody")
        buffers = lost.shape[1]
    else:
        lost = _lost(path, facts, buffers)
    return Tables(
        names=names,
        fps=Fraction(facts.attrs["fps"]),
        height=facts.height,
        width=facts.width,
        bounds=bounds,
        buffers=buffers,
        frames=frames,
        scores=scores,
        composition=composition,
        lost=lost,
    )


def read_repairs(path: str, facts: StoreFacts) -> dict[str, NDArray[Any]]:
    """Every repaired cell, (repair,), by the names of the schema; empty where there is none."""
    return _read(path, facts, "repairs", [variable.name for variable in REPAIR_VARIABLES])


def _read(
    path: str, facts: StoreFacts, group: str, names: Iterable[str]
) -> dict[str, NDArray[Any]]:
    return read_arrays(path, group, names) if group in facts.groups else {}


def _bounds(path: str, facts: StoreFacts) -> NDArray[np.int64]:
    """Limits of the buffers by the usual size of each in the first rows; empty if they tell none.

    See :func:`miostitch.buffers.table.buffer_layout`, which has all rows as they were received.
    """
    none, pixels = np.empty(0, np.int64), facts.height * facts.width
    if "buffers" not in facts.groups:
        return none
    names = ("frame_buffer_count", "pixel_count")
    position, size = read_arrays(path, "buffers", names, slice(BUFFER_CHUNK)).values()
    bounds = [0]
    while bounds[-1] < pixels:
        sizes, votes = np.unique(size[position == len(bounds) - 1], return_counts=True)
        if not len(sizes) or sizes[votes.argmax()] < 1:
            return none
        bounds.append(bounds[-1] + int(sizes[votes.argmax()]))
    return np.array(bounds) if bounds[-1] == pixels else none


def _lost(path: str, facts: StoreFacts, buffers: int) -> NDArray[np.bool_]:
    """Which buffers no row delivers whole, bool (frame, position); no positions without rows."""
    if "buffers" not in facts.groups:
        return np.zeros((facts.frames, 0), np.bool_)
    lost = np.ones((facts.frames, buffers), np.bool_)
    for start in itertools.count(0, BUFFER_CHUNK):
        rows = read_arrays(path, "buffers", ROW_COLUMNS, slice(start, start + BUFFER_CHUNK))
        frame, position = rows["reconstructed_frame_index"], rows["frame_buffer_count"]
        sound = (frame >= 0) & (frame < facts.frames) & (position >= 0) & (position < buffers)
        if "black_padding_px" in rows:
            sound &= rows["black_padding_px"] <= 0
        lost[frame[sound], position[sound]] = False
        if len(frame) < BUFFER_CHUNK:
            break
    return lost
