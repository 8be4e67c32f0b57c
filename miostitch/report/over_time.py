"""How a recording went, minute by minute: what each receiver lost, and the device's voltages."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import I64
from miostitch.report.data import ReportData
from miostitch.schema import CERTAIN
from miostitch.store.layout import BUFFER_CHUNK
from miostitch.store.reader import BUFFERS, Store

WIDTHS_S = (
    0.1,
    1,
    5,
    10,
    60,
    600,
    3600,
    86_400,
)  # of a bin; a minute, but in short or very long times
FEWEST, MOST = 12, 1500  # bins
VOLTAGES = {"battery_voltage_raw": "battery", "input_voltage_raw": "input"}


@dataclass(frozen=True)
class OverTime:
    """What changes along a recording, bin by bin; None in a bin without frames."""

    width: float  # Seconds of a bin
    edges: list[float]  # Limits of the bins in seconds from the first frame
    # Share of the buffers of the result's frames that each receiver lacks, (recording, bin).
    lost: list[list[float | None]]
    damaged: list[float | None]  # Share of frames of the result, (bin,)
    uncertain: list[
        float | None
    ]  # Share of those not exact with certainty; None if unknown, (bin,)
    # Median of the values that the device sent, by the names of :data:`VOLTAGES`, (bin,).
    voltages: dict[str, list[float | None]]


def describe_over_time(store: Store, data: ReportData) -> OverTime:
    """Bin a recording by time; of the rows of buffers one chunk is in memory at a time."""
    width = _width(data.clock.duration)
    bins = int(data.clock.duration // width) + 1
    at = np.minimum(data.clock.time // width, bins - 1).astype(np.int32)
    frames = np.bincount(at, minlength=bins)
    buffers = frames * data.buffers
    known = data.scores is not None and data.buffers
    lost = [np.bincount(at, each, bins) for each in data.lacking] if known else []
    return OverTime(
        width,
        [round(width * n, 3) for n in range(bins + 1)],
        [_shares(each, buffers) for each in lost],
        _shares(np.bincount(at, data.frames.damaged, bins), frames),
        _shares(
            np.bincount(at, data.confidence < CERTAIN, bins),
            np.bincount(at, ~np.isnan(data.confidence), bins),
        ),
        _voltages(store, at, bins),
    )


def _width(duration: float) -> float:
    """Seconds of a bin: a minute, less where those would be few, more where they would be many."""
    fine = [width for width in WIDTHS_S if duration / width >= FEWEST and width <= 60]
    coarse = [width for width in WIDTHS_S if width >= 60 and duration / width <= MOST]
    if duration / 60 > MOST:
        return (coarse or [int(duration / MOST) + 1])[0]
    return fine[-1] if fine else WIDTHS_S[0]


def _shares(parts: NDArray[Any], totals: NDArray[Any]) -> list[float | None]:
    pairs = zip(parts.tolist(), totals.tolist(), strict=True)
    return [round(part / total, 6) if total else None for part, total in pairs]


def _voltages(store: Store, at: NDArray[Any], bins: int) -> dict[str, list[float | None]]:
    """Medians, which flipped bits of a few headers do not move."""
    found: dict[str, list[float | None]] = {}
    for column, name in VOLTAGES.items():
        if column not in store.buffer_columns:
            continue
        medians: list[float | None] = [None] * bins
        for number, values in _by_bin(store, column, at):
            medians[number] = float(np.median(values))
        if any(medians):  # a device that does not measure it sends zeros
            found[name] = medians
    return found


def _by_bin(store: Store, column: str, at: NDArray[Any]) -> Iterator[tuple[int, I64]]:
    """The values of a column bin by bin, for rows stand in the order of the frames.

    Yields: A bin and its values, int64 (row,), at least one.
    """
    number, held = -1, np.empty(0, np.int64)
    names = ("reconstructed_frame_index", column)
    for start in itertools.count(0, BUFFER_CHUNK):
        rows = store.arrays(BUFFERS, names, slice(start, start + BUFFER_CHUNK))
        frame, values = rows[names[0]], rows[column]
        sent = (frame >= 0) & (frame < len(at)) & (values >= 0)
        places, values = at[frame[sent]], values[sent]
        limits = np.flatnonzero(np.diff(places)) + 1
        for first, part in zip([0, *limits.tolist()], np.split(values, limits), strict=True):
            if len(part) and places[first] != number:
                if len(held):
                    yield number, held
                number, held = int(places[first]), part
            elif len(part):
                held = np.concatenate([held, part])
        if len(frame) < BUFFER_CHUNK:
            break
    if len(held):
        yield number, held
