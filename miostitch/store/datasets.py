"""Tables of a finished store as lazy Datasets."""

from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from miostitch.schema import CAMERA, CAMERA_VARIABLES, CONFIDENCE, FRAME
from miostitch.store.reader import Store
from miostitch.store.validation import reading


def open_table(store: Store, group: str = "") -> xr.Dataset:
    """The arrays of a group, or of the root, as they are stored."""
    with reading(store.path, group):
        found = xr.open_zarr(store.path, group=group or None, chunks=None, mask_and_scale=False)
    named = {
        name: variable._replace(
            data=indexing.LazilyIndexedArray(_NamedArray(variable, store.path, f"{group}/{name}"))
        )
        for name, variable in found.variables.items()
        if name not in found.xindexes
    }
    opened: xr.Dataset = found.assign(named)
    if not group and CONFIDENCE.name not in opened:  # a store of an older version
        unknown = np.full(store.frames, np.nan, CONFIDENCE.dtype)
        opened = opened.assign({CONFIDENCE.name: (FRAME, unknown, CONFIDENCE.attrs)})
    return opened


def open_cameras(store: Store) -> dict[str, xr.Variable]:
    """What is known of behaviour cameras, by the names of its coordinates, (frame,) each."""
    found = {}
    for group in store.groups:
        if group.startswith(CAMERA):
            table, name = open_table(store, group), group.removeprefix(CAMERA)
            for variable, coordinate in zip(CAMERA_VARIABLES, coordinates_of(name), strict=True):
                found[coordinate] = table[variable.name].variable
    return found


def coordinates_of(camera: str) -> tuple[str, str]:
    """Names of the coordinates of a behaviour camera."""
    return f"{camera}_frame", f"{camera}_error_s"


class _NamedArray(BackendArray):
    """An array of a store, whose errors name it."""

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
