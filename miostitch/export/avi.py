"""Exports as a folder of short videos: as UCLA's Miniscope software records, and for minian."""

import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.buffers.csv_writer import TableWriter
from miostitch.errors import ResourceError, UsageError
from miostitch.export.plan import TIMES, Advance, ExportOptions, PathOf, Plan, Source
from miostitch.schema import FRAME
from miostitch.video.writer import VideoWriter

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


class SegmentWriter:
    """Writes pictures to videos of equally many frames, one after the other."""

    def __init__(
        self, paths: list[Path], frames: int, opener: Callable[[Path], VideoWriter]
    ) -> None:
        self._paths, self._frames, self._opener = iter(paths), frames, opener
        self._open = ExitStack()
        self._video: VideoWriter | None = None

    def write(self, frames: NDArray[np.uint8]) -> None:
        """Append pictures, uint8 (frame, height, width)."""
        while len(frames):
            if self._video is None:
                self._video = self._open.enter_context(self._opener(next(self._paths)))
            part = frames[: self._frames - self._video.frame_count]
            self._video.write(part)
            if self._video.frame_count == self._frames:
                self._open.close()
                self._video = None
            frames = frames[len(part) :]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: Any) -> None:
        self._open.__exit__(*failure)


def _write_videos(
    source: Source, paths: list[Path], options: ExportOptions, advance: Advance
) -> None:
    _, height, width = source.kept.shape
    opener = partial(
        VideoWriter, width=width, height=height, fps=source.kept.fps, codec=options.codec
    )
    source.write_video(partial(SegmentWriter, paths, FRAMES_PER_FILE, opener), advance)


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
    compression = {"rawvideo": "None", "ffv1": "FFV1"}[options.codec]
    facts: dict[str, Any] = {
        "deviceName": "Miniscope",
        "deviceType": "Miniscope",
        "frameRate": f"{float(source.kept.fps):.6g}FPS",
        "framesPerFile": FRAMES_PER_FILE,
        "compression": compression,
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
