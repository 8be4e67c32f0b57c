"""Exports as a folder of short videos: as UCLA's Miniscope software records, and for minian."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.buffers.csv_writer import TableWriter
from miostitch.errors import ResourceError, UsageError
from miostitch.execution.engine import Output, Products
from miostitch.export.plan import TIMES, Advance, ExportOptions, PathOf, Plan, Source
from miostitch.schema import FRAME, VIDEO
from miostitch.video.writer import Append, Packed, VideoFile

FRAMES_PER_FILE = 1000
"""As the software of the Miniscope writes them, and as minian wants them: one task for each."""

UCLA_TIMES = "timeStamps.csv"
UCLA_FACTS = "metaData.json"
UCLA_COLUMNS = ("Frame Number", "Time Stamp (ms)")
MINIAN_TIMES = "timestamps.csv"


def ucla(source: Source, output: Path, options: ExportOptions) -> Plan:
    """Plan a folder as UCLA's Miniscope software records it (roiextractors, neuroconv)."""
    new, old = _names(source, output, "{}.avi", first=0)
    others = sorted(p.name for p in output.glob("*.avi") if not re.fullmatch(r"\d+\.avi", p.name))
    if others:
        msg = f"{output}: {others[0]} is there, and readers of this folder take every .avi as a"
        raise UsageError(f"{msg} part of the recording; choose another folder")
    seconds = source.seconds()
    start = options.session_start or source.start

    def write(path: PathOf, advance: Advance) -> None:
        times = (np.arange(source.count), np.round(1000 * seconds, 3))
        _write_table(path(UCLA_TIMES), dict(zip(UCLA_COLUMNS, times, strict=True)))
        _write_facts(path(UCLA_FACTS), _facts(source, start, options))
        _write_videos(source, [path(name) for name in new], options, advance)

    return Plan(output, "", (*new, *old, UCLA_TIMES, UCLA_FACTS), source.kept.video.size, write)


def avi_segments(source: Source, output: Path, options: ExportOptions) -> Plan:
    """Plan a folder of short videos as minian reads them."""
    new, old = _names(source, output, "msCam{}.avi", first=1)

    def write(path: PathOf, advance: Advance) -> None:
        times = dict(zip(TIMES, source.timestamps, strict=True))
        _write_table(path(MINIAN_TIMES), {FRAME: np.arange(source.count), **times})
        _write_videos(source, [path(name) for name in new], options, advance)

    return Plan(output, "", (*new, *old, MINIAN_TIMES), source.kept.video.size, write)


def _names(source: Source, output: Path, pattern: str, first: int) -> tuple[list[str], list[str]]:
    """Names of the videos that are made, and of those an earlier export left in the folder."""
    files = -(-source.count // FRAMES_PER_FILE)
    new = [pattern.format(number) for number in range(first, first + files)]
    like = re.compile(re.escape(pattern).replace(r"\{\}", r"\d+"))
    there = (path.name for path in output.iterdir()) if output.is_dir() else ()
    return new, sorted(name for name in there if like.fullmatch(name) and name not in new)


@dataclass(frozen=True)
class Segments:
    """Videos of equally many frames, one after the other."""

    files: tuple[VideoFile, ...]
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


def _write_videos(
    source: Source, paths: list[Path], options: ExportOptions, advance: Advance
) -> None:
    files = tuple(source.video_file(path, options.codec) for path in paths)
    videos = Segments(files, FRAMES_PER_FILE)
    output = Output(VIDEO.name, videos.pack, videos.open, videos.by_position)
    source.write_video(Products(paths[0].parent, (output,)), advance)


def _write_table(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    with TableWriter(path, [*columns]) as table:
        table.append(pd.DataFrame(columns))


def _write_facts(path: Path, facts: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(facts, indent=4) + "\n", encoding="utf-8")
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written: {error.strerror}") from error


def _facts(source: Source, start: datetime | None, options: ExportOptions) -> dict[str, Any]:
    """What the device's ``metaData.json`` says, and when the recording started."""
    _, height, width = source.kept.shape
    facts: dict[str, Any] = {
        "deviceName": "Miniscope",
        "deviceType": "Miniscope",
        "frameRate": f"{source.rate:.6g}FPS",
        "framesPerFile": FRAMES_PER_FILE,
        "compression": {"rawvideo": "None", "ffv1": "FFV1"}[options.codec],
        "ROI": {"height": height, "leftEdge": 0, "topEdge": 0, "width": width},
    }
    if start is not None:
        units = ("year", "month", "day", "hour", "minute", "second")
        facts["recordingStartTime"] = {
            **{unit: getattr(start, unit) for unit in units},
            "msec": start.microsecond // 1000,
            "msecSinceEpoch": int(start.timestamp() * 1000),
        }
    return facts
