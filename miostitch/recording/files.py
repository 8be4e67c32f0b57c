"""The files of a recording: how they are named, found and read."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal

from miostitch.errors import InputError, MissingInputError, Notice, UsageError
from miostitch.execution.products import STORE, is_of_system
from miostitch.video.source import DEFAULT_MAX_FRAME_PIXELS

if TYPE_CHECKING:  # pydantic and xarray take tenths of a second to load
    from miostitch.config.session_file import SessionFile
    from miostitch.recording.inputs import RecordingInput

StrPath = str | os.PathLike[str]

MOST_LAG = 2**31
"""More frames than any recording has."""

MARK = re.compile(
    r"""(\s*\(\d+\)                                   # of browsers, and of Windows
    | (\s*-\s*|\s+)(copy|kopie|copia|copie)(\s+\d+)?   # of file managers
    | [-_ ]\d{1,3})$                                  # of cloud folders, and of cameras
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""What copying and downloading append to a name."""

BEFORE = re.compile(r"copy of |kopie von |copia de |copie de ", re.IGNORECASE)
UCLA = ("timestamps.csv", "timestamp.dat", "metadata.json")
"""Files of the Miniscope DAQ software, in small letters."""

JOINED_BYTES = 200
"""Longest joined name of recordings: all endings of products and folders must have room, too."""

UNFINISHED = (".crdownload", ".part", ".partial", ".download", ".tmp", ".opdownload")
"""What browsers append to the name of a file that is not complete."""


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
        if self.lag != "auto" and abs(self.lag) > MOST_LAG:
            raise UsageError(f"lag {self.lag}: more frames than a recording can have; use auto")


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


def stitched_stem(names: Sequence[str], name: str | None = None) -> str:
    """Name the products of recordings of these names, or as the user wants it.

    Names of many recordings are too long together: the first one and their number stand for them.

    >>> stitched_stem(["b", "a"]), stitched_stem(["long" * 10] * 9)[-30:]
    ('a__b_stitched', 'glonglong__and_8_more_stitched')
    """
    if name is not None:
        return name
    first, *others = sorted(names)
    joined = "__".join([first, *others])
    if others and len(os.fsencode(joined)) > JOINED_BYTES:
        joined = f"{first}__and_{len(others)}_more"
    return f"{joined}_stitched"


def find_nearby_tables(video: str) -> list[str]:
    """Tables next to a video with nearly its name, those without a video of their own first."""
    stem, folder = Path(video).stem, os.path.dirname(video) or "."
    found = []
    for name in sorted(_list(folder)):
        other, ending = os.path.splitext(name)
        if (
            ending.lower() != ".csv"
            or is_of_system(PurePath(name))
            or name == Path(table_path(video)).name
        ):
            continue
        if is_copied_name(stem, other):
            found.append(os.path.join(os.path.dirname(video), name))
    return sorted(found, key=lambda path: (_has_video(path), -len(path)))


def _has_video(table: str) -> bool:
    return os.path.exists(Path(table).with_suffix(".avi"))


def require_recorded(path: str) -> None:
    """Refuse a path that names no recording but looks like one, and say what it is."""
    name = os.path.basename(path)
    if is_of_system(PurePath(name)):
        shown = name.removeprefix("._")
        other = os.path.join(os.path.dirname(path), shown)
        there = shown != name and os.path.exists(other)
        remedy = f"name {other}" if there else "name the video"
        raise InputError(f"{path}: is kept by the operating system and no recording; {remedy}")
    if name.lower().endswith(UNFINISHED):
        raise InputError(f"{path}: is not downloaded completely; download it again")
    if os.path.isdir(path) and path.lower().rstrip(os.sep).endswith(STORE):
        look = "view shows a store, verify checks it, and open_recording opens it in Python"
        raise InputError(f"{path}: is a store and no video; name a video; {look}")
    if os.path.isdir(path):
        of = " of the Miniscope DAQ software" if _is_ucla(path) else ""
        raise MissingInputError(f"{path}: is a folder{of}; name the video in it; check the path")
    if not os.path.isfile(path):
        raise MissingInputError(f"{path}: no such video; check the path")


def describe_missing_table(video: str) -> str:
    """Say that a video has no table, what lies there instead, and what to do."""
    wanted = table_path(video)
    missing = f"its table {wanted} is missing"
    nearby = find_nearby_tables(video)
    if nearby:
        shown = " and ".join(nearby[:2])
        return f"{missing}, but {shown} is there; if that is the table, rename it to {wanted}"
    if _is_ucla(os.path.dirname(video) or "."):
        return (
            f"{missing}: this is a recording of the Miniscope DAQ software, which keeps no table "
            "of buffers; only recordings of mio can be stitched"
        )
    return f"{missing}; put it next to the video"


def find_unused_table(video: str) -> list[Notice]:
    """Say that a video without a table may have one under another name."""
    unused = [path for path in find_nearby_tables(video) if not _has_video(path)][:1]
    wanted = table_path(video)
    remedy = f"if that is the table, rename it to {wanted}"
    return [Notice(video, f"no table {wanted}, but {path} is there", remedy) for path in unused]


def _is_ucla(folder: str) -> bool:
    """Whether a folder is one of the Miniscope DAQ software."""
    names = {name.lower() for name in _list(folder)}
    return bool(names & {*UCLA[:2]}) and any(re.fullmatch(r"(mscam)?\d+\.avi", n) for n in names)


def _list(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # the error of opening the video says more
        return []


def is_copied_name(one: str, other: str) -> bool:
    """Whether one stem is the other with what copying and downloading append.

    Of two numbers after one name neither is a copy of the other.

    >>> is_copied_name("rec (1)", "rec"), is_copied_name("rec_1", "rec_2")
    (True, False)
    """
    names, others = _names(one), _names(other)
    return names[0] in others or others[0] in names


def _names(stem: str) -> list[str]:
    """A name in small letters without spaces, and what is left as marks of copies are taken away.

    >>> _names("Rec - Copy (2)")
    ['reccopy(2)', 'reccopy', 'rec']
    """
    found, rest = [stem], BEFORE.sub("", stem, count=1) if BEFORE.match(stem) else stem
    found += [rest] if rest != stem else []
    while mark := MARK.search(rest):
        rest = rest[: mark.start()]
        found.append(rest)
    return list(dict.fromkeys(re.sub(r"[-_\s]", "", name).casefold() for name in found))


@dataclass(frozen=True)
class Inputs:
    """Recordings of a session by their paths, and how they are read."""

    specs: list[StrPath]
    options: ReadOptions


def require_list(inputs: object) -> None:
    """Refuse one recording where several are asked for, and none."""
    if isinstance(inputs, str | os.PathLike) or not (isinstance(inputs, Sequence) and len(inputs)):
        shown = repr(inputs) if isinstance(inputs, str | Sequence) else f"a {type(inputs).__name__}"
        raise UsageError(f"{shown}: give a list of recordings, one at least")


def settle_inputs(inputs: Sequence["RecordingInput"], options: ReadOptions) -> Inputs:
    """Paths of recordings to be stitched, and how to read them.

    Open recordings are stitched as they were opened. Those that were edited are refused, for their
    files have other frames.
    """
    require_list(inputs)
    read: list[ReadOptions] = []
    specs: list[StrPath] = []
    for each in inputs:
        if isinstance(each, str | os.PathLike):
            specs.append(each)
            continue
        from miostitch.recording.inputs import require_untouched  # xarray, which paths do not need

        read.append(replace(require_untouched(each).options, strict=options.strict))
        specs.append(",".join(each.attrs["origins"]))
    if len(read) == len(specs) and options.lag == "auto" and not options.salvage:
        options = replace(options, lag=read[0].lag, salvage=read[0].salvage)
    for name in ("lag", "salvage"):
        asked = getattr(options, name)
        for way in read:
            if getattr(way, name) != asked:
                msg = f"{name} {getattr(way, name)!r} and {asked!r}: recordings that are stitched"
                msg = f"{msg} need one {name}, and some were opened with another"
                raise UsageError(f"{msg}; open all of them with the same, or name their paths")
    return Inputs(specs, options)
