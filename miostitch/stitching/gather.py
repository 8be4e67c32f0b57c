"""From candidates and a choice to the pictures of the result, block by block."""

from collections.abc import Sequence
from itertools import pairwise

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from miostitch.kernels.scores import differing_pixels
from miostitch.schema import FRAME, HEIGHT, NO_FRAME, VIDEO, WIDTH
from miostitch.stitching.composition import AGREEMENT, shared_buffers, shared_counts

MARK_PERIOD = 16
"""Pixels from stripe to stripe of the pattern that stands for a missing candidate."""

MARK_DARK, MARK_LIGHT = 64, 192

Blocks = Sequence[NDArray[np.uint8]]


def gather(video: xr.DataArray, source: xr.DataArray) -> xr.DataArray:
    """Take every frame from its source.

    ``video``: candidates, lazy uint8 (recording, frame, height, width), one chunk per recording;
    ``source``: recording that gives each frame, lazy integers (frame,).

    Returns: Lazy uint8 (frame, height, width).
    """
    data = da.blockwise(
        _gather_block,
        "fhw",
        source.data,
        "f",
        video.data,
        "rfhw",
        dtype=VIDEO.dtype,
        meta=np.empty((0, 0, 0), VIDEO.dtype),
    )
    return xr.DataArray(data, dims=VIDEO.dims)


def difference(
    video: xr.DataArray, alike: xr.DataArray, source: xr.DataArray, other: xr.DataArray
) -> xr.DataArray:
    """Count the pixels in which the chosen candidate and the best other one differ.

    ``video``: candidates, lazy uint8 (recording, frame, height, width), one chunk per recording;
    ``source, other``: the two recordings, lazy integers (frame,); -1: none.

    Returns: Lazy int64 (frame,); -1 where there is no other.
    """
    data = da.blockwise(
        _difference_block,
        "f",
        alike.data,
        "Rf",
        source.data,
        "f",
        other.data,
        "f",
        video.data,
        "rfhw",
        dtype=np.int64,
        meta=np.empty(0, np.int64),
    )
    return xr.DataArray(data, dims=FRAME)


def agreement(
    video: xr.DataArray,
    alike: xr.DataArray,
    delivered: NDArray[np.uint64],
    bounds: NDArray[np.int64],
) -> xr.DataArray:
    """Count the buffers that several recordings delivered, and those that are all alike.

    ``video``: candidates, lazy uint8 (recording, frame, height, width), one chunk per recording;
    ``delivered``: bit k set: the recording delivered the whole buffer k, uint64 (recording, frame);
    ``bounds``: limits of the buffers in the flattened frame, int64 (buffer + 1,).

    Returns: Lazy int16 (frame, agreement), the counts ``shared`` and ``identical``.
    """
    data = da.blockwise(
        _agreement_block,
        "fa",
        alike.data,
        "Rf",
        da.from_array(delivered, chunks=(1, video.chunksizes[FRAME]), name=False),
        "rf",
        video.data,
        "rfhw",
        bounds=bounds,
        new_axes={"a": len(AGREEMENT)},
        dtype=np.int16,
        meta=np.empty((0, 0), np.int16),
    )
    return xr.DataArray(data, dims=(FRAME, "agreement"), coords={"agreement": list(AGREEMENT)})


def side_by_side(video: xr.DataArray, present: xr.DataArray) -> xr.DataArray:
    """Candidates beside each other, and last where any two of them differ.

    ``video``: candidates, lazy uint8 (recording, frame, height, width), one chunk per recording;
    ``present``: whether the recording has the frame, (recording, frame).

    Returns: Lazy uint8 (frame, height, width * (recordings + 1)). A missing candidate is a pattern
    of gray stripes, which no camera sees and no lost buffer leaves; the difference is 255 where
    present candidates differ and 0 elsewhere.
    """
    panels = video.shape[0] + 1
    data = da.blockwise(
        _side_by_side_block,
        "fhw",
        present.chunk({FRAME: video.chunksizes[FRAME]}).data,
        "rf",
        video.data,
        "rfhw",
        adjust_chunks={"w": lambda width: width * panels},
        dtype=VIDEO.dtype,
        meta=np.empty((0, 0, 0), VIDEO.dtype),
    )
    return xr.DataArray(data, dims=(FRAME, HEIGHT, WIDTH))


def _gather_block(source: NDArray[np.int8], blocks: Blocks) -> NDArray[np.uint8]:
    if (source == source[0]).all():
        return np.asarray(blocks[source[0]][0])
    out = np.empty(blocks[0].shape[1:], np.uint8)
    # run by run: to pick frames by a mask would copy them twice
    breaks = np.flatnonzero(np.diff(source)) + 1
    for start, stop in pairwise([0, *breaks.tolist(), len(source)]):
        out[start:stop] = blocks[source[start]][0, start:stop]
    return out


def _difference_block(
    alike: Sequence[NDArray[np.int8]],
    source: NDArray[np.int8],
    other: NDArray[np.int8],
    nested: Sequence[Sequence[Blocks]],
) -> NDArray[np.int64]:
    blocks = [rows[0][0][0] for rows in nested]  # dask nests a list per contracted dimension
    columns = np.arange(len(source))
    same = alike[0][source, columns] == alike[0][other, columns]
    out = np.where(other == NO_FRAME, NO_FRAME, 0).astype(np.int64)
    compared = (other != NO_FRAME) & ~same
    # the order within a pair does not matter, and one order gives more frames a pair
    low, high = np.minimum(source, other), np.maximum(source, other)
    pairs = low.astype(np.int64) * len(blocks) + high
    for pair in np.unique(pairs[compared]).tolist():
        first, second = divmod(pair, len(blocks))
        mine = compared & (pairs == pair)
        counts = np.empty(int(mine.sum()), np.int64)
        differing_pixels(blocks[first][mine], blocks[second][mine], counts)
        out[mine] = counts
    return out


def _agreement_block(
    alike: Sequence[NDArray[np.int8]],
    delivered: Sequence[NDArray[np.uint64]],
    nested: Sequence[Sequence[Blocks]],
    bounds: NDArray[np.int64],
) -> NDArray[np.int16]:
    blocks = [rows[0][0][0] for rows in nested]
    masks, [first] = np.concatenate(delivered), alike
    differ = (first != first[0]).any(axis=0)
    # where all pictures are the same, every shared buffer is
    shared = shared_counts(masks)
    out = np.stack([shared, shared], axis=1)
    frames = [block[differ].reshape(-1, bounds[-1]) for block in blocks]
    out[differ] = shared_buffers(frames, masks[:, differ], bounds)
    return out


def _side_by_side_block(present: Sequence[NDArray[np.bool_]], blocks: Blocks) -> NDArray[np.uint8]:
    count, height, width = blocks[0].shape[1:]
    rows, columns = np.indices((height, width))
    stripes = (rows + columns) // (MARK_PERIOD // 2) % 2
    mark = np.where(stripes, MARK_LIGHT, MARK_DARK).astype(np.uint8)
    panels = []
    low = np.full((count, height, width), 255, np.uint8)
    high = np.zeros((count, height, width), np.uint8)
    for here, block in zip(present, blocks, strict=True):
        shown = here.reshape(-1, 1, 1)
        panels.append(np.where(shown, block[0], mark))
        low = np.where(shown, np.minimum(low, block[0]), low)
        high = np.where(shown, np.maximum(high, block[0]), high)
    panels.append(np.where(low < high, 255, 0).astype(np.uint8))
    return np.concatenate(panels, axis=2)
