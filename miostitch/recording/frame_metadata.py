"""What is known of the frames of a file, as a store holds it or would hold it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr

from miostitch.buffers.table import buffer_layout
from miostitch.recording.files import ReadOptions
from miostitch.recording.recording import load_recording
from miostitch.schema import FRAME, FRAME_VARIABLES
from miostitch.store.groups import open_group
from miostitch.store.layout import StoreFacts
from miostitch.text import printable


class FrameTables(Protocol):
    """Tables of frames as a store holds them."""

    @property
    def recordings(self) -> Sequence[str]:
        """Names of the recordings that the frames are from."""

    @property
    def groups(self) -> Sequence[str]:
        """Names of the groups."""

    def open(self, group: str) -> xr.Dataset | None:
        """A group, or the root for no name; ``None`` where there is no such group."""


@dataclass(frozen=True)
class StoredFrames:
    """The tables of a store."""

    path: str
    facts: StoreFacts

    @property
    def recordings(self) -> Sequence[str]:
        """Names of the recordings that the frames are from."""
        return list(self.facts.attrs.get("recordings", []))

    @property
    def groups(self) -> Sequence[str]:
        """Names of the groups."""
        return self.facts.groups

    def open(self, group: str) -> xr.Dataset | None:
        """A group, or the root for no name; ``None`` where there is no such group."""
        if group and group not in self.groups:
            return None
        return open_group(self.path, group)


@dataclass(frozen=True)
class RecordedFrames:
    """What a store would say of a recording that was not stitched: the root, by its table alone.

    A frame is damaged where pixels are missing; nobody has scored it. Of a video without a table
    nothing is known to be missing.
    """

    path: str
    options: ReadOptions
    groups = ()

    @property
    def recordings(self) -> Sequence[str]:
        """Names of the recordings that the frames are from."""
        return [printable(Path(self.path).stem)]

    def open(self, group: str) -> xr.Dataset | None:
        """The root for no name."""
        return None if group else self._frames

    @cached_property
    def _frames(self) -> xr.Dataset:
        recording = load_recording(self.path, replace(self.options, need_table=False))
        table, (count, height, width) = recording.frames, recording.shape
        missing = np.zeros(count, np.int64)
        if recording.tables:
            bounds = buffer_layout(recording.tables, height * width)
            given = table.given_pixels(np.arange(count), bounds)
            missing = bounds[-1] - given.clip(0).sum(axis=1)
        known = {
            **vars(table),
            "source": np.zeros(count),
            "missing_pixels": missing,
            "damaged": missing > 0,
            "unrecoverable": missing > 0,
        }
        columns = {v.name: known[v.name][:count].astype(v.dtype) for v in FRAME_VARIABLES}
        return xr.Dataset({name: (FRAME, values) for name, values in columns.items()})
