"""Compares the rows of a result with those of the recordings' tables, and its times with theirs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.errors import InputError
from miostitch.schema import COLUMN_BY_NAME, NO_FRAME
from miostitch.text import amount
from miostitch.verify.findings import Kind
from miostitch.verify.inputs import SPAN_FRAMES
from miostitch.verify.result import Result
from miostitch.verify.rows import INDEX, POSITION, Comparison, Rows, table_columns, table_rows

Ints = NDArray[np.int64]
RECEIVER = "receiver of the row"

CLOCK_TOLERANCE_S = 2e-6
"""How far a time may be off: a summary tells offsets to the microsecond."""

DRIFT_TOLERANCE = 1e-9
"""The same by the time from the clock's middle: a summary tells drifts to 0.001 ppm."""


@dataclass
class BufferRows:
    """Compares the rows of a result: the tables, the store, and what the recordings' tables say."""

    result: Result  # The result

    def check(self) -> None:
        """Compare all rows, a span of frames at a time."""
        result, count = self.result, self.result.store.shape[0]
        name, stored = f"{result.store.path.name}/buffers", None
        if f"buffers/{INDEX}" in result.store.arrays:
            stored = Rows(self._stored())
        filed, lost = self._file(".csv"), self._file("_unrecoverable.csv")
        known = result.complete and self._chosen_by is not None
        for start in range(0, count, SPAN_FRAMES):
            stop = min(start + SPAN_FRAMES, count)
            if known:
                rows = self._expected(start, stop)
                self._times(rows, start, stop)
                theirs = self._filled(rows)
            if stored is not None:
                found = stored.take(len(theirs) if known else 0, stop)
                found = found.reindex(columns=self.columns)
                if known:
                    told = Comparison(result.findings, name, "the recordings' tables have")
                    told.rows(found, theirs, stored.taken - len(found))
                theirs = found
            if stored is not None or known:
                self._compare(filed, theirs, stop)
                self._compare(lost, *self._lost(theirs, start, stop))
        for file, rest in ((name, stored), filed, lost):
            while rest is not None and len(more := rest.rest(2**16)):
                message = f"{amount(len(more), 'row')} of no frame of the result"
                result.findings.add(Kind.ROWS, file, message, row=rest.taken - len(more))

    @cached_property
    def columns(self) -> list[str]:
        """Columns of the store; without any, those of the table."""
        names = self.result.store.names("buffers")
        path = self.result.path(".csv")
        if not names and path.is_file():
            return list(self._header(path))
        known = [name for name in COLUMN_BY_NAME if name in names]
        return [*known, *sorted({*names} - {*known})]

    def _header(self, path: Path) -> tuple[str, ...]:
        try:
            return table_columns(path)
        except InputError as error:
            self.result.findings.add(Kind.UNREADABLE, path.name, str(error))
            return ()

    def _file(self, suffix: str) -> tuple[str, Rows | None]:
        """Name of a table of buffers, and its rows if they are to be compared."""
        path = self.result.path(suffix)
        if not path.is_file() or not (columns := self._header(path)):
            return path.name, None
        if suffix != ".csv" and (
            "unrecoverable" not in self.result.frames or self.result.config.get("drop_damaged")
        ):
            return path.name, None  # of frames that are not in the result
        if {*columns} != {*self.columns}:
            told = f"columns {', '.join(columns)}; the store has {', '.join(self.columns)}"
            self.result.findings.add(Kind.ROWS, path.name, told)
        return path.name, Rows(table_rows(path, columns, self.result.findings))

    def _compare(self, table: tuple[str, Rows | None], rows: pd.DataFrame, stop: int) -> None:
        """Compare the next rows of a table, in the columns that it has."""
        file, lines = table
        if lines is not None:
            found = lines.take(len(rows), stop)
            shared = [name for name in rows if name in found]
            told = Comparison(self.result.findings, file, "the store has")
            told.rows(found[shared], rows[shared], lines.taken - len(found))

    def _lost(self, rows: pd.DataFrame, start: int, stop: int) -> tuple[pd.DataFrame, int]:
        """Rows of the frames that nobody received, as they are counted among these."""
        flags = self.result.frames.get("unrecoverable")
        if flags is None:
            return rows.iloc[:0], 0
        places = np.cumsum(flags.values)
        inside = rows[rows[INDEX].between(start, stop - 1)]
        mine = inside[flags.values[inside[INDEX].to_numpy(np.int64)]]
        index = places[mine[INDEX].to_numpy(np.int64)] - 1
        return mine.assign(**{INDEX: index}).reset_index(drop=True), int(places[stop - 1])

    @property
    def _chosen_by(self) -> NDArray[Any] | None:
        tables = self.result.composition if self.result.composed else self.result.frames
        found = tables.get("buffer_source" if self.result.composed else "source")
        return None if found is None or not found.sound.all() else found.values

    def _stored(self) -> Iterator[pd.DataFrame]:
        """Rows of the store, chunk by chunk of it."""
        store = self.result.store
        index = store.arrays.get(f"buffers/{INDEX}")
        count, step = (0, 1) if index is None else (index.shape[0], index.chunks[0])
        for start in range(0, count, step):
            parts = {}
            for name in self.columns:
                read = store.read(f"buffers/{name}", start, start + step)
                if read is not None and len(read.values) == min(step, count - start):
                    parts[name] = read.values
            yield pd.DataFrame(parts)

    def _filled(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows with the columns of the table, what their own table lacks filled in."""
        defaults: dict[str, int | str] = {
            name: 0 if name == "black_padding_px" else NO_FRAME if name in COLUMN_BY_NAME else ""
            for name in self.columns
        }
        filled = rows.reindex(columns=self.columns)
        for name, default in defaults.items():
            if filled[name].isna().any():
                filled[name] = filled[name].astype(object).where(filled[name].notna(), default)
        types = {n: COLUMN_BY_NAME[n].dtype for n in self.columns if n in COLUMN_BY_NAME}
        return filled.astype(types)

    def _expected(self, start: int, stop: int) -> pd.DataFrame:
        by = self._chosen_by
        assert by is not None
        return (self._of_buffers if self.result.composed else self._of_frames)(by, start, stop)

    def _of_frames(self, source: NDArray[Any], start: int, stop: int) -> pd.DataFrame:
        """Rows of the pictures that were chosen."""
        parts = []
        for number, recording in enumerate(self.result.recordings):
            assert recording is not None
            frames = self.result.source_frame[number, start:stop]
            mine = np.flatnonzero((source[start:stop] == number) & (frames != NO_FRAME))
            parts.append(recording.rows(frames[mine], start + mine).assign(**{RECEIVER: number}))
        rows = pd.concat(parts, ignore_index=True)
        return rows.iloc[np.argsort(rows[INDEX].to_numpy(), kind="stable")].reset_index(drop=True)

    def _of_buffers(self, source: NDArray[Any], start: int, stop: int) -> pd.DataFrame:
        """A row of every buffer: of the recording that gave it, or else of another."""
        parts = []
        for number, recording in enumerate(self.result.recordings):
            assert recording is not None
            frames = self.result.source_frame[number, start:stop]
            there = np.flatnonzero(frames != NO_FRAME)
            pieces, of = self.result.pieces[number]
            low, high = np.searchsorted(of, (start, stop))
            for pictures, places in (
                (frames[there], start + there),
                (pieces[low:high], of[low:high]),
            ):
                rows = _rows_apart(recording.rows, pictures, places)
                own = np.full(stop - start, NO_FRAME)
                own[places - start] = recording.facts.frame_num[pictures]
                valid = rows["frame_num"].to_numpy() == own[rows[INDEX].to_numpy() - start]
                parts.append(rows[valid].assign(**{RECEIVER: number}))
        rows = pd.concat(parts, ignore_index=True)
        rows = rows[rows[POSITION].between(0, source.shape[1] - 1)]
        gave = source[rows[INDEX], rows[POSITION]]
        padding = (
            rows["black_padding_px"].fillna(0).clip(lower=0) if "black_padding_px" in rows else 0
        )
        keys = rows.assign(other=rows[RECEIVER] != gave, short=padding)[gave != NO_FRAME]
        ordered: pd.DataFrame = keys.sort_values([INDEX, POSITION, "other", "short"], kind="stable")
        return ordered.drop_duplicates([INDEX, POSITION]).reset_index(drop=True)

    def _times(self, rows: pd.DataFrame, start: int, stop: int) -> None:
        """Compare the time stamps of frames with the times of their rows."""
        times, tolerance = self._on_one_clock(rows)
        if times is None:
            return
        frames = rows[INDEX].to_numpy()
        by_frame = pd.DataFrame({"frame": frames, "time": times, "receiver": rows[RECEIVER]})
        grouped = by_frame.groupby("frame")
        mixed = grouped["receiver"].nunique() > 1
        first = grouped["time"].first().where(~mixed, grouped["time"].min())
        last = grouped["time"].last().where(~mixed, grouped["time"].max())
        off = pd.Series(tolerance, dtype=float).groupby(frames).max()
        positions = np.arange(start, stop)
        for name, expected in (("timestamp_first", first), ("timestamp_last", last)):
            found = self.result.frames.get(name)
            if found is None:
                continue
            should, values = expected.reindex(positions).to_numpy(), found.values[start:stop]
            near = np.abs(values - should) <= off.reindex(positions).fillna(0).to_numpy()
            self.result.findings.differing(
                Kind.TIMES,
                self.result.store.path.name,
                name,
                values,
                should,
                first=start,
                where=found.sound[start:stop] & ~near,
            )

    def _on_one_clock(
        self, rows: pd.DataFrame
    ) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
        """Times of rows on the first recording's clock, and how far these may be off."""
        times = rows["buffer_recv_unix_time"].to_numpy().copy()
        off, receiver = np.zeros(len(times)), rows[RECEIVER].to_numpy()
        if self.result.config.get("keep_clocks"):
            return times, off
        for number, facts in enumerate(self.result.told):
            mine = receiver == number
            if number == 0 or not mine.any() or facts.get("offset_s", 0) is None:
                continue
            offset, at, drift = (
                facts.get(name) or 0.0 for name in ("offset_s", "offset_at_s", "drift_ppm")
            )
            if not all(isinstance(each, int | float) for each in (offset, at, drift)):
                return None, off  # the summary is no summary
            since = times[mine] - at
            times[mine] -= offset + drift * 1e-6 * since
            off[mine] = CLOCK_TOLERANCE_S + (DRIFT_TOLERANCE * np.abs(since) if drift else 0)
        return times if self.result.told else None, off


def _rows_apart(
    look: Callable[[Ints, Ints], pd.DataFrame], pictures: Ints, places: Ints
) -> pd.DataFrame:
    """Rows of pictures of which several may have one place."""
    rows = look(pictures, np.arange(len(pictures)))
    return rows.assign(**{INDEX: places[rows[INDEX].to_numpy()]})
