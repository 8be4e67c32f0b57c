"""Extra outputs of a run: further videos of its frames, images and lists."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from miostitch.errors import ResourceError
from miostitch.execution.engine import Output, Products, no_tables, run_blocks
from miostitch.execution.lazy_blocks import LazyBlock
from miostitch.schema import FRAME, HEIGHT, WIDTH
from miostitch.video.png import png_bytes
from miostitch.video.writer import VideoFile

PathOf = Callable[[str], Path]  # where the file of an ending goes


@dataclass(frozen=True)
class Extras:
    """Extra outputs of a run, and how its result is called."""

    ending: str = ""  # What the stem of the result gets, such as ``_denoised``
    # Lazy uint8 (frame, height, width) of the frames of the result, by the ending of their file.
    videos: Mapping[str, xr.DataArray] = field(default_factory=dict)
    # The same of other frames.
    other_videos: Mapping[str, xr.DataArray] = field(default_factory=dict)
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    # Tables of the result that are also written under another ending, which is the key.
    tables: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False  # Whether the result itself is left out
    warnings: Sequence[str] = ()  # What a user should know besides

    def settle_tables(self, kinds: set[str], path: PathOf) -> None:
        """Copy tables that have two endings, or move them where the result is left out."""
        settle = shutil.move if self.alone else shutil.copyfile
        for ending, of in self.tables.items():
            if of not in kinds:
                continue
            try:
                settle(path(self.ending + of), path(ending))
            except OSError as error:
                msg = f"{path(ending)}: cannot be written: {error.strerror}; free space"
                raise ResourceError(msg) from error


def video_outputs(
    videos: Mapping[str, xr.DataArray], path: PathOf, fps: Fraction
) -> tuple[xr.Dataset, tuple[Output, ...]]:
    """The different ones among lazy videos, by the ending of their file, and these files."""
    distinct: dict[str, str] = {}
    outputs = []
    for ending, video in videos.items():
        name = distinct.setdefault(video.data.name, ending)
        size = video.sizes[WIDTH], video.sizes[HEIGHT]
        file = VideoFile(str(path(ending)), *size, fps, checksums=True)
        outputs.append(Output.of(name, file))
    lazy = {name: videos[name].variable for name in distinct.values()}
    return xr.Dataset(lazy), tuple(outputs)


def write_videos(
    videos: Mapping[str, xr.DataArray], path: PathOf, fps: Fraction, folder: Path
) -> None:
    """Write lazy videos of the same frames, in equal blocks, as AVI files in one pass."""
    if not videos:
        return
    lazy, outputs = video_outputs(videos, path, fps)
    run_blocks(
        lambda span: LazyBlock.of(lazy.isel({FRAME: span})),
        lazy.sizes[FRAME],
        max(lazy.chunksizes[FRAME]),
        no_tables,
        Products(folder, outputs),
    )


def write_notes(
    images: Mapping[str, NDArray[np.uint8]], texts: Mapping[str, str], path: PathOf
) -> None:
    """Write images as PNG files, and lists as text."""
    files = {ending: png_bytes(image) for ending, image in images.items()}
    files |= {ending: text.encode() for ending, text in texts.items()}
    for ending, data in files.items():
        try:
            path(ending).write_bytes(data)
        except OSError as error:
            msg = f"{path(ending)}: cannot be written: {error.strerror}; free space or check rights"
            raise ResourceError(msg) from error
