"""Reads a store for verification: what should be there, what is, and every chunk of it.

Nothing of :mod:`miostitch.store` is used. A chunk that is not there would be read as fill values, so
its file is looked for before it is read.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from miostitch.schema import (
    BUFFER,
    COLUMN_BY_NAME,
    COMPOSITION_VARIABLES,
    FORMAT_VERSION,
    FRAME,
    FRAME_VARIABLES,
    HEIGHT,
    INDEX_VARIABLES,
    POSITION,
    RECORDING,
    REPAIR,
    REPAIR_VARIABLES,
    SCORE_VARIABLES,
    VIDEO,
    WIDTH,
    Variable,
)
from miostitch.verify_findings import Findings, Kind

FAULTS = (OSError, ValueError, RuntimeError, KeyError, TypeError)
"""What zarr and its codecs raise at files that are not what they should be."""

TABLES: Mapping[str, Sequence[Variable]] = {
    "": (VIDEO, *INDEX_VARIABLES, *FRAME_VARIABLES),
    "scores": SCORE_VARIABLES,
    "composition": COMPOSITION_VARIABLES,
    "repairs": REPAIR_VARIABLES,
}
"""Arrays of the groups that the schema knows; ``buffers`` has one for each column."""

COUNTED = {
    "scores": {RECORDING: "position in `recordings`", FRAME: "position of the frame in the video"},
    "composition": {
        POSITION: "position of the buffer in the frame",
        FRAME: "position of the frame in the video",
    },
}
"""Coordinates of the groups that count their dimensions, and what they are."""

METADATA = {3: ("zarr.json",), 2: (".zgroup", ".zarray", ".zattrs", ".zmetadata")}
ZSTD_MAGIC, ZSTD_CHECKSUM = b"\x28\xb5\x2f\xfd", 0x04
ABSENT = 2**64 - 1
"""Offset of a chunk that a shard does not hold."""


@dataclass(frozen=True)
class Read:
    """Values of an array, and which of its frames or rows could be read, bool (first axis,)."""

    values: NDArray[Any]
    sound: NDArray[np.bool_]


@dataclass
class Store:
    """A store that is verified.

    Parameters
    ----------
    path
        The store.
    findings
        Takes what is wrong.
    arrays
        Those that could be opened, by group and name, such as ``scores/source_frame``.
    attrs
        Attributes of the root group.
    groups
        Names of the groups.
    zarr_format
        2 or 3.
    """

    path: Path
    findings: Findings
    arrays: dict[str, zarr.Array[Any]] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    zarr_format: int = 3

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

    def read(self, name: str, start: int = 0, stop: int | None = None, axis: int = 0) -> Read | None:
        """Values of an array, chunk by chunk; None if there is no such array.

        Parameters
        ----------
        name
            Group and name.
        start, stop
            Range along `axis`; values that cannot be read are zero, and not sound.
        """
        array = self.arrays.get(name)
        if array is None:
            return None
        length = array.shape[axis]
        stop = length if stop is None else min(stop, length)
        shape = list(array.shape)
        shape[axis] = stop - start
        values = np.zeros(shape, array.dtype)
        sound = np.ones(stop - start, bool)
        for at, region in _chunks(array):
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
            place = self._first_frame(array, region)
            self.findings.add(
                Kind.DAMAGED_CHUNK, self.path.name, told, chunk=f"{name}/{key}", frame=place
            )
            return None

    @staticmethod
    def _first_frame(array: zarr.Array[Any], region: tuple[slice, ...]) -> int | None:
        names = getattr(array.metadata, "dimension_names", None) or array.attrs.get(
            "_ARRAY_DIMENSIONS", []
        )
        return region[list(names).index(FRAME)].start if FRAME in names else None


def open_store(path: Path, findings: Findings) -> Store | None:
    """Open a store, and check that it is one, that it is whole, and that nothing else is in it.

    Parameters
    ----------
    path
        The folder.
    findings
        Takes what is wrong.

    Returns
    -------
    Store or None
        None if not even its video can be read.
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
    _check_files(store)
    _check_schema(store)
    _check_consolidated(store)
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


def _stored(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Shape of what one file holds."""
    return tuple(array.shards or array.chunks)


def _chunks(array: zarr.Array[Any]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Place in the grid and region of every file of an array."""
    stored = _stored(array)
    counts = [-(-size // each) for size, each in zip(array.shape, stored, strict=True)]
    for at in product(*map(range, counts)):
        yield at, tuple(
            slice(i * each, min((i + 1) * each, size))
            for i, each, size in zip(at, stored, array.shape, strict=True)
        )


def _check_files(store: Store) -> None:
    """Look for a file of every chunk, and for files that are none."""
    findings, name = store.findings, store.path.name
    expected = set(METADATA[store.zarr_format])
    for where in (*store.groups, *store.arrays):
        expected |= {f"{where}/{file}" for file in METADATA[store.zarr_format]}
    for where, array in store.arrays.items():
        for at, region in _chunks(array):
            key = f"{where}/{array.metadata.encode_chunk_key(at)}"
            expected.add(key)
            file, frame = store.path / key, store._first_frame(array, region)
            if not file.is_file():
                findings.add(Kind.MISSING_CHUNK, name, "there is no such file", chunk=key, frame=frame)
                continue
            told = _shard_fault(file, array, region) if array.shards else _chunk_fault(file)
            if told:
                findings.add(Kind.DAMAGED_CHUNK, name, told, chunk=key, frame=frame)
    for file in sorted(store.path.rglob("*")):
        key = file.relative_to(store.path).as_posix()
        if not file.is_dir() and key not in expected:
            findings.add(Kind.UNEXPECTED_FILE, name, f"{key} is no part of the store", chunk=key)


def _chunk_fault(file: Path) -> str:
    """Whether a chunk lacks the checksum that lets damage be seen."""
    with file.open("rb") as opened:
        head = opened.read(5)
    if head[:4] == ZSTD_MAGIC and len(head) == 5 and not head[4] & ZSTD_CHECKSUM:
        return "carries no checksum"
    return ""


def _shard_fault(file: Path, array: zarr.Array[Any], region: tuple[slice, ...]) -> str:
    """Whether a shard lacks a chunk, which would be read as fill values."""
    inner = [-(-each // size) for each, size in zip(_stored(array), array.chunks, strict=True)]
    used = [
        -(-(part.stop - part.start) // size) for part, size in zip(region, array.chunks, strict=True)
    ]
    entries = int(np.prod(inner))
    data = file.read_bytes()[-(16 * entries + 4) :]  # behind it four bytes of checksum
    if len(data) < 16 * entries + 4:
        return "is cut"
    offsets = np.frombuffer(data[:-4], "<u8").reshape(*inner, 2)[..., 0]
    absent = np.argwhere(offsets[tuple(slice(n) for n in used)] == ABSENT)
    return f"lacks its chunk {absent[0].tolist()}" if len(absent) else ""


def _check_schema(store: Store) -> None:
    """Check every array against the schema, and look for those that should be there."""
    frames, height, width = store.shape
    recordings = len(store.attrs.get("recordings", []))
    rows = store.arrays.get("buffers/reconstructed_frame_index")
    position = store.arrays.get("composition/buffer_source")
    repairs = store.arrays.get("repairs/row")
    sizes = {
        FRAME: frames,
        HEIGHT: height,
        WIDTH: width,
        RECORDING: recordings,
        BUFFER: rows.shape[0] if rows is not None else 0,
        POSITION: position.shape[-1] if position is not None else 0,
        REPAIR: repairs.shape[0] if repairs is not None else 0,
    }
    for group, variables in TABLES.items():
        if group and group not in store.groups:
            continue
        for variable in variables:
            _check_array(store, f"{group}/{variable.name}".strip("/"), variable, sizes)
        for dim, doc in COUNTED.get(group, {}).items():
            name = f"{group}/{dim}"
            _check_array(store, name, Variable(dim, (dim,), "int64", doc), sizes)
            _check_counting(store, name)
    for variable in INDEX_VARIABLES:
        _check_counting(store, variable.name)
    if "buffers" in store.groups:
        for name in store.names("buffers"):
            column = COLUMN_BY_NAME.get(name)
            doc, unit, dtype = (column.doc, column.unit, column.dtype) if column else ("", None, "str")
            variable = Variable(name, (BUFFER,), dtype, doc, unit)
            _check_array(store, f"buffers/{name}", variable, sizes)
    known = {f"{group}/{v.name}".strip("/") for group, vs in TABLES.items() for v in vs}
    known |= {f"{group}/{dim}" for group, dims in COUNTED.items() for dim in dims}
    for name in store.arrays.keys() - known:
        if name.rpartition("/")[0] in ("", *TABLES, "buffers") and not name.startswith("buffers/"):
            store.findings.add(Kind.SCHEMA, store.path.name, f"{name} is in no schema")


def _check_array(
    store: Store, name: str, variable: Variable, sizes: Mapping[str, int]
) -> None:
    def tell(what: str, found: Any, expected: Any) -> None:
        if found != expected:
            told = f"{name}: {what} {found!r}, not {expected!r}"
            store.findings.add(Kind.SCHEMA, store.path.name, told, column=name)

    array = store.arrays.get(name)
    if array is None:
        store.findings.add(Kind.SCHEMA, store.path.name, f"{name} is missing", column=name)
        return
    shape = tuple(sizes[dim] for dim in variable.dims)
    tell("shape", tuple(array.shape), shape)
    text = variable.dtype == "str"
    kind = array.dtype.kind in "OTU" if text else array.dtype == np.dtype(variable.dtype)
    tell("dtype", str(array.dtype) if not kind else variable.dtype, variable.dtype)
    attrs, dims = dict(array.attrs), tuple(getattr(array.metadata, "dimension_names", None) or ())
    if store.zarr_format == 2:
        dims = tuple(attrs.pop("_ARRAY_DIMENSIONS", ()))
    tell("dimensions", dims, variable.dims)
    expected = variable.attrs
    if variable is VIDEO:
        expected = expected | {"coordinates": " ".join(v.name for v in FRAME_VARIABLES)}
        tell("chunks", tuple(array.chunks[1:]), shape[1:])
    tell("attributes", attrs, expected)
    if not text:
        fill = np.zeros((), variable.dtype).item() if variable.fill is None else variable.fill
        found = array.fill_value
        tell("fill value", None if found is None else found.item(), None if store.zarr_format == 2 else fill)
    if not any("checksum': True" in str(_codec(each)) for each in array.compressors):
        tell("codec", str(array.compressors), "Zstandard with checksum")


def _codec(compressor: Any) -> Any:
    """Configuration of a codec of either format."""
    return compressor.get_config() if hasattr(compressor, "get_config") else compressor.to_dict()


def _check_counting(store: Store, name: str) -> None:
    """Check a coordinate that counts from 0."""
    read = store.read(name)
    if read is None or read.values.ndim != 1:
        return
    wrong = np.flatnonzero((read.values != np.arange(len(read.values))) & read.sound)
    for at in wrong[:1].tolist():
        told = f"{name} does not count from 0: {read.values[at]} at {at}"
        store.findings.add(Kind.FRAMES, store.path.name, told, row=at, column=name)


def _check_consolidated(store: Store) -> None:
    """Compare the metadata gathered in the root, which readers use, with those of every array."""
    path, findings = store.path, store.findings
    try:
        if store.zarr_format == 3:
            root = json.loads((path / "zarr.json").read_bytes())
            gathered = root["consolidated_metadata"]["metadata"]
            files = {name: path / name / "zarr.json" for name in gathered}
        else:
            gathered = json.loads((path / ".zmetadata").read_bytes())["metadata"]
            files = {name: path / name for name in gathered}
    except (OSError, ValueError, KeyError, TypeError) as error:
        findings.add(Kind.METADATA, path.name, f"cannot be read: {error!r}")
        return
    for name, told in gathered.items():
        try:
            own = json.loads(files[name].read_bytes())
        except (OSError, ValueError):
            findings.add(Kind.METADATA, path.name, f"{name} is not in the store")
            continue
        if _plain(own) != _plain(told):
            findings.add(Kind.METADATA, path.name, f"{name} differs from its own metadata")
    names = {name.removesuffix("/.zarray").removesuffix("/.zgroup") for name in gathered}
    for name in sorted({*store.groups, *store.arrays} - names):
        findings.add(Kind.METADATA, path.name, f"{name} is missing")


def _plain(metadata: Any) -> Any:
    """Without what says that nothing is gathered in it."""
    if isinstance(metadata, dict):
        return {k: v for k, v in metadata.items() if k != "consolidated_metadata"}
    return metadata
