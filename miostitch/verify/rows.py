"""Compares rows of tables that are larger than memory, span by span."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.buffers.parser import TableParser, header_columns, text_blocks
from miostitch.verify.findings import LISTED, Findings, Kind

Ints = NDArray[np.int64]
INDEX, POSITION = "reconstructed_frame_index", "frame_buffer_count"


class Rows:
    """Rows of a table or a store, taken one span of frames after the other."""

    def __init__(self, parts: Iterator[pd.DataFrame]) -> None:
        self._parts, self._held = parts, pd.DataFrame()
        self.taken = 0
        """Rows that were given out, which is the place of the next one."""

    def take(self, count: int, stop: int) -> pd.DataFrame:
        """Rows of the next frames, up to `stop`: `count`, unless some are missing or too many."""
        self._fill(count)
        index = self._index()
        size = min(count, len(index))
        while size and index[size - 1] >= stop and index[size - 1] == index[:size].max():
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
    """Compares rows of a file with what they should be."""

    findings: Findings  # Takes differences
    file: str  # The file, or the group of the store
    told: str  # Who says what they should be

    def rows(self, found: pd.DataFrame, expected: pd.DataFrame, first: int) -> None:
        """Note rows that differ."""
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
            message = (
                f"{', '.join(names)} differ: {_shown(values[0])}; {self.told} {_shown(values[1])}"
            )
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
            sides[1],
            on=[*keys, "repeated"],
            how="outer",
            suffixes=("", "_expected"),
            indicator=True,
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
        self.findings.more(Kind.ROWS, max(0, len(lost) - LISTED) + max(0, len(extra) - LISTED))
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
    """Names in the header of a table of buffers."""
    with path.open("rb") as file:
        return header_columns(str(path), file.readline())


def table_rows(path: Path, columns: Sequence[str], findings: Findings) -> Iterator[pd.DataFrame]:
    """Rows of a table of buffers, piece by piece; rows that are none are noted."""
    parser, line = TableParser(str(path), tuple(columns), 2**62, salvage=True), 2
    with path.open("rb") as file:
        file.readline()
        for text in text_blocks(str(path), file):
            if not text.endswith(b"\n"):
                findings.add(
                    Kind.ROWS, path.name, "the last line is cut", row=line - 2 + text.count(b"\n")
                )
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
