"""The files of a recording: how they are named, found and read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from miostitch.errors import UsageError
from miostitch.video.source import DEFAULT_MAX_FRAME_PIXELS

if TYPE_CHECKING:  # pydantic takes a tenth of a second to load
    from miostitch.config.session_file import SessionFile

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class ReadOptions:
    """How to read recordings.

    Parameters
    ----------
    salvage
        Use the part where a table and its video agree, if they do not everywhere.
    max_frame_pixels
        Refuse videos whose frames are declared larger.
    need_table
        Whether a video without a table is refused.
    repair
        Repair flipped headers where the redundant fields leave no doubt.
    lag
        Frames by which the video lags behind its table; ``"auto"``: as measured where that is
        conclusive, else 0.
    strict
        Refuse what puts the result in doubt.

    Raises
    ------
    UsageError
        The lag is neither a number nor ``"auto"``.
    """

    salvage: bool = False
    max_frame_pixels: int = DEFAULT_MAX_FRAME_PIXELS
    need_table: bool = True
    repair: bool = True
    lag: int | Literal["auto"] = "auto"
    strict: bool = False

    def __post_init__(self) -> None:
        if self.lag != "auto" and not isinstance(self.lag, int):
            raise UsageError(f"lag {self.lag!r}: give a number of frames, or auto")


@dataclass(frozen=True)
class Segment:
    """One video of a recording, and its table where that does not stand next to it."""

    video: str
    table: str = ""  # Empty: next to the video, under its name

    @property
    def table_path(self) -> str:
        """Where its table is expected."""
        return self.table or table_path(self.video)


@dataclass(frozen=True)
class RecordingFiles(os.PathLike[str]):
    """The files of one recording, and how it is called; as a path, what would name its videos."""

    segments: tuple[Segment, ...]
    name: str = ""  # Empty: by its first video

    def __fspath__(self) -> str:
        return ",".join(segment.video for segment in self.segments)

    __str__ = __fspath__


def table_path(video: str) -> str:
    """Where the table of a video is expected."""
    return str(Path(video).with_suffix(".csv"))


def recordings_of(session: "SessionFile") -> list[RecordingFiles]:
    """The recordings that a session file names, called by the names of their receivers."""
    return [
        RecordingFiles(tuple(Segment(each.video, each.table) for each in segments), name)
        for name, segments in session.receivers.items()
    ]


def find_segments(spec: StrPath) -> list[Segment]:
    """The videos that an argument names, and their tables."""
    if isinstance(spec, RecordingFiles):
        return [*spec.segments]
    return [Segment(path) for path in segment_paths(spec)]


def segment_paths(spec: StrPath) -> list[str]:
    """The videos that an argument names."""
    if isinstance(spec, RecordingFiles):
        return [segment.video for segment in spec.segments]
    text = os.fspath(spec)
    paths = [text] if os.path.exists(text) else text.split(",")
    if len(set(paths)) < len(paths) or "" in paths:
        raise UsageError(f"{text!r}: name a video, or segments separated by single commas")
    return paths


def recording_names(inputs: Sequence[StrPath]) -> list[str]:
    """A name for each recording: the stem of its first video, with parent folders where equal.

    Recordings that have names keep them.

    >>> recording_names(["left/rec.avi", "right/rec.avi"])
    ['left-rec', 'right-rec']
    """
    if isinstance(inputs, str | os.PathLike) or not len(inputs):
        raise UsageError(f"{inputs!r}: give a list of recordings, one at least")
    given = [spec.name for spec in inputs if isinstance(spec, RecordingFiles) and spec.name]
    if len(given) == len(inputs) == len(set(given)):
        return given
    firsts = [Path(os.path.abspath(segment_paths(spec)[0])).with_suffix("") for spec in inputs]
    for depth in range(1, max(len(path.parts) for path in firsts) + 1):
        names = ["-".join(path.parts[1:][-depth:]) for path in firsts]
        if len(set(names)) == len(names):
            return names
    raise UsageError(f"{inputs[0]}: given twice, or in two formats; name each recording once")


def stitched_stem(names: Sequence[str]) -> str:
    """Name the products of recordings of these names."""
    return "__".join(sorted(names)) + "_stitched"
