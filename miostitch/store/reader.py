"""A finished store, opened: what it holds, and its tables as arrays."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.errors import InputError, MismatchError
from miostitch.ranges import join_ranges
from miostitch.schema import (
    COLUMN_BY_NAME,
    COLUMN_NAME,
    FORMAT_VERSION,
    OLDER_VERSIONS,
    VIDEO,
)
from miostitch.store.contract import require_contract
from miostitch.store.nodes import Array, Group, arrays_of, groups_of, open_group, read, read_rows
from miostitch.store.validation import reading, require_chunks, require_plain
from miostitch.text import amount

BUFFERS = "buffers"


@dataclass(frozen=True)
class Store:
    """A store of ours; arrays are read when they are asked for, each time again."""

    path: str
    frames: int
    height: int
    width: int
    zarr_format: int  # 2 or 3
    chunk_frames: int  # Frames per chunk of ``video``
    groups: tuple[str, ...]  # Names of the groups
    attrs: dict[str, Any]  # Attributes of the root group
    buffer_columns: tuple[str, ...]  # Columns of the ``buffers`` group, those of the schema first
    buffer_arrays: Mapping[str, str]  # Names of the arrays of these columns
    buffer_rows: int  # Their length

    @classmethod
    def open(cls, path: str) -> Self:
        """Open a folder that is a complete store of this format."""
        root = _require_store(path)
        with reading(path):
            attrs, tables, groups = dict(root.attrs), arrays_of(root), groups_of(root)
            require_contract(path, attrs, tables, groups)
            video = tables[VIDEO.name]
            arrays = arrays_of(groups[BUFFERS]) if BUFFERS in groups else {}
            names = {str(each.attrs.get(COLUMN_NAME, key)): key for key, each in arrays.items()}
            known = [name for name in COLUMN_BY_NAME if name in names]
            rows = [each.shape[0] for each in arrays.values()]
            frames, height, width = video.shape
            return cls(
                path=path,
                frames=frames,
                height=height,
                width=width,
                zarr_format=root.metadata.zarr_format,
                chunk_frames=video.chunks[0],
                groups=tuple(sorted(groups)),
                attrs=attrs,
                buffer_columns=(*known, *sorted({*names} - {*known})),
                buffer_arrays=names,
                buffer_rows=max(rows, default=0),
            )

    @property
    def recordings(self) -> Sequence[str]:
        """Names of the recordings that the frames are from."""
        return list(self.attrs.get("recordings", []))

    def arrays(
        self, group: str, names: Iterable[str], rows: slice = slice(None)
    ) -> dict[str, NDArray[Any]]:
        """Those arrays of a group that are there, whole, or some rows of one-dimensional ones."""
        found: dict[str, NDArray[Any]] = {}
        if group and group not in self.groups:
            return found
        with reading(self.path, group):
            opened = arrays_of(open_group(Path(self.path) / group))
        for name in names:
            with reading(self.path, f"{group}/{name}"):
                if name in opened:
                    found[name] = read(opened[name], rows)
        return found

    def require_rows_in_order(self) -> None:
        """Refuse rows of buffers that do not stand in the order of the frames."""
        index = self._frame_of_row
        in_order = not len(index) or (index[0] >= 0 and (np.diff(index) >= 0).all())
        if not in_order or index[-1:].max(initial=0) >= self.frames:
            msg = f"{self.path}: its buffers are not those of its {amount(self.frames, 'frame')}"
            raise MismatchError(f"{msg}, in their order; --salvage does not help, stitch again")

    @cached_property
    def row_counts(self) -> NDArray[np.int64]:
        """Rows of buffers of each frame, (frame,), if they stand in the order of the frames."""
        return np.bincount(self._frame_of_row, minlength=self.frames)

    def rows(self, frames: NDArray[np.int64]) -> pd.DataFrame:
        """Rows of distinct frames, ascending, in their order."""
        rows = join_ranges(self._first_rows[frames], self.row_counts[frames])
        return pd.DataFrame({name: self._column(name, rows) for name in self.buffer_columns})

    @property
    def _frame_of_row(self) -> NDArray[np.int64]:
        """Read each time: of nine hours it takes more than the counts."""
        return self._column("reconstructed_frame_index")

    @cached_property
    def _first_rows(self) -> NDArray[np.int64]:
        return np.cumsum(self.row_counts) - self.row_counts

    @cached_property
    def _buffers(self) -> dict[str, Array]:
        with reading(self.path, BUFFERS):
            return arrays_of(open_group(Path(self.path) / BUFFERS))

    def _column(self, name: str, rows: slice | NDArray[np.int64] = slice(None)) -> NDArray[Any]:
        """A column of the rows, by its name in tables."""
        array = self.buffer_arrays[name]
        with reading(self.path, f"{BUFFERS}/{array}"):
            return read_rows(self._buffers[array], rows)


def _require_store(path: str) -> Group:
    """Open a folder if it is a store of this format."""
    nodes = require_plain(path)
    try:
        root = open_group(path)
        version = root.attrs.get("format_version")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a Zarr store: {error}") from error
    if version not in (FORMAT_VERSION, *OLDER_VERSIONS):
        msg = f"{path}: format version {version!r}, this miostitch reads {FORMAT_VERSION!r}"
        raise InputError(msg)
    require_chunks(path, nodes, but=VIDEO.name)
    return root
