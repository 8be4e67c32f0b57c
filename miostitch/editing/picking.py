"""Picks frames out of a recording, lazily, into blocks of equal size.

``isel`` does the same in half as many tasks again, 5 % more time and up to a tenth more memory.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from miostitch.arrays import I64, U8
from miostitch.errors import UsageError
from miostitch.schema import FRAME, HEIGHT, VIDEO, WIDTH, chunk_frames

# Source blocks that one task may hold, from which a block usually takes. Of more, each gets a task
# of its own that takes what is wanted, so that none is held however far apart the frames are.
MOST_HELD = 2


def in_blocks(ds: xr.Dataset) -> xr.Dataset:
    """Make the video of a Dataset lazy, in blocks of whole frames; add the coordinate ``frame``."""
    if VIDEO.name not in ds or ds[VIDEO.name].dims != VIDEO.dims or not ds.sizes[FRAME]:
        raise UsageError(f"a Dataset with frames in {VIDEO.name!r} {VIDEO.dims} is needed")
    video = ds[VIDEO.name]
    if video.dtype != VIDEO.dtype:
        raise UsageError(f"{VIDEO.name} is {video.dtype}: {VIDEO.dtype} is needed")
    if FRAME not in ds.coords:
        ds = ds.assign_coords({FRAME: np.arange(ds.sizes[FRAME])})
    block = {} if video.chunks else {FRAME: chunk_frames(ds.sizes[HEIGHT], ds.sizes[WIDTH])}
    return ds.assign({VIDEO.name: video.chunk({**block, HEIGHT: -1, WIDTH: -1})})


def pick(ds: xr.Dataset, frames: I64) -> xr.Dataset:
    """Pick ascending frames, with their coordinates, into blocks of the size of the largest."""
    video = ds[VIDEO.name].variable  # which has one chunking, whatever its coordinates have
    block = max(video.chunksizes[FRAME])
    others = ds.drop_vars(VIDEO.name).isel({FRAME: frames})
    lazy = {name: c for name, c in others.coords.items() if c.variable.chunks and FRAME in c.dims}
    others = others.assign_coords(
        {n: (c.dims, c.variable.chunk({FRAME: block}).data, c.attrs) for n, c in lazy.items()}
    )
    return others.assign({VIDEO.name: (VIDEO.dims, _pick(video.data, frames, block), video.attrs)})


def _pick(video: da.Array, frames: I64, block: int) -> da.Array:
    if not len(frames):
        return video[:0]  # type: ignore[no-any-return]
    sizes = tuple(min(block, len(frames) - start) for start in range(0, len(frames), block))
    if len(frames) == len(video) and sizes == video.chunks[0]:
        return video
    ends = np.cumsum(video.chunks[0])
    starts = ends - video.chunks[0]
    name = f"pick-{tokenize(video.name, frames, block)}"
    tasks: dict[Any, Any] = {}
    for number, start in enumerate(range(0, len(frames), block)):
        wanted = frames[start : start + block]
        owner = np.searchsorted(ends, wanted, side="right")
        sources = np.unique(owner).tolist()
        places = [_run(wanted[owner == source] - starts[source]) for source in sources]
        keys: list[Any] = [(video.name, source, 0, 0) for source in sources]
        if len(sources) > MOST_HELD:
            parts = [(f"take-{name}", number, source) for source in sources]
            takes = [partial(_take, place) for place in places]
            tasks |= dict(zip(parts, zip(takes, keys, strict=True), strict=True))
            places, keys = [slice(None)] * len(parts), parts
        tasks[name, number, 0, 0] = (partial(_pick_block, places), keys)
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[video])  # type: ignore[list-item]
    chunks = (sizes, *video.chunks[1:])
    picked: da.Array = da.Array(graph, name, chunks, dtype=video.dtype, meta=video._meta)
    return picked


def _run(places: I64) -> slice | I64:
    """Write positions that follow each other as a slice: no copy, and small in a graph."""
    first, last = int(places[0]), int(places[-1])
    return slice(first, last + 1) if last - first + 1 == len(places) else places


def _take(place: slice | I64, source: U8) -> U8:
    return source[place].copy()  # else a slice would keep all of it


def _pick_block(places: Sequence[slice | I64], sources: Sequence[U8]) -> U8:
    parts = [source[place] for source, place in zip(sources, places, strict=True)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
