"""Give a recording one frame per tick of the device's counter, lazily."""

from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from miostitch.arrays import F64
from miostitch.buffers.elapsed_time import ElapsedTime, read_start
from miostitch.editing.frame_origins import list_runs
from miostitch.editing.picking import in_blocks
from miostitch.editing.regular import (
    MOST_FILLED,
    Fill,
    RegularFrames,
    nothing_received,
    require_fill,
)
from miostitch.errors import InputError, UsageError
from miostitch.recording.datasets import done_step, open_recording, without_lost
from miostitch.recording.frame_times import is_stitched_lazily
from miostitch.recording.inputs import RecordingInput
from miostitch.schema import (
    FILLED,
    FRAME,
    HEIGHT,
    ORIGIN_VARIABLES,
    REGULAR,
    REGULAR_FRAME,
    START_TIME,
    TIME_VARIABLES,
    VIDEO,
    WIDTH,
)

TIME, ESTIMATED = (variable.name for variable in TIME_VARIABLES)
ORIGIN, ORIGIN_FRAME = (variable.name for variable in ORIGIN_VARIABLES)
WITHOUT_NUMBERS = "has no numbers of the device, by which frames could be filled"


def regularize(
    recording: RecordingInput, fill: Fill = "previous", max_fill: int = MOST_FILLED
) -> xr.Dataset:
    """Have one frame for each tick of the device's counter; fill those that no receiver has.

    Parameters
    ----------
    recording
        A recording or a result: its path, or what :func:`open_recording`, :func:`stitch` and the
        edits give.
    fill
        What a frame that no receiver has is: ``previous``, the frame before the gap; ``linear``,
        the rounded mean of the frames around the gap, weighted by how near they are; ``zero``,
        black.
    max_fill
        Frames of a gap that are filled at most. A longer gap is left and begins another epoch,
        and so does a counter that falls, as after a restart of the device.

    Returns
    -------
    xarray.Dataset
        ``video`` uint8 (frame, height, width), lazy as before; the frames of the recording are
        unchanged. ``filled`` bool (frame,) says which frames are made; these are ``damaged``, lack
        all pixels, have no source and no time of reception, and their confidence is NaN.
        ``frame_num`` is complete in each epoch. ``time`` float64 (frame,), in s, is the straight
        line that fits the times of the frames of the epoch best.

    Raises
    ------
    UsageError
        ``fill`` or ``max_fill`` is impossible, or the recording was made regular before and is
        not written yet.
    InputError
        The recording has no numbers of the device, or lacks that of a frame.

    Notes
    -----
    Of a recording that is open, nothing is read. Of a stitch that is not written, nothing is
    stitched before frames or times are asked for.

    Examples
    --------
    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> config = miostitch.SimulationConfig(frames=60, frame_loss=0.1, seed=1)
    >>> session = miostitch.simulate(folder.name, config)
    >>> recording = miostitch.open_recording(session.recordings[0])
    >>> regular = miostitch.regularize(recording, fill="linear")
    >>> recording.sizes["frame"], regular.sizes["frame"], int(regular.filled.sum())
    (55, 60, 5)
    >>> folder.cleanup()
    """
    require_fill(fill, max_fill)
    opened = recording if isinstance(recording, xr.Dataset) else open_recording(recording)
    path = ", ".join(opened.attrs.get("origins", ["this Dataset"]))
    if REGULAR in opened.attrs:
        raise UsageError(f"{path}: has a regular time base already; write it with write_recording")
    dataset = in_blocks(without_lost(opened))
    needed = {"frame_num", TIME, ESTIMATED, ORIGIN, ORIGIN_FRAME}
    if not needed <= {*dataset.coords} or (dataset["frame_num"] < 0).all():
        raise InputError(f"{path}: {WITHOUT_NUMBERS}; give it a table")
    regular = RegularFrames.of(dataset["frame_num"].to_numpy(), max_fill, path)
    block = max(dataset[VIDEO.name].variable.chunksizes[FRAME])
    pixels = dataset.sizes[HEIGHT] * dataset.sizes[WIDTH]
    parameters = {"fill": fill, "max_fill": max_fill}
    places = [dataset[name].to_numpy().astype(np.int64) for name in (ORIGIN, ORIGIN_FRAME)]
    made = fill_columns(dataset.drop_vars(VIDEO.name), regular, pixels, parameters, block)
    made = made.assign({VIDEO.name: regular.fill(dataset[VIDEO.name], fill, block)})
    chosen = np.arange(len(regular.frame_num))
    made = made.assign_coords({REGULAR_FRAME.name: (FRAME, chosen, REGULAR_FRAME.attrs)})
    made = made.assign_attrs({REGULAR: {**parameters, "frames": list_runs(*places)}})
    return made.set_xindex("frame_num") if "frame_num" in dataset.xindexes else made


def fill_columns(
    known: xr.Dataset,
    regular: RegularFrames,
    pixels: int,
    parameters: dict[str, Any],
    block: int,
) -> xr.Dataset:
    """What is known of each frame of a regular time base; of those that are filled, nothing.

    ``known``: the coordinates of the recording; ``pixels``: those of a frame as it was recorded;
    ``parameters``: how it is filled, for the history; ``block``: frames of those that are lazy.
    """
    filled = xr.Variable(FRAME, regular.filled)
    nothing = {**nothing_received(pixels), ESTIMATED: True}
    place = regular.previous
    coords: dict[str, Any] = {
        str(name): c for name, c in known.coords.items() if c.dims != (FRAME,)
    }
    for name in (str(each) for each in known.coords if known[each].dims == (FRAME,)):
        column = known[name].variable.to_base_variable()
        values = column.isel({FRAME: place})
        if name in nothing:
            values = _replaced(values, filled, nothing[name])
        elif name == FILLED.name:
            values = values | filled
        elif column.dtype.kind == "f":  # times, and what is only said of frames that were received
            values = _replaced(values, filled, np.nan)
        coords[name] = values.chunk({FRAME: block}) if column.chunks else values
        coords[name].attrs = column.attrs
    coords |= {
        FRAME: (FRAME, np.arange(len(place)), known[FRAME].attrs),
        "frame_num": (FRAME, regular.frame_num, known["frame_num"].attrs),
    }
    coords.setdefault(FILLED.name, (FRAME, regular.filled, FILLED.attrs))
    done = done_step("regularize", parameters, known.sizes[FRAME], len(place))
    attrs = known.attrs | {"history": [*known.attrs.get("history", []), done]}
    made = xr.Dataset(coords=coords, attrs=attrs)
    return _with_regular_times(made, known, regular, block)


def _replaced(values: xr.Variable, where: xr.Variable, value: float) -> xr.Variable:
    """A column with another value in some frames, lazy as before."""
    made: xr.Variable = values.where(~where, np.array(value, values.dtype))  # type: ignore[no-untyped-call]
    return made


def _with_regular_times(
    made: xr.Dataset, known: xr.Dataset, regular: RegularFrames, block: int
) -> xr.Dataset:
    """Put the frames on the straight lines through the times of those that were received."""
    column = known[TIME].variable
    if is_stitched_lazily(known):
        sizes = ((len(regular.frame_num),),)
        whole = column.data.rechunk(-1)
        fitted = whole.map_blocks(partial(_fit, regular), dtype=column.dtype, chunks=sizes)
        return made.assign_coords({TIME: (FRAME, fitted.rechunk(block), column.attrs)})
    times = regular.fit(column.to_numpy())
    start = read_start(known.attrs) + times.shift
    elapsed = ElapsedTime(times.seconds, made[ESTIMATED].to_numpy(), start)
    attrs = {name: value for name, value in made.attrs.items() if name != START_TIME}
    made = made.assign_coords({TIME: (FRAME, times.seconds, column.attrs)})
    made.attrs = attrs | elapsed.attrs
    return made


def _fit(regular: RegularFrames, seconds: F64) -> F64:
    return regular.fit(seconds).seconds
