"""The metadata of a store, judged before anything of it is believed.

A store may come from anywhere. What its JSON names is loaded by other libraries: a codec that runs
pickled code, a shape that no memory holds. So only plain arrays are let through, of a size that
the bytes on disk can account for.
"""

import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.errors import InputError, MiostitchError
from miostitch.schema import NO_FRAME

MAX_JSON_BYTES = 2**23
MAX_DEPTH = 4
MAX_DIMENSIONS = 8
MAX_CHUNK_BYTES = 2**31
FREE_BYTES, FREE_CHUNKS = 2**26, 2**16
"""What an array may declare though nothing is stored: chunks of fill values may be left out."""
RATIO = 2**17  # More than any codec here compresses
INTEGERS = [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
NUMBERS = ("bool", *INTEGERS, "float16", "float32", "float64")
ITEM_BYTES = {"string": 8} | {name: np.dtype(name).itemsize for name in NUMBERS}
CODECS = {"bytes", "transpose", "vlen-utf8", "zstd", "gzip", "blosc", "crc32c", "sharding_indexed"}
COMPRESSORS = {"zstd", "blosc", "zlib", "gzip", "lz4"}
CHUNK_NAME = re.compile(r"\d+(\.\d+)*|c")
"""Name of a whole chunk's file in either format; ``c`` is that of an array without dimensions."""

OLD_DTYPE = re.compile(r"[<>|][biuf]([1248])")
TEXT = [{"id": "vlen-utf8"}]


FAULTS = (OSError, RuntimeError, ValueError, KeyError, TypeError)
"""What zarr and its codecs raise at files that are not what they should be."""


@contextmanager
def reading(path: str, name: str = "") -> Iterator[None]:
    """Read something of a store; what other libraries raise becomes an error that names it."""
    try:
        yield
    except MiostitchError:
        raise
    except FAULTS as error:
        what = ": ".join(filter(None, (path, name.strip("/"))))
        reason = str(error).rstrip(".")
        msg = f"{what}: cannot be read: {reason}; copy the store again, or stitch again"
        raise InputError(msg) from error


Node = tuple[Path, dict[str, Any]]  # Folder and metadata of a group or an array


def require_plain(path: str) -> dict[str, Node]:
    """Refuse a store whose metadata names anything but plain arrays.

    Returns: Groups and arrays by their names, as readers will see them.
    """
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"{path}: not a Zarr store: there is no such folder; check the path")
    nodes = {name: (folder, meta) for name, folder, meta in _nodes(root, "", 0)}
    if "" not in nodes:
        raise InputError(f"{path}: not a Zarr store: no metadata in it")
    gathered = [*_gathered(root, nodes[""][1])]
    for name, folder, meta in [*((n, f, m) for n, (f, m) in nodes.items()), *gathered]:
        if "shape" in meta:
            _check_array(f"{path}: array {name!r}", folder, meta)
    video = nodes.get("video", (root, {}))[1]
    if len(video.get("shape", ())) != 3 or video.get("data_type", video.get("dtype")) not in (
        "uint8",
        "|u1",
    ):
        raise InputError(f"{path}: no video of three dimensions and 8 bits in it; no such store")
    # what is gathered at the root tells of arrays, too, of which not even the folder is there
    return nodes | {name: (folder, meta) for name, folder, meta in gathered}


def require_recordings(path: str, name: str, numbers: NDArray[Any], count: int) -> None:
    """Refuse a table that names a recording which is none of so many; -1 is none."""
    if numbers.size and not NO_FRAME <= numbers.min() <= numbers.max() < count:
        msg = f"{path}: {name} names a recording that is none of its {count}"
        raise InputError(f"{msg}; copy the store again, or stitch again")


def require_chunks(path: str, nodes: dict[str, Node], *, but: str) -> None:
    """Refuse a store of ours where a chunk of a table is missing: it would read as zeros."""
    for name, (folder, meta) in nodes.items():
        if "shape" not in meta or name == but:
            continue
        old = meta.get("zarr_format") == 2
        grid = meta["chunks"] if old else meta["chunk_grid"]["configuration"]["chunk_shape"]
        declared = math.prod(-(-size // n) for size, n in zip(meta["shape"], grid, strict=True))
        names = [each for _, _, names in os.walk(folder) for each in names]
        found = sum(CHUNK_NAME.fullmatch(each) is not None for each in names)
        if found < declared:
            msg = f"{path}: array {name!r} has {found} of {declared} chunks, and the others would"
            raise InputError(f"{msg} read as zeros; copy the store again, or make it again")


def _nodes(folder: Path, name: str, depth: int) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Name, folder and metadata of every group and array."""
    if depth > MAX_DEPTH:
        raise InputError(f"{folder}: groups nested deeper than {MAX_DEPTH}; no such store")
    meta = _metadata(folder)
    if meta is None:
        return
    yield name, folder, meta
    if "shape" not in meta:
        for inner in sorted(folder.iterdir()):
            if inner.is_dir():
                yield from _nodes(inner, f"{name}/{inner.name}".lstrip("/"), depth + 1)


def _metadata(folder: Path) -> dict[str, Any] | None:
    for kind in ("zarr.json", ".zarray", ".zgroup"):
        if (folder / kind).exists():
            return _json(folder / kind)
    return None


def _gathered(root: Path, meta: dict[str, Any]) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Metadata of arrays gathered at the root, which readers prefer to that of the arrays."""
    found = meta.get("consolidated_metadata") or {}
    if (root / ".zmetadata").exists():
        found = _json(root / ".zmetadata")
    entries = found.get("metadata") if isinstance(found, dict) else None
    if found and not isinstance(entries, dict):
        raise InputError(f"{root}: its consolidated metadata is no object of JSON")
    for key, value in (entries or {}).items():
        if not isinstance(value, dict):
            raise InputError(f"{root}: the metadata of {key!r} is no object of JSON")
        name = key.removesuffix("/.zarray")
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise InputError(f"{root}: an array {name!r} outside of the store")
        if not key.endswith((".zattrs", ".zgroup")):
            yield name, root / name, value


def _json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_JSON_BYTES + 1)
        if len(text) > MAX_JSON_BYTES:
            raise InputError(f"{path}: larger than {MAX_JSON_BYTES // 2**20} MiB; no such metadata")
        found = json.loads(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: no JSON ({error}); copy the store again") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: is no JSON object; copy the store again")
    return found


def _check_array(where: str, folder: Path, meta: dict[str, Any]) -> None:
    try:
        shape, chunks, item_bytes = _plain(meta)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        msg = f"{where}: no plain array: {type(error).__name__}: {error}"
        raise InputError(f"{msg}; only stores that miostitch wrote are read") from error
    if len(shape) > MAX_DIMENSIONS or math.prod(chunks) * item_bytes > MAX_CHUNK_BYTES:
        raise InputError(f"{where}: declares chunks of {chunks}; no memory would hold them")
    declared = math.prod(shape) * item_bytes
    count = math.prod(-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True))
    needed = max(count - FREE_CHUNKS, -(-(declared - FREE_BYTES) // RATIO))
    if needed > 0 and not _holds(folder, needed):
        msg = f"{where}: declares {shape}, but nothing that large is stored"
        raise InputError(f"{msg}; copy the store again")


def _plain(meta: dict[str, Any]) -> tuple[list[int], list[int], int]:
    """Shape, shape of the smallest chunks, and bytes of an item."""
    shape = _sizes(meta["shape"], 0)
    if meta.get("zarr_format") == 2:
        chunks = _sizes(meta["chunks"], 1)
        item_bytes = _old_item_bytes(meta)
    else:
        if meta["chunk_grid"]["name"] != "regular":
            raise ValueError(f"chunks of the kind {meta['chunk_grid']['name']!r}")
        chunks = _sizes(meta["chunk_grid"]["configuration"]["chunk_shape"], 1)
        item_bytes = ITEM_BYTES[meta["data_type"]]
        if math.prod(chunks) * item_bytes > MAX_CHUNK_BYTES:
            raise ValueError(f"chunks of {chunks}")
        chunks = _inner(meta["codecs"], chunks, 0)
    if len(shape) != len(chunks):
        raise ValueError(f"chunks of {chunks} in {shape}")
    return shape, chunks, item_bytes


def _inner(codecs: list[dict[str, Any]], chunks: list[int], depth: int) -> list[int]:
    """Shape of the chunks that these codecs make of chunks, each codec known."""
    for codec in codecs:
        if codec["name"] not in CODECS or depth > MAX_DEPTH:
            raise ValueError(f"codec {codec['name']!r}")
        if codec["name"] == "sharding_indexed":
            options = codec["configuration"]
            _inner(options["index_codecs"], chunks, depth + 1)
            inner = _sizes(options["chunk_shape"], 1)
            if len(inner) != len(chunks):
                raise ValueError(f"chunks of {inner} in {chunks}")
            chunks = _inner(options["codecs"], inner, depth + 1)
    return chunks


def _old_item_bytes(meta: dict[str, Any]) -> int:
    """Bytes of an item in format 2; objects are text and nothing else."""
    compressor, filters = meta.get("compressor"), meta.get("filters") or []
    if compressor is not None and compressor["id"] not in COMPRESSORS:
        raise ValueError(f"compressor {compressor['id']!r}")
    if meta["dtype"] == "|O" and filters == TEXT:
        return ITEM_BYTES["string"]
    known = OLD_DTYPE.fullmatch(meta["dtype"])
    if filters or not known:
        raise ValueError(f"type {meta['dtype']!r} with the filters {filters}")
    return int(known[1])


def _sizes(value: list[Any], least: int) -> list[int]:
    if not isinstance(value, list) or not all(type(n) is int and n >= least for n in value):
        raise ValueError(f"sizes {value!r}")
    return value


def _holds(folder: Path, needed: int) -> bool:
    """Whether so many bytes stand in the files below a folder."""
    for root, _, names in os.walk(folder):
        for name in names:
            needed -= os.path.getsize(os.path.join(root, name))
            if needed <= 0:
                return True
    return False
