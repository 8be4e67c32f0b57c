"""What lies in a tree of folders: videos, the tables that belong to them, and what is neither.

Of a table only the first and the last rows are read.
"""

import csv
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from io import BytesIO
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from miostitch.buffers.header import Header, read_header
from miostitch.errors import InputError, MetadataError
from miostitch.execution.products import STORE, SUMMARY, is_of_system
from miostitch.execution.results import read_summary
from miostitch.recording.files import is_copied_name
from miostitch.recording.segment_order import FRAMES, TableEnds
from miostitch.video.source import FORMATS, open_video

ENDS_BYTES = 64 * 1024  # read of a table at its start and at its end
SIMILAR = 0.6  # of two names, at which they may belong together
TRUTH = "truth"  # what the simulated device sent is no receiver's recording


@dataclass(frozen=True)
class Pair:
    """A video and its table."""

    video: str
    table: str
    ends: TableEnds
    question: str = ""  # What a user should answer; nothing where the names are the same

    @property
    def is_near(self) -> bool:
        """Whether the names differ."""
        return bool(self.question)


@dataclass
class Found:
    """All pairs of a tree, and what else should be known of it."""

    pairs: list[Pair] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # Files that are left out, and why


def look_into(folders: Sequence[str]) -> Found:
    """Find the recordings below some folders."""
    found = Found()
    for folder in dict.fromkeys(map(os.path.abspath, folders)):
        for place, below, names in os.walk(folder):
            below[:] = sorted(name for name in below if _is_looked_into(name))
            ours = [name for name in names if _is_ours(place, name)]
            left = _without_results(place, ours)
            _pair_up(place, left, found)
    found.pairs = [*{pair.video: pair for pair in found.pairs}.values()]
    return found


def natural(text: str) -> list[Any]:
    """A key by which 2 comes before 10."""
    parts = re.split(r"(\d+)", text)
    return [int(part) if part.isdecimal() else part.lower() for part in parts]


def _is_looked_into(folder: str) -> bool:
    return not (folder.startswith((".", "__MACOSX", "$")) or folder.endswith(STORE))


def _is_ours(place: str, name: str) -> bool:
    """Whether a file may be a recording's: no system's, no partial download."""
    suffix = Path(name).suffix.lower()
    known = suffix in FORMATS or suffix == ".csv"
    left = name.startswith(".") or is_of_system(PurePath(name))
    return known and not left and os.path.isfile(f"{place}/{name}")


def _without_results(place: str, names: Sequence[str]) -> list[str]:
    """The files that are no products of ours, which a summary or a store of their name shows."""
    stems = {Path(name).stem for name in os.listdir(place) if name.endswith(STORE)}
    made: set[str] = set()
    for path in Path(place).glob(f"*{SUMMARY}"):
        summary = read_summary(str(path))
        outputs = summary.get("outputs", [])
        made |= {os.path.basename(each) for each in outputs if isinstance(each, str)}
    if os.path.isfile(os.path.join(place, f"{TRUTH}.npz")):
        stems.add(TRUTH)
    begun = tuple(f"{stem}{mark}" for stem in stems for mark in ("_", "."))
    return [name for name in names if name not in made and not name.startswith(begun)]


def _pair_up(place: str, names: Sequence[str], found: Found) -> None:
    """Pair the videos of a folder with its tables: by the same name, else by a near one."""
    videos = sorted((n for n in names if Path(n).suffix.lower() in FORMATS), key=natural)
    tables = {name: ends for name in names if (ends := _table_ends(place, name, found.notes))}
    alone = []
    for video in videos:
        table = next((t for t in tables if Path(t).stem == Path(video).stem), None)
        if table is None:
            alone.append(video)
        else:
            paths = os.path.join(place, video), os.path.join(place, table)
            found.pairs.append(Pair(*paths, tables[table]))
    taken = {os.path.basename(pair.table) for pair in found.pairs if pair.video.startswith(place)}
    left = {name: ends for name, ends in tables.items() if name not in taken}
    for video, table in _near_names(alone, [*left]):
        question = _ask(place, video, table, left.pop(table).frames)
        alone.remove(video)
        if question is None:
            continue
        paths = os.path.join(place, video), os.path.join(place, table)
        found.pairs.append(Pair(*paths, tables[table], question))
    for name in alone:
        stem, others = Path(name).stem, (v for v in videos if len(v) < len(name))
        like = next((v for v in others if is_copied_name(stem, Path(v).stem)), None)
        why = "no table of its name" + (f"; perhaps a copy of {like}" if like else "")
        found.notes.append(f"{os.path.join(place, name)}: {why}; left out")
    found.notes += [f"{os.path.join(place, n)}: no video of its name; left out" for n in left]


def _near_names(videos: Sequence[str], tables: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of the nearest names, each file once."""
    scores = sorted(
        ((_likeness(Path(v).stem, Path(t).stem), v, t) for v in videos for t in tables),
        key=lambda each: (-each[0], natural(each[1]), natural(each[2])),
    )
    taken: set[str] = set()
    for likeness, video, table in scores:
        if likeness >= SIMILAR and not {video, table} & taken:
            taken |= {video, table}
            yield video, table


def _likeness(one: str, other: str) -> float:
    """How alike two stems are: 1 where they differ in what copying adds alone."""
    if is_copied_name(one, other):
        return 1.0
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _ask(place: str, video: str, table: str, frames: int) -> str | None:
    """What to ask of a pair of near names, by the number of frames."""
    path = os.path.join(place, video)
    try:
        count = open_video(path, salvage=True).frame_count
    except (InputError, OSError):
        return f"is {table} the table of {video}? The video could not be read"
    told = f"the table counts {frames:,} frames, the video has {count:,}"
    agree = "Their numbers of frames agree" if 0 <= frames - count <= 1 else f"But {told}"
    return f"is {table} the table of {video}? {agree}"


def _table_ends(place: str, name: str, notes: list[str]) -> TableEnds | None:
    """The ends of a file if it is a table of buffers."""
    path = os.path.join(place, name)
    if not name.lower().endswith(".csv"):
        return None
    try:
        with open(path, "rb") as file:
            head = file.read(ENDS_BYTES)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(len(head), size - ENDS_BYTES))
            tail = file.read()
        header = read_header(path, BytesIO(head))
    except MetadataError:
        return None  # the timestamps of another camera, or anything
    except OSError as error:
        notes.append(f"{path}: cannot be read ({error.strerror}); left out")
        return None
    rows = [*_rows(head[len(header.text) :], header)]
    last = [*_rows(tail.partition(header.dialect.line_end)[2], header)] or rows
    if not rows or not last:
        notes.append(f"{path}: has no row that can be read; left out")
        return None
    begin, end = np.array(rows[:FRAMES]), np.array(last[-FRAMES:])
    (num, time, _), (end_num, end_time, index) = np.median(begin, 0), np.median(end, 0)
    return TableEnds(int(num), int(end_num), float(time), float(end_time), int(index) + 1)


def _rows(text: bytes, header: Header) -> Iterator[tuple[float, float, float]]:
    """Counter, time and frame of the complete rows of a text."""
    names = ("frame_num", "buffer_recv_unix_time", "reconstructed_frame_index")
    places = [header.columns.index(name) for name in names]
    dialect = header.dialect
    lines = text.decode("utf-8", "replace").split(dialect.line_end.decode())
    plain = (line.rstrip("\r") for line in lines if "\0" not in line)
    for row in csv.reader(plain, delimiter=dialect.delimiter):
        if len(row) == len(header.columns) + dialect.spare:
            with suppress(ValueError):
                cells = (row[place].replace(dialect.decimal, ".") for place in places)
                num, time, index = map(float, cells)
                if np.isfinite([num, time, index]).all() and num >= 0 and index >= 0:
                    yield num, time, index
