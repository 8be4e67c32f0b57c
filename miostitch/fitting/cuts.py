"""Which frame of its table each picture shows, where a video and its table differ in the middle.

Frames are missing in the video, rows in the table, at one place or at several. Each picture is
tried at every shift against its table; what stands is the explanation of all pictures together
that their evidence likes best, and of that only what no other explanation comes near.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from miostitch.arrays import F64, I64, Bools
from miostitch.fitting.evidence import Witnesses
from miostitch.kernels.placement import best_before
from miostitch.ranges import distinct
from miostitch.schema import NO_FRAME

SLACK = 32  # frames that may be missing in both, and that a video may be shifted by
MARGIN = 12.0  # logarithm of the odds by which the best explanation must be ahead
_JUMP = 9.0  # what a change of the shift costs: two, around a stretch, more than the margin
_LEVEL = 0.5  # explanations that differ by less: nothing speaks for one of them
_GROUP = 16  # telling pictures that are asked together for a shift
_FIRST = 33  # groups that are asked all over a video, before those between
_MOST_SHIFTS = 64
_MOST_TRIED = 2**14
_IMPOSSIBLE = -1e12


@dataclass(frozen=True)
class Placement:
    """Which frame of its table each picture of a video shows, as far as that is certain."""

    frame: I64  # (picture,), ascending; -1 where it is not certain
    frames: int  # Of the table

    @property
    def proven(self) -> bool:
        """Whether it is certain for any picture."""
        return bool((self.frame != NO_FRAME).any())

    @property
    def lag(self) -> int:
        """How far the first picture that is certain is behind its table."""
        first = int(np.flatnonzero(self.frame != NO_FRAME)[0])
        return first - int(self.frame[first])

    @property
    def is_shift(self) -> bool:
        """Whether every picture that has a frame at the first one's shift shows that."""
        level = np.arange(len(self.frame)) - self.lag
        return bool((self.frame == np.where(level < self.frames, level, NO_FRAME).clip(-1)).all())

    def shifted(self) -> "Placement":
        """The same of a video that is not torn: if what is certain has one shift, all has that."""
        at = np.flatnonzero(self.frame != NO_FRAME)
        if len({*(at - self.frame[at]).tolist()}) != 1:
            return self
        level = np.arange(len(self.frame)) - self.lag
        inside = (level >= 0) & (level < self.frames)
        return Placement(np.where(inside, level, NO_FRAME), self.frames)

    @cached_property
    def missing(self) -> I64:
        """Frames of the table that no picture shows for certain; one at the end is usual."""
        known = self.frame[self.frame != NO_FRAME]
        end = self.frames - (known[-1] == self.frames - 2)
        return np.setdiff1d(np.arange(end), known, assume_unique=True)

    @property
    def breaks(self) -> list[tuple[int, int, int]]:
        """Where the shift changes: the certain frames around it, and by how many frames.

        Positive: so many more frames in the table than in the video; negative: the reverse.
        """
        at = np.flatnonzero(self.frame != NO_FRAME)
        known = self.frame[at]
        more = np.diff(known) - np.diff(at)
        found = np.flatnonzero(more)
        return [(int(known[i]), int(known[i + 1]), int(more[i])) for i in found]


def place_pictures(witnesses: Witnesses, *, to_the_ends: bool) -> Placement:
    """Tell which frame of the table each picture shows, and leave open what is not certain.

    ``to_the_ends``: whether what is missing is known to be missing at an end, so that pictures
    without evidence before the first and behind the last certain one are shifted as that one.
    """
    everything = np.arange(witnesses.pictures)
    shifts = _find_shifts(witnesses)
    frame = np.full(len(everything), NO_FRAME)
    if not len(shifts):
        return Placement(frame, witnesses.frames)
    scores = np.zeros((len(everything), len(shifts) + 1))  # last: none of them, which is neutral
    for column, shift in enumerate(shifts.tolist()):
        scores[:, column] = witnesses.score(everything, shift).clip(min=_IMPOSSIBLE)
    ahead = _lead_of_best(scores)
    best = ahead.argmax(axis=1)
    certain = (ahead.max(axis=1) >= MARGIN) & (best < len(shifts))
    if to_the_ends and certain.any():
        first, last = np.flatnonzero(certain)[[0, -1]]
        for inside, end in ((first, everything[:first][::-1]), (last, everything[last + 1 :])):
            level = ahead[end, best[inside]] >= -_LEVEL
            more = end[np.logical_and.accumulate(level)]
            certain[more], best[more] = True, best[inside]
    frame[certain] = everything[certain] - shifts[best[certain]]
    return Placement(np.where(_in_order(frame), frame, NO_FRAME), witnesses.frames)


def _lead_of_best(scores: F64) -> F64:
    """How far an explanation is ahead of all that shift the picture otherwise, (picture, shift)."""
    before, behind = np.empty_like(scores), np.empty_like(scores)
    best_before(scores, _JUMP, before)
    best_before(np.ascontiguousarray(scores[::-1]), _JUMP, behind)
    both = before + behind[::-1] - scores
    ordered = np.sort(both, axis=1)
    rival = np.where(both == ordered[:, -1:], ordered[:, -2:-1], ordered[:, -1:])
    return both - rival


def _in_order(frame: I64) -> Bools:
    """Which pictures show a later frame than all before and an earlier one than all behind."""
    known = frame != NO_FRAME
    before = np.maximum.accumulate(np.append(NO_FRAME, frame))[:-1]
    last = np.iinfo(np.int64).max
    behind = np.minimum.accumulate(np.append(np.where(known, frame, last), last)[::-1])[::-1][1:]
    return np.asarray(known & (frame > before) & (frame < behind))


def _find_shifts(witnesses: Witnesses) -> I64:
    """Shifts that any stretch of the video shows; between stretches of one shift none is sought."""
    telling = witnesses.telling
    groups = np.split(telling, range(_GROUP, len(telling), _GROUP)) if len(telling) else []
    surplus = witnesses.pictures - witnesses.frames
    tried = np.arange(min(0, surplus) - SLACK, max(0, surplus) + SLACK + 1)
    tried = np.union1d(tried[np.argsort(np.abs(tried))[:_MOST_TRIED]], witnesses.shared_shifts)
    known: dict[int, int | None] = {}

    def shift_of(group: int) -> int | None:
        if group not in known:
            scores = np.array([witnesses.score(groups[group], s).sum() for s in tried.tolist()])
            best = int(scores.argmax())
            known[group] = int(tried[best]) if scores[best] >= MARGIN else None
        return known[group]

    asked = np.unique(np.linspace(0, len(groups) - 1, min(_FIRST, len(groups))).astype(np.int64))
    pending = [*pairwise(asked.tolist())]
    if len(asked) == 1:
        shift_of(0)
    while pending:
        low, high = pending.pop()
        if shift_of(low) == shift_of(high) is not None or high - low < 2:
            continue
        middle = (low + high) // 2
        pending += [(low, middle), (middle, high)]
    found = np.array([shift for shift in known.values() if shift is not None], np.int64)
    shifts, counts = np.unique(found, return_counts=True)
    often = shifts[np.argsort(-counts, kind="stable")[:_MOST_SHIFTS]]
    return distinct(np.concatenate([often, witnesses.shared_shifts[:_MOST_SHIFTS]]))
