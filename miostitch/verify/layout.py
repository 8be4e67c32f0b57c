"""Checks the layout of a store: its files, its schema, its metadata."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from miostitch.schema import (
    BUFFER,
    COLUMN_BY_NAME,
    COMPOSITION_VARIABLES,
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
from miostitch.verify.findings import Kind
from miostitch.verify.store import METADATA, Store, dimensions, first_frame, grid, stored_shape

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

ZSTD_MAGIC, ZSTD_CHECKSUM = b"\x28\xb5\x2f\xfd", 0x04
ABSENT = 2**64 - 1
"""Offset of a chunk that a shard does not hold."""


def check_layout(store: Store) -> None:
    """Check that a store is whole, is as the schema says, and that nothing else is in it."""
    _check_files(store)
    _check_schema(store)
    _check_consolidated(store)


def _check_files(store: Store) -> None:
    """Look for a file of every chunk, and for files that are none."""
    findings, name = store.findings, store.path.name
    expected = set(METADATA[store.zarr_format])
    for where in (*store.groups, *store.arrays):
        expected |= {f"{where}/{file}" for file in METADATA[store.zarr_format]}
    for where, array in store.arrays.items():
        for at, region in grid(array):
            key = f"{where}/{array.metadata.encode_chunk_key(at)}"
            expected.add(key)
            file, frame = store.path / key, first_frame(array, region)
            if not file.is_file():
                findings.add(
                    Kind.MISSING_CHUNK, name, "there is no such file", chunk=key, frame=frame
                )
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
    inner = [-(-each // size) for each, size in zip(stored_shape(array), array.chunks, strict=True)]
    used = [
        -(-(part.stop - part.start) // size)
        for part, size in zip(region, array.chunks, strict=True)
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
        BUFFER: rows.shape[0] if rows is not None and rows.ndim else 0,
        POSITION: position.shape[-1] if position is not None and position.ndim else 0,
        REPAIR: repairs.shape[0] if repairs is not None and repairs.ndim else 0,
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
            doc, unit, dtype = (
                (column.doc, column.unit, column.dtype) if column else ("", None, "str")
            )
            variable = Variable(name, (BUFFER,), dtype, doc, unit)
            _check_array(store, f"buffers/{name}", variable, sizes)
    known = {f"{group}/{v.name}".strip("/") for group, vs in TABLES.items() for v in vs}
    known |= {f"{group}/{dim}" for group, dims in COUNTED.items() for dim in dims}
    for name in store.arrays.keys() - known:
        if name.rpartition("/")[0] in ("", *TABLES, "buffers") and not name.startswith("buffers/"):
            store.findings.add(Kind.SCHEMA, store.path.name, f"{name} is in no schema")


def _check_array(store: Store, name: str, variable: Variable, sizes: Mapping[str, int]) -> None:
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
    attrs = {name: value for name, value in array.attrs.items() if name != "_ARRAY_DIMENSIONS"}
    tell("dimensions", dimensions(array), variable.dims)
    expected = variable.attrs
    if variable is VIDEO:
        expected = expected | {"coordinates": " ".join(v.name for v in FRAME_VARIABLES)}
        tell("chunks", tuple(array.chunks[1:]), shape[1:])
    tell("attributes", attrs, expected)
    if not text:
        fill = np.zeros((), variable.dtype).item() if variable.fill is None else variable.fill
        found = array.fill_value
        tell(
            "fill value",
            None if found is None else found.item(),
            None if store.zarr_format == 2 else fill,
        )
    codecs = [str(_codec(each)) for each in array.compressors]
    if not any("checksum': True" in each or "'crc32c'" in each for each in codecs):
        tell("codec", str(array.compressors), "one with a checksum")


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
