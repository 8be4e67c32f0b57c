"""Tables of a result whose frames are from other files, looked up there span by span."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
from miostitch.store.layout import store_facts
from miostitch.video.source import open_video


class Sources(Protocol):
    """Where every frame of a result is from."""

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Files that frames are from."""

    @property
    def origin(self) -> NDArray[np.int64]:
        """Which of them each frame is from, int64 (frame,)."""

    @property
    def origin_frame(self) -> NDArray[np.int64]:
        """Its position there, int64 (frame,)."""


class EditedTables:
    """Writes the tables span by span; `rows` counts the buffers written."""

    def __init__(
        self, sources: Sources, kinds: set[str], path: Callable[[str], Path], store: str | None
    ) -> None:
        self._sources, self.rows = sources, 0
        self._lines = [suffix for suffix in LINE_TABLES if suffix in kinds]
        self._buffers: BufferTable | None = None
        self._writers: dict[str, TableWriter] = {}
        with ExitStack() as files:
            rows = [origin.rows for origin in sources.origins if origin.rows]
            wanted = ".csv" in kinds or store is not None
            if wanted and len(rows) == len(sources.origins):
                columns = dict.fromkeys(name for each in rows for name in each.columns)
                table = path(".csv") if ".csv" in kinds else None
                self._buffers = files.enter_context(BufferTable(columns, table, store))
            for suffix in self._lines:
                writer = TableWriter(path(suffix), self._columns(suffix))
                self._writers[suffix] = files.enter_context(writer)
            self._files = files.pop_all()

    def append(self, span: slice) -> None:
        """Write what belongs to a span of output frames."""
        if self._buffers:
            rows = self._looked_up(span, lambda o, *at: rows_at(o.rows, *at))
            self.rows += len(rows)
            self._buffers.append(_in_order(rows, "reconstructed_frame_index"))
        for suffix, writer in self._writers.items():
            if self._told(suffix):
                look = partial(_lines_of, suffix=suffix)
                lines = self._looked_up(span, look).reindex(columns=writer.columns).fillna("")
            else:
                lines = self._looked_up(span, _times_of)
            writer.append(_in_order(lines, LINE_TABLES[suffix]))

    def _told(self, suffix: str) -> bool:
        """Whether the lines of a table stand in files, and are passed on as they are."""
        return all(suffix in origin.lines for origin in self._sources.origins)

    def _columns(self, suffix: str) -> list[str]:
        if not self._told(suffix):
            return [LINE_TABLES[suffix], *self._sources.origins[0].times]
        names = [n for origin in self._sources.origins for n in origin.lines[suffix].columns]
        return list(dict.fromkeys(names))

    def _looked_up(self, span: slice, look: Callable[..., pd.DataFrame]) -> pd.DataFrame:
        """What is found of some frames in their origins."""
        origin, frames = self._sources.origin[span], self._sources.origin_frame[span]
        positions = np.arange(span.start, span.stop)
        parts = []
        for number in np.unique(origin).tolist():
            mine = origin == number
            parts.append(look(self._sources.origins[number], frames[mine], positions[mine]))
        return pd.concat(parts, ignore_index=True)

    def __enter__(self) -> "EditedTables":
        return self

    def __exit__(self, *failure: Any) -> None:
        self._files.__exit__(*failure)


def check_counts(kinds: set[str], staged: Callable[[str], Path], count: int, rows: int) -> None:
    """Count what was written, in the files."""
    found = {}
    if ".avi" in kinds:
        found[".avi"] = open_video(staged(".avi")).frame_count, count
    if STORE in kinds:
        found[STORE] = store_facts(str(staged(STORE))).frames, count
    for suffix, key in LINE_TABLES.items():
        if suffix in kinds:
            found[suffix] = FrameLines(str(staged(suffix)), key).count, count
    if ".csv" in kinds:
        lines = FrameLines(str(staged(".csv")), "reconstructed_frame_index")
        found[".csv"] = lines.count, rows
    for suffix, (has, should) in found.items():
        if has != should:
            raise MiostitchError(f"{staged(suffix)}: {has} were written, not {should}; report this")


def _lines_of(
    origin: Origin, frames: NDArray[np.int64], positions: NDArray[np.int64], suffix: str
) -> pd.DataFrame:
    lines: FrameLines = origin.lines[suffix]
    return lines_at(lines, LINE_TABLES[suffix], frames, positions)


def _times_of(
    origin: Origin, frames: NDArray[np.int64], positions: NDArray[np.int64]
) -> pd.DataFrame:
    return origin.times.iloc[frames].assign(**{LINE_TABLES[TIMESTAMPS]: positions})


def _in_order(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    return rows.iloc[np.argsort(rows[key].to_numpy(), kind="stable")]
