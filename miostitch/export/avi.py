"""Export as a folder of short videos: what UCLA's layout and minian's share, and that of minian."""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.buffers.csv_files import TableWriter
from miostitch.execution.engine import Output, Products
from miostitch.export.frame_columns import FRAMES, write_frame_columns
from miostitch.export.plan import TIMES, Advance, ExportOptions, PathOf, Plan, Source
from miostitch.schema import FRAME, VIDEO
from miostitch.video.writer import Append, Packed

FRAMES_PER_FILE = 1000
"""As the software of the Miniscope writes them, and as minian wants them: one task for each."""

MINIAN_TIMES = "timestamps.csv"


def avi_segments(source: Source, output: Path, options: ExportOptions) -> Plan:
    """Plan a folder of short videos as minian reads them."""
    new, old = name_segments(source, output, "msCam{}.avi", first=1)

    def write(path: PathOf, advance: Advance) -> None:
        times = dict(zip(TIMES, source.timestamps, strict=True))
        write_table(path(MINIAN_TIMES), {FRAME: np.arange(source.count), **times})
        write_frame_columns(path(FRAMES), source)
        write_segments(source, [path(name) for name in new], options, advance)

    names = (*new, *old, MINIAN_TIMES, FRAMES)
    return Plan(output, "", names, source.kept.video.size, write)


def name_segments(
    source: Source, output: Path, pattern: str, first: int
) -> tuple[list[str], list[str]]:
    """Names of the videos that are made, and of those an earlier export left in the folder."""
    files = -(-source.count // FRAMES_PER_FILE)
    new = [pattern.format(number) for number in range(first, first + files)]
    return new, earlier_names(output, pattern, new)


def earlier_names(output: Path, pattern: str, new: list[str]) -> list[str]:
    """Names of a numbered pattern that are in a folder and are not made again."""
    like = re.compile(re.escape(pattern).replace(r"\{\}", r"\d+"))
    there = (path.name for path in output.iterdir()) if output.is_dir() else ()
    return sorted(name for name in there if like.fullmatch(name) and name not in new)


class FrameFile(Protocol):
    """A file of frames, as the block engine writes them."""

    @property
    def by_position(self) -> bool:
        """Whether a task writes the frames itself."""

    def pack(self, first: int, frames: NDArray[np.uint8]) -> Packed:
        """Write frames at their place, or give what is to be appended."""

    def open(self, count: int) -> AbstractContextManager[Append]:
        """Begin a file of so many frames and complete it."""


@dataclass(frozen=True)
class Segments:
    """Videos of equally many frames, one after the other."""

    files: Sequence[FrameFile]
    frames: int  # Of each but the last

    def pack(self, first: int, frames: NDArray[np.uint8]) -> list[bytes]:
        """Pack frames for the files that they belong to, uint8 (frame, height, width)."""
        packed: list[bytes] = []
        for number, place, part in self._parts(first, len(frames)):
            packed += self.files[number].pack(place, frames[part])
        return packed

    @contextmanager
    def open(self, count: int) -> Iterator[Append]:
        """Make the files, for so many frames in all."""
        appends: dict[int, Append] = {}
        with ExitStack() as stack:

            def begin(number: int) -> None:
                own = min(self.frames, count - number * self.frames)
                appends[number] = stack.enter_context(self.files[number].open(own))

            def append(first: int, packed: Packed) -> None:
                if self.by_position and first < count:
                    appends[first // self.frames](first % self.frames, packed)
                for number, place, part in self._parts(first, len(packed)):
                    if number not in appends:
                        stack.close()  # one file is open at a time
                        begin(number)
                    appends[number](place, packed[part])

            for number in range(len(self.files)) if self.by_position else ():
                begin(number)  # tasks write into any of them
            yield append

    @property
    def by_position(self) -> bool:
        """Whether nothing is to be appended."""
        return all(file.by_position for file in self.files)

    def _parts(self, first: int, count: int) -> Iterator[tuple[int, int, slice]]:
        """The file and the place in it of frames of one file each, and which these are."""
        start = 0
        while start < count:
            number, place = divmod(first + start, self.frames)
            stop = min(count, start + self.frames - place)
            yield number, place, slice(start, stop)
            start = stop


def write_segments(
    source: Source, paths: list[Path], options: ExportOptions, advance: Advance
) -> None:
    """Write the frames into files of the usual number."""
    files = tuple(source.video_file(path, options.codec) for path in paths)
    videos = Segments(files, FRAMES_PER_FILE)
    output = Output(VIDEO.name, videos.pack, videos.open, videos.by_position)
    source.write_video(Products(paths[0].parent, (output,)), advance)


def write_table(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    """Write columns of numbers as a CSV."""
    with TableWriter(path, [*columns]) as table:
        table.append(pd.DataFrame(columns))
