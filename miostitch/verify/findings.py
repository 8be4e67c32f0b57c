"""What a verification found: each finding with its place, listed in a bounded number."""

from bisect import insort
from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.kernels.scores import differing_pixels
from miostitch.text import amount, printable

LISTED = 20
"""Findings of one kind that are listed; all are counted."""


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


@dataclass(frozen=True)
class Finding:
    """One finding."""

    kind: Kind
    file: str  # The product or input
    frame: int | None  # Frame of the result
    chunk: str | None  # Key of the chunk in the store
    row: int | None
    column: int | str | None
    message: str  # What is wrong

    @property
    def place(self) -> tuple[Any, ...]:
        """Key by which findings of one kind are put in order."""
        known = (-1 if each is None else each for each in (self.frame, self.row))
        return (self.file, *known, self.chunk or "", str(self.column or ""), self.message)

    @property
    def facts(self) -> dict[str, Any]:
        """JSON values; what does not apply is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass
class Findings:
    """Collects findings from any thread; the same ones are listed in whatever order they come."""

    counts: Counter[Kind] = field(default_factory=Counter)
    files: set[str] = field(default_factory=set)  # Those that anything was found of
    _listed: dict[Kind, list[Finding]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

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
        """Note a finding."""
        found = Finding(kind, printable(file), frame, chunk, row, column, printable(message))
        with self._lock:
            self.counts[kind] += 1
            self.files.add(file)
            listed = self._listed.setdefault(kind, [])
            insort(listed, found, key=lambda each: each.place)
            del listed[LISTED:]

    def more(self, kind: Kind, count: int) -> None:
        """Count findings beyond those that were noted."""
        with self._lock:
            self.counts[kind] += max(0, count)

    def pixels(
        self,
        file: str,
        found: NDArray[np.uint8],
        expected: NDArray[np.uint8],
        frames: NDArray[np.int64],
        witness: str,
        *,
        chunk: str | None = None,
    ) -> None:
        """Note frames of which a pixel is not as expected, with the first one.

        ``found, expected``: uint8 (frame, height, width); ``frames``: their numbers, (frame,).
        """
        counts = np.empty(len(found), np.int64)
        differing_pixels(found, expected, counts)
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
    def listed(self) -> list[Finding]:
        """The first of every kind, by kind."""
        return [each for kind in Kind for each in self._listed.get(kind, [])]
