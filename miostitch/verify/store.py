"""Reads a store for verification: what should be there, what is, and every chunk of it.

Nothing of :mod:`miostitch.store.layout` is used. A chunk that is not there would be read as fill
values, so its file is looked for before it is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from threading import local
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from miostitch.schema import (
    FORMAT_VERSION,
    FRAME,
    VIDEO,
)
from miostitch.verify.findings import Findings, Kind

FAULTS = (OSError, ValueError, RuntimeError, KeyError, TypeError)
"""What zarr and its codecs raise at files that are not what they should be."""

METADATA = {3: ("zarr.json",), 2: (".zgroup", ".zarray", ".zattrs", ".zmetadata")}


class Scratch(local):
    """Warm memory for blocks, of each thread its own: fresh pages cost more than reading them."""

    def __init__(self) -> None:
        self._held: dict[str, NDArray[np.uint8]] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """An array of any content, valid until one of the same name is taken."""
        size = int(np.prod(shape))
        held = self._held.get(name)
        if held is None or held.size < size:
            held = self._held[name] = np.empty(size, np.uint8)
        return held[:size].reshape(shape)


@dataclass(frozen=True)
class Read:
    """Values of an array, and which of its frames or rows could be read, bool (first axis,)."""

    values: NDArray[Any]
    sound: NDArray[np.bool_]


@dataclass
class Store:
    """A store that is verified."""

    path: Path  # The store
    findings: Findings  # Takes what is wrong
    # Those that could be opened, by group and name, such as ``scores/source_frame``.
    arrays: dict[str, zarr.Array[Any]] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)  # Attributes of the root group
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)  # Names of the groups
    zarr_format: Literal[2, 3] = 3  # 2 or 3
    scratch: Scratch = field(default_factory=Scratch)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width."""
        frames, height, width = self.arrays[VIDEO.name].shape
        return frames, height, width

    @property
    def block(self) -> int:
        """Frames per chunk of ``video``."""
        return int(self.arrays[VIDEO.name].chunks[0])

    def names(self, group: str) -> list[str]:
        """Names of the arrays of a group that could be opened."""
        return [name.rpartition("/")[2] for name in self.arrays if name.rpartition("/")[0] == group]

    def video_block(self, number: int) -> NDArray[np.uint8] | None:
        """A chunk of ``video``, uint8 (frame, height, width); None if it cannot be read."""
        array, (frames, height, width) = self.arrays[VIDEO.name], self.shape
        start = number * self.block
        region = (slice(start, min(start + self.block, frames)), slice(height), slice(width))
        return self._chunk(VIDEO.name, array, (number, 0, 0), region)

    def read(
        self, name: str, start: int = 0, stop: int | None = None, axis: int = 0
    ) -> Read | None:
        """Values of an array, chunk by chunk; None if there is no such array."""
        array = self.arrays.get(name)
        if array is None:
            return None
        length = array.shape[axis]
        stop = length if stop is None else min(stop, length)
        shape = list(array.shape)
        shape[axis] = stop - start
        values = np.zeros(shape, array.dtype)
        sound = np.ones(stop - start, bool)
        for at, region in grid(array):
            low, high = max(region[axis].start, start), min(region[axis].stop, stop)
            if low >= high:
                continue
            cut = [*region]
            cut[axis] = slice(low, high)
            there = [*region]
            there[axis] = slice(low - start, high - start)
            part = self._chunk(name, array, at, tuple(cut))
            if part is None:
                sound[low - start : high - start] = False
            else:
                values[tuple(there)] = part
        return Read(values, sound)

    def _chunk(
        self, name: str, array: zarr.Array[Any], at: tuple[int, ...], region: tuple[slice, ...]
    ) -> NDArray[Any] | None:
        key = array.metadata.encode_chunk_key(at)
        if not (self.path / name / key).is_file():
            return None  # it was found missing before
        try:
            return np.asarray(array[region])
        except FAULTS as error:
            told = f"cannot be decoded: {error}"
            place = first_frame(array, region)
            self.findings.add(
                Kind.DAMAGED_CHUNK, self.path.name, told, chunk=f"{name}/{key}", frame=place
            )
            return None


def open_store(path: Path, findings: Findings) -> Store | None:
    """Open a store, and check that it is one, that it is whole, and that nothing else is in it.

    Returns: None if not even its video can be read.
    """
    store = Store(path, findings)
    try:
        root = zarr.open_group(path, mode="r", use_consolidated=False)
    except FAULTS as error:
        findings.add(Kind.UNREADABLE, path.name, f"no Zarr group: {error}")
        return None
    store.attrs, store.zarr_format = dict(root.attrs), root.metadata.zarr_format
    version = store.attrs.get("format_version")
    if version != FORMAT_VERSION:
        told = f"format version {version!r}, this miostitch verifies {FORMAT_VERSION!r}"
        findings.add(Kind.FORMAT, path.name, told)
    _open_members(store)
    if VIDEO.name not in store.arrays or store.arrays[VIDEO.name].ndim != len(VIDEO.dims):
        findings.add(Kind.UNREADABLE, path.name, f"no {VIDEO.name} (frame, height, width)")
        return None
    return store


def _open_members(store: Store) -> None:
    """Open every group and array by itself, so that a broken one hides no other."""
    files = METADATA[store.zarr_format]
    for file in sorted(store.path.rglob(files[0] if store.zarr_format == 3 else ".z*")):
        name = file.parent.relative_to(store.path).as_posix()
        if file.name not in ("zarr.json", ".zgroup", ".zarray") or name == ".":
            continue
        try:
            member = zarr.open(
                file.parent, mode="r", zarr_format=store.zarr_format, use_consolidated=False
            )
        except FAULTS as error:
            store.findings.add(Kind.SCHEMA, store.path.name, f"{name} cannot be opened: {error}")
            continue
        if isinstance(member, zarr.Group):
            store.groups[name] = dict(member.attrs)
        else:
            store.arrays[name] = member


def stored_shape(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Shape of what one file holds."""
    return tuple(array.shards or array.chunks)


def grid(array: zarr.Array[Any]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Place in the grid and region of every file of an array."""
    stored = stored_shape(array)
    counts = [-(-size // each) for size, each in zip(array.shape, stored, strict=True)]
    for at in product(*map(range, counts)):
        yield (
            at,
            tuple(
                slice(i * each, min((i + 1) * each, size))
                for i, each, size in zip(at, stored, array.shape, strict=True)
            ),
        )


def dimensions(array: zarr.Array[Any]) -> tuple[str, ...]:
    """Names of the dimensions of an array of either format."""
    names: Any = getattr(array.metadata, "dimension_names", None)
    if names is None:
        names = array.attrs.get("_ARRAY_DIMENSIONS", ())
    return tuple(map(str, names)) if isinstance(names, list | tuple) else ()


def first_frame(array: zarr.Array[Any], region: tuple[slice, ...]) -> int | None:
    """First frame in a region of an array; None if it has no frames."""
    names = dimensions(array)
    return region[names.index(FRAME)].start if FRAME in names else None
