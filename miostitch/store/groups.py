"""The groups of a store as Datasets whose errors name the array."""

from typing import Any

import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from miostitch.store.validation import reading


def open_group(path: str, group: str = "") -> xr.Dataset:
    """Open a group of a store.

    Returns: Its arrays as they are stored. They are read when they are asked for, each time anew.
    """
    with reading(path, group):
        found = xr.open_zarr(path, group=group or None, chunks=None, mask_and_scale=False)
    named = {
        name: variable._replace(
            data=indexing.LazilyIndexedArray(_NamedArray(variable, path, f"{group}/{name}"))
        )
        for name, variable in found.variables.items()
        if name not in found.xindexes
    }
    opened: xr.Dataset = found.assign(named)
    return opened


class _NamedArray(BackendArray):
    """An array of a store."""

    def __init__(self, variable: xr.Variable, path: str, name: str) -> None:
        self.shape, self.dtype = variable.shape, variable.dtype
        self._variable, self._where = variable, (path, name)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> Any:
        with reading(*self._where):
            return self._variable[key].to_numpy()
