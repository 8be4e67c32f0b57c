"""Groups and arrays of a store, whose files are read and written in the thread that asks.

Zarr's own face hands each call to the event loop of a thread, and that to other threads: of a
short session, which is hundreds of small arrays, that took more time than all else together.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.api import asynchronous

from miostitch.store.disk import DiskStore, run_here

Array: TypeAlias = zarr.AsyncArray[Any]
Group: TypeAlias = zarr.AsyncGroup
Mode: TypeAlias = Literal["r", "r+"]
Region: TypeAlias = slice | tuple[slice, ...] | EllipsisType

_Node = TypeVar("_Node")


def create_group(path: str, zarr_format: int, attrs: dict[str, Any] | None = None) -> Group:
    """Create a store with nothing in it."""
    form: Any = zarr_format
    made = asynchronous.create_group(store=DiskStore(path), zarr_format=form, attributes=attrs)
    return run_here(made)


def open_group(path: str | Path, mode: Mode = "r", *, consolidated: bool | None = None) -> Group:
    """Open a group, by what is gathered of all metadata where there is that and it is wanted."""
    store = DiskStore(Path(path), read_only=mode == "r")
    return run_here(asynchronous.open_group(store, mode=mode, use_consolidated=consolidated))


def open_array(path: Path, mode: Mode) -> Array:
    """Open an array, in which every chunk is written."""
    store = DiskStore(path, read_only=mode == "r")
    found = run_here(asynchronous.open_array(store=store, mode=mode))
    return found.with_config({"write_empty_chunks": True})


def open_node(path: Path, zarr_format: Literal[2, 3]) -> Array | Group:
    """Open a group or an array by its own metadata alone."""
    store = DiskStore(path, read_only=True)
    found = asynchronous.open(
        store=store, mode="r", zarr_format=zarr_format, use_consolidated=False
    )
    return run_here(found)


def arrays_of(group: Group) -> dict[str, Array]:
    """The arrays of a group."""
    return run_here(_collect(group.arrays()))


def all_arrays(group: Group) -> dict[str, Array]:
    """The arrays of a group and of the groups in it, by their paths."""
    nodes = run_here(_collect(group.members(None)))
    return {name: each for name, each in nodes.items() if isinstance(each, zarr.AsyncArray)}


def groups_of(group: Group) -> dict[str, Group]:
    """The groups of a group."""
    return run_here(_collect(group.groups()))


def read(array: Array, region: Region = ...) -> NDArray[Any]:
    """Read a region."""
    return np.asarray(run_here(array.getitem(region)))


def read_rows(array: Array, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
    """Read some rows of an array, by their numbers."""
    return np.asarray(run_here(array.get_orthogonal_selection((rows,))))


def write(array: Array, region: Region, values: NDArray[Any]) -> None:
    """Write a region."""
    run_here(array.setitem(region, values))


async def _collect(pairs: AsyncIterator[tuple[str, _Node]]) -> dict[str, _Node]:
    return {name: node async for name, node in pairs}
