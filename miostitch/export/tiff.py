"""Export as TIFF, one page a frame: for ImageJ and Fiji, CaImAn, suite2p and others."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from miostitch.errors import Notice, ResourceError, Severity
from miostitch.execution.engine import Output, Products
from miostitch.export.avi import Segments, earlier_names
from miostitch.export.frame_columns import FRAMES, write_frame_columns
from miostitch.export.plan import Advance, ExportOptions, PathOf, Plan, Source, named
from miostitch.schema import VIDEO
from miostitch.video.writer import Append, Packed

SUFFIXES = (".tif", ".tiff")
CLASSIC_BYTES = 2**32 - 2**26
"""Most pixels of a file that ImageJ opens by itself; the rest is for its directories."""

PAGE_BYTES = 2**9
"""What the directory of a page takes at most."""


def tiff(source: Source, output: Path, options: ExportOptions) -> Plan:
    """Plan a TIFF, or several of so many frames each."""
    suffix = output.suffix if output.suffix in SUFFIXES else SUFFIXES[0]
    folder, stem = named(output, suffix, source.stem)
    new, old = [suffix], earlier_names(folder, f"{stem}_{{}}{suffix}", [])
    if options.per_file is not None:
        files = -(-source.count // options.per_file)
        new = [f"_{number:04}{suffix}" for number in range(1, files + 1)]
        old.append(stem + suffix)
    left = [name.removeprefix(stem) for name in old if name.removeprefix(stem) not in new]

    def write(path: PathOf, advance: Advance) -> None:
        write_frame_columns(path(f"_{FRAMES}"), source)
        per_file = options.per_file or source.count
        counts = [min(per_file, source.count - n * per_file) for n in range(len(new))]
        pages = zip(new, counts, strict=True)
        files = [TiffFile.lay_out(path(name), count, source) for name, count in pages]
        stack = Segments(files, per_file)
        frames = Output(VIDEO.name, stack.pack, stack.open, by_position=True)
        source.write_video(Products(path(suffix).parent, (frames,)), advance)

    names, notices = (*new, *left, f"_{FRAMES}"), _list_notices(source, options)
    return Plan(folder, stem, names, source.kept.video.size, write, notices)


def _list_notices(source: Source, options: ExportOptions) -> list[Notice]:
    """Say which program does not open a file that is so large."""
    _, height, width = source.kept.shape
    if not is_big(min(options.per_file or source.count, source.count), height, width):
        return []
    most = CLASSIC_BYTES // (height * width + PAGE_BYTES)
    text = "a TIFF beyond 4 GiB is a BigTIFF, which ImageJ opens by Bio-Formats only"
    return [Notice(source.path, text, f"--per-file {most} at most avoids that", Severity.NOTE)]


def is_big(count: int, height: int, width: int) -> bool:
    """Whether only a BigTIFF holds so many frames."""
    return count * (height * width + PAGE_BYTES) > CLASSIC_BYTES


@dataclass(frozen=True)
class TiffFile:
    """A TIFF whose pages lie one behind the other, so that each has its place; picklable."""

    path: str
    offset: int  # Of the first page
    by_position: bool = True

    @classmethod
    def lay_out(cls, path: Path, count: int, source: Source) -> Self:
        """Write everything but the pixels of so many frames."""
        _, height, width = source.kept.shape
        big = is_big(count, height, width)
        about: dict[str, Any] = {"axes": "TYX", "fps": source.rate, "finterval": 1 / source.rate}
        kind: dict[str, Any] = {"bigtiff": True} if big else {"imagej": True}
        try:
            pages = tifffile.memmap(
                path, shape=(count, height, width), dtype=np.uint8, metadata=about, **kind
            )
        except OSError as error:
            raise _failed(path, error) from error
        return cls(os.path.abspath(path), int(pages.offset))

    def pack(self, first: int, frames: NDArray[np.uint8]) -> Packed:
        """Write frames at their place, uint8 (frame, height, width)."""
        try:
            with open(self.path, "r+b") as file:
                file.seek(self.offset + first * frames[0].size)
                file.write(np.ascontiguousarray(frames).data)
        except OSError as error:
            raise _failed(self.path, error) from error
        return ()

    @contextmanager
    def open(self, count: int) -> Iterator[Append]:
        """Take nothing more: the tasks write everything."""
        yield lambda first, packed: None


def _failed(path: str | Path, error: OSError) -> ResourceError:
    return ResourceError(f"{path}: cannot be written: {error.strerror}; free space")
