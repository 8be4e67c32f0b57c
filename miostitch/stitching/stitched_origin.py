"""A stitch that is not written, as the file that edited frames are from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from miostitch.arrays import I64, U8
from miostitch.buffers.elapsed_time import ElapsedTime, measure_time, read_start
from miostitch.execution.products import SCORES, STORE, TABLE, TIMESTAMPS, VIDEO
from miostitch.origins.sidecars import Origin
from miostitch.recording.recording import list_repairs
from miostitch.schema import (
    COMPOSITION_VARIABLES,
    FRAME,
    FRAME_VARIABLES,
    REPAIR_VARIABLES,
    SCORE_VARIABLES,
)
from miostitch.schema import VIDEO as VIDEO_VARIABLE
from miostitch.stitching.lazy import SessionTables
from miostitch.stitching.stitched import LazyStitch, find_stitch
from miostitch.stitching.summary import find_notices
from miostitch.stitching.tables import SCORE_COLUMNS, column_names, input_facts, store_attrs
from miostitch.text import printable


@dataclass(frozen=True)
class StitchedOrigin(Origin):
    """A stitch that is not written, with all that its products would have."""

    read_files: tuple[str, ...] = ()  # Every file of its recordings
    store_attrs: Mapping[str, Any] = field(default_factory=dict)  # Those that its store would have

    @property
    def kinds(self) -> set[str]:
        """Endings of the products that a stitch has by default and that follow its frames."""
        return {VIDEO, STORE, TABLE, TIMESTAMPS, SCORES}

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Attributes that its store would have."""
        return self.store_attrs

    @property
    def files(self) -> list[str]:
        """Everything that is read."""
        return [*self.read_files]

    @cached_property
    def elapsed(self) -> ElapsedTime:
        """When its frames were made."""
        assert isinstance(self.tables, StitchedFrames)
        return self.tables.elapsed

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its frames."""
        assert isinstance(self.tables, StitchedFrames)
        return self.tables.size

    def read_frames(self, frames: I64) -> U8:
        """Some frames, uint8 (frame, height, width)."""
        assert isinstance(self.tables, StitchedFrames)
        return self.tables.read_frames(frames)

    @property
    def fps(self) -> Fraction:
        """Frame rate, exact."""
        return Fraction(self.attrs["fps"])


def find_stitched(name: str, facts: Mapping[str, Any]) -> StitchedOrigin:
    """The stitch that a Dataset calls by a name.

    ``facts``: what the attribute ``stitches`` says of it.
    """
    stitch = find_stitch(name, facts)
    session, made = stitch.session, StitchedFrames(stitch)
    losses = [loss for recording in session.recordings for loss in recording.losses]
    return StitchedOrigin(
        name,
        session.shape[0],
        None,
        None,
        made,
        has_table=True,
        tables=made,
        lines={SCORES: ScoreLines(made)},
        inputs=tuple(input_facts(session.recordings)),
        notices=tuple(find_notices(session)),
        losses=tuple(losses),
        read_files=tuple(file.path for r in session.recordings for file in r.inputs),
        store_attrs=store_attrs(session, stitch.options),
    )


class StitchedFrames:
    """Tables and rows of all frames, computed when the first of them is needed."""

    def __init__(self, stitch: LazyStitch) -> None:
        self._stitch, self._session = stitch, stitch.session

    @property
    def frames(self) -> int:
        """Frames of the result."""
        return self._session.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames."""
        return self._session.shape[1:]

    def read_frames(self, frames: I64) -> U8:
        """Stitch some frames, uint8 (frame, height, width)."""
        chosen = self._video.isel({FRAME: frames})
        return chosen.to_numpy()

    @cached_property
    def _video(self) -> xr.DataArray:
        return self._stitch.dataset()[VIDEO_VARIABLE.name]

    @property
    def recordings(self) -> Sequence[str]:
        """Names of the recordings that the frames are from."""
        return [printable(recording.name) for recording in self._session.recordings]

    @cached_property
    def known(self) -> SessionTables:
        """Tables of all frames."""
        stitch = self._stitch
        every = np.arange(self.frames)  # the time of one frame depends on all others
        stitch.tables.compute(every, stitch.model.model())
        return stitch.tables

    @cached_property
    def elapsed(self) -> ElapsedTime:
        """When the frames were made, as their store would say it."""
        numbers = self._session.frame_num(slice(None))
        received = self.known.column("frames", "timestamp_first", "float64")
        measured = measure_time(numbers, received, self._session.fps)
        return replace(measured, start=read_start(measured.attrs))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Groups of tables that a store of it would have."""
        composition = ("composition",) if self._stitch.options.by == "buffer" else ()
        return (*composition, *(("repairs",) if len(self._repairs["row"]) else ()), "scores")

    @cached_property
    def _repairs(self) -> dict[str, Any]:
        return list_repairs(self._session.recordings)

    def table(self, group: str = "") -> xr.Dataset:
        """The arrays of a group, or of the root."""
        variables = {
            "": FRAME_VARIABLES,
            "scores": SCORE_VARIABLES,
            "composition": COMPOSITION_VARIABLES,
            "repairs": REPAIR_VARIABLES,
        }[group]
        arrays = {v.name: (v.dims, self._column(group, v.name, v.dtype)) for v in variables}
        return xr.Dataset(arrays, attrs={"recordings": self.recordings} if group else {})

    def _column(self, group: str, name: str, dtype: str) -> Any:
        if group == "repairs":
            return self._repairs[name]
        if name in self.elapsed.columns:
            return self.elapsed.columns[name]
        place = {"": "frames", "composition": "block"}.get(group, group)
        return self.known.column(place, name, dtype)

    @property
    def buffer_columns(self) -> tuple[str, ...]:
        """Columns of the rows."""
        return tuple(column_names(self._session, composed=self._stitch.options.config.composed))

    @cached_property
    def row_counts(self) -> I64:
        """Rows of each frame, (frame,)."""
        return self.known.column("num_rows", "", "int64")

    def rows(self, frames: I64) -> pd.DataFrame:
        """Rows of distinct frames, ascending, in their order."""
        return self.known.rows(frames)


class ScoreLines:
    """Lines of ``S_scores.csv``."""

    def __init__(self, frames: StitchedFrames) -> None:
        self._frames, self.count = frames, frames.frames
        self.columns = list(SCORE_COLUMNS)

    def of(self, frames: I64) -> pd.DataFrame:
        """Lines of distinct frames, ascending, every cell as it stands in the file."""
        lines = self._frames.known.score_lines(frames).astype(object)
        return lines.where(lines.notna(), "").astype(str)
