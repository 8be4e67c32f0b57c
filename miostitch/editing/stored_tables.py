"""The tables of a new store, for the frames that are kept of others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from miostitch.recording.datasets import union
from miostitch.recording.sidecars import FrameTables
from miostitch.schema import (
    COMPOSITION_VARIABLES,
    FRAME,
    FRAME_VARIABLES,
    NO_FRAME,
    RECORDING,
    REPAIR_VARIABLES,
    SCORE_VARIABLES,
    Variable,
)
from miostitch.store.layout import write_frame_tables, write_group

KNOWN = {
    (variable.group.strip("/"), variable.name): variable
    for variable in (*SCORE_VARIABLES, *COMPOSITION_VARIABLES, *REPAIR_VARIABLES)
}
OF_RECORDINGS = {("", "source"), ("composition", "buffer_source"), ("repairs", "recording")}
"""Variables whose values are positions in the attribute `recordings`."""


@dataclass(frozen=True)
class StoredTables:
    """Tables of some files, and the frames that are kept of each."""

    tables: Sequence[FrameTables]  # Those of each file
    origin: NDArray[np.int64]  # Which file each kept frame is from, (frame,)
    frame: NDArray[np.int64]  # Its position there, (frame,)

    @cached_property
    def recordings(self) -> tuple[list[str], list[NDArray[np.int64]]]:
        """Names of the recordings of all files, and the places of each file's among them."""
        return union([each.recordings for each in self.tables])

    def write(self, path: str) -> list[str]:
        """Write them to a new store, while its video may still be written."""
        roots = [each.table() for each in self.tables]
        frames = {
            v.name: self._taken("", v.name, [root[v.name] for root in roots])
            for v in FRAME_VARIABLES
        }
        write_frame_tables(path, frames)
        groups = dict.fromkeys(name for each in self.tables for name in each.groups)
        return [note for name in groups if name != "buffers" for note in self._group(path, name)]

    def _group(self, path: str, name: str) -> list[str]:
        """Write one group of those that have it."""
        found = [each.table(name) if name in each.groups else None for each in self.tables]
        kept = [each for each in found if each is not None]
        first = kept[0]
        per_frame = FRAME in first.sizes
        if per_frame and (len(kept) < len(found) or not _alike(kept)):
            return [f"{name} is left out: not all of the files have the same"]
        variables: list[Variable] = []
        values: dict[str, NDArray[Any]] = {}
        for key in map(str, first.data_vars):
            arrays = [None if each is None else each[key] for each in found]
            values[key] = (self._taken if per_frame else self._joined)(name, key, arrays)
            variables.append(KNOWN.get((name, key)) or _variable(name, first[key]))
        attrs = dict(first.attrs)
        if "recordings" in attrs:
            attrs["recordings"] = self.recordings[0]
        write_group(path, name, variables, values.__getitem__, attrs)
        return []

    def _taken(self, group: str, name: str, arrays: Sequence[xr.DataArray | None]) -> NDArray[Any]:
        """The kept frames of a table of each file."""
        first = next(each for each in arrays if each is not None)
        sizes = {**first.sizes, FRAME: len(self.frame), RECORDING: len(self.recordings[0])}
        absent = NO_FRAME if first.dtype.kind in "if" else 0
        out = np.full([sizes[dim] for dim in first.dims], absent, first.dtype)
        for number, array in enumerate(arrays):
            places = np.flatnonzero(self.origin == number)
            if array is None or not len(places):
                continue
            values = self._recoded(group, name, array.to_numpy(), number)
            there, here = [], []
            for dim, size in zip(array.dims, values.shape, strict=True):
                same = np.arange(size)
                here.append(self.frame[places] if dim == FRAME else same)
                to = {FRAME: places, RECORDING: self.recordings[1][number]}
                there.append(to.get(str(dim), same))
            out[np.ix_(*there)] = values[np.ix_(*here)]
        return out

    def _joined(self, group: str, name: str, arrays: Sequence[xr.DataArray | None]) -> NDArray[Any]:
        """Tables that do not follow the frames, one behind the other."""
        parts = [
            self._recoded(group, name, array.to_numpy(), number)
            for number, array in enumerate(arrays)
            if array is not None
        ]
        return np.concatenate(parts)

    def _recoded(self, group: str, name: str, values: NDArray[Any], number: int) -> NDArray[Any]:
        """Positions in the recordings of one file as positions in those of all."""
        if (group, name) not in OF_RECORDINGS:
            return values
        table = np.append(self.recordings[1][number], NO_FRAME).astype(values.dtype)
        return np.asarray(table[values])


def _alike(groups: Sequence[xr.Dataset]) -> bool:
    """Whether groups differ in nothing but frames and recordings."""
    shapes = [
        (
            sorted(map(str, group.data_vars)),
            {d: n for d, n in group.sizes.items() if d not in (FRAME, RECORDING)},
        )
        for group in groups
    ]
    return all(shape == shapes[0] for shape in shapes)


def _variable(group: str, array: xr.DataArray) -> Variable:
    """An array that the schema does not know."""
    about: Mapping[str, Any] = array.attrs
    dims = tuple(map(str, array.dims))
    doc, unit = str(about.get("long_name", "")), about.get("units")
    return Variable(str(array.name), dims, str(array.dtype), doc, unit, group=f"/{group}")
