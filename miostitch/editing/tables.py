"""Writes the tables of an edited result: the rows and lines of its origins, span by span."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from miostitch.arrays import I64
from miostitch.buffers.csv_writer import TableWriter
from miostitch.buffers.row_writer import BufferTable
from miostitch.errors import MiostitchError
from miostitch.execution.products import LINE_TABLES, STORE, TIMESTAMPS
from miostitch.recording.sidecars import (
    FrameLines,
    Origin,
    lines_at,
    rows_at,
)
from miostitch.store.reader import Store
from miostitch.video.source import open_video


class FrameOrigins(Protocol):
    """Where every frame is from."""

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Files that frames are from."""

    @property
    def origin(self) -> I64:
        """Which of the files each frame is from, (frame,)."""

    @property
    def origin_frame(self) -> I64:
        """Position of each frame in its file, (frame,)."""


class EditedTables:
    """Writes the tables span by span; `rows` counts the buffers written."""

    def __init__(
        self, sources: FrameOrigins, kinds: set[str], path: Callable[[str], Path], store: str | None
    ) -> None:
        self._sources, self.rows = sources, 0
        self._lines = [suffix for suffix in LINE_TABLES if suffix in kinds]
        self._buffers: BufferTable | None = None
        self._writers: dict[str, TableWriter] = {}
        with ExitStack() as files:
            rows = [origin.buffers for origin in sources.origins if origin.buffers]
            wanted = ".csv" in kinds or store is not None
            if wanted and len(rows) == len(sources.origins):
                columns = dict.fromkeys(name for each in rows for name in each.buffer_columns)
                table = path(".csv") if ".csv" in kinds else None
                self._buffers = files.enter_context(BufferTable(columns, table, store))
            for suffix in self._lines:
                writer = TableWriter(path(suffix), self._columns(suffix))
                self._writers[suffix] = files.enter_context(writer)
            self._files = files.pop_all()

    def append(self, span: slice) -> None:
        """Write what belongs to a span of output frames."""
        if self._buffers:
            rows = self._look_up(span, lambda o, *at: rows_at(o.buffers, *at))
            self.rows += len(rows)
            self._buffers.append(rows.sort_values("reconstructed_frame_index", kind="stable"))
        for suffix, writer in self._writers.items():
            key = LINE_TABLES[suffix]
            if self._have_lines(suffix):
                lines = self._look_up(span, partial(_find_lines, suffix=suffix))
                lines = lines.reindex(columns=writer.columns).fillna("")
            else:
                lines = self._look_up(span, _find_times)
            writer.append(lines.sort_values(key, kind="stable"))

    def _have_lines(self, suffix: str) -> bool:
        """Whether all origins have a table, so that its lines are copied as they are."""
        return all(suffix in origin.lines for origin in self._sources.origins)

    def _columns(self, suffix: str) -> list[str]:
        if not self._have_lines(suffix):
            return [LINE_TABLES[suffix], *self._sources.origins[0].times]
        names = [n for origin in self._sources.origins for n in origin.lines[suffix].columns]
        return list(dict.fromkeys(names))

    def _look_up(self, span: slice, find: Callable[..., pd.DataFrame]) -> pd.DataFrame:
        """Collect what `find` gives of the frames of each origin and their positions here."""
        origin, frames = self._sources.origin[span], self._sources.origin_frame[span]
        positions = np.arange(span.start, span.stop)
        parts = []
        for number in np.unique(origin).tolist():
            of_it = origin == number
            parts.append(find(self._sources.origins[number], frames[of_it], positions[of_it]))
        return pd.concat(parts, ignore_index=True)

    def __enter__(self) -> "EditedTables":
        return self

    def __exit__(self, *failure: object) -> None:
        self._files.__exit__(*failure)  # type: ignore[arg-type]


def check_counts(kinds: set[str], staged: Callable[[str], Path], count: int, rows: int) -> None:
    """Check how many frames and rows the written files have."""
    found = {}
    if ".avi" in kinds:
        found[".avi"] = open_video(staged(".avi")).frame_count, count
    if STORE in kinds:
        found[STORE] = Store.open(str(staged(STORE))).frames, count
    for suffix, key in LINE_TABLES.items():
        if suffix in kinds:
            found[suffix] = FrameLines(str(staged(suffix)), key).count, count
    if ".csv" in kinds:
        lines = FrameLines(str(staged(".csv")), "reconstructed_frame_index")
        found[".csv"] = lines.count, rows
    for suffix, (has, should) in found.items():
        if has != should:
            raise MiostitchError(f"{staged(suffix)}: {has} were written, not {should}; report this")


def _find_lines(origin: Origin, frames: I64, positions: I64, suffix: str) -> pd.DataFrame:
    return lines_at(origin.lines[suffix], LINE_TABLES[suffix], frames, positions)


def _find_times(origin: Origin, frames: I64, positions: I64) -> pd.DataFrame:
    return origin.times.iloc[frames].assign(**{LINE_TABLES[TIMESTAMPS]: positions})
