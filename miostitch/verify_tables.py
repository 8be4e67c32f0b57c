"""Compares the tables of a result, row by row: with the store, and with the recordings' tables."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.errors import InputError
from miostitch.schema import COLUMN_BY_NAME, NO_FRAME, PIXEL_SCORES
from miostitch.table_parser import TableParser, header_columns, text_blocks
from miostitch.text import printable
from miostitch.verify_findings import LISTED, Findings, Kind
from miostitch.verify_frames import choices
from miostitch.verify_inputs import ROW, SPAN_FRAMES
from miostitch.verify_result import Result

Ints = NDArray[np.int64]
INDEX, POSITION = "reconstructed_frame_index", "frame_buffer_count"
RECEIVER = "receiver of the row"

ROLES = ("selected", "compare")
TABLE_SCORES = ("num_buffers", "black_padding", "black_pixels", "noisy_pixels")
SCORE_COLUMNS = (
    *("index", "frame_num", "selected_video", "compare_video"),
    *(f"{role}_{name}" for role in ROLES for name in TABLE_SCORES),
    *(f"{role}_edge_score" for role in ROLES),
    "diff_pixels",
)
TIMESTAMP_COLUMNS = ("frame", "timestamp_first", "timestamp_last")

CLOCK_TOLERANCE_S = 2e-6
"""How far a time may be off: a summary tells offsets to the microsecond."""
DRIFT_TOLERANCE = 1e-9
"""The same by the time from the clock's middle: it tells drifts to 0.001 ppm."""


class Rows:
    """Rows of a table or a store, taken one span of frames after the other.

    Parameters
    ----------
    parts
        The rows, in pieces.
    """

    def __init__(self, parts: Iterator[pd.DataFrame]) -> None:
        self._parts, self._held = parts, pd.DataFrame()
        self.taken = 0
        """Rows that were given out, which is the place of the next one."""

    def take(self, count: int, stop: int) -> pd.DataFrame:
        """Rows of the next frames, up to `stop`: `count`, unless some are missing or too many."""
        self._fill(count)
        index = self._index()
        size = min(count, len(index))
        while size and index[size - 1] >= stop and index[size - 1] == index[: size].max():
            size -= 1  # those of later frames, where rows are missing
        while size == len(index) or index[size] < stop:
            if size == len(index):
                self._fill(size + 1)
                index = self._index()
                if size == len(index):
                    break
            else:
                size += 1
        return self._give(size)

    def rest(self, count: int) -> pd.DataFrame:
        """The next rows, whatever they are of."""
        self._fill(count)
        return self._give(min(count, len(self._held)))

    def _index(self) -> Ints:
        if not len(self._held.columns):
            return np.zeros(0, np.int64)
        return self._held[INDEX].to_numpy()

    def _fill(self, count: int) -> None:
        parts = [self._held] if len(self._held.columns) else []
        have = len(self._held)
        while have < count and (part := next(self._parts, None)) is not None:
            parts.append(part)
            have += len(part)
        if len(parts) > 1 or not len(self._held.columns):
            self._held = pd.concat(parts, ignore_index=True) if parts else self._held

    def _give(self, size: int) -> pd.DataFrame:
        given, self._held = self._held.iloc[:size], self._held.iloc[size:].reset_index(drop=True)
        self.taken += size
        return given.reset_index(drop=True)


@dataclass(frozen=True)
class Comparison:
    """Compares rows of a file with what they should be.

    Parameters
    ----------
    findings
        Takes differences.
    file
        The file, or the group of the store.
    told
        Who says what they should be.
    """

    findings: Findings
    file: str
    told: str

    def rows(self, found: pd.DataFrame, expected: pd.DataFrame, first: int) -> None:
        """Note rows that differ.

        Parameters
        ----------
        found, expected
            Rows of the same columns.
        first
            Place of the first row in the file.
        """
        if len(found) != len(expected):
            found, expected, first_of = self._matched(found, expected, first)
        else:
            first_of = first + np.arange(len(found))
        wrong = np.zeros((len(found), len(expected.columns)), bool)
        for number, name in enumerate(expected.columns):
            wrong[:, number] = _unlike(found[name].to_numpy(), expected[name].to_numpy())
        places = np.flatnonzero(wrong.any(axis=1))
        for at in places[:LISTED].tolist():
            names = [n for n, bad in zip(expected.columns, wrong[at], strict=True) if bad]
            values = found[names[0]].iloc[at], expected[names[0]].iloc[at]
            message = f"{', '.join(names)} differ: {_shown(values[0])}; {self.told} {_shown(values[1])}"
            frame = int(expected[INDEX].iloc[at])
            self.findings.add(
                Kind.ROWS, self.file, message, frame=frame, row=int(first_of[at]), column=names[0]
            )
        self.findings.more(Kind.ROWS, max(0, len(places) - LISTED))

    def _matched(
        self, found: pd.DataFrame, expected: pd.DataFrame, first: int
    ) -> tuple[pd.DataFrame, pd.DataFrame, Ints]:
        """Rows that both have, after the others were noted."""
        keys = [INDEX, POSITION] if POSITION in expected else [INDEX]
        sides = []
        for side in (found, expected):
            repeated = side.groupby(keys).cumcount()
            sides.append(side[keys].assign(repeated=repeated, place=np.arange(len(side))))
        both = sides[0].merge(
            sides[1], on=[*keys, "repeated"], how="outer", suffixes=("", "_expected"), indicator=True
        )
        lost = both[both["_merge"] == "right_only"].sort_values("place_expected")
        extra = both[both["_merge"] == "left_only"].sort_values("place")
        for row in lost.head(LISTED).to_dict("records"):
            what = f"the row of buffer {row[POSITION]}" if POSITION in row else "the line"
            message = f"{what} is missing; {self.told} it"
            self.findings.add(Kind.ROWS, self.file, message, frame=int(row[INDEX]))
        for row in extra.head(LISTED).to_dict("records"):
            place = first + int(row["place"])
            message = "is one row too many"
            self.findings.add(Kind.ROWS, self.file, message, frame=int(row[INDEX]), row=place)
        self.findings.more(
            Kind.ROWS, max(0, len(lost) - LISTED) + max(0, len(extra) - LISTED)
        )
        shared = both[both["_merge"] == "both"].sort_values("place")
        places = shared["place"].to_numpy(np.int64)
        theirs = shared["place_expected"].to_numpy(np.int64)
        return (
            found.iloc[places].reset_index(drop=True),
            expected.iloc[theirs].reset_index(drop=True),
            first + places,
        )


def _unlike(found: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
    wrong = np.asarray(found != expected)
    if expected.dtype.kind == "f":
        wrong &= ~(np.isnan(found) & np.isnan(expected))
    return wrong


def _shown(value: Any) -> str:
    return repr(value.item() if hasattr(value, "item") else value)


def table_columns(path: Path) -> tuple[str, ...]:
    """Names in the header of a table of buffers.

    Raises
    ------
    InputError
        It is no such table.
    """
    with path.open("rb") as file:
        return header_columns(str(path), file.readline())


def table_rows(path: Path, columns: Sequence[str], findings: Findings) -> Iterator[pd.DataFrame]:
    """Rows of a table of buffers, piece by piece; rows that are none are noted."""
    parser, line = TableParser(str(path), tuple(columns), 2**62, salvage=True), 2
    with path.open("rb") as file:
        file.readline()
        for text in text_blocks(str(path), file):
            if not text.endswith(b"\n"):
                findings.add(Kind.ROWS, path.name, "the last line is cut", row=line - 2 + text.count(b"\n"))
            parsed = parser.parse(text if text.endswith(b"\n") else text + b"\n", line)
            for at, fault in parsed.faults:
                findings.add(Kind.ROWS, path.name, fault, row=at - 2, column=_named(fault))
            for at in parsed.headers:
                findings.add(Kind.ROWS, path.name, "is a second header", row=at - 2)
            yield parsed.table.to_pandas()
            line += text.count(b"\n")


def _named(fault: str) -> str | None:
    found = re.match(r"column (\S+) ", fault)
    return found[1] if found else None


@dataclass
class BufferRows:
    """Compares the rows of a result: the table, the store, and what the recordings' tables say.

    Parameters
    ----------
    result
        The result.
    columns
        Columns of the table.
    """

    result: Result
    columns: tuple[str, ...]
    rows: int = field(default=0, init=False)

    def check(self) -> None:
        """Compare all rows, a span of frames at a time."""
        result, count = self.result, self.result.store.shape[0]
        table = result.path(".csv")
        stored = Rows(self._stored())
        filed = Rows(table_rows(table, self.columns, result.findings)) if table.is_file() else None
        name = f"{result.store.path.name}/buffers"
        known = result.complete and self._chosen_by is not None
        for start in range(0, count, SPAN_FRAMES):
            stop = min(start + SPAN_FRAMES, count)
            if known:
                rows = self._expected(start, stop)
                self._times(rows, start, stop)
                expected = self._filled(rows)
                theirs, at = stored.take(len(expected), stop), stored.taken
                told = Comparison(result.findings, name, "the recordings' tables have")
                told.rows(self._of(theirs), expected, at - len(theirs))
            else:
                theirs = stored.take(0, stop)
            if filed is not None:
                lines, at = filed.take(len(theirs), stop), filed.taken
                told = Comparison(result.findings, table.name, "the store has")
                told.rows(self._of(lines), self._of(theirs), at - len(lines))
        for rest, file in ((stored, name), (filed, table.name)):
            while rest is not None and len(more := rest.rest(2**16)):
                message = f"{len(more)} rows are of no frame of the result"
                result.findings.add(Kind.ROWS, file, message, row=rest.taken - len(more))
        self.rows = stored.taken

    @property
    def _chosen_by(self) -> NDArray[Any] | None:
        tables = self.result.composition if self.result.composed else self.result.frames
        found = tables.get("buffer_source" if self.result.composed else "source")
        return None if found is None or not found.sound.all() else found.values

    def _of(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.reindex(columns=list(self.columns))

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
        filled = rows.reindex(columns=list(self.columns)).fillna(defaults)
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
            for pictures, places in ((frames[there], start + there), (pieces[low:high], of[low:high])):
                rows = _rows_apart(recording.rows, pictures, places)
                own = np.full(stop - start, NO_FRAME)
                own[places - start] = recording.facts.frame_num[pictures]
                valid = rows["frame_num"].to_numpy() == own[rows[INDEX].to_numpy() - start]
                parts.append(rows[valid].assign(**{RECEIVER: number}))
        rows = pd.concat(parts, ignore_index=True)
        rows = rows[rows[POSITION].between(0, source.shape[1] - 1)]
        gave = source[rows[INDEX], rows[POSITION]]
        padding = rows["black_padding_px"].fillna(0).clip(lower=0) if "black_padding_px" in rows else 0
        keys = rows.assign(other=rows[RECEIVER] != gave, short=padding)[gave != NO_FRAME]
        ordered = keys.sort_values([INDEX, POSITION, "other", "short"], kind="stable")
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
        for number, facts in enumerate(self.result.summary.get("recordings", [])):
            mine = receiver == number
            if number == 0 or not mine.any() or facts.get("offset_s") is None:
                continue
            if "offset_at_s" not in facts:
                return None, off
            since = times[mine] - facts["offset_at_s"]
            drift = facts["drift_ppm"] or 0.0
            times[mine] -= facts["offset_s"] + drift * 1e-6 * since
            off[mine] = CLOCK_TOLERANCE_S + (DRIFT_TOLERANCE * np.abs(since) if drift else 0)
        return times if "recordings" in self.result.summary else None, off


def _rows_apart(
    look: Callable[[Ints, Ints], pd.DataFrame], pictures: Ints, places: Ints
) -> pd.DataFrame:
    """Rows of pictures of which several may have one place."""
    rows = look(pictures, np.arange(len(pictures)))
    return rows.assign(**{INDEX: places[rows[INDEX].to_numpy()]})


def check_lines(
    result: Result,
    suffix: str,
    expected: Callable[[slice], pd.DataFrame],
    told: str,
    unknown: Sequence[str] = (),
) -> None:
    """Compare a table with one line per frame.

    Parameters
    ----------
    result
        The result.
    suffix
        Ending of the table.
    expected
        Gives the lines of some frames; its first column counts them.
    told
        Who says so.
    unknown
        Columns that nobody can tell.
    """
    path, count = result.path(suffix), result.store.shape[0]
    comparison = Comparison(result.findings, path.name, told)
    columns = list(expected(slice(0, 0)).columns)
    try:
        parts = _lines(path, columns, expected(slice(0, min(1, count))))
        lines = Rows(iter(parts))
        for start in range(0, count, SPAN_FRAMES):
            stop = min(start + SPAN_FRAMES, count)
            wanted = expected(slice(start, stop)).rename(columns={columns[0]: INDEX})
            wanted = wanted.drop(columns=list(unknown))
            found, at = lines.take(len(wanted), stop), lines.taken
            comparison.rows(found.reindex(columns=wanted.columns), wanted, at - len(found))
        more = len(lines.rest(2**62))
    except (InputError, ValueError, OSError) as error:
        result.findings.add(Kind.UNREADABLE, path.name, str(error))
        return
    if more:
        message = f"{more} lines are of no frame of the result"
        result.findings.add(Kind.ROWS, path.name, message, row=lines.taken - more)


def _lines(path: Path, columns: list[str], like: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Lines of a table, of the types of the expected ones; a cell that is none becomes NaN or -2."""
    reader = pd.read_csv(path, dtype=str, na_filter=False, chunksize=2**16, encoding="utf-8")
    for part in reader:
        if list(part.columns) != columns:
            raise InputError(f"columns {', '.join(map(str, part.columns))}, not {', '.join(columns)}")
        typed = {name: _typed(part[name].to_numpy(), like[name].dtype.kind) for name in columns}
        yield pd.DataFrame(typed).rename(columns={columns[0]: INDEX})


def _typed(cells: NDArray[Any], kind: str) -> NDArray[Any]:
    if kind not in "if":
        return cells
    as_type: Callable[[str], Any] = int if kind == "i" else float
    empty: Any = EMPTY if kind == "i" else np.nan
    try:
        return np.array([as_type(cell) if cell else empty for cell in cells], f"{kind}8")
    except ValueError:
        values = [_number(cell, as_type, empty) for cell in cells]
        return np.array(values, f"{kind}8")


def _number(cell: str, as_type: Callable[[str], Any], empty: Any) -> Any:
    try:
        return as_type(cell) if cell else empty
    except ValueError:
        return NO_NUMBER if as_type is int else np.inf


EMPTY, NO_NUMBER = -(2**63), -(2**63) + 1
"""Stand for an empty cell, and for one that is no integer."""


def expected_timestamps(result: Result, span: slice) -> pd.DataFrame:
    """Lines of the table of time stamps."""
    values = {name: result.frames[name].values[span] for name in TIMESTAMP_COLUMNS[1:]}
    return pd.DataFrame({"frame": np.arange(span.start, span.stop), **values})


def expected_scores(result: Result, differing: Ints, span: slice) -> pd.DataFrame:
    """Lines of the table of scores.

    Parameters
    ----------
    result
        The result.
    differing
        Pixels in which the two best candidates differ, (frame,); -1 unknown.
    span
        Frames.
    """
    choice = choices(result, span)
    assert choice is not None
    names = np.array([printable(name) for name in [*result.names, ""]], object)
    columns, none = np.arange(len(choice.best)), choice.other == NO_FRAME
    values: dict[str, Any] = {
        "index": np.arange(span.start, span.stop),
        "frame_num": result.frames["frame_num"].values[span],
        "selected_video": names[choice.best],
        "compare_video": names[choice.other],
    }
    scores = {name: read.values[:, span].astype(np.int64) for name, read in result.scores.items()}
    for role, number in zip(ROLES, (choice.best, choice.other), strict=True):
        for name in TABLE_SCORES:
            values[f"{role}_{name}"] = np.where(number == NO_FRAME, EMPTY, scores[name][number, columns])
        edges = -scores[PIXEL_SCORES[-1].name][number, columns]
        values[f"{role}_edge_score"] = np.where(choice.tie, edges, EMPTY)
    values["diff_pixels"] = np.where(none, EMPTY, differing[span])
    return pd.DataFrame(values)[list(SCORE_COLUMNS)]


__all__ = ["ROW", "BufferRows", "Comparison", "Rows", "check_lines"]
