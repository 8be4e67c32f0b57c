"""The Zarr store: create it, fill it block by block, complete its tables.

Its layout is that of :mod:`miostitch.schema`; ``xarray.open_zarr`` reads it as it is. Every chunk
carries a checksum and is written even when all zero, so that a missing chunk is always a loss.
"""

import re
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import zarr
from numcodecs import Zstd
from zarr.api import asynchronous
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from miostitch.errors import MiostitchError, ResourceError
from miostitch.schema import (
    BUFFER,
    COLUMN_BY_NAME,
    COLUMN_NAME,
    FORMAT_VERSION,
    FRAME,
    FRAME_VARIABLES,
    INDEX_VARIABLES,
    POSITION,
    RECORDING,
    VIDEO,
    Variable,
)
from miostitch.store.disk import DiskStore, run_here
from miostitch.store.nodes import Array, Group, create_group, open_array, open_group, write

BUFFER_CHUNK = 2**17
"""Rows per chunk of the ``buffers`` group; of each column one chunk is in memory, 1 MiB."""

TABLE_CHUNK = 2**17  # Frames per chunk of the tables along ``frame``
MANY_CHUNKS = 1024  # Chunks of a few kilobytes that zarr packs in one go, in half of the time
ZSTD_LEVEL = 1

VIDEO_CODECS = (BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=1), Crc32cCodec())
"""Noise fills the low bits of a picture: sorted by bit, pixels are packed as well as by zstd, in a
third of the time. Blosc does not notice a damaged chunk; the checksum does."""

OLD_DIMENSIONS = "_ARRAY_DIMENSIONS"
"""Attribute that names the dimensions of an array in format 2."""

PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ \-]{0,79}(?<! )")
"""Column names that are names of arrays as they are."""

QUOTED_LETTERS, DIGEST_BYTES = 40, 8
"""Of the names of arrays of other columns."""

DIMENSION_DOCS = {
    FRAME: "position of the frame in the video",
    RECORDING: "position in `recordings`",
    POSITION: "position of the buffer in the frame",
}
"""Dimensions of the groups that have a coordinate."""

Attrs = Mapping[str, Any]

_FILTERING = threading.Lock()


@contextmanager
def _writing(path: str, failure: str) -> Iterator[None]:
    """Write something of a store; what the disk refuses becomes an error that names it."""
    try:
        yield
    except OSError as error:
        raise ResourceError(f"{path}: {failure}: {error}") from error


def create_store(
    path: str,
    *,
    shape: tuple[int, int, int],
    chunk_frames: int,
    attrs: Attrs,
    zarr_format: int = 3,
    variables: Sequence[Variable] = FRAME_VARIABLES,
) -> None:
    """Create a store with an empty ``video``."""
    axes: Attrs = {"ome": _ome()} if zarr_format == 3 else {}
    complete = {*FRAME_VARIABLES} <= {*variables}  # else it is a store for others
    version: Attrs = {"format_version": FORMAT_VERSION} if complete else {}
    with _writing(path, "cannot create the store"):
        root = create_group(path, zarr_format, {**version, **attrs, **axes})
        coordinates = " ".join(variable.name for variable in variables)
        _create(root, VIDEO, shape, (chunk_frames, *shape[1:]), {"coordinates": coordinates})
        for variable, size in zip(INDEX_VARIABLES, shape, strict=True):
            _write(root, variable, np.arange(size, dtype=variable.dtype))


def write_frame_tables(
    path: str,
    frames: Mapping[str, npt.NDArray[Any]],
    variables: Sequence[Variable] = FRAME_VARIABLES,
    attrs: Attrs | None = None,
    *,
    empty: bool = False,
) -> None:
    """Write what is known per frame, an array (frame,) for each of the variables.

    ``attrs``: what is known of all frames only now. ``empty``: leaves the values out.
    """
    with _writing(path, "cannot write the tables"):
        root = open_group(path, "r+")
        run_here(root.update_attributes(dict(attrs or {})))
        block = open_array(Path(path) / VIDEO.name, "r").chunks[0]
        with zarr.config.set({"codec_pipeline.batch_size": MANY_CHUNKS}):
            for variable in variables:
                # xarray wants the chunks of coordinates to be those of the video
                _write(root, variable, frames[variable.name], block, empty=empty)


def write_group(
    path: str,
    name: str,
    variables: Sequence[Variable],
    values: Callable[[str], npt.NDArray[Any]],
    attrs: Attrs,
    *,
    empty: bool = False,
) -> None:
    """Write a group of tables, with a coordinate for each of their dimensions.

    ``empty``: leaves the values out, but for those of the coordinates.
    """
    with _writing(path, f"cannot write {name}"):
        group = run_here(open_group(path, "r+").create_group(name, attributes=dict(attrs)))
        sizes: dict[str, int] = {}
        for variable in variables:
            array = values(variable.name)
            _write(group, variable, array, empty=empty)
            sizes |= zip(variable.dims, array.shape, strict=True)
        for dim in sizes.keys() & DIMENSION_DOCS.keys():
            index = Variable(dim, (dim,), "int64", DIMENSION_DOCS[dim])
            _write(group, index, np.arange(sizes[dim], dtype=np.int64))


def create_root(path: str, zarr_format: int) -> None:
    """Create a store with nothing in it, for a group that is made apart."""
    with _writing(path, "cannot create the store"):
        create_group(path, zarr_format)


def array_names(columns: Iterable[str]) -> dict[str, str]:
    """Names of the arrays of some columns: those that any file system takes are as they are.

    Others, and names that differ from others in small and capital letters alone, are written
    with ``%`` escapes and a digest; the attribute :data:`COLUMN_NAME` has the name itself.

    >>> array_names(["frame_num", "note", "a/b"])
    {'frame_num': 'frame_num', 'note': 'note', 'a/b': 'a%2Fb%0debd2558bca8fa0'}
    """
    names = [*columns]
    folded = Counter([BUFFER, *(name.casefold() for name in names)])
    found = {}
    for name in names:
        alone = name in COLUMN_BY_NAME or folded[name.casefold()] == 1
        digest = blake2b(name.encode(), digest_size=DIGEST_BYTES).hexdigest()
        quoted = f"{quote(name, safe='')[:QUOTED_LETTERS]}%{digest}"
        found[name] = name if alone and PLAIN_NAME.fullmatch(name) else quoted
    return found


class BufferColumns:
    """The ``buffers`` group: a metadata table as one-dimensional arrays, appended in pieces."""

    def __init__(self, path: str, columns: Mapping[str, str], attrs: Mapping[str, Attrs]) -> None:
        self._path = path
        with _writing(path, "cannot create the buffers"):
            group = run_here(open_group(path, "r+").create_group("buffers"))
            self._arrays = {
                name: _create(
                    group,
                    Variable(array, (BUFFER,), columns[name], "", group="/buffers"),
                    (0,),
                    (BUFFER_CHUNK,),
                    {**attrs.get(name, {}), **({} if array == name else {COLUMN_NAME: name})},
                )
                for name, array in array_names(columns).items()
            }
        # text of any length is kept as objects
        self._chunk = {
            name: np.empty(BUFFER_CHUNK, object if dtype == "str" else dtype)
            for name, dtype in columns.items()
        }
        self._rows = 0

    def append(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Append rows, given as equally long columns; whole chunks are written as they fill."""
        count = len(next(iter(columns.values())))
        done = 0
        while done < count:
            begin = self._rows % BUFFER_CHUNK
            taken = min(count - done, BUFFER_CHUNK - begin)
            for name, chunk in self._chunk.items():
                chunk[begin : begin + taken] = columns[name][done : done + taken]
            self._rows += taken
            done += taken
            if self._rows % BUFFER_CHUNK == 0:
                self._write(BUFFER_CHUNK)

    def close(self) -> None:
        """Write what is left."""
        self._write(self._rows % BUFFER_CHUNK)

    def _write(self, count: int) -> None:
        """Write the last rows, which begin a chunk."""
        if not count:
            return
        with _writing(self._path, "cannot write the buffers"):
            for name, array in self._arrays.items():
                run_here(array.resize((self._rows,)))
                chunk = self._chunk[name]
                write(array, slice(self._rows - count, self._rows), chunk[:count])
                if chunk.dtype == object:
                    chunk.fill(None)  # lets the texts go


def consolidate(path: str) -> None:
    """Gather the metadata of a finished store in one place, where ``xarray`` looks for it."""
    # zarr warns that format 3 does not specify this yet; readers without it lose nothing.
    # Filters are those of the process: by turns, or a thread would end the filter of another
    with _FILTERING, warnings.catch_warnings(), _writing(path, "cannot write the metadata"):
        warnings.filterwarnings("ignore", "Consolidated metadata", UserWarning)
        run_here(asynchronous.consolidate_metadata(DiskStore(path)))


def _create(
    group: Group,
    variable: Variable,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    attrs: Attrs,
    shards: tuple[int, ...] | None = None,
) -> Array:
    """Create one array with our codec."""
    version = group.metadata.zarr_format
    zero = np.zeros((), variable.dtype).item()
    fill = zero if variable.fill is None else variable.fill
    attributes = {**variable.attrs, **attrs}
    if version == 2:
        attributes[OLD_DIMENSIONS] = list(variable.dims)
    made = group.create_array(
        variable.name,
        shape=shape,
        chunks=tuple(max(1, size) for size in chunks),
        shards=shards,
        dtype=variable.dtype,
        compressors=_codecs(variable, version),
        dimension_names=variable.dims if version == 3 else None,
        # xarray would mask the fill value of format 2
        fill_value=None if version == 2 else fill,
        attributes=attributes,
        config={"write_empty_chunks": True},
    )
    return run_here(made)


def dimension_names(array: Array) -> tuple[str, ...]:
    """Names of the dimensions of an array of either format; none where it has none."""
    names: Any = getattr(array.metadata, "dimension_names", None)
    if names is None:
        names = array.attrs.get(OLD_DIMENSIONS, ())
    return tuple(map(str, names)) if isinstance(names, list | tuple) else ()


def _codecs(variable: Variable, zarr_format: int) -> list[Any]:
    """How chunks are packed, always with a checksum."""
    if zarr_format == 2:  # which has no checksum that all readers know, but that of zstd
        return [Zstd(ZSTD_LEVEL, checksum=True)]
    if variable is VIDEO:
        return [*VIDEO_CODECS]
    return [ZstdCodec(level=ZSTD_LEVEL, checksum=True)]


def _write(
    group: Group,
    variable: Variable,
    values: npt.NDArray[Any],
    frames_per_chunk: int = TABLE_CHUNK,
    *,
    empty: bool = False,
) -> None:
    values = np.asarray(values)
    if values.dtype != np.dtype(variable.dtype):
        msg = f"{variable.name}: {values.dtype} given, the schema says {variable.dtype}"
        raise MiostitchError(msg)

    def along_frame(size: int) -> tuple[int, ...]:
        sizes = zip(variable.dims, values.shape, strict=True)
        return tuple(size if dim == FRAME else length for dim, length in sizes)

    shards = None
    if frames_per_chunk < TABLE_CHUNK and group.metadata.zarr_format == 3:
        # chunks as small as the video's, in few files; a file lists all chunks that it may hold
        frames = values.shape[variable.dims.index(FRAME)]
        chunks_per_file = min(TABLE_CHUNK // frames_per_chunk, -(-frames // frames_per_chunk))
        shards = along_frame(max(1, chunks_per_file) * frames_per_chunk)
    chunks = along_frame(frames_per_chunk)
    made = _create(group, variable, values.shape, chunks, {}, shards)
    if not empty:
        write(made, ..., values)


def _ome() -> Attrs:
    """OME-Zarr 0.5 multiscales metadata: one level, time and space, counted from 0."""
    # the axes must have the names of the array's dimensions
    types = zip(VIDEO.dims, ("time", "space", "space"), strict=True)
    axes = [{"name": name, "type": kind} for name, kind in types]
    transform = [{"type": "scale", "scale": [1.0] * len(axes)}]
    dataset = {"path": VIDEO.name, "coordinateTransformations": transform}
    return {
        "version": "0.5",
        "multiscales": [{"name": "video", "axes": axes, "datasets": [dataset]}],
    }
