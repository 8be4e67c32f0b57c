"""The files that a result was made of: where they are now, and whether they are still the same."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from miostitch.errors import InputError
from miostitch.execution.results import read_summary
from miostitch.recording.recording import Recording, video_digest
from miostitch.store.reader import Store
from miostitch.text import printable
from miostitch.video.source import DEFAULT_MAX_FRAME_PIXELS, FORMATS, VideoSource, open_video

GENERATIONS = 8  # edits of edits that are followed back to the recordings

# An entry of the attribute ``inputs``: ``name``, ``size`` in bytes, ``digest``.
Input = dict[str, Any]


@dataclass(frozen=True)
class FoundVideo:
    """A video that a result was made of, looked for by name, size and digest."""

    name: str
    path: str  # Where it is; empty if there is no file of its name
    looked: Sequence[str]  # Folders in which it was looked for
    source: VideoSource | None = None  # The video, if it is what it was
    table: str = ""  # Its table, if that is elsewhere than next to it under its name

    def require(self) -> VideoSource:
        """The video, if the very file is there."""
        if self.source is not None:
            return self.source
        if self.path:
            raise InputError(f"{printable(self.path)}: is not the file that was stitched")
        looked = ", ".join(printable(folder) for folder in self.looked)
        raise InputError(f"{self.name}: is not there any more; looked in {looked}")


def input_place(path: str, folder: str | os.PathLike[str]) -> tuple[str, str]:
    """Where an input is, as summaries say it: absolute, and relative to the result's folder."""
    absolute = os.path.abspath(path)
    try:
        relative = os.path.relpath(absolute, folder)
    except ValueError:  # Windows: on another drive
        relative = absolute
    return printable(absolute), printable(relative)


def recorded_place(facts: dict[str, Any], folder: str | os.PathLike[str]) -> str:
    """Where an input of a summary is: relative to the result if it is there, else as it was."""
    relative, absolute = (facts.get(name) for name in ("relative_path", "path"))
    places = [os.path.join(folder, relative)] if isinstance(relative, str) else []
    places += [os.path.join(folder, absolute)] if isinstance(absolute, str) else []
    there = [found for place in places if (found := _find_printed(os.path.normpath(place)))]
    return os.path.normpath([*there, *reversed(places), ""][0])


def _find_printed(path: str) -> str:
    """The file that a summary names, in which bytes of other encodings are escapes; or nothing."""
    if os.path.exists(path):
        return path
    folder, name = os.path.split(path)
    if "\\" not in path or not name:
        return ""
    parent = _find_printed(folder) if folder else "."
    if not (parent and os.path.isdir(parent)):
        return ""
    alike = [each for each in sorted(os.listdir(parent)) if printable(each) == name]
    return os.path.join(parent, alike[0]) if alike else ""


def find_videos(
    result: str,
    summary: Mapping[str, Any],
    inputs: Any,
    folders: Sequence[str] = (),
    *,
    max_frame_pixels: int = DEFAULT_MAX_FRAME_PIXELS,
) -> list[list[FoundVideo]]:
    """Find the videos of every recording that a result was made of.

    They are looked for in ``folders``, next to the result, and where its ``summary``, or that of
    what it was edited from, says that they were.
    """
    places = list(dict.fromkeys([*folders, *_folders(result, summary)]))
    return [
        [
            replace(_find(video, places, max_frame_pixels), table=_find_table(video, table, places))
            for video, table in zip(videos, tables, strict=True)
        ]
        for videos, tables in zip(video_groups(inputs), table_groups(inputs), strict=True)
    ]


def find_originals(
    store: str,
    folders: Sequence[str] = (),
    *,
    max_frame_pixels: int = DEFAULT_MAX_FRAME_PIXELS,
) -> list[Recording | str]:
    """Find the recordings that a store was made of, without tables, or why one is not available."""
    attrs = Store.open(store).attrs
    names, pixels = attrs.get("recordings", []), max_frame_pixels
    places = store, read_summary(store), attrs.get("inputs"), folders
    groups = find_videos(*places, max_frame_pixels=pixels)
    if len(groups) != len(names):
        why = f"{store}: does not say which of its {len(groups)} inputs are which recording"
        return [why] * len(names)
    found: list[Recording | str] = []
    for name, videos in zip(names, groups, strict=True):
        try:
            opened = [video.require() for video in videos]
            found.append(Recording.from_videos(*opened, name=name))
        except InputError as error:
            found.append(str(error))
    return found


def video_groups(inputs: Any) -> list[list[Input]]:
    """The videos of each recording: a recording's videos are followed by their tables."""
    groups: list[list[Input]] = []
    after_table = True
    for each in inputs if isinstance(inputs, list) else []:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            return []
        is_video = Path(each["name"]).suffix.lower() in FORMATS
        if is_video and after_table:
            groups.append([])
        if is_video:
            groups[-1].append(each)
        after_table = not is_video
    return groups


def table_groups(inputs: Any) -> list[list[Input]]:
    """The tables of the videos of each recording; nothing for a video without one."""
    groups = video_groups(inputs)
    tables: list[list[Input]] = []
    first = 0
    for group in groups:
        last = first + len(group)
        here = [*takewhile(_is_no_video, inputs[last : last + len(group)])]
        tables.append([*here, *({} for _ in group[len(here) :])])
        first = last + len(here)
    return tables


def _is_no_video(each: Input) -> bool:
    return Path(each["name"]).suffix.lower() not in FORMATS


def _folders(
    path: str, summary: Mapping[str, Any], generations: int = GENERATIONS
) -> Iterator[str]:
    """Where the inputs of a result may be, likeliest first."""
    here = os.path.dirname(path) or "."
    yield here
    recordings = listed_objects(summary, "recordings")
    files = [
        place
        for each in recordings
        for name in ("segments", "tables")
        for place in listed_objects(each, name)
    ]
    for each in [*recordings, *files]:
        for name in ("relative_path", "path"):
            if isinstance(each.get(name), str):
                yield os.path.normpath(os.path.join(here, os.path.dirname(_real_name(each[name]))))
    for each in listed_objects(summary, "origins") if generations else []:
        if origin := recorded_place(each, here):
            yield from _folders(origin, read_summary(origin), generations - 1)


def find_stitch_summary(
    path: str, summary: Mapping[str, Any], generations: int = GENERATIONS
) -> Mapping[str, Any]:
    """The summary of the one stitch that a result goes back to; empty if it is not there."""
    if summary.get("recordings"):
        return summary
    origins = listed_objects(summary, "origins")
    if len(origins) != 1 or not generations:
        return {}
    origin = recorded_place(origins[0], os.path.dirname(path) or ".")
    return find_stitch_summary(origin, read_summary(origin), generations - 1) if origin else {}


def listed_objects(summary: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects that a summary lists under a name; nothing where it is no list of them."""
    found = summary.get(name)
    objects = found if isinstance(found, list) else []
    return objects if all(isinstance(each, dict) for each in objects) else []


def _real_name(shown: str) -> str:
    r"""The file name of which a summary shows bytes that are no UTF-8 as ``\x`` escapes."""
    if os.path.exists(shown):
        return shown
    encoded = os.fsencode(shown)
    byte = re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes.fromhex(m[1].decode()), encoded)
    return os.fsdecode(byte)


def _find_table(video: Input, table: Input, folders: Sequence[str]) -> str:
    """Where the table of a video is, if its name is not that of the video."""
    name = table.get("name", "")
    if not name or name == Path(video["name"]).with_suffix(".csv").name:
        return ""
    found = (os.path.join(folder, n) for folder in folders for n in (name, _real_name(name)))
    return next((p for p in found if os.path.isfile(p)), "")


def _find(video: Input, folders: Sequence[str], max_frame_pixels: int) -> FoundVideo:
    """Look for the file that was read, recognised by size and digest."""
    name, other = video["name"], ""
    for folder in folders:
        for path in dict.fromkeys(os.path.join(folder, n) for n in (name, _real_name(name))):
            if not os.path.isfile(path):
                continue
            with suppress(InputError, OSError):
                if os.path.getsize(path) == video.get("size"):
                    source = open_video(path, max_frame_pixels=max_frame_pixels, salvage=True)
                    if video_digest(source) == video.get("digest"):
                        return FoundVideo(name, path, folders, source)
            other = other or path
    return FoundVideo(name, other, folders)
