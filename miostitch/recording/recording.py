"""The hub: one receiver's video and table as one lazy, labelled Dataset."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from miostitch.buffers.frame_table import FrameTable
from miostitch.buffers.table import Metadata
from miostitch.execution.results import LostFrames
from miostitch.recording.files import Path_, ReadOptions, open_files
from miostitch.recording.lag import Lag
from miostitch.recording.losses import Loss
from miostitch.recording.shared_lag import choose_lags, compare_lags
from miostitch.schema import (
    FRAME,
    HEIGHT,
    NO_FRAME,
    RECORDING,
    VIDEO,
    WIDTH,
)
from miostitch.text import printable
from miostitch.video.readers import FrameReader
from miostitch.video.source import VideoSource


class InputFile(NamedTuple):
    """A file that was read: path, size in bytes, hexadecimal blake2b digest."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class Recording:
    """One receiver's recording: videos that follow each other, and the tables beside them."""

    name: str  # Stem of the first video
    videos: tuple[VideoSource, ...]  # One video, or the segments of a recording in their order
    tables: tuple[Metadata, ...]  # The metadata table of each video; empty for a video without one
    # One row per picture over all videos; without a table every ``frame_num`` is -1.
    frames: FrameTable
    notices: tuple[str, ...]  # What a user should be told about the files
    lag: int = 0  # Picture ``i + lag`` of a video has the row of frame ``i`` of its table
    measured_lag: Lag = field(default_factory=Lag)  # What the pictures say about that
    losses: tuple[Loss, ...] = ()  # What was left out because the files are damaged
    # Those of the notices that only all recordings of a session together give rise to.
    lag_notices: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The first video, for messages."""
        return self.videos[0].path

    @property
    def lossy(self) -> bool:
        """Whether pixels are not exactly those that were recorded."""
        return any(video.lossy for video in self.videos)

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
        videos = [InputFile(v.path, os.path.getsize(v.path), video_digest(v)) for v in self.videos]
        tables = [InputFile(t.path, os.path.getsize(t.path), t.digest) for t in self.tables]
        return (*videos, *tables)

    def reader(self, frames: NDArray[np.int64]) -> "BlockReader":
        """What a task needs to read these frames, and no more."""
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
            place = frames - start - self.lag  # in the table; a picture may have no row there
            has_row = (place >= 0) & (place < len(table.frames))
            inside = np.flatnonzero((frames >= start) & (frames < stop) & has_row)
            local = place[inside]
            pieces.append(table.rows(local))
            places.append(np.repeat(inside, table.frames.num_rows[local]))
        if len(pieces) == 1:
            return pieces[0]
        rows = pd.concat(pieces, ignore_index=True)
        return rows.iloc[np.argsort(np.concatenate(places), kind="stable")]


@dataclass(frozen=True)
class BlockReader:
    """Reads the frames of one block; small and picklable."""

    shape: tuple[int, int, int]  # Frames, height and width of the block
    # Places in the block and the reader of the frames that go there.
    parts: tuple[tuple[NDArray[np.int64], FrameReader], ...]

    def read(self) -> NDArray[np.uint8]:
        """The block, uint8 (frame, height, width); zero where no part has a frame."""
        if len(self.parts) == 1 and len(self.parts[0][0]) == self.shape[0]:
            return self.parts[0][1].read()
        block = np.zeros(self.shape, np.uint8)
        for places, reader in self.parts:
            block[places] = reader.read()
        return block


def load_recording(
    spec: Path_, options: ReadOptions | None = None, *, name: str | None = None
) -> Recording:
    """Open a recording: a video, or several that follow each other, with the tables beside them."""
    return load_recordings([spec], options, names=None if name is None else [name])[0]


def load_recordings(
    specs: Sequence[Path_],
    options: ReadOptions | None = None,
    *,
    names: Sequence[str] | None = None,
) -> list[Recording]:
    """Open the recordings of one session.

    Reads at most 256 pictures of each recording, to measure its lag.
    """
    options = options or ReadOptions()
    with ThreadPoolExecutor(len(specs), "miostitch-open") as pool:  # tables take the time
        opened = [*pool.map(open_files, specs, repeat(options))]
    names = names or [Path(files.videos[0].path).stem for files in opened]
    compared = compare_lags(opened, names)
    recordings = []
    for name, alone, files, (lag, said) in zip(
        names, opened, compared, choose_lags(compared, options.lag), strict=True
    ):
        frames, found, losses = files.frames(lag, salvage=options.salvage)
        recordings.append(
            Recording(
                name,
                files.videos,
                files.tables,
                frames,
                (*files.notices, *found, *said),
                lag,
                files.measured_lag,
                losses,
                (*files.notices[len(alone.notices) :], *said),
            )
        )
    return recordings


def lost_frames(losses: Iterable[Loss]) -> list[LostFrames]:
    """Losses as a summary has them."""
    return [
        LostFrames(
            printable(loss.file),
            (loss.first, loss.last),
            None if NO_FRAME in loss.frame_num else loss.frame_num,
            loss.byte,
            loss.why,
        )
        for loss in losses
    ]


def candidates(
    recordings: Sequence[Recording], source_frame: NDArray[np.int64], block: int
) -> xr.DataArray:
    """The frames that could fill each output frame, read when asked for.

    ``source_frame``: frame of each recording, (recording, frame); -1 where it has none.

    Returns: uint8 (recording, frame, height, width), one chunk per recording and block; zeros where
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


def _read_block(readers: NDArray[Any]) -> NDArray[np.uint8]:
    reader: BlockReader = readers[0, 0]
    return reader.read()[np.newaxis]


def video_digest(video: VideoSource) -> str:
    """Digest of a video without reading it whole: size, first and last MiB, frame index."""
    digest = blake2b(video.index_digest.encode())
    with open(video.path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(size.to_bytes(8, "little"))
        digest.update(file.read(2**20))
        file.seek(max(0, size - 2**20))
        digest.update(file.read(2**20))
    return digest.hexdigest()
