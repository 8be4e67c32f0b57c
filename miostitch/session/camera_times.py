"""Times of a behaviour camera, as tables of other programs have them, and shared events."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from miostitch.arrays import F64
from miostitch.errors import InputError, MissingInputError, UsageError
from miostitch.text import amount, printable

Unit = Literal["s", "ms"]

UNIX_FROM = 1e8
"""Times from here on, in s, are those since 1970; others count from a start of their own."""

USUAL = (
    "unix time stamp (ms)", "unix_time", "unix_timestamp", "timestamp", "timestamps", "time",
    "time stamp (ms)", "times",
)  # fmt: skip
"""Names of the column of times, the likeliest first; letters of either case."""

SEPARATORS = (",", ";", "\t")
NUMBER = re.compile(r"[-+]?\d[\d.]*(e[-+]?\d+)?", re.IGNORECASE)
MILLISECONDS = re.compile(r"(?<![a-z])(ms|msec|milliseconds?)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class CameraTimes:
    """When a camera made its frames, on its own clock."""

    path: str
    seconds: F64  # (camera frame,)
    unit: Unit = "s"  # In which the file has them

    @property
    def name(self) -> str:
        """What the camera is called."""
        return Path(self.path).stem


def read_camera_times(
    path: str, column: str | None = None, unit: Unit | None = None
) -> CameraTimes:
    """Read the time of each frame of a camera, one a line, in s or ms."""
    table = _read_table(path)
    name = _choose_column(table, path, column)
    unit = unit or _unit_of(name)
    seconds = _to_numbers(table, path, name) * (1e-3 if unit == "ms" else 1.0)
    back = np.flatnonzero(np.diff(seconds) < 0)
    if len(back):
        msg = f"{path}: line {table.index[back[0] + 1]}: the time goes backwards"
        raise InputError(f"{msg}; sort the table, or name another column with --column")
    return CameraTimes(path, seconds, unit)


@dataclass(frozen=True)
class CameraClock:
    """How a camera's clock runs against the recording's: linear, by what both recorded."""

    offset_s: float  # By which it is ahead at `middle_s`
    drift_ppm: float | None  # How much faster it runs; None where one event alone is known
    middle_s: float  # On the camera's clock
    events: int
    worst_s: float  # How far the worst event is from the line

    def to_recording(self, seconds: F64) -> F64:
        """Times on the camera's clock as times on that of the recording."""
        rate = 1e-6 * (self.drift_ppm or 0.0)
        return seconds - self.offset_s - rate * (seconds - self.middle_s)


def read_clock(path: str, unit: Unit, start: float) -> CameraClock:
    """Fit the clocks by events: their times in the recording, and on the camera's clock.

    The first in s, from the first frame on or since 1970, the others in ``unit``. ``start``: when
    the recording started, Unix time in s, or NaN.
    """
    table = _read_table(path)
    if len(table.columns) != 2:
        msg = f"{path}: has {amount(len(table.columns), 'column')}, and events have two"
        raise InputError(f"{msg}: the time in the recording in s, and the time of the camera")
    ours, camera = (_to_numbers(table, path, name) for name in table.columns)
    camera = camera * (1e-3 if unit == "ms" else 1.0)
    if counts_from_1970(ours) and np.isnan(start):
        msg = f"{path}: has Unix times, and when the recording started is not known"
        raise InputError(f"{msg}; give times in s from its first frame")
    return fit_clock(since(ours, start), since(camera, start))


def counts_from_1970(seconds: F64) -> bool:
    """Whether times are those since 1970."""
    return bool(seconds[0] >= UNIX_FROM)


def since(seconds: F64, start: float) -> F64:
    """Unix times as those from a start on, if it is known; others as they are."""
    return seconds - start if counts_from_1970(seconds) and not np.isnan(start) else seconds


def fit_clock(ours: F64, camera: F64) -> CameraClock:
    """Fit a line through the times of events, (event,): offset, and drift where two are known."""
    middle, ahead = float(camera.mean()), camera - ours
    lever = camera - middle
    spread = float(lever @ lever)
    drift = float(lever @ ahead) / spread if spread > 0 else None
    offset = float(ahead.mean())
    left = ahead - offset - (drift or 0.0) * lever
    ppm = None if drift is None else drift * 1e6
    return CameraClock(offset, ppm, middle, len(ours), float(np.abs(left).max()))


def nearest(times: F64, others: F64) -> tuple[np.ndarray, F64]:
    """For each time the position of the nearest of others, ascending, and how much later that is.

    >>> nearest(np.array([0.0, 0.9, 9.0]), np.array([0.1, 1.0]))
    (array([0, 1, 1]), array([ 0.1,  0.1, -8. ]))
    """
    after = np.searchsorted(others, times).clip(1, max(len(others) - 1, 1))
    before = after - 1
    after = after.clip(0, len(others) - 1)
    first = times - others[before] <= others[after] - times
    place = np.where(first, before, after)
    return place, others[place] - times


def _read_table(path: str) -> pd.DataFrame:
    """Read a table of numbers, with or without a line of names."""
    if not Path(path).is_file():
        raise MissingInputError(f"{path}: no such table; check the path")
    try:
        with open(path, encoding="utf-8-sig") as file:
            head = file.readline().strip()
        separator = max(SEPARATORS, key=head.count)
        bare = all(NUMBER.fullmatch(cell.strip()) for cell in head.split(separator))
        table = pd.read_csv(
            path, sep=separator, header=None if bare else 0, skip_blank_lines=False
        ).dropna(how="all")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no table of times ({error}); make it again") from error
    if not len(table):
        raise InputError(f"{path}: has no line; name another table")
    table.index += 1 if bare else 2  # lines of the file
    return table.rename(columns=lambda name: str(name).strip())


def _choose_column(table: pd.DataFrame, path: str, column: str | None) -> str:
    names = [*map(str, table.columns)]
    if column is not None:
        if column in names:
            return column
    elif len(names) == 1:
        return names[0]
    else:
        lower = {name.lower(): name for name in reversed(names)}
        known = [lower[name] for name in USUAL if name in lower]
        if known:
            return known[0]
    shown = ", ".join(map(printable, names))
    what = "which column has the times is not clear" if column is None else f"no column {column}"
    raise UsageError(f"{path}: {what}; give --column, one of {shown}")


def _unit_of(name: str) -> Unit:
    return "ms" if MILLISECONDS.search(name) else "s"


def _to_numbers(table: pd.DataFrame, path: str, name: str) -> F64:
    numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        value = printable(str(table[name].iloc[wrong[0]]))
        msg = f"{path}: line {table.index[wrong[0]]}: {value!r} is no time"
        raise InputError(f"{msg}; correct or remove the line")
    return numbers
