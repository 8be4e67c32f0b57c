"""Checks a store by itself: that every chunk is there, and that its layout is the schema's."""

import filecmp
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from miostitch.buffers.elapsed_time import measure_time
from miostitch.buffers.row_writer import BufferTable
from miostitch.execution.products import is_of_system
from miostitch.schema import (
    BUFFER,
    COLUMN_NAME,
    COMPOSITION_VARIABLES,
    EPOCHS,
    FILLED,
    FORMAT_VERSION,
    FRAME,
    FRAME_VARIABLES,
    INDEX_VARIABLES,
    MEASURED_FPS,
    OLDER_VERSIONS,
    POSITION,
    RECORDING,
    REPAIR,
    REPAIR_VARIABLES,
    SCORE_VARIABLES,
    START_TIME,
    TIME_VARIABLES,
    VIDEO,
    Variable,
)
from miostitch.session.clocks import time_attrs
from miostitch.store.layout import (
    TABLE_CHUNK,
    create_store,
    dimension_names,
    write_frame_tables,
    write_group,
)
from miostitch.store.nodes import Array, Group, all_arrays, open_group, open_node, read
from miostitch.store.validation import FAULTS
from miostitch.verify.findings import LISTED, Findings, Kind

CONSOLIDATED = ".zmetadata"
METADATA = {3: ("zarr.json",), 2: (".zgroup", ".zarray", ".zattrs", CONSOLIDATED)}
GROUPS: Mapping[str, Sequence[Variable]] = {
    "scores": SCORE_VARIABLES,
    "composition": COMPOSITION_VARIABLES,
    "repairs": REPAIR_VARIABLES,
}
ROWS = "buffers/reconstructed_frame_index"
COUNTING = (
    *(variable.name for variable in INDEX_VARIABLES),
    *("scores/recording", "scores/frame", "composition/position", "composition/frame"),
)
"""Coordinates, which count from 0."""

KINDS = {
    "frame_num": Kind.ALIGNMENT,
    "scores/source_frame": Kind.ALIGNMENT,
    "timestamp_first": Kind.TIMES,
    "timestamp_last": Kind.TIMES,
    "time": Kind.TIMES,
    "time_estimated": Kind.TIMES,
}
"""What a difference in some arrays is called; in others it goes by their group."""

GROUP_KINDS = {
    "": Kind.FRAMES,
    "scores": Kind.SCORES,
    "composition": Kind.COMPOSITION,
    "repairs": Kind.REPAIRS,
    "buffers": Kind.ROWS,
}
ZSTD_MAGIC, ZSTD_CHECKSUM = b"\x28\xb5\x2f\xfd", 0x04
ABSENT = 2**64 - 1  # Offset of a chunk that a shard does not hold
Region = tuple[slice, ...]
Nodes = dict[str, dict[str, Any]]
"""Metadata of groups and arrays by name, with their attributes; that of the root is ``.``."""


@dataclass
class Store:
    """A store that is verified."""

    path: Path
    findings: Findings  # Takes what is wrong
    # Those that could be opened, by group and name, such as ``scores/source_frame``.
    arrays: dict[str, Array] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)  # Attributes of the root group
    groups: set[str] = field(default_factory=set)  # Names of the others
    zarr_format: Literal[2, 3] = 3
    damaged: set[str] = field(default_factory=set)  # Keys of chunks that cannot be decoded

    @property
    def name(self) -> str:
        """Its name in findings."""
        return self.path.name

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width."""
        frames, height, width = self.arrays[VIDEO.name].shape
        return frames, height, width

    @property
    def is_older(self) -> bool:
        """Whether an older miostitch wrote it, and so other things than this one would."""
        return self.attrs.get("format_version") in OLDER_VERSIONS

    @property
    def block(self) -> int:
        """Frames per chunk of ``video``."""
        return int(self.arrays[VIDEO.name].chunks[0])

    @property
    def recordings(self) -> list[str]:
        """Names of the recordings."""
        found = self.attrs.get("recordings")
        return [str(name) for name in found] if isinstance(found, list) else []

    @property
    def variables(self) -> Sequence[Variable]:
        """What it should say of each frame."""
        return (*FRAME_VARIABLES, FILLED) if FILLED.name in self.arrays else FRAME_VARIABLES

    @property
    def buffer_columns(self) -> dict[str, str]:
        """The columns of the rows that could be opened, and their arrays."""
        parts = [(name.rpartition("/"), array) for name, array in self.arrays.items()]
        return {
            str(array.attrs.get(COLUMN_NAME, name)): name
            for (group, _, name), array in parts
            if group == "buffers"
        }

    def chunk_key(self, number: int) -> str:
        """Key of a chunk of ``video``."""
        return self.key(VIDEO.name, (number, 0, 0))

    def key(self, name: str, at: tuple[int, ...]) -> str:
        """Key of a file of an array."""
        return f"{name}/{self.arrays[name].metadata.encode_chunk_key(at)}"

    def video_block(self, number: int) -> NDArray[np.uint8] | None:
        """A chunk of ``video``, uint8 (frame, height, width); None if it cannot be read."""
        frames, height, width = self.shape
        start = number * self.block
        region = (slice(start, min(start + self.block, frames)), slice(height), slice(width))
        return self.read(VIDEO.name, (number, 0, 0), region)

    def read(self, name: str, at: tuple[int, ...], region: Region) -> NDArray[Any] | None:
        """The content of one file of an array; None if it cannot be read, which is noted once."""
        array = self.arrays[name]
        key = self.key(name, at)
        if not (self.path / key).is_file() or key in self.damaged:
            return None  # it was found before
        try:
            return read(array, region)
        except FAULTS as error:
            self.damaged.add(key)
            what, frame = f"cannot be decoded: {error}", _first_frame(array, region)
            self.findings.add(Kind.DAMAGED_CHUNK, self.name, what, chunk=key, frame=frame)
            return None

    def values(self, name: str) -> NDArray[Any] | None:
        """All values of a table; None if there is no such array, or not all of it is readable."""
        if name not in self.arrays:
            return None
        array = self.arrays[name]
        values = np.empty(array.shape, array.dtype)
        for at, region in grid(array):
            part = self.read(name, at, region)
            if part is None:
                return None
            values[region] = part
        return values


def open_store(path: Path, findings: Findings) -> Store | None:
    """Open a store; None if not even its video can be read."""
    store = Store(path, findings)
    try:
        root = open_group(path, consolidated=False)
    except FAULTS as error:
        findings.add(Kind.UNREADABLE, path.name, f"no Zarr group: {error}")
        return None
    store.attrs, store.zarr_format = dict(root.attrs), root.metadata.zarr_format
    version = store.attrs.get("format_version")
    if version != FORMAT_VERSION:
        told = f"format version {version!r}, this miostitch verifies {FORMAT_VERSION!r}"
        remedy = "verify it with the miostitch that wrote it, or make it again"
        findings.add(Kind.FORMAT, path.name, f"{told}; {remedy}")
    _open_members(store)
    if VIDEO.name not in store.arrays or store.arrays[VIDEO.name].ndim != len(VIDEO.dims):
        findings.add(Kind.UNREADABLE, path.name, f"no {VIDEO.name} (frame, height, width)")
        return None
    return store


def check_chunks(store: Store) -> None:
    """Read every file of every array, which finds those that are damaged."""
    for name, array in store.arrays.items():
        for at, region in grid(array):
            store.read(name, at, region)


def _open_members(store: Store) -> None:
    """Open every group and array by itself, so that a broken one hides no other."""
    nodes = ("zarr.json",) if store.zarr_format == 3 else (".zgroup", ".zarray")
    for file in sorted(file for node in nodes for file in store.path.rglob(node)):
        name = file.parent.relative_to(store.path).as_posix()
        if name == ".":
            continue
        try:
            member = open_node(file.parent, store.zarr_format)
        except FAULTS as error:
            store.findings.add(Kind.SCHEMA, store.name, f"{name} cannot be opened: {error}")
            continue
        attributes: Any = member.metadata.attributes  # of format 2 whatever is in the file
        if not isinstance(attributes, dict):
            store.findings.add(Kind.ATTRIBUTES, store.name, f"{name}: attributes are no object")
            continue
        if isinstance(member, Group):
            store.groups.add(name)
        else:
            store.arrays[name] = member


def check_files(store: Store) -> None:
    """Look for a file of every chunk, for others, and decode all chunks but those of frames."""
    findings = store.findings
    expected = set(METADATA[store.zarr_format])
    for name in (*store.groups, *store.arrays):
        expected |= {f"{name}/{file}" for file in METADATA[store.zarr_format]}
    for name, array in store.arrays.items():
        for at, region in grid(array):
            key = store.key(name, at)
            expected.add(key)
            file, frame = store.path / key, _first_frame(array, region)
            if not file.is_file():
                what = "there is no such file"
                findings.add(Kind.MISSING_CHUNK, store.name, what, chunk=key, frame=frame)
                continue
            fault = _shard_fault(file, array, region) if array.shards else _chunk_fault(file)
            if fault:
                findings.add(Kind.DAMAGED_CHUNK, store.name, fault, chunk=key, frame=frame)
            elif name != VIDEO.name:
                store.read(name, at, region)
    for file in sorted(store.path.rglob("*")):
        place = file.relative_to(store.path)
        key = place.as_posix()
        if not file.is_dir() and key not in expected and not is_of_system(place):
            what = f"{key} is no part of the store"
            findings.add(Kind.UNEXPECTED_FILE, store.name, what, chunk=key)


def check_layout(store: Store, folder: Path) -> None:
    """Compare all metadata with that of an empty store made from the schema in a folder."""
    made, frames = folder / "layout.zarr", store.shape[0]
    of_run = {k: v for k, v in store.attrs.items() if k not in ("ome", "format_version")}
    create_like(store, made, of_run)
    empty = {v.name: np.zeros(frames, v.dtype) for v in store.variables}
    write_frame_tables(str(made), empty, store.variables, empty=True)
    sizes = {FRAME: frames, RECORDING: len(store.recordings)}
    for dim, name in ((POSITION, "composition/buffer_source"), (REPAIR, "repairs/row")):
        array = store.arrays.get(name)
        sizes[dim] = array.shape[-1] if array is not None and array.ndim else 0
    recordings = {"recordings": store.attrs.get("recordings")}
    for group, variables in GROUPS.items():
        if group in store.groups:
            empty = {v.name: np.zeros([sizes[dim] for dim in v.dims], v.dtype) for v in variables}
            write_group(str(made), group, variables, empty.__getitem__, recordings, empty=True)
    if "buffers" in store.groups:
        with BufferTable(store.buffer_columns, None, str(made)):
            pass
    ours, layout = _metadata(store.path, store.zarr_format), _metadata(made, store.zarr_format)
    rows = store.arrays.get(ROWS)
    for name, expected in layout.items():
        if name.startswith("buffers/") and rows is not None:
            expected["shape"] = list(rows.shape)
        _allow_long_files(ours.get(name, {}), expected)
        _compare_metadata(store, name, ours.get(name), expected)
    tables = ("", *GROUPS, "buffers")
    for name in store.arrays.keys() - layout.keys():
        if name.rpartition("/")[0] in tables:
            store.findings.add(Kind.SCHEMA, store.name, f"{name} is in no schema", column=name)
    compare_arrays(store, made, [name for name in COUNTING if name in layout])
    _check_consolidated(store, ours)


def create_like(store: Store, path: Path, attrs: dict[str, Any] | None = None) -> None:
    """Create an empty store of the form that a store has."""
    form: dict[str, Any] = {"shape": store.shape, "chunk_frames": store.block}
    form |= {"zarr_format": store.zarr_format, "variables": store.variables}
    create_store(str(path), **form, attrs=attrs or {})


def _metadata(path: Path, zarr_format: int) -> Nodes:
    """Metadata of every group and array of a store."""
    files = []
    for file in (file for name in METADATA[zarr_format] for file in path.rglob(name)):
        with suppress(OSError, ValueError):  # it could not be opened, which is noted
            files.append((file.relative_to(path), json.loads(file.read_bytes())))
    return _nodes(files)


def _nodes(files: Iterable[tuple[Path, dict[str, Any]]]) -> Nodes:
    """Group files of metadata, which stand at these places of a store, by what they describe."""
    nodes: Nodes = {}
    for place, content in files:
        if place.name != CONSOLIDATED:
            node = nodes.setdefault(place.parent.as_posix(), {})
            node |= {"attributes": content} if place.name == ".zattrs" else content
            node.pop("consolidated_metadata", None)
    return nodes


def _allow_long_files(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Expect files with room for more frames than there are where those are found.

    Stores of this format were written so before.
    """
    [codec, *_] = expected.get("codecs") or [{}]
    if codec.get("name") == "sharding_indexed":
        block, *others = codec["configuration"]["chunk_shape"]
        long = {"chunk_shape": [TABLE_CHUNK // block * block, *others]}
        grid = {**expected["chunk_grid"], "configuration": long}
        if found.get("chunk_grid") == grid:
            expected["chunk_grid"] = grid


def _compare_metadata(
    store: Store, name: str, found: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    if found is None:
        store.findings.add(Kind.SCHEMA, store.name, f"{name} is missing", column=name)
        return
    for key in sorted(found.keys() | expected.keys()):
        if found.get(key) != expected.get(key):
            is_array = "shape" in expected or key != "attributes"
            kind = Kind.SCHEMA if is_array else Kind.ATTRIBUTES
            what = f"{name}: {key} {found.get(key)!r}, not {expected.get(key)!r}"
            column = "ome" if name == "." else name  # all else of the root is of the run
            store.findings.add(kind, store.name, what, column=column)


def _check_consolidated(store: Store, ours: Nodes) -> None:
    """Compare what readers look at first with the metadata of every group and array."""
    try:
        if store.zarr_format == 3:
            root = json.loads((store.path / "zarr.json").read_bytes())
            found = root["consolidated_metadata"]["metadata"].items()
            nodes = _nodes((Path(name, "zarr.json"), content) for name, content in found)
            nodes["."] = ours["."]  # which is not gathered
        else:
            found = json.loads((store.path / CONSOLIDATED).read_bytes())["metadata"].items()
            nodes = _nodes((Path(key), content) for key, content in found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        store.findings.add(Kind.METADATA, store.name, f"cannot be read: {error!r}")
        return
    for name in sorted(nodes.keys() | ours.keys()):
        if nodes.get(name, {}) != ours.get(name, {}):
            what = f"{name} differs from its own metadata"
            store.findings.add(Kind.METADATA, store.name, what)


def compare_arrays(store: Store, expected: Path, names: Iterable[str] | None = None) -> None:
    """Compare arrays with those of another store, one chunk at a time; by default all tables."""
    made = all_arrays(open_group(expected, consolidated=False))
    if names is None:
        names = made.keys() - {VIDEO.name, *COUNTING}
    missing = set[str]()
    for name in sorted(names):
        group, array, other = name.rpartition("/")[0], store.arrays.get(name), made[name]
        if array is None:
            missing.add(group if group and group not in store.groups else name)
        elif array.shape != other.shape:
            what = f"{name}: shape {array.shape}, not {other.shape}"
            store.findings.add(Kind.SCHEMA, store.name, what, column=name)
        else:
            for at, region in grid(array):
                key = store.key(name, at)
                if _are_equal(store.path / key, expected / key):  # so both need not be decoded
                    continue
                found = store.read(name, at, region)
                if found is not None:
                    _compare_values(store, name, found, read(other, region), region)
    for name in sorted(missing):
        store.findings.add(Kind.SCHEMA, store.name, f"{name} is missing", column=name)


def _are_equal(one: Path, other: Path) -> bool:
    """Whether both files are there and have the same bytes."""
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def check_times(store: Store, folder: Path) -> None:
    """Measure the times of a stitched store's frames again by what else it says of them."""
    known = [store.values(name) for name in ("frame_num", "timestamp_first")]
    try:
        fps = Fraction(store.attrs["fps"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return  # which is noted
    if known[0] is None or known[1] is None or fps <= 0:
        return
    elapsed, made = measure_time(known[0], known[1], fps), folder / "times.zarr"
    create_like(store, made)
    attrs = time_attrs(elapsed, known[0])
    write_frame_tables(str(made), elapsed.columns, TIME_VARIABLES, attrs)
    compare_arrays(store, made, elapsed.columns)
    compare_times(store, made)


def compare_times(store: Store, expected: Path) -> None:
    """Compare the attributes that follow from the times of the frames with another store's."""
    made = open_group(expected, consolidated=False).attrs
    for name in (START_TIME, MEASURED_FPS, EPOCHS):
        if store.attrs.get(name) != made.get(name):
            what = f"{name} is {store.attrs.get(name)!r}, not {made.get(name)!r}"
            store.findings.add(Kind.ATTRIBUTES, store.name, what, column=name)


def _compare_values(
    store: Store, name: str, found: NDArray[Any], expected: NDArray[Any], region: Region
) -> None:
    """Note where values differ, with the place along every dimension."""
    wrong = np.asarray(found != expected)
    if found.dtype.kind == "f":
        wrong &= ~(np.isnan(found) & np.isnan(expected))
    if not wrong.any():
        return
    group, _, column = name.rpartition("/")
    kind, dims = KINDS.get(name, GROUP_KINDS[group]), dimension_names(store.arrays[name])
    file, column = (f"{store.name}/buffers", column) if group == "buffers" else (store.name, name)
    places = np.argwhere(wrong)
    for place in places[:LISTED]:
        values = found[tuple(place)], expected[tuple(place)]
        shown = [repr(v.item() if isinstance(v, np.generic) else v) for v in values]
        at = dict(zip(dims, (place + [part.start for part in region]).tolist(), strict=False))
        of = f" of {store.recordings[at[RECORDING]]}" if RECORDING in at and group else ""
        row = next((at[dim] for dim in (POSITION, BUFFER, REPAIR) if dim in at), None)
        if FRAME not in at and row is None:
            row = int(place[0]) + region[0].start
        what = f"{name}{of} is {shown[0]}, not {shown[1]}"
        store.findings.add(kind, file, what, frame=at.get(FRAME), row=row, column=column)
    store.findings.more(kind, len(places) - LISTED)


def grid(array: Array) -> Iterator[tuple[tuple[int, ...], Region]]:
    """Position in the grid and region of every file of an array."""
    stored = tuple(array.shards or array.chunks)
    counts = [-(-size // each) for size, each in zip(array.shape, stored, strict=True)]
    for at in product(*map(range, counts)):
        parts = zip(at, stored, array.shape, strict=True)
        yield at, tuple(slice(i * each, min((i + 1) * each, size)) for i, each, size in parts)


def _chunk_fault(file: Path) -> str:
    """Whether a chunk lacks the checksum that lets damage be seen."""
    with file.open("rb") as opened:
        head = opened.read(5)
    if head[:4] == ZSTD_MAGIC and len(head) == 5 and not head[4] & ZSTD_CHECKSUM:
        return "carries no checksum"
    return ""


def _shard_fault(file: Path, array: Array, region: Region) -> str:
    """Whether a shard lacks a chunk, which would be read as fill values."""
    shards = array.shards or array.chunks
    inner = [-(-each // size) for each, size in zip(shards, array.chunks, strict=True)]
    used = [
        -(-(part.stop - part.start) // size)
        for part, size in zip(region, array.chunks, strict=True)
    ]
    entries = int(np.prod(inner))
    data = file.read_bytes()[-(16 * entries + 4) :]  # followed by four bytes of checksum
    if len(data) < 16 * entries + 4:
        return "is cut"
    offsets = np.frombuffer(data[:-4], "<u8").reshape(*inner, 2)[..., 0]
    absent = np.argwhere(offsets[tuple(slice(n) for n in used)] == ABSENT)
    return f"lacks its chunk {absent[0].tolist()}" if len(absent) else ""


def _first_frame(array: Array, region: Region) -> int | None:
    """First frame in a region of an array; None if it has no frames."""
    names = dimension_names(array)
    return region[names.index(FRAME)].start if FRAME in names else None
