"""Recordings that this process holds open, found again by their files.

A Dataset names its files by their paths alone, so that it can be selected, joined, compared,
pickled and stored like any other. Its lazy video keeps the Recording alive that it was made of;
whoever needs that again, to write what was edited, finds it here, unless a file has changed.
"""

import os
from collections.abc import Hashable
from dataclasses import replace
from weakref import WeakValueDictionary

from miostitch.recording.files import ReadOptions, table_path
from miostitch.recording.recording import Recording

_opened: WeakValueDictionary[Hashable, Recording] = WeakValueDictionary()


def remember_recording(recording: Recording) -> None:
    """Let a recording be found as long as anything holds it."""
    options = replace(recording.options, lag=recording.lag)
    for video in recording.videos:
        _opened[_key(os.path.abspath(video.path), options)] = recording


def reopen_video(path: str, options: ReadOptions) -> Recording:
    """The recording of one video: part of one that is open and was read so, or opened again."""
    known = _opened.get(_key(path, options))
    return Recording.open(path, options) if known is None else known.segment(path)


def _key(path: str, options: ReadOptions) -> Hashable:
    states = tuple(_state(file) for file in (path, table_path(path)))
    return path, states, replace(options, need_table=False)


def _state(path: str) -> tuple[int, ...]:
    """What changes when a file is written again; nothing where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
