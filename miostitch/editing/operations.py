"""Trim, remove frames and concatenate, lazily, on the Dataset of :func:`miostitch.open_recording`.

These only select frames. Each keeps its file and its position there, by which
:func:`miostitch.write_recording` later finds everything else.
"""

import operator
import reprlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import xarray as xr

from miostitch.arrays import F64, I64
from miostitch.errors import InputError, UsageError
from miostitch.ranges import format_frames, parse_frames
from miostitch.recording.datasets import (
    done_step,
    in_chunks,
    record_selection,
    union,
)
from miostitch.recording.frame_times import from_first_frame, join_dataset_times, time_of_dataset
from miostitch.recording.recording import require_numbered
from miostitch.schema import (
    COMPOSITE,
    EPOCHS,
    FILLED,
    FRAME,
    HEIGHT,
    LOST,
    REGULAR,
    START_TIME,
    VIDEO,
    WIDTH,
)
from miostitch.text import amount

# How far counter and clock may disagree across a boundary: frames, and share of the frames.
TOLERANCE_FRAMES, TOLERANCE_SHARE = 3.0, 0.02

LOOKED_AT = 64  # Frames of an end that are searched for a time together


def trim(dataset: xr.Dataset, start: int = 0, end: int = 0) -> xr.Dataset:
    """Leave frames out at the start and the end.

    Parameters
    ----------
    dataset
        A recording.
    start, end
        How many frames to leave out.

    Returns
    -------
    xarray.Dataset
        The frames between, counted from 0 again, lazy as before.

    Raises
    ------
    UsageError
        No frame would be left, or a number is negative or no integer.

    Examples
    --------
    >>> import xarray as xr, numpy as np
    >>> kept = trim(xr.Dataset({"video": ("frame", np.arange(6))}), 1, 2)
    >>> kept.video.values, kept.frame.values
    (array([1, 2, 3]), array([0, 1, 2]))
    """
    dataset, count = record_selection(dataset), dataset.sizes[FRAME]
    start, end = require_left(count, start, end)
    kept = dataset.isel({FRAME: slice(start, count - end)})
    return _renumber(kept, "trim", {"start": start, "end": end}, count)


def require_left(count: int, start: int, end: int) -> tuple[int, int]:
    """Check how many of so many frames are to be left out at the start and the end."""
    start, end = _to_integer(start, "start"), _to_integer(end, "end")
    if start < 0 or end < 0:
        raise UsageError(f"trim {start} and {end}: numbers of frames to leave out are needed")
    if start + end >= count:
        left = f"that leaves none of {amount(count, 'frame')}; leave out fewer"
        raise UsageError(f"trim {start} and {end}: {left}")
    return start, end


def remove_frames(dataset: xr.Dataset, frames: str | Iterable[int]) -> xr.Dataset:
    """Leave single frames out.

    Parameters
    ----------
    dataset
        A recording.
    frames
        Positions, in any order, or a text as :func:`parse_frames` takes it.

    Returns
    -------
    xarray.Dataset
        The other frames, counted from 0 again, lazy as before; without those that are ``lost``.

    Raises
    ------
    UsageError
        A position is not there or is no integer, as in a mask, or no frame would be left.
    """
    dataset, count = record_selection(dataset), dataset.sizes[FRAME]
    chosen = parse_frames(frames) if isinstance(frames, str) else _to_positions(frames)
    wrong = chosen[(chosen < 0) | (chosen >= count)]
    if len(wrong):
        raise UsageError(
            f"frame {wrong[0]} is not there to be removed; frames are 0 to {count - 1}"
        )
    keep = np.ones(count, bool)
    keep[chosen] = False
    if LOST.name in dataset.coords:  # before others come into one chunk with them
        keep &= ~dataset[LOST.name].to_numpy()
        chosen = np.flatnonzero(~keep)
    if not keep.any():
        raise UsageError(f"no frame of {count} would be left; keep at least one")
    parameters = {"frames": format_frames(chosen)}
    return _renumber(
        dataset.isel({FRAME: np.flatnonzero(keep)}), "remove_frames", parameters, count
    )


def concat(datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join recordings, one behind the other.

    Parameters
    ----------
    datasets
        At least one recording, in the order of their time: segments of one receiver's recording,
        or results.

    Returns
    -------
    xarray.Dataset
        All frames, counted from 0, lazy as before, with the coordinates that all of them have.
        ``recordings`` are those of all, each name once, and ``source`` counts in them.

    Raises
    ------
    InputError
        Frame sizes or frame rates differ.
    UsageError
        There is nothing to join, or something that is no recording.

    Notes
    -----
    The device's counters and the times stay as received. ``frame_num`` is what a frame is called
    by every receiver: where only the receiver was restarted it continues, and where the device
    was, it falls, by which :func:`miostitch.stitch` finds the restart. Each entry of ``seams`` in
    the history says what counter and clock make of it: ``continues`` where they agree on the time
    between, ``reboot`` where the counter falls, ``unclear`` where it does not and yet disagrees,
    ``backwards`` where the later recording comes first, ``unknown`` without a table.
    """
    given = [*datasets] if isinstance(datasets, Iterable) else [datasets]
    if not all(isinstance(each, xr.Dataset) for each in given):
        msg = "must be a list of recordings, as in concat([a, b])"
        raise UsageError(f"concat of {reprlib.repr(datasets)}: {msg}")
    if not given:
        raise UsageError("nothing to join; name at least one recording")
    parts = [_with_flags(in_chunks(record_selection(dataset)), given) for dataset in given]
    _require_alike(parts)
    names, places = union([part.attrs.get("recordings", []) for part in parts])
    require_numbered(len(names))
    joined = _join_times(_join_frames(parts, places), parts)
    origins, codes = union([part.attrs.get("origins", []) for part in parts])
    if "origin" in joined.coords:
        moved = [code[part.origin.to_numpy()] for code, part in zip(codes, parts, strict=True)]
        joined["origin"] = joined.origin.copy(data=np.concatenate(moved).astype(np.int16))
    first, *others = (part.attrs for part in parts)
    attrs = {k: v for k, v in first.items() if all(other.get(k) == v for other in others)}
    for stale in (START_TIME, EPOCHS):
        attrs.pop(stale, None)
    attrs |= {"origins": origins, "history": []}
    attrs |= {START_TIME: joined.attrs[START_TIME]} if START_TIME in joined.attrs else {}
    if names:
        attrs["recordings"] = names
    if lags := _collect_lags(parts):
        attrs["lags"] = lags
    if stitches := _collect_stitches(parts):
        attrs["stitches"] = stitches
    counts = [part.sizes[FRAME] for part in parts]
    parameters = {
        "segments": [_describe_segment(part) for part in parts],
        "seams": [
            {"frame": int(frame), **describe_seam(before, after)}
            for frame, before, after in zip(np.cumsum(counts), parts, parts[1:], strict=False)
        ],
    }
    return _renumber(joined.assign_attrs(attrs), "concat", parameters, sum(counts))


def describe_seam(before: xr.Dataset, after: xr.Dataset) -> dict[str, Any]:
    """Find out by counter and clock whether a recording continues another one.

    ``frame_num``: the last one before and the first one after; ``gap_s``: the time between them.
    """
    first, second = _ends(before), _ends(after)
    if first is None or second is None:
        return {"kind": "unknown"}
    (last, last_time), (following, following_time) = first[1], second[0]
    step, gap = following - last, following_time - last_time
    frames, seconds = (first[1] - first[0]) + (second[1] - second[0])
    expected = gap * frames / seconds if seconds > 0 else np.nan
    if gap < 0:
        kind = "backwards"
    elif step <= 0:
        kind = "reboot"
    elif abs(step - expected) <= TOLERANCE_FRAMES + TOLERANCE_SHARE * expected:
        kind = "continues"
    else:
        kind = "unclear"
    numbers = [int(last), int(following)]
    return {"kind": kind, "frame_num": numbers, "gap_s": round(float(gap), 3)}


def _describe_segment(part: xr.Dataset) -> dict[str, Any]:
    return {
        "recording": part.attrs.get("recording", ", ".join(part.attrs.get("recordings", []))),
        "frames": part.sizes[FRAME],
        "history": part.attrs.get("history", []),
    }


def _to_integer(number: int, name: str) -> int:
    """Convert a number of frames to a plain integer."""
    if not isinstance(number, bool | np.bool_):
        with suppress(TypeError):
            return operator.index(number)
    msg = f"trim with {name} {number!r}: a number of frames to leave out is needed, as in 10"
    raise UsageError(msg)


def _to_positions(frames: Iterable[int]) -> I64:
    """Convert positions of frames to integers, (n,)."""
    try:
        found = np.array([*frames])
    except (TypeError, ValueError):  # one number, or lists of different lengths
        found = np.array(None)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        msg = f"frames {reprlib.repr(frames)}: must be positions, as in [0, 5, 7] or '0,5,10-20'"
        raise UsageError(f"{msg}; for a mask use numpy.flatnonzero(mask)")
    return found if found.size else np.empty(0, np.int64)


def _renumber(
    dataset: xr.Dataset, step: str, parameters: dict[str, Any], before: int
) -> xr.Dataset:
    """Count the frames from 0, and append the step to the history."""
    count = dataset.sizes[FRAME]
    attrs = dataset[FRAME].attrs if FRAME in dataset.coords else {}
    done = done_step(step, parameters, before, count)
    return (
        from_first_frame(dataset)
        .assign_coords({FRAME: (FRAME, np.arange(count), attrs)})
        .assign_attrs(history=[*dataset.attrs.get("history", []), done])
    )


def _require_alike(parts: Sequence[xr.Dataset]) -> None:
    """Check that frame sizes and frame rates are the same."""
    for what, facts in (
        ("frames of different sizes", [f"{p.sizes[WIDTH]}x{p.sizes[HEIGHT]}" for p in parts]),
        ("different frame rates", [f"{part.attrs.get('fps')} fps" for part in parts]),
    ):
        for part, fact in zip(parts, facts, strict=True):
            if fact != facts[0]:
                one, other = (", ".join(p.attrs.get("origins", ["?"])) for p in (parts[0], part))
                msg = f"{what}: {one} has {facts[0]}, {other} has {fact}; join only what belongs"
                raise InputError(f"{msg} together")


def _with_flags(part: xr.Dataset, parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Add the coordinates ``lost`` and ``filled`` if any of the recordings has them."""
    if REGULAR in part.attrs:
        name = ", ".join(part.attrs["origins"])
        msg = f"{name}: its regular time base is not written; join first, and regularize then"
        raise UsageError(f"{msg}, or write it with write_recording")
    for flag in (LOST, FILLED):
        if flag.name not in part.coords and any(flag.name in each.coords for each in parts):
            no_frame = np.zeros(part.sizes[FRAME], np.bool_)
            part = part.assign_coords({flag.name: (FRAME, no_frame, flag.attrs)})
    return part


def _collect_lags(parts: Sequence[xr.Dataset]) -> dict[str, int]:
    """Collect the lags that files were opened with, except 0."""
    lags: dict[str, int] = {}
    for part in parts:
        known, origins = part.attrs.get("lags", {}), part.attrs.get("origins", [])
        used = np.unique(part.origin.to_numpy()).tolist() if "origin" in part.coords else []
        for path in [origins[number] for number in used]:
            if lags.setdefault(path, known.get(path, 0)) != known.get(path, 0):
                raise UsageError(f"{path}: was opened with two lags; open it with the same")
    return {path: lag for path, lag in lags.items() if lag}


def _collect_stitches(parts: Sequence[xr.Dataset]) -> dict[str, Any]:
    """Collect how the frames of stitches that are not written are stitched."""
    stitches: dict[str, Any] = {}
    for part in parts:
        for name, facts in part.attrs.get("stitches", {}).items():
            if stitches.setdefault(name, facts) != facts:
                msg = f"{name}: was stitched in two ways; write one of them with write_recording"
                raise UsageError(msg)
    return stitches


def _join_frames(parts: Sequence[xr.Dataset], places: Sequence[I64]) -> xr.Dataset:
    """Concatenate all frames; `places`: of the recordings of each part among those of all."""
    shared = set.intersection(*({*part.coords} for part in parts))  # others are left out
    alike = []
    for part, code in zip(parts, places, strict=True):
        part = part[[VIDEO.name]].drop_indexes("frame_num", errors="ignore")
        part = part.drop_vars({*part.coords} - shared)
        if "source" in shared:
            part = part.assign_coords(source=_recode_sources(part.source, code))
        alike.append(part)
    joined: xr.Dataset = xr.concat(
        alike,
        FRAME,
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
    return joined.set_xindex("frame_num") if "frame_num" in joined.coords else joined


def _join_times(joined: xr.Dataset, parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Put the times of all parts on one clock, if all have some."""
    times = [each for part in parts if (each := time_of_dataset(part)) is not None]
    if len(times) < len(parts):
        return joined
    return join_dataset_times(joined, times)


def _recode_sources(source: xr.DataArray, code: I64) -> xr.DataArray:
    """Translate sources to numbers of another list; composites stay composites."""
    table = np.append(code, COMPOSITE).astype(np.int8)
    recoded: xr.DataArray = xr.apply_ufunc(
        table.__getitem__, source, dask="parallelized", output_dtypes=[np.int8], keep_attrs=True
    )
    return recoded


def _ends(part: xr.Dataset) -> F64 | None:
    """Counter and time of the first and the last frame that have both, (end, fact)."""
    if not {"frame_num", "timestamp_first"} <= {*part.coords}:
        return None
    counted = np.flatnonzero(part.frame_num.to_numpy() >= 0)
    first, last = _first_timed(part, counted), _first_timed(part, counted[::-1])
    return None if first is None or last is None else np.array([first, last])


def _first_timed(part: xr.Dataset, frames: I64) -> tuple[float, float] | None:
    """Counter and time of the first of some frames that has a time.

    Of a stitch that is not written, times are computed block by block: few are asked for.
    """
    for start in range(0, len(frames), LOOKED_AT):
        some = part.isel({FRAME: frames[start : start + LOOKED_AT]})
        times = some.timestamp_first.to_numpy()
        timed = np.flatnonzero(np.isfinite(times))
        if len(timed):
            return float(some.frame_num[timed[0]]), float(times[timed[0]])
    return None
