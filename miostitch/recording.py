"""The hub: one receiver's video and table as one lazy, labelled Dataset."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from miostitch.errors import InputError, MismatchError, MissingInputError, UsageError
from miostitch.frame_readers import FrameReader
from miostitch.frame_table import FrameTable
from miostitch.metadata import Metadata, read_metadata
from miostitch.schema import (
    FRAME,
    FRAME_VARIABLES,
    HEIGHT,
    NO_FRAME,
    RECORDING,
    VIDEO,
    WIDTH,
    chunk_frames,
)
from miostitch.store import require_store
from miostitch.video import DEFAULT_MAX_FRAME_PIXELS, VideoSource, open_video

Path_ = str | os.PathLike[str]


class InputFile(NamedTuple):
    """A file that was read: path, size in bytes, hexadecimal blake2b digest."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class Recording:
    """One receiver's recording: videos that follow each other, and the tables beside them.

    Parameters
    ----------
    name
        Stem of the first video.
    videos
        One video, or the segments of a recording in their order.
    tables
        The metadata table of each video; empty for a video without one.
    frames
        One row per picture over all videos; without a table every ``frame_num`` is -1.
    notices
        What a user should be told about the files.
    """

    name: str
    videos: tuple[VideoSource, ...]
    tables: tuple[Metadata, ...]
    frames: FrameTable
    notices: tuple[str, ...]

    @property
    def path(self) -> str:
        """The first video, for messages."""
        return self.videos[0].path

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width."""
        return self.first_frames[-1], self.videos[0].height, self.videos[0].width

    @cached_property
    def first_frames(self) -> list[int]:
        """Position of each video's first frame in the recording, and of the end."""
        return [0, *np.cumsum([video.frame_count for video in self.videos]).tolist()]

    @cached_property
    def inputs(self) -> tuple[InputFile, ...]:
        """Every file of the recording with a digest of its content."""
        videos = [InputFile(v.path, os.path.getsize(v.path), _digest(v)) for v in self.videos]
        tables = [InputFile(t.path, os.path.getsize(t.path), t.digest) for t in self.tables]
        return (*videos, *tables)

    def reader(self, frames: NDArray[np.int64]) -> "BlockReader":
        """What a task needs to read these frames, and no more.

        Parameters
        ----------
        frames
            Positions in the recording, in any order; -1 gives zeros.

        Raises
        ------
        VideoError
            A frame lies beyond the recording or in a hole of the file.
        """
        shape = (len(frames), *self.shape[1:])
        if len(self.videos) == 1:
            return BlockReader(shape, ((np.arange(len(frames)), self.videos[0].subset(frames)),))
        parts = []
        for video, start, stop in zip(
            self.videos, self.first_frames[:-1], self.first_frames[1:], strict=True
        ):
            inside = np.flatnonzero((frames >= start) & (frames < stop))
            if len(inside):
                parts.append((inside, video.subset(frames[inside] - start)))
        return BlockReader(shape, tuple(parts))

    def rows(self, frames: NDArray[np.int64]) -> pd.DataFrame:
        """Buffers of these frames, in the order of ``frames``, within a frame in buffer order.

        The column ``reconstructed_frame_index`` counts within the file the row came from.
        """
        pieces, places = [], []
        for number, table in enumerate(self.tables):
            start, stop = self.first_frames[number : number + 2]
            inside = np.flatnonzero((frames >= start) & (frames < stop))
            local = frames[inside] - start
            pieces.append(table.rows(local))
            places.append(np.repeat(inside, table.frames.num_rows[local]))
        if len(pieces) == 1:
            return pieces[0]
        rows = pd.concat(pieces, ignore_index=True)
        return rows.iloc[np.argsort(np.concatenate(places), kind="stable")]

    def to_dataset(self) -> xr.Dataset:
        """The recording as a Dataset; see :func:`open_recording`."""
        count, height, width = self.shape
        data = indexing.LazilyIndexedArray(VideoArray(self))
        chunks = {FRAME: chunk_frames(height, width), HEIGHT: height, WIDTH: width}
        video = xr.Variable(VIDEO.dims, data, VIDEO.attrs, {"preferred_chunks": chunks})
        attrs = {variable.name: variable.attrs for variable in FRAME_VARIABLES}
        rows = {"preferred_chunks": {FRAME: chunks[FRAME]}}  # xarray wants one chunking
        table = {
            name: xr.Variable(FRAME, getattr(self.frames, name)[:count], attrs[name], rows)
            for name in ("frame_num", "timestamp_first", "timestamp_last", "num_buffers")
        }
        coords = {name: np.arange(n) for name, n in zip(VIDEO.dims, self.shape, strict=True)}
        dataset = xr.Dataset(
            {VIDEO.name: video},
            {**coords, **table},
            {"recording": self.name, "fps": str(self.videos[0].fps)},
        )
        return dataset.set_xindex("frame_num")


@dataclass(frozen=True)
class BlockReader:
    """Reads the frames of one block; small and picklable.

    Parameters
    ----------
    shape
        Frames, height and width of the block.
    parts
        Places in the block and the reader of the frames that go there.
    """

    shape: tuple[int, int, int]
    parts: tuple[tuple[NDArray[np.int64], FrameReader], ...]

    def read(self) -> NDArray[np.uint8]:
        """The block, uint8 (frame, height, width); zero where no part has a frame.

        Raises
        ------
        VideoError
            A frame cannot be read.
        """
        if len(self.parts) == 1 and len(self.parts[0][0]) == self.shape[0]:
            return self.parts[0][1].read()
        block = np.zeros(self.shape, np.uint8)
        for places, reader in self.parts:
            block[places] = reader.read()
        return block


class VideoArray(BackendArray):
    """A recording's pictures as the array that xarray indexes lazily."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.shape = recording.shape
        self.dtype = np.dtype(VIDEO.dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> NDArray[np.uint8]:
        frames = np.atleast_1d(np.arange(self.shape[0])[key[0]])
        block = self.recording.reader(frames).read()
        if isinstance(key[0], int | np.integer):
            return np.asarray(block[0][key[1]][..., key[2]])
        return np.asarray(block[:, key[1]][..., key[2]])


@dataclass(frozen=True)
class ReadOptions:
    """How to read recordings.

    Parameters
    ----------
    salvage
        Go on with what matches where a table and its video disagree.
    max_frame_pixels
        Refuse videos whose frames are declared larger.
    need_table
        Whether a video without a table is refused.
    repair
        Repair flipped headers where the redundant fields leave no doubt.
    """

    salvage: bool = False
    max_frame_pixels: int = DEFAULT_MAX_FRAME_PIXELS
    need_table: bool = True
    repair: bool = True
    lag: int | Literal["auto"] = 0


def load_recording(
    spec: Path_, options: ReadOptions | None = None, *, name: str | None = None
) -> Recording:
    """Open a recording: a video, or several that follow each other, with the tables beside them.

    Parameters
    ----------
    spec
        Path of a video, or paths of segments separated by commas; a file of that very name wins.
    options
        How to read.
    name
        The recording's name; by default the stem of its first video.

    Raises
    ------
    MissingInputError
        A file is not there.
    InputError
        A file cannot be read exactly, or segments differ in size.
    MismatchError
        Table and video disagree by more than the known one extra frame of the table.
    """
    options = options or ReadOptions()
    paths = segment_paths(spec)
    for path in paths:
        if not os.path.isfile(path):
            what = "is a folder; name the video in it" if os.path.isdir(path) else "no such video"
            raise MissingInputError(f"{path}: {what}; check the path")
        if path.lower().endswith(".csv"):
            raise InputError(f"{path}: is a table; name the video, its table is found beside it")
        if options.need_table and not os.path.isfile(table_path(path)):
            msg = f"{path}: its table {table_path(path)} is missing; put it beside the video"
            raise MissingInputError(msg)
    videos = [
        open_video(path, max_frame_pixels=options.max_frame_pixels, salvage=options.salvage)
        for path in paths
    ]
    if len({(video.height, video.width) for video in videos}) > 1:
        sizes = ", ".join(f"{v.path}: {v.width}x{v.height}" for v in videos)
        raise InputError(f"the segments of one recording differ in frame size ({sizes})")
    notices = [notice for video in videos for notice in video.notices]
    tables, frames = [], []
    for video in videos:
        if not os.path.isfile(table_path(video.path)):
            frames.append(FrameTable.blank(video.frame_count))
            continue
        table = read_metadata(
            table_path(video.path), salvage=options.salvage, repair=options.repair
        )
        kept, found = _match(video, table, salvage=options.salvage)
        tables.append(table)
        frames.append(kept)
        notices += [*(f"{table.path}: {notice}" for notice in table.notices), *found]
    if tables and len(tables) < len(videos):
        raise MissingInputError(f"{paths[0]}: some segments have a table and others none")
    return Recording(
        name or Path(videos[0].path).stem,
        tuple(videos),
        tuple(tables),
        FrameTable.concat(frames),
        tuple(notices),
    )


def open_recording(path: Path_, *, salvage: bool = False) -> xr.Dataset:
    """Open a recording as a lazy Dataset.

    Parameters
    ----------
    path
        A video with its table beside it (``x.avi`` and ``x.csv``), segments of a recording
        separated by commas, or a miostitch store (``x.zarr``).
    salvage
        Go on with what matches where video and table disagree.

    Returns
    -------
    xarray.Dataset
        ``video`` uint8 (frame, height, width) in dask chunks, with ``frame_num`` as an index
        beside ``frame``: ``ds.video.sel(frame_num=2530)`` works. No frame is read before it is
        asked for.

    Raises
    ------
    MissingInputError
        The video or its table is not there.
    InputError
        They cannot be read.
    MismatchError
        They disagree.

    Examples
    --------
    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> session = miostitch.simulate(folder.name, miostitch.SimulationConfig(frames=20))
    >>> recording = miostitch.open_recording(session.recordings[0])
    >>> recording.video.dims
    ('frame', 'height', 'width')
    >>> recording.video.sel(frame_num=recording.frame_num[3]).shape
    (200, 200)
    >>> folder.cleanup()
    """
    if os.fspath(path).endswith(".zarr"):
        require_store(os.fspath(path))
        stored: xr.Dataset = xr.open_zarr(os.fspath(path))
        return stored.set_xindex("frame_num")
    dataset = load_recording(path, ReadOptions(salvage=salvage)).to_dataset()
    block = chunk_frames(dataset.sizes[HEIGHT], dataset.sizes[WIDTH])
    return dataset.assign(video=dataset.video.chunk({FRAME: block}))


def candidates(
    recordings: Sequence[Recording], source_frame: NDArray[np.int64], block: int
) -> xr.DataArray:
    """The frames that could fill each output frame, read when asked for.

    Parameters
    ----------
    recordings
        Recordings of one frame size.
    source_frame
        Frame of each recording, (recording, frame); -1 where it has none.
    block
        Output frames per task.

    Returns
    -------
    xarray.DataArray
        uint8 (recording, frame, height, width), one chunk per recording and block; zeros where
        ``source_frame`` is -1.
    """
    count = source_frame.shape[1]
    starts = range(0, count, block)
    readers = np.empty((len(recordings), len(starts)), object)
    for number, recording in enumerate(recordings):
        for place, start in enumerate(starts):
            readers[number, place] = recording.reader(source_frame[number, start : start + block])
    height, width = recordings[0].shape[1:]
    sizes = tuple(min(block, count - start) for start in starts)
    # from_array would tokenize the readers by pickling them: their content decides nothing here
    lazy = da.from_array(readers, chunks=(1, 1), name=False)
    data = da.map_blocks(
        _read_block,
        lazy,
        new_axis=(2, 3),
        chunks=((1,) * len(recordings), sizes, (height,), (width,)),
        dtype=VIDEO.dtype,
        meta=np.empty((0, 0, 0, 0), VIDEO.dtype),
        name="read-" + lazy.name,
    )
    return xr.DataArray(data, dims=(RECORDING, FRAME, HEIGHT, WIDTH))


def table_path(video: str) -> str:
    """Where the table of a video is expected."""
    return str(Path(video).with_suffix(".csv"))


def _read_block(readers: NDArray[Any]) -> NDArray[np.uint8]:
    reader: BlockReader = readers[0, 0]
    return reader.read()[np.newaxis]


def segment_paths(spec: Path_) -> list[str]:
    """The videos that an argument names.

    Parameters
    ----------
    spec
        A path, or paths of segments separated by commas; a file of that very name wins.

    Raises
    ------
    UsageError
        A segment is empty or stands twice.
    """
    text = os.fspath(spec)
    paths = [text] if os.path.exists(text) else text.split(",")
    if len(set(paths)) < len(paths) or "" in paths:
        raise UsageError(f"{text!r}: name a video, or segments separated by single commas")
    return paths


def recording_names(inputs: Sequence[str]) -> list[str]:
    """A name for each recording: the stem of its first video, with parent folders where equal.

    Parameters
    ----------
    inputs
        One path per recording, or its segments separated by commas.

    Examples
    --------
    >>> recording_names(["left/rec.avi", "right/rec.avi"])
    ['left-rec', 'right-rec']

    Raises
    ------
    UsageError
        Two inputs differ in the suffix only.
    """
    firsts = [Path(os.path.abspath(segment_paths(spec)[0])).with_suffix("") for spec in inputs]
    for depth in range(1, max(len(path.parts) for path in firsts) + 1):
        names = ["-".join(path.parts[1:][-depth:]) for path in firsts]
        if len(set(names)) == len(names):
            return names
    raise UsageError(f"{inputs[0]}: given twice, or in two formats; name each recording once")


def _match(video: VideoSource, table: Metadata, *, salvage: bool) -> tuple[FrameTable, list[str]]:
    """Bring the table to one row per picture, or say why that cannot be done."""
    pictures, described = video.frame_count, len(table.frames)
    notices = []
    if described == pictures + 1:
        frame_num = int(table.frames.frame_num[-1])
        notices.append(
            f"{table.path}: frame {pictures} (frame_num {frame_num}) has no picture, as is usual "
            "for the last one; its rows are left out"
        )
    elif described != pictures:
        msg = (
            f"{table.path}: describes frames 0 to {described - 1}, but {video.path} has frames 0 "
            f"to {pictures - 1}; --salvage goes on with the first {min(described, pictures)}"
        )
        if not salvage:
            raise MismatchError(msg)
        notices.append(msg.replace("; --salvage goes on with", "; salvaged"))
    missing = FrameTable.blank(max(0, pictures - described))
    kept = FrameTable.concat([table.frames.head(pictures), missing])
    bare = np.flatnonzero(kept.num_rows == 0)
    if len(bare):
        msg = (
            f"{table.path}: no row for {len(bare)} of the {pictures} frames of {video.path}, the "
            f"first is frame {bare[0]}; --salvage goes on without them"
        )
        if not salvage:
            raise MismatchError(msg)
        notices.append(msg.replace("; --salvage goes on without them", "; they are left out"))
    if len(video.lost):
        # a picture that is not there cannot be a candidate, whatever its rows say
        known = kept.frame_num.copy()
        known[video.lost] = NO_FRAME
        kept = replace(kept, frame_num=known)
        notices.append(f"{video.path}: {len(video.lost)} frames are lost in holes of the file")
    return kept, notices


def _digest(video: VideoSource) -> str:
    """Digest of a video without reading it whole: size, first and last MiB, frame index."""
    digest = blake2b(video.index_digest.encode())
    with open(video.path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(size.to_bytes(8, "little"))
        digest.update(file.read(2**20))
        file.seek(max(0, size - 2**20))
        digest.update(file.read(2**20))
    return digest.hexdigest()
