"""When the frames of a recording, a store or a Dataset were made, in s from the first one on."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import xarray as xr

from miostitch.buffers.elapsed_time import ElapsedTime, join_times, measure_time, read_start
from miostitch.errors import UsageError
from miostitch.recording.recording import Recording
from miostitch.schema import FRAME, NO_FRAME, START_TIME, TIME_VARIABLES
from miostitch.store.reader import Store

NAMES = TIME, ESTIMATED = tuple(variable.name for variable in TIME_VARIABLES)


def time_of_recording(recording: Recording) -> ElapsedTime:
    """Measure the time of every frame by the table; by the frame rate where there is none."""
    count, table = recording.shape[0], recording.frames
    fps = recording.videos[0].fps
    return measure_time(table.frame_num[:count], table.timestamp_first[:count], fps)


def time_of_store(store: Store) -> ElapsedTime:
    """The time of every frame as stored; stores of format 1 have none, so it is measured."""
    stored = store.arrays("", NAMES)
    if {*NAMES} <= {*stored}:
        return ElapsedTime(stored[TIME], stored[ESTIMATED], read_start(store.attrs))
    known = store.arrays("", ("frame_num", "timestamp_first"))
    fps = Fraction(store.attrs["fps"])
    return measure_time(known["frame_num"], known["timestamp_first"], fps)


def timed_root(store: Store) -> xr.Dataset:
    """What a store says of its frames, with their times whatever its format."""
    root = store.table()
    if {*NAMES} <= {*root.coords}:
        return root
    measured = time_of_store(store)
    return root.assign_coords(time_coordinates(measured)).assign_attrs(measured.attrs)


def time_coordinates(
    elapsed: ElapsedTime, encoding: Mapping[str, Any] | None = None
) -> dict[str, xr.Variable]:
    """The coordinates that say when each frame was made."""
    columns = elapsed.columns
    return {v.name: xr.Variable(FRAME, columns[v.name], v.attrs, encoding) for v in TIME_VARIABLES}


def time_of_dataset(dataset: xr.Dataset) -> ElapsedTime | None:
    """The times that a Dataset has; None where it has none."""
    if not {*NAMES} <= {*dataset.coords}:
        return None
    seconds, estimated = (dataset[name].to_numpy() for name in NAMES)
    return ElapsedTime(seconds, estimated, read_start(dataset.attrs))


def from_first_frame(dataset: xr.Dataset) -> xr.Dataset:
    """The same frames, whose times begin with the first of them, and so does `start_time`."""
    known, count = time_of_dataset(dataset), dataset.sizes[FRAME]
    if known is None or not count:
        return dataset
    return join_dataset_times(dataset, [known])


def join_dataset_times(dataset: xr.Dataset, parts: Sequence[ElapsedTime]) -> xr.Dataset:
    """A Dataset of frames that are those of some parts, one after the other, and their times."""
    if "fps" not in dataset.attrs:
        raise UsageError("this Dataset has lost its attribute fps; begin with open_recording")
    counts = [len(part.seconds) for part in parts]
    origin, frame = np.repeat(np.arange(len(parts)), counts), np.arange(sum(counts))
    frame -= np.repeat(np.cumsum(counts) - counts, counts)
    numbers = np.full(len(frame), NO_FRAME)
    if "frame_num" in dataset.coords:
        numbers = dataset["frame_num"].to_numpy()
    return _with_times(
        dataset, join_times(parts, origin, frame, numbers, Fraction(dataset.attrs["fps"]))
    )


def _with_times(dataset: xr.Dataset, elapsed: ElapsedTime) -> xr.Dataset:
    """A Dataset with these times, and with no other start."""
    attrs = {name: value for name, value in dataset.attrs.items() if name != START_TIME}
    timed = dataset.assign_coords(time_coordinates(elapsed))
    timed.attrs = attrs | elapsed.attrs
    return timed
