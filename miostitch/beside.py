"""What is written beside a result: further videos of its frames, pictures and lists."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from miostitch.encoding import VideoWriter
from miostitch.errors import ResourceError
from miostitch.png import png_bytes
from miostitch.schema import FRAME, HEIGHT, WIDTH
from miostitch.store import create_store
from miostitch.writing import BlockVideo, write_batches

PathOf = Callable[[str], Path]
"""Where the file of an ending goes."""


@dataclass(frozen=True)
class Extras:
    """What is written beside a result, and how the result is called.

    Parameters
    ----------
    ending
        What the stem of the result gets, such as ``_denoised``.
    videos
        Lazy uint8 (frame, height, width) of the frames of the result, by the ending of their file.
    other_videos
        The same of other frames.
    images, texts
        As of :func:`write_notes`.
    tables
        Tables of the result that are also written under another ending, which is the key.
    alone
        Whether the result itself is left out.
    facts
        What the summary says besides, JSON values.
    """

    ending: str = ""
    videos: Mapping[str, xr.DataArray] = field(default_factory=dict)
    other_videos: Mapping[str, xr.DataArray] = field(default_factory=dict)
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    def settle_tables(self, kinds: set[str], path: PathOf) -> None:
        """Copy the tables that stand under two endings, or move them where the result is left out.

        Parameters
        ----------
        kinds
            Endings of what was written of the result.
        path
            Where the file of an ending goes.

        Raises
        ------
        ResourceError
            A table cannot be copied.
        """
        for ending, of in self.tables.items():
            if of not in kinds:
                continue
            source = path(self.ending + of)
            try:
                (shutil.move if self.alone else shutil.copyfile)(source, path(ending))
            except OSError as error:
                msg = f"{path(ending)}: cannot be written: {error.strerror}; free space"
                raise ResourceError(msg) from error


def beside(
    videos: Mapping[str, xr.DataArray], path: PathOf, scratch: Path, fps: Fraction
) -> list[BlockVideo]:
    """Prepare to write further videos in the pass that writes a result.

    Parameters
    ----------
    videos
        Lazy uint8 (frame, height, width) by the ending of their file, in equal blocks. A batch of
        :func:`miostitch.writing.write_batches` must hold each under its ending.
    path
        Where the file of an ending goes.
    scratch
        Folder for the stores that the videos follow.
    fps
        Frames per second.

    Raises
    ------
    ResourceError
        A store cannot be created.
    """
    prepared = []
    for ending, video in videos.items():
        store = str(scratch / f"{ending.strip('_')}.zarr")
        block = max(video.variable.chunksizes[FRAME])
        count, height, width = (video.sizes[dim] for dim in (FRAME, HEIGHT, WIDTH))
        create_store(store, shape=(count, height, width), chunk_frames=block, attrs={})
        writer = partial(VideoWriter, path(ending), width=width, height=height, fps=fps)
        prepared.append(BlockVideo(ending, store, writer))
    return prepared


def write_videos(
    videos: Mapping[str, xr.DataArray],
    path: PathOf,
    scratch: Path,
    fps: Fraction,
    *,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write videos of the same frames as AVI files, in one pass.

    Parameters
    ----------
    videos, path, scratch, fps
        As of :func:`beside`.
    progress
        Called with the number of frames of every finished block, from any thread.

    Raises
    ------
    MiostitchError
        A frame cannot be read, or a file cannot be written.
    """
    if not videos:
        return
    lazy = xr.Dataset({ending: video.variable for ending, video in videos.items()})
    first = next(iter(videos.values()))
    write_batches(
        lambda span: lazy.isel({FRAME: span}),
        beside(videos, path, scratch, fps),
        first.sizes[FRAME],
        max(first.variable.chunksizes[FRAME]),
        lambda *_: None,
        progress=progress,
    )


def write_notes(
    images: Mapping[str, NDArray[np.uint8]], texts: Mapping[str, str], path: PathOf
) -> None:
    """Write pictures as PNG files, and lists as text.

    Parameters
    ----------
    images
        uint8 (height, width) by the ending of their file.
    texts
        Text by the ending of its file.
    path
        Where the file of an ending goes.

    Raises
    ------
    ResourceError
        A file cannot be written.
    """
    files = {ending: png_bytes(image) for ending, image in images.items()}
    files |= {ending: text.encode() for ending, text in texts.items()}
    for ending, data in files.items():
        try:
            path(ending).write_bytes(data)
        except OSError as error:
            msg = f"{path(ending)}: cannot be written: {error.strerror}; free space or check rights"
            raise ResourceError(msg) from error
