"""What a verification found: each finding with its place, listed in a bounded number."""

from bisect import insort
from collections import Counter
from enum import StrEnum
from operator import itemgetter
from threading import Lock
from typing import Any

import numpy as np

from miostitch.arrays import I64, U8
from miostitch.kernels.scores import differing_pixels
from miostitch.text import amount, printable

LISTED = 20  # Findings of one kind that are listed; all are counted


class Kind(StrEnum):
    """What can be found, in the order of reports."""

    MISSING_FILE = "missing file"
    UNEXPECTED_FILE = "unexpected file"
    UNREADABLE = "unreadable"
    CHANGED = "changed"
    FORMAT = "format"
    SCHEMA = "schema"
    ATTRIBUTES = "attributes"
    METADATA = "consolidated metadata"
    MISSING_CHUNK = "missing chunk"
    DAMAGED_CHUNK = "damaged chunk"
    COUNT = "count"
    INPUT = "input changed"
    PIXELS = "pixels"
    COMPOSITION = "composition"
    ALIGNMENT = "alignment"
    FRAMES = "frame table"
    SCORES = "scores"
    ROWS = "rows"
    REPAIRS = "repairs"
    TIMES = "time stamps"
    SUMMARY = "summary"
    NOT_CHECKED = "not checked"


class Findings:
    """Collects findings from any thread; the same ones are listed in whatever order they come."""

    def __init__(self) -> None:
        self.counts = Counter[Kind]()
        self.files = set[str]()  # Those that anything was found of
        self._listed: dict[Kind, list[tuple[Any, dict[str, Any]]]] = {kind: [] for kind in Kind}
        self._lock = Lock()

    def add(
        self,
        kind: Kind,
        file: str,
        message: str,
        *,
        frame: int | None = None,
        chunk: str | None = None,
        row: int | None = None,
        column: int | str | None = None,
    ) -> None:
        """Note a finding; ``frame``: of the result; ``chunk``: its key in the store."""
        found = {"kind": kind, "file": printable(file), "frame": frame, "chunk": chunk}
        found |= {"row": row, "column": column, "message": printable(message)}
        numbers = (-1 if number is None else number for number in (frame, row))
        order = (file, *numbers, chunk or "", str(column or ""), message)
        with self._lock:
            self.counts[kind] += 1
            self.files.add(file)
            listed = self._listed[kind]
            facts = {name: value for name, value in found.items() if value is not None}
            insort(listed, (order, facts), key=itemgetter(0))
            del listed[LISTED:]

    def more(self, kind: Kind, count: int) -> None:
        """Count findings beyond those that were noted."""
        with self._lock:
            self.counts[kind] += max(0, count)

    def pixels(
        self,
        file: str,
        found: U8,
        expected: U8,
        frames: I64,
        witness: str,
        *,
        chunk: str | None = None,
    ) -> None:
        """Note the first wrong pixel of each of these ``frames``, uint8 (frame, height, width)."""
        counts = np.empty(len(found), np.int64)
        differing_pixels(found, expected, np.arange(len(found)), counts)
        for at in np.flatnonzero(counts).tolist():
            row, column = np.argwhere(found[at] != expected[at])[0].tolist()
            self.add(
                Kind.PIXELS,
                file,
                f"differs in {amount(counts[at], 'pixel')}, the first is {found[at, row, column]}; "
                f"{witness} {expected[at, row, column]}",
                frame=int(frames[at]),
                chunk=chunk,
                row=row,
                column=column,
            )

    @property
    def differences(self) -> int:
        """Findings that say that something is wrong."""
        return sum(self.counts.values()) - self.counts[Kind.NOT_CHECKED]

    @property
    def listed(self) -> list[dict[str, Any]]:
        """The first of every kind, by kind: JSON values, without what does not apply."""
        return [facts for listed in self._listed.values() for _, facts in listed]
