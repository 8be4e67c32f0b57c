"""When the frames of a Dataset were made, in s from the first one on."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from miostitch.arrays import F64, I64, Bools
from miostitch.buffers.elapsed_time import (
    NAMES,
    TIME,
    ElapsedTime,
    join_times,
    read_start,
    time_of_store,
)
from miostitch.errors import UsageError
from miostitch.schema import FRAME, NO_FRAME, START_TIME, TIME_VARIABLES
from miostitch.store.datasets import open_table
from miostitch.store.reader import Store


def timed_root(store: Store) -> xr.Dataset:
    """What a store says of its frames, with their times whatever its format."""
    root = open_table(store)
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
    lazily = is_stitched_lazily(dataset)
    names = (*NAMES, "timestamp_first") if lazily else NAMES
    table = xr.Dataset({name: dataset[name].variable for name in names}).compute()
    seconds, estimated = (table[name].to_numpy() for name in NAMES)
    start = read_start(dataset.attrs)
    if lazily and not estimated.all():  # its start is not known before
        place = int(np.flatnonzero(~estimated)[0])
        start = float(table["timestamp_first"][place]) - float(seconds[place])
        start = read_start(ElapsedTime(seconds, estimated, start).attrs)
    return ElapsedTime(seconds, estimated, start)


def is_stitched_lazily(dataset: xr.Dataset) -> bool:
    """Whether the times of a Dataset are known only after its frames are stitched."""
    return "stitches" in dataset.attrs and dataset[TIME].chunks is not None


def _from_first_frame_lazily(dataset: xr.Dataset) -> xr.Dataset:
    """Times that begin with the first frame, as :func:`from_first_frame` makes them."""
    numbers, fps = dataset["frame_num"].to_numpy(), Fraction(dataset.attrs["fps"])
    sizes = dataset[TIME].chunks
    seconds, estimated = (dataset[name].data.rechunk(-1) for name in NAMES)
    made = {}
    for variable in TIME_VARIABLES:
        data = seconds.map_blocks(
            partial(_begin_at_first, name=variable.name, frame_num=numbers, fps=fps),
            estimated,
            dtype=variable.dtype,
            meta=np.empty(0, variable.dtype),
        )
        made[variable.name] = xr.Variable(FRAME, data.rechunk(sizes), variable.attrs)
    return dataset.assign_coords(made)


def _begin_at_first(
    seconds: F64, estimated: Bools, *, name: str, frame_num: I64, fps: Fraction
) -> NDArray[Any]:
    frames = np.arange(len(seconds))
    part = ElapsedTime(seconds, estimated, 0.0)
    return join_times([part], np.zeros_like(frames), frames, frame_num, fps).columns[name]


def from_first_frame(dataset: xr.Dataset) -> xr.Dataset:
    """The same frames, whose times begin with the first of them, and so does `start_time`."""
    count = dataset.sizes[FRAME]
    if not {*NAMES} <= {*dataset.coords} or not count:
        return dataset
    if is_stitched_lazily(dataset):
        return _from_first_frame_lazily(dataset)
    known = time_of_dataset(dataset)
    assert known is not None
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
