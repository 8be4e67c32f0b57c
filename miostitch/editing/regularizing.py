"""Give a recording one frame per tick of the device's counter, lazily."""

from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from miostitch.arrays import F64
from miostitch.buffers.elapsed_time import ElapsedTime, read_start
from miostitch.editing.frame_origins import list_runs
from miostitch.editing.operations import remove_frames
from miostitch.editing.picking import in_blocks
from miostitch.editing.regular import (
    LEFT_OUT,
    MOST_FILLED,
    WORST_S,
    CountedFrames,
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
    RECEIVED,
    REGULAR,
    REGULAR_FRAME,
    START_TIME,
    TIME_VARIABLES,
    VIDEO,
    WIDTH,
)

TIME, ESTIMATED = (variable.name for variable in TIME_VARIABLES)
ORIGIN, ORIGIN_FRAME = (variable.name for variable in ORIGIN_VARIABLES)
BUFFERS = "num_buffers"


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
        The recording has no numbers of the device.

    Notes
    -----
    Frames without a number, with a wrong one or with that of another frame have no place among
    the ticks. They are left out, which the history lists; of several with the same number the
    one with the most buffers is kept.

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
    (49, 54, 5)
    >>> folder.cleanup()
    """
    require_fill(fill, max_fill)
    opened = recording if isinstance(recording, xr.Dataset) else open_recording(recording)
    dataset = without_lost(opened)
    return regularize_frames(dataset, fill, max_fill, dataset.sizes[HEIGHT] * dataset.sizes[WIDTH])


def regularize_frames(dataset: xr.Dataset, fill: Fill, max_fill: int, pixels: int) -> xr.Dataset:
    """Do so with frames that are open and readable; ``pixels``: of a frame as it was recorded."""
    path = ", ".join(dataset.attrs.get("origins", ["this Dataset"]))
    if REGULAR in dataset.attrs:
        raise UsageError(f"{path}: has a regular time base already; write it with write_recording")
    needed = {"frame_num", TIME, ESTIMATED, ORIGIN, ORIGIN_FRAME}
    if not needed <= {*dataset.coords} or (dataset["frame_num"] < 0).all():
        msg = f"{path}: has no numbers of the device, by which frames could be filled"
        raise InputError(f"{msg}; name a recording with its table")
    dataset, left_out = keep_counted(in_blocks(dataset))
    regular = RegularFrames.of(dataset["frame_num"].to_numpy(), max_fill, path)
    block = max(dataset[VIDEO.name].variable.chunksizes[FRAME])
    parameters = {"fill": fill, "max_fill": max_fill, **left_out}
    places = [dataset[name].to_numpy().astype(np.int64) for name in (ORIGIN, ORIGIN_FRAME)]
    made = fill_columns(dataset.drop_vars(VIDEO.name), regular, pixels, block)
    made = made.assign({VIDEO.name: regular.fill(dataset[VIDEO.name], fill, block)})
    chosen = np.arange(len(regular.frame_num))
    made = made.assign_coords({REGULAR_FRAME.name: (FRAME, chosen, REGULAR_FRAME.attrs)})
    done = done_step("regularize", parameters, dataset.sizes[FRAME], len(chosen))
    history = [*dataset.attrs.get("history", []), done]
    facts = {**parameters, **made.attrs.get(REGULAR, {}), "frames": list_runs(*places)}
    made.attrs |= {"history": history, REGULAR: facts}
    return made.set_xindex("frame_num") if "frame_num" in dataset.xindexes else made


def keep_counted(dataset: xr.Dataset) -> tuple[xr.Dataset, dict[str, dict[str, int]]]:
    """Leave out the frames that have no place in a regular time base, and count them by why."""
    numbers = dataset["frame_num"].to_numpy()
    if (numbers[:1] >= 0).all() and (np.diff(numbers) > 0).all():  # without asking for more
        return dataset, {}
    buffers = dataset[BUFFERS].to_numpy() if BUFFERS in dataset.coords else None
    found = CountedFrames.of(numbers, buffers)
    if not found.left_out:
        return dataset, {}
    gone = np.setdiff1d(np.arange(len(numbers)), found.kept)
    return remove_frames(dataset, gone), {LEFT_OUT: found.left_out}


def fill_columns(known: xr.Dataset, regular: RegularFrames, pixels: int, block: int) -> xr.Dataset:
    """What is known of each frame of a regular time base; of those that are filled, nothing.

    ``known``: the coordinates of the recording; ``block``: frames of a chunk of those that are
    lazy.
    """
    filled = xr.Variable(FRAME, regular.filled)
    nothing = {**nothing_received(pixels), RECEIVED.name: 0, ESTIMATED: True}
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
    made = xr.Dataset(coords=coords, attrs=known.attrs)
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
    made.attrs = attrs | elapsed.attrs | {REGULAR: {WORST_S: times.worst_s}}
    return made


def _fit(regular: RegularFrames, seconds: F64) -> F64:
    return regular.fit(seconds).seconds
