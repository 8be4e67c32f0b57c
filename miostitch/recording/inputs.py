"""Inputs of a run that may be open already."""

import os
from typing import Any

import numpy as np
import xarray as xr

from miostitch.config.choices import given, require_one_way
from miostitch.errors import UsageError, list_warnings
from miostitch.execution.products import STORE
from miostitch.recording.datasets import label_frames, list_lag_notices, open_sources
from miostitch.recording.files import ReadOptions, StrPath
from miostitch.recording.recording import Recording, find_opened
from miostitch.schema import LOST, ORIGIN_VARIABLES, VIDEO

RecordingInput = StrPath | xr.Dataset
"""A path, or what :func:`miostitch.open_recording` gives."""

WRITE_FIRST = "write it with write_recording and name what was written"

ORIGIN = [variable.name for variable in ORIGIN_VARIABLES]


def require_opened_so(dataset: xr.Dataset, options: ReadOptions) -> None:
    """Refuse options that decide how a recording is opened, for it is open already."""
    if "origins" not in dataset.attrs:
        msg = "this Dataset does not know its files; begin with open_recording"
        raise UsageError(f"{msg}, and select with isel, sel, trim, remove_frames or concat")
    if options.strict:
        msg = "strict: decides how a recording is opened"
        raise UsageError(f"{msg}; use open_recording(path, strict=True)")
    lags = dataset.attrs.get("lags", {})
    applied = {lags.get(origin, 0) for origin in dataset.attrs.get("origins", [])}
    if options.lag != "auto" and applied != {options.lag}:
        msg = f"lag {options.lag}: the recording was opened with another lag"
        raise UsageError(f"{msg}; use open_recording(path, lag={options.lag})")


def settle_reading(reading: ReadOptions | None, **choices: Any) -> ReadOptions:
    """How to read recordings that need no table: keywords, or the object that holds them."""
    require_one_way(choices, reading=reading)
    return ReadOptions(need_table=False, **given(choices)) if reading is None else reading


def open_input(recording: RecordingInput, reading: ReadOptions) -> tuple[xr.Dataset, list[str]]:
    """Open a recording, or take one, and list what a user should know of its lag."""
    if isinstance(recording, xr.Dataset):
        require_opened_so(recording, reading)
        return recording, []
    [source] = open_sources([recording], reading)
    return label_frames(source, reading), list_warnings(list_lag_notices([source]))


def require_untouched(dataset: xr.Dataset) -> Recording:
    """The recording that a Dataset is, if nothing was done to it since it was opened."""
    origins = dataset.attrs.get("origins", [])
    shown = ", ".join(origins) or "a Dataset"
    if any(origin.endswith(STORE) for origin in origins):
        raise UsageError(f"{shown}: is a store; name the recordings that it was stitched from")
    recording = _find(dataset)
    if recording is None or [os.path.abspath(v.path) for v in recording.videos] != origins:
        msg = "is no recording as open_recording gives it"
        raise UsageError(f"{shown}: {msg}; name its path, or {WRITE_FIRST}")
    untouched = label_frames(recording, recording.options)
    names = [*ORIGIN, *(LOST.name for each in (dataset, untouched) if LOST.name in each.coords)]
    if (
        not {*names} <= {*dataset.coords} & {*untouched.coords}
        or dataset.sizes != untouched.sizes
        or not all(np.array_equal(dataset[name], untouched[name]) for name in names)
        or dataset.attrs.get("history") != untouched.attrs.get("history")
        or getattr(dataset[VIDEO.name].data, "name", "") != untouched[VIDEO.name].data.name
    ):
        msg = "frames were removed or changed since it was opened"
        raise UsageError(f"{shown}: {msg}; {WRITE_FIRST}")
    return recording


def _find(dataset: xr.Dataset) -> Recording | None:
    """The recording that a Dataset was made of, if it is still open."""
    origins = dataset.attrs.get("origins", [])
    if not origins:
        return None
    lag = dataset.attrs.get("lags", {}).get(origins[0], 0)
    ways = [ReadOptions(salvage=salvage, lag=lag) for salvage in (True, False)]
    found = (find_opened(origins[0], way) for way in ways if way.salvage <= (LOST.name in dataset))
    return next((each for each in found if each is not None), None)
