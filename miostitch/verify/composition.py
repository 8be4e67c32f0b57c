"""Compares composed frames with the rules of composition, buffer by buffer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miostitch.schema import EVIDENCE, NO_FRAME
from miostitch.text import amount

U8 = NDArray[np.uint8]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
NOBODY, SINGLE, IDENTICAL, MAJORITY, STRETCHES = range(len(EVIDENCE))


@dataclass(frozen=True)
class CompositionCheck:
    """Compares composed frames with the rules of composition."""

    made: U8  # The frames, uint8 (frame, pixel)
    copies: Sequence[U8]  # Those of each recording, split pieces put back, uint8 (frame, pixel)
    names: Sequence[str]  # Names of the recordings
    bounds: Ints  # Where the buffers of a frame begin and end
    evidence: U8
    source: NDArray[np.int8]
    # Told of a frame, what it should hold, the range, and who says so: notes where it does not.
    differs: Callable[[int, U8, slice, str], None]
    # Told of a frame, a buffer, the table that is wrong, and what is wrong.
    found: Callable[[int, int, str, str], None]

    def check(self, have: Ints, alike: Bools, sound: Bools) -> None:
        """Compare all buffers.

        ``have, alike``: pixels at hand of each copy, and whether it is the result (recording,
        frame, buffer); ``sound``: of which frames evidence and source are known, (frame,).
        """
        bounds, held = self.bounds.tolist(), have > 0
        copies = held.sum(axis=0)
        whole = (~held | ((have == np.diff(self.bounds)) & alike)).all(axis=0) & (copies > 0)
        evidence, source = np.where(copies == 1, SINGLE, IDENTICAL), held.argmax(axis=0)
        right = whole & (self.evidence == evidence) & (self.source == source)
        for frame, k in np.argwhere(~right & sound[:, None]).tolist():
            lo, hi = bounds[k : k + 2]
            if whole[frame, k]:
                self._tell(frame, k, int(evidence[frame, k]), int(source[frame, k]))
            elif not copies[frame, k]:
                self._tell(frame, k, NOBODY, NO_FRAME)
                nothing = np.zeros(hi, np.uint8)
                self.differs(frame, nothing, slice(lo, hi), "nobody delivered it, so")
            else:
                there = np.flatnonzero(held[:, frame, k]).tolist()
                self._decided(frame, k, lo, hi, {at: int(have[at, frame, k]) for at in there})

    def _decided(self, frame: int, k: int, lo: int, hi: int, have: dict[int, int]) -> None:
        """Compare a buffer whose copies differ, or that nobody delivered whole."""
        pixels = {at: self.copies[at][frame, lo : lo + size] for at, size in have.items()}
        most = max(have.values())
        longest = [at for at, size in have.items() if size == most]
        votes = {a: sum(np.array_equal(pixels[a], pixels[b]) for b in longest) for a in longest}
        best = max(longest, key=lambda at: votes[at])  # the first among equals
        expected = np.zeros(hi, np.uint8)
        expected[lo : lo + most] = pixels[best]
        agreed = np.ones(most, bool)
        for at, size in have.items():
            agreed[:size] &= pixels[at] == pixels[best][:size]
        name = self.names[best]
        if agreed.all() or 2 * votes[best] > len(have):
            several = IDENTICAL if agreed.all() else MAJORITY
            self._tell(frame, k, several if len(have) > 1 else SINGLE, best)
            self.differs(frame, expected, slice(lo, hi), f"{name} has")
            return
        self._stretches(frame, k, (lo, hi), pixels, agreed, expected)

    def _stretches(
        self,
        frame: int,
        k: int,
        cut: tuple[int, int],
        pixels: dict[int, U8],
        agreed: Bools,
        expected: U8,
    ) -> None:
        """Compare a buffer that was decided pixel by pixel: each is of one of the copies."""
        made = self.made[frame, cut[0] : cut[0] + len(agreed)]
        of = {at: np.zeros(len(agreed), bool) for at in pixels}
        for at, copy in pixels.items():
            of[at][: len(copy)] = made[: len(copy)] == copy
        anybody = np.logical_or.reduce([*of.values()])
        allowed = expected.copy()
        allowed[cut[0] : cut[0] + len(agreed)][anybody & ~agreed] = made[anybody & ~agreed]
        self.differs(frame, allowed, slice(*cut), "a copy has")
        self._tell(frame, k, STRETCHES, None)
        source, open_ = int(self.source[frame, k]), np.count_nonzero(~agreed)
        taken = np.count_nonzero(of[source] & ~agreed) if source in of else 0
        if taken * len(self.copies) < open_:
            told = f"buffer {k}: {source} gave {taken} of {amount(int(open_), 'pixel')}"
            told = f"{told} in which copies differ"
            self.found(frame, k, "buffer_source", f"{told}, another one more")

    def _tell(self, frame: int, k: int, evidence: int, source: int | None) -> None:
        found = int(self.evidence[frame, k])
        if found != evidence:
            known = EVIDENCE[found] if found < len(EVIDENCE) else str(found)
            told = f"buffer {k}: evidence is {known}, not {EVIDENCE[evidence]}"
            self.found(frame, k, "buffer_evidence", told)
        gave = int(self.source[frame, k])
        if source is not None and gave != source:
            self.found(frame, k, "buffer_source", f"buffer {k}: source is {gave}, not {source}")
