"""The frames of one boot of the device, brought together over the recordings.

From boot to boot the device counts anew, so frames of equal number are the same frame within a
boot only. Which segments of two recordings show the same boot follows from the receivers' clocks,
see :func:`agree_on_offset`; where these leave a doubt, from pixels, see :func:`settle_by_pixels`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np

from miostitch.arrays import F64, I64
from miostitch.buffers.device_counter import DISORDER, LEAST_FRAMES
from miostitch.ranges import distinct
from miostitch.schema import NO_FRAME
from miostitch.session.clocks import counter_shift, device_time

CERTAIN = 2.0  # how many times the evidence of any other pairing makes one certain
# Pairs of segments agree on offsets that differ by this or a quarter of the shorter segment.
TOLERANCE_S = 0.5
USUAL_OFFSET_S = 60.0  # receivers' clocks are seldom farther apart
MOST_OFFSETS = 100  # that are tried, the smallest, for rivals that are unlikely by the clocks
MOST_RIVALS = 8  # other pairings that are compared by pixels
COMPARED_FRAMES = 8  # of two segments, evenly spaced among those of equal number
LEAST_ALIKE = 3  # identical buffers in these frames that prove two segments to be one boot
_SAMPLE = 4096

CountAlike = Callable[[int, I64, int, I64], int]
"""Counts the identical buffers of frames of a recording and of as many frames of another one."""


@dataclass(frozen=True)
class Segment:
    """Frames of one recording in one boot, or what several recordings saw of a boot."""

    rows: tuple[int, ...]  # Recordings that the rows of `source` belong to
    frame_num: I64  # (frame,), ascending, or as `moment` where frames are joined by time
    source: I64  # Frames of the videos, (row, frame); -1 where a recording has none
    time: F64  # Time of reception in s, (frame,); NaN where unknown
    # The time in frames of the device's counter, (frame,); ascending where frames are joined by
    # time, of no meaning elsewhere.
    moment: F64

    def take(self, order: I64) -> "Segment":
        """Frames in another order, or some of them."""
        numbers, source = self.frame_num[order], self.source[:, order]
        return Segment(self.rows, numbers, source, self.time[order], self.moment[order])

    @cached_property
    def span(self) -> tuple[float, float]:
        """First and last time in s; single wrong times of long segments are left out."""
        time = self.time[np.isfinite(self.time)]
        if not time.size:
            return np.nan, np.nan
        few = len(time) // 100
        time = np.partition(time, [few, len(time) - 1 - few])
        return float(time[few]), float(time[len(time) - 1 - few])


@dataclass(frozen=True)
class Agreement:
    """Which segments of two recordings belong together."""

    offset_s: float = np.nan  # How far the second clock is ahead, in s; NaN without shared frames
    evidence: float = 0.0  # Shared frames that agree on it / (1 + abs(offset) / s)
    certain: bool = False  # Whether this is twice the evidence of any other pairing
    # Segments of the first and the second recording that show the same boot.
    pairs: tuple[tuple[int, int], ...] = ()
    rivals: tuple["Agreement", ...] = ()  # Other pairings, those of most evidence


def agree_on_offset(offsets: F64, shared: I64, first_spans: F64, second_spans: F64) -> Agreement:
    """Find the clock offset that explains the shared frame numbers of two recordings' segments.

    Boots count alike, so segments of different boots share numbers too. The offset of any pair may
    be the right one, unless two segments that overlap under it suggest another. The more shared
    frames agree on it, the better; and the smaller it is, for receivers know the time of day.

    ``first_spans, second_spans``: first and last time of each segment in s, (segment, 2).
    """
    enough = shared >= LEAST_FRAMES
    shorter = np.minimum.outer(np.ptp(first_spans, axis=1), np.ptp(second_spans, axis=1))
    tolerance = np.fmax(TOLERANCE_S, shorter / 4)  # drift, and steps of a clock
    (low, high), (other_low, other_high) = first_spans.T, second_spans.T
    found: list[Agreement] = []
    ceiling, best = shared.max(axis=0, initial=0).sum(), Agreement()
    for tried, offset in enumerate(sorted(offsets[enough].tolist(), key=abs)):
        hopeless = ceiling / (1 + abs(offset)) < best.evidence / CERTAIN
        if hopeless and tried >= MOST_OFFSETS:
            break  # nor will any larger offset make it uncertain
        off = np.where(enough, np.abs(offsets - offset), np.inf)
        agree = off <= tolerance
        overlap = np.minimum.outer(high, other_high - offset)
        overlap -= np.maximum.outer(low, other_low - offset)
        if (enough & ~agree & (overlap > tolerance)).any():
            continue
        own = np.zeros_like(agree)  # one to one, those that agree best
        own[off.argmin(axis=0), np.arange(off.shape[1])] = True
        own &= agree & (off.argmin(axis=1)[:, None] == np.arange(off.shape[1]))
        evidence = float(shared[own].sum()) / (1 + abs(offset))
        pairs = tuple((int(i), int(j)) for i, j in np.argwhere(own))
        found.append(Agreement(offset, evidence, True, pairs))
        best = max(best, found[-1], key=lambda one: one.evidence)
    others = {one.pairs: one for one in sorted(found, key=lambda one: one.evidence)}
    others.pop(best.pairs, None)
    rivals = tuple(reversed(others.values()))
    certain = 0 < best.evidence >= CERTAIN * (rivals[0].evidence if rivals else 0.0)
    return replace(best, certain=certain, rivals=rivals[:MOST_RIVALS])


def settle_by_pixels(
    agreement: Agreement,
    boots: Sequence[Segment],
    parts: Sequence[Segment],
    count_alike: CountAlike,
) -> Agreement:
    """Find the one pairing, if any, all of whose segments have identical buffers.

    Receivers got the same bits of a frame; frames of equal number of different boots differ. What
    the clocks say is overruled only where not one pair of segments bears it out.
    """
    alike: dict[tuple[int, int], bool] = {}

    def is_proven(pair: tuple[int, int]) -> bool:
        if pair not in alike:
            found = _count_alike(boots[pair[0]], parts[pair[1]], count_alike)
            alike[pair] = found >= LEAST_ALIKE
        return alike[pair]

    if agreement.certain and any(is_proven(pair) for pair in agreement.pairs):
        return agreement
    proven = [one for one in (agreement, *agreement.rivals) if all(map(is_proven, one.pairs))]
    best = max(proven, key=lambda one: len(one.pairs), default=agreement)
    if proven and all({*one.pairs} <= {*best.pairs} for one in proven):
        return replace(best, certain=True)
    return agreement


def _count_alike(boot: Segment, part: Segment, count_alike: CountAlike) -> int:
    """Identical buffers of a few frames that both have."""
    _, here, there = np.intersect1d(boot.frame_num, part.frame_num, return_indices=True)
    some = np.unique(np.linspace(0, len(here) - 1, COMPARED_FRAMES).astype(np.int64))
    here, there = here[some], there[some]
    first = (boot.source[:, here] != NO_FRAME).argmax(axis=0)  # a recording that has the frame
    total = 0
    for row in np.unique(first):
        own = first == row
        frames, others = boot.source[row, here[own]], part.source[0, there[own]]
        total += count_alike(boot.rows[row], frames, part.rows[0], others)
    return total


def link(
    boots: Sequence[Segment],
    parts: Sequence[Segment],
    interval: float | None = None,
    count_alike: CountAlike | None = None,
) -> tuple[Agreement, list[tuple[int | None, Segment]]]:
    """Find the boot, or None, of each segment of a recording, and set its times and counter.

    Pixels decide where clocks do not and counters can be compared: not with an ``interval``.
    """
    shape = len(boots), len(parts)
    offsets = np.full(shape, np.nan)
    shared, shifts = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for (i, boot), (j, part) in product(enumerate(boots), enumerate(parts)):
        (low, high), (other_low, other_high) = boot.span, part.span
        near = min(high, other_high) - max(low, other_low) > -USUAL_OFFSET_S
        if interval is not None and near:
            counters = (boot.frame_num, boot.time), (part.frame_num, part.time)
            shifts[i, j] = counter_shift(*counters, interval) or 0
        ahead = _ahead(boot, part, int(shifts[i, j]))
        shared[i, j] = ahead.size
        if ahead.size:
            offsets[i, j] = np.median(ahead)
    spans = (np.array([piece.span for piece in pieces]) for pieces in (boots, parts))
    agreement = agree_on_offset(offsets, shared, *spans)
    if count_alike and interval is None and agreement.pairs:
        agreement = settle_by_pixels(agreement, boots, parts, count_alike)
    own = {part: boot for boot, part in agreement.pairs}
    moved: list[tuple[int | None, Segment]] = []
    for j, part in enumerate(parts):
        at = own.get(j)
        offset, shift = (agreement.offset_s, 0) if at is None else (offsets[at, j], shifts[at, j])
        values = (part.frame_num + shift, part.source, part.time - offset, part.moment + shift)
        moved.append((at, Segment(part.rows, *values)))
    return agreement, moved


def in_moments(part: Segment, interval: float) -> Segment:
    """Put a recording's segment in the order of its times, told in frames of the counter."""
    part = part.take(np.argsort(part.source[0]))
    number, moment = part.frame_num, device_time(part.frame_num, part.time, interval)
    follows = np.ones(len(number) + 1, bool)
    follows[1:-1] = (np.diff(number) > 0) & (np.diff(number) <= DISORDER)
    # a number far from its time, but in line with those around it, is right: the time is not
    late = follows[1:] & follows[:-1] & (np.abs(moment - number) > DISORDER)
    part = replace(part, moment=np.where(late, number, moment))
    return part.take(np.argsort(part.moment, kind="stable"))


def join_by_number(boot: Segment, part: Segment) -> Segment:
    """Bring the frames of equal number together; both in ascending order of the numbers."""
    frame_num = distinct(np.concatenate([boot.frame_num, part.frame_num]))
    source = np.full((len(boot.rows) + len(part.rows), len(frame_num)), NO_FRAME, np.int64)
    time = np.full(len(frame_num), np.nan)
    at, own = (np.searchsorted(frame_num, piece.frame_num) for piece in (boot, part))
    source[: len(boot.rows), at], source[len(boot.rows) :, own] = boot.source, part.source
    time[own] = part.time
    time[at] = np.where(np.isfinite(boot.time), boot.time, time[at])
    return Segment(boot.rows + part.rows, frame_num, source, time, time)


def join_by_time(boot: Segment, part: Segment, gap: float) -> Segment:
    """Bring each other's nearest together; both in ascending order of the moments.

    Frames whose numbers are a few apart are not linked, near as they may be: one came late, or
    has a wrong number, and nobody knows which.
    """
    near, back = _nearest(boot.moment, part.moment), _nearest(part.moment, boot.moment)
    apart = np.abs(boot.frame_num - part.frame_num[near])
    linked = np.flatnonzero(
        (back[near] == np.arange(len(near)))
        & (np.abs(part.moment[near] - boot.moment) <= gap)
        & ((apart == 0) | (apart > DISORDER))
    )
    partner = near[linked]
    alone = part.take(np.setdiff1d(np.arange(len(part.moment)), partner, assume_unique=True))
    here, rows = len(near), len(boot.rows)
    source = np.full((rows + len(part.rows), here + len(alone.moment)), NO_FRAME, np.int64)
    source[:rows, :here] = boot.source
    source[rows:, linked] = part.source[:, partner]
    source[rows:, here:] = alone.source
    joined = Segment(
        boot.rows + part.rows,
        np.append(boot.frame_num, alone.frame_num),
        source,
        np.append(boot.time, alone.time),
        np.append(boot.moment, alone.moment),
    )
    return joined.take(np.argsort(joined.moment, kind="stable"))


def _ahead(boot: Segment, part: Segment, shift: int) -> F64:
    """How far the times of frames of equal number lie apart; a sample of long segments."""
    some = slice(None, None, 1 + len(part.frame_num) // _SAMPLE)
    number = part.frame_num[some] + shift
    order = np.argsort(boot.frame_num, kind="stable")
    at = order[np.searchsorted(boot.frame_num, number, sorter=order).clip(max=len(order) - 1)]
    ahead = np.where(boot.frame_num[at] == number, part.time[some] - boot.time[at], np.nan)
    return ahead[np.isfinite(ahead)]


def _nearest(of: F64, among: F64) -> I64:
    """Position of the nearest of ascending values."""
    after = np.searchsorted(among, of).clip(0, len(among) - 1)
    before = (after - 1).clip(0)
    return np.where(of - among[before] <= among[after] - of, before, after)
