"""The recordings that a result was made of: found again, and proven to be the same."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from miostitch.buffers.frame_table import FrameTable
from miostitch.errors import InputError
from miostitch.recording.recording import Recording
from miostitch.store.reader import Store
from miostitch.text import printable
from miostitch.video.source import DEFAULT_MAX_FRAME_PIXELS, FORMATS, open_video

GENERATIONS = 8
"""Edits of edits that are followed back to the recordings."""

Input = dict[str, Any]
"""An entry of the attribute ``inputs``: ``name``, ``size`` in bytes, ``digest``."""


def find_originals(
    store: str,
    folders: Sequence[str] = (),
    *,
    max_frame_pixels: int = DEFAULT_MAX_FRAME_PIXELS,
) -> list[Recording | str]:
    """Find the recordings that a store was made of.

    They are looked for in `folders`, beside the store, and where the ``.json`` beside it says that
    they were. Only a file with the recorded name, size and digest is taken.

    Returns: For each of the attribute ``recordings`` the pictures, as a recording without tables,
    or why they are not to be had.
    """
    attrs = Store.open(store).attrs
    names, groups = attrs.get("recordings", []), _videos(attrs.get("inputs", []))
    if len(groups) != len(names):
        why = f"{store}: does not say which of its {len(groups)} inputs are which recording"
        return [why] * len(names)
    places = [*folders, *dict.fromkeys(_folders(store))]
    found: list[Recording | str] = []
    for name, videos in zip(names, groups, strict=True):
        try:
            found.append(_recording(name, videos, places, max_frame_pixels))
        except InputError as error:
            found.append(str(error))
    return found


def _videos(inputs: Sequence[Input]) -> list[list[Input]]:
    """The videos of each recording: a recording's videos are followed by their tables."""
    groups: list[list[Input]] = []
    after_table = True
    for each in inputs:
        is_video = Path(each["name"]).suffix.lower() in FORMATS
        if is_video and after_table:
            groups.append([])
        if is_video:
            groups[-1].append(each)
        after_table = not is_video
    return groups


def _folders(path: str, generations: int = GENERATIONS) -> Iterator[str]:
    """Where the inputs of a result may be, likeliest first."""
    yield os.path.dirname(path) or "."
    summary = _summary(path)
    for each in summary.get("recordings", []):
        if isinstance(each, dict) and isinstance(each.get("path"), str):
            yield os.path.dirname(each["path"]) or "."
    for each in summary.get("origins", []) if generations else []:
        if isinstance(each, dict) and isinstance(each.get("path"), str):
            yield from _folders(each["path"], generations - 1)


def _summary(path: str) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(Path(path).with_suffix(".json").read_bytes())
        if isinstance(found, dict):
            return found
    return {}


def _recording(
    name: str, videos: Sequence[Input], folders: Sequence[str], max_frame_pixels: int
) -> Recording:
    """Open the videos of a recording, wherever the very files are."""
    parts = [_same_file(video, folders, max_frame_pixels) for video in videos]
    frames = FrameTable.concat([part.frames for part in parts])
    sources = tuple(part.videos[0] for part in parts)
    return replace(parts[0], name=name, videos=sources, frames=frames)


def _same_file(video: Input, folders: Sequence[str], max_frame_pixels: int) -> Recording:
    """Open the file that was read, recognised by size and digest."""
    other = ""
    for folder in folders:
        path = os.path.join(folder, os.path.basename(video["name"]))
        if not os.path.isfile(path):
            continue
        if os.path.getsize(path) == video["size"]:
            source = open_video(path, max_frame_pixels=max_frame_pixels, salvage=True)
            alone = Recording.from_video(source)
            if alone.inputs[0].digest == video["digest"]:
                return alone
        other = other or path
    if other:
        raise InputError(f"{printable(other)}: is not the file that was stitched")
    looked = ", ".join(printable(folder) for folder in folders)
    raise InputError(f"{video['name']}: not in {looked}; name its folder with --inputs")
