"""What of a recording is exported: some frames, averaged down, without the damaged ones."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from miostitch.arrays import I64, U8, Bools
from miostitch.editing.kept_frames import KeptFrames
from miostitch.errors import InputError, UsageError
from miostitch.ranges import parse_frames
from miostitch.schema import CONFIDENCE, FRAME

UINT16_BINS = 16
"""Up to this size the sum of the pixels of a square fits into 16 bits."""


@dataclass(frozen=True)
class Selection:
    """What is exported; by default all of it."""

    frames: str | None = None  # A list as ``parse_frames`` reads it
    binning: int = 1  # Side of the squares of pixels that are averaged
    drop_damaged: bool = False
    min_confidence: float | None = None  # Frames that are less likely exact are left out

    @property
    def parameters(self) -> dict[str, Any]:
        """What differs from an export of everything, for the history."""
        return {name: value for name, value in vars(self).items() if value != vars(ALL)[name]}


ALL = Selection()


def select_frames(dataset: xr.Dataset, text: str) -> xr.Dataset:
    """Keep the frames of a list."""
    count, chosen = dataset.sizes[FRAME], parse_frames(text)
    if chosen[-1] >= count:
        msg = f"frame {chosen[-1]} is not there to be exported; frames are 0 to {count - 1}"
        raise UsageError(msg)
    return dataset.isel({FRAME: as_slice(chosen)})


def as_slice(frames: I64) -> Any:
    """Ascending positions, as a slice where they follow each other: it leaves blocks as they are.

    >>> as_slice(np.array([3, 4, 5])), as_slice(np.array([3, 5]))
    (slice(3, 6, None), array([3, 5]))
    """
    first, last = int(frames[0]), int(frames[-1])
    return slice(first, last + 1) if last + 1 - first == len(frames) else frames


def find_damaged(dataset: xr.Dataset, kept: KeptFrames) -> Bools | None:
    """Which frames are damaged, (frame,); None where no table says it."""
    if "damaged" in dataset.coords:
        return np.asarray(dataset["damaged"].to_numpy())
    damaged = np.zeros(kept.shape[0], np.bool_)
    for number, origin in enumerate(kept.origins):
        mine = kept.origin == number
        if not mine.any():
            continue
        if origin.buffers is None and origin.store is None:
            return None
        known = origin.tables.table()["damaged"].to_numpy()
        damaged[mine] = known[kept.origin_frame[mine]]
    return damaged


def intact_frames(damaged: Bools | None, path: str) -> I64:
    """Positions of the frames that are not damaged."""
    if damaged is None:
        msg = f"{path}: has no table, so that no frame is known to be damaged"
        raise InputError(f"{msg}; leave --drop-damaged out")
    if damaged.all():
        raise InputError(f"{path}: every frame is damaged; leave --drop-damaged out")
    return np.flatnonzero(~damaged)


def confident_frames(dataset: xr.Dataset, least: float, path: str) -> I64:
    """Positions of the frames that are exact with at least some confidence."""
    known = dataset[CONFIDENCE.name].to_numpy() if CONFIDENCE.name in dataset.coords else np.nan
    if np.isnan(known).all():
        msg = f"{path}: the confidence of its frames is not known"
        raise InputError(f"{msg}; leave --min-confidence out, or export a stitched store")
    kept = np.flatnonzero(known >= least)
    if not len(kept):
        msg = f"{path}: no frame has a confidence of {least:g}; give a lower --min-confidence"
        raise InputError(msg)
    return kept


def require_bin(size: int, height: int, width: int) -> None:
    """Refuse squares that are larger than a frame."""
    if size < 1 or size > min(height, width):
        msg = f"bin {size}: must be from 1 to {min(height, width)}, the shorter side of a frame"
        raise UsageError(msg)


def bin_video(video: xr.DataArray, size: int) -> xr.DataArray:
    """Average squares of pixels, lazily; rows and columns that fill no square are left out."""
    _, height, width = video.shape
    chunks = (video.data.chunks[0], (height // size,), (width // size,))
    whole = video.data.rechunk({1: -1, 2: -1})
    binned = whole.map_blocks(partial(bin_frames, size=size), dtype=np.uint8, chunks=chunks)
    return xr.DataArray(binned, dims=video.dims, attrs=video.attrs)


def bin_frames(frames: U8, size: int) -> U8:
    """Mean of each square of pixels, rounded to the nearest gray value.

    >>> bin_frames(np.array([[[0, 1, 9], [1, 4, 9]]], np.uint8), 2).tolist()
    [[[2]]]
    """
    height, width = (side - side % size for side in frames.shape[1:])
    shape = (len(frames), height // size, width // size)
    total = np.zeros(shape, np.uint16 if size <= UINT16_BINS else np.uint64)
    for row in range(size):
        for column in range(size):
            total += frames[:, row:height:size, column:width:size]
    return ((total + size * size // 2) // (size * size)).astype(np.uint8)
