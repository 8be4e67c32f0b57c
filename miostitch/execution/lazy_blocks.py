"""Blocks of lazy arrays, as the engine makes them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr
from dask.base import optimize
from dask.core import flatten
from dask.local import get_sync
from dask.optimization import cull

from miostitch.execution.engine import Block


@dataclass(frozen=True)
class LazyBlock:
    """A block of lazy videos and tables; opaque to dask, so that it is one task."""

    graph: Mapping[Any, Any]
    videos: Mapping[str, Any]  # The key of each
    tables: Mapping[str, Any]

    @classmethod
    def of(cls, videos: xr.Dataset, tables: xr.Dataset | None = None) -> "LazyBlock":
        """Plan the block that some lazy arrays are, videos (frame, height, width) and others."""
        tables = xr.Dataset() if tables is None else tables
        lazy = xr.Dataset({n: each.variable for n, each in [*videos.items(), *tables.items()]})
        # as one Dataset, else what they share would be computed for each of them
        [made] = optimize(lazy.chunk(-1))
        keys = {str(n): next(flatten(each.data.__dask_keys__())) for n, each in made.items()}
        of_videos = {str(name): keys[str(name)] for name in videos}
        return cls(dict(made.__dask_graph__()), of_videos, {str(n): keys[str(n)] for n in tables})

    def make(self, videos: Collection[str], *, tables: bool) -> Block:
        """Compute what is wanted in this thread, and what that shares only once."""
        wanted = {name: self.videos[name] for name in videos}
        if tables:
            wanted |= self.tables
        keys = [*wanted.values()]
        found = get_sync(cull(self.graph, keys)[0], keys) if keys else ()
        made = dict(zip(wanted, found, strict=True))
        return Block({name: made.pop(name) for name in videos}, made)
