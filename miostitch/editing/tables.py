"""The tables of an edited result: the rows, lines and groups of its origins."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from miostitch.arrays import I64
from miostitch.buffers.csv_files import FrameLines, TableWriter
from miostitch.buffers.row_writer import BufferTable
from miostitch.editing.frame_origins import FrameOrigins
from miostitch.editing.regular import nothing_received
from miostitch.errors import MiostitchError
from miostitch.execution.products import LINE_TABLES, STORE, TABLE, TIMESTAMPS, VIDEO
from miostitch.origins.sidecars import Origin, lines_at, rows_at
from miostitch.ranges import rising_runs
from miostitch.recording.datasets import union
from miostitch.schema import (
    COMPOSITION_VARIABLES,
    EPOCHS,
    FILLED,
    FRAME,
    FRAME_VARIABLES,
    NO_FRAME,
    RECORDING,
    REPAIR_VARIABLES,
    SCORE_VARIABLES,
    TIME_VARIABLES,
    Variable,
)
from miostitch.session.clocks import time_attrs
from miostitch.store.layout import write_frame_tables, write_group
from miostitch.store.reader import BUFFERS, Store
from miostitch.store.validation import require_recordings
from miostitch.video.source import open_video

FRAME_OF_ROW = "reconstructed_frame_index"
KNOWN = {
    (variable.group.strip("/"), variable.name): variable
    for variable in (*SCORE_VARIABLES, *COMPOSITION_VARIABLES, *REPAIR_VARIABLES)
}
OF_RECORDINGS = {("", "source"), ("composition", "buffer_source"), ("repairs", "recording")}
"""Variables whose values are positions in the attribute `recordings`."""


@dataclass
class EditedTables:
    """Writes tables of rows and lines span by span."""

    sources: FrameOrigins
    buffers: BufferTable | None  # None where an origin has no rows, or none are wanted
    writers: dict[str, TableWriter]  # Of the tables with one line per frame, by ending
    rows: int = 0  # Buffers written so far

    @classmethod
    @contextmanager
    def open(
        cls, sources: FrameOrigins, kinds: set[str], path: Callable[[str], Path], store: str | None
    ) -> Iterator[Self]:
        """Begin the tables of these endings, and the rows of a store."""
        rows = [origin.buffers for origin in sources.origins if origin.buffers]
        wanted = (TABLE in kinds or store is not None) and len(rows) == len(sources.origins)
        with ExitStack() as files:
            buffers = None
            if wanted:
                columns = dict.fromkeys(name for each in rows for name in each.buffer_columns)
                table = path(TABLE) if TABLE in kinds else None
                buffers = files.enter_context(BufferTable(columns, table, store))
            writers = {
                suffix: files.enter_context(TableWriter(path(suffix), _columns(sources, suffix)))
                for suffix in LINE_TABLES
                if suffix in kinds
            }
            yield cls(sources, buffers, writers)

    def append(self, span: slice) -> None:
        """Write what belongs to a span of output frames."""
        if self.buffers:
            rows = self._look_up(span, lambda o, *at: rows_at(o.buffers, *at))
            self.rows += len(rows)
            self.buffers.append(rows.sort_values(FRAME_OF_ROW, kind="stable"))
        for suffix, writer in self.writers.items():
            if _have_lines(self.sources, suffix):
                lines = self._look_up(span, partial(_find_lines, suffix=suffix))
                lines = lines.reindex(columns=writer.columns, fill_value="").fillna("")
            else:
                lines = self._look_up(span, _find_times)
            if self.sources.filled is not None:
                lines = self._with_filled(lines, suffix, span)
            writer.append(lines.sort_values(LINE_TABLES[suffix], kind="stable"))

    def _look_up(self, span: slice, find: Callable[..., pd.DataFrame]) -> pd.DataFrame:
        """Collect what `find` gives of the frames of each origin and their positions here."""
        origin, frames = self.sources.origin[span], self.sources.origin_frame[span]
        positions, taken = np.arange(span.start, span.stop), ~self.sources.made[span]
        parts = []
        for number in np.unique(origin).tolist():
            of_it = (origin == number) & taken
            parts.append(find(self.sources.origins[number], frames[of_it], positions[of_it]))
        return pd.concat(parts, ignore_index=True)

    def _with_filled(self, lines: pd.DataFrame, suffix: str, span: slice) -> pd.DataFrame:
        """Add a line without content for each frame that is made, and say which are filled."""
        key, made = LINE_TABLES[suffix], span.start + np.flatnonzero(self.sources.made[span])
        if len(made):
            lines = pd.concat([lines, pd.DataFrame({key: made})], ignore_index=True)
        if suffix == TIMESTAMPS and self.sources.filled is not None:
            filled = self.sources.filled[lines[key].to_numpy(np.int64)]
            lines = lines.assign(**{FILLED.name: filled.astype(np.int8)})
        return lines


def _have_lines(sources: FrameOrigins, suffix: str) -> bool:
    """Whether all origins have a table, so that its lines are copied as they are."""
    return all(suffix in origin.lines for origin in sources.origins)


def _columns(sources: FrameOrigins, suffix: str) -> list[str]:
    if _have_lines(sources, suffix):
        names = [name for origin in sources.origins for name in origin.lines[suffix].columns]
    else:
        names = [LINE_TABLES[suffix], *sources.origins[0].times]
    if suffix == TIMESTAMPS and sources.filled is not None:
        names.append(FILLED.name)
    return list(dict.fromkeys(names))


def _find_lines(origin: Origin, frames: I64, positions: I64, suffix: str) -> pd.DataFrame:
    return lines_at(origin.lines[suffix], LINE_TABLES[suffix], frames, positions)


def _find_times(origin: Origin, frames: I64, positions: I64) -> pd.DataFrame:
    return origin.times.iloc[frames].assign(**{LINE_TABLES[TIMESTAMPS]: positions})


def check_counts(kinds: set[str], staged: Callable[[str], Path], count: int, rows: int) -> None:
    """Check how many frames and rows the written files have."""
    found = {}
    if VIDEO in kinds:
        found[VIDEO] = open_video(staged(VIDEO)).frame_count, count
    if STORE in kinds:
        found[STORE] = Store.open(str(staged(STORE))).frames, count
    for suffix, key in LINE_TABLES.items():
        if suffix in kinds:
            found[suffix] = FrameLines(str(staged(suffix)), key).count, count
    if TABLE in kinds:
        found[TABLE] = FrameLines(str(staged(TABLE)), FRAME_OF_ROW).count, rows
    for suffix, (has, should) in found.items():
        if has != should:
            raise MiostitchError(f"{staged(suffix)}: {has} were written, not {should}; report this")


@dataclass(frozen=True)
class StoredTables:
    """Tables of a new store, for the frames that are kept of others."""

    sources: FrameOrigins

    @cached_property
    def recordings(self) -> tuple[list[str], list[I64]]:
        """Names of the recordings of all files, and the places of each file's among them."""
        return union([origin.tables.recordings for origin in self.sources.origins])

    def write(self, path: str) -> list[str]:
        """Write them to a new store, while its video may still be written."""
        tables = [origin.tables for origin in self.sources.origins]
        frames = self._frames([each.table() for each in tables])
        numbers = frames["frame_num"]
        elapsed = self.sources.elapsed(numbers)
        attrs: dict[str, Any] = dict(time_attrs(elapsed, numbers))
        if self.sources.filled is not None:
            attrs[EPOCHS] = rising_runs(numbers)
        columns = frames | elapsed.columns
        write_frame_tables(path, columns, self.sources.variables, attrs)
        groups = dict.fromkeys(name for each in tables for name in each.groups if name != BUFFERS)
        return [note for name in groups for note in self._group(path, name)]

    def _frames(self, roots: Sequence[xr.Dataset]) -> dict[str, NDArray[Any]]:
        """What is known of each frame but its time; of frames that are made, nothing."""
        frames = {
            v.name: self._taken("", v.name, [root[v.name] for root in roots])
            for v in FRAME_VARIABLES
            if v not in TIME_VARIABLES
        }
        sources = self.sources
        if sources.filled is not None:
            frames[FILLED.name] = sources.filled
        if sources.regular is not None:
            frames["frame_num"] = sources.regular.frame_num
            for name, nothing in nothing_received(sources.pixels).items():
                frames[name][sources.made] = nothing
        return frames

    def _group(self, path: str, name: str) -> list[str]:
        """Write one group of those that have it."""
        tables = [origin.tables for origin in self.sources.origins]
        found = [each.table(name) if name in each.groups else None for each in tables]
        kept = [each for each in found if each is not None]
        first = kept[0]
        per_frame = FRAME in first.sizes
        if per_frame and (len(kept) < len(found) or not _alike(kept)):
            return [f"{name} is left out: not all of the files have the same"]
        variables: list[Variable] = []
        values: dict[str, NDArray[Any]] = {}
        for key in map(str, first.data_vars):
            arrays = [None if each is None else each[key] for each in found]
            values[key] = (self._taken if per_frame else self._joined)(name, key, arrays)
            variables.append(KNOWN.get((name, key)) or _variable(name, first[key]))
        attrs = dict(first.attrs)
        if "recordings" in attrs:
            attrs["recordings"] = self.recordings[0]
        write_group(path, name, variables, values.__getitem__, attrs)
        return []

    def _taken(self, group: str, name: str, arrays: Sequence[xr.DataArray | None]) -> NDArray[Any]:
        """The kept frames of a table of each file."""
        first = next(each for each in arrays if each is not None)
        frame, (recordings, codes) = self.sources.origin_frame, self.recordings
        sizes = {**first.sizes, FRAME: len(frame), RECORDING: len(recordings)}
        absent = {"i": NO_FRAME, "f": np.nan}.get(first.dtype.kind, 0)
        out = np.full([sizes[dim] for dim in first.dims], absent, first.dtype)
        for number, array in enumerate(arrays):
            places = np.flatnonzero((self.sources.origin == number) & ~self.sources.made)
            if array is None or not len(places):
                continue
            values = self._recoded(group, name, array.to_numpy(), number)
            there, here = [], []
            for dim, size in zip(array.dims, values.shape, strict=True):
                same = np.arange(size)
                here.append(frame[places] if dim == FRAME else same)
                to = {FRAME: places, RECORDING: codes[number]}
                there.append(to.get(str(dim), same))
            out[np.ix_(*there)] = values[np.ix_(*here)]
        return out

    def _joined(self, group: str, name: str, arrays: Sequence[xr.DataArray | None]) -> NDArray[Any]:
        """Tables that do not follow the frames, one behind the other."""
        parts = [
            self._recoded(group, name, array.to_numpy(), number)
            for number, array in enumerate(arrays)
            if array is not None
        ]
        return np.concatenate(parts)

    def _recoded(self, group: str, name: str, values: NDArray[Any], number: int) -> NDArray[Any]:
        """Positions in the recordings of one file as positions in those of all."""
        if (group, name) not in OF_RECORDINGS:
            return values
        codes = self.recordings[1][number]
        path, array = self.sources.origins[number].path, f"{group}/{name}".lstrip("/")
        require_recordings(path, array, values, len(codes))
        table = np.append(codes, NO_FRAME).astype(values.dtype)
        return np.asarray(table[values])


def _alike(groups: Sequence[xr.Dataset]) -> bool:
    """Whether groups differ in nothing but frames and recordings."""
    shapes = [
        (
            sorted(map(str, group.data_vars)),
            {d: n for d, n in group.sizes.items() if d not in (FRAME, RECORDING)},
        )
        for group in groups
    ]
    return all(shape == shapes[0] for shape in shapes)


def _variable(group: str, array: xr.DataArray) -> Variable:
    """An array that the schema does not know."""
    doc, unit = str(array.attrs.get("long_name", "")), array.attrs.get("units")
    dims = tuple(map(str, array.dims))
    return Variable(str(array.name), dims, str(array.dtype), doc, unit, group=f"/{group}")
