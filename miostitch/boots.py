"""The frames of one boot of the device, brought together over the recordings.

From boot to boot the device counts anew, so frames of equal number are the same frame within a
boot only. Which segments of two recordings show the same boot follows from the receivers' clocks:
frames of equal number in two segments suggest how far one clock is ahead. Such an offset is
possible if no two segments that overlap under it suggest another. Its evidence is the number of
frames that agree on it / (1 + abs(offset) / s), for receivers know the time of day; a pairing of
segments is certain if no other has half of its evidence.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from miostitch.clocks import DISORDER, LEAST_FRAMES, counter_shift, device_time
from miostitch.schema import NO_FRAME

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CERTAIN = 2.0
"""How many times the evidence of any other pairing makes one certain."""

TOLERANCE_S = 0.5
"""Pairs of segments agree on offsets that differ by this or a quarter of the shorter segment."""

USUAL_OFFSET_S = 60.0
"""Receivers' clocks are seldom farther apart."""

_SAMPLE = 4096


@dataclass(frozen=True)
class Segment:
    """Frames of one recording in one boot, each number once; or what is brought together of it.

    ``frame_num`` ascends; ``rows`` says which recordings the rows of ``source`` belong to.
    """

    rows: tuple[int, ...]
    frame_num: Ints
    source: Ints
    time: Floats  # on the first clock, once brought together
    moment: Floats  # in frames of the counter; where frames are joined by time only

    def take(self, order: NDArray[np.intp]) -> "Segment":
        return Segment(
            self.rows,
            self.frame_num[order],
            self.source[:, order],
            self.time[order],
            self.moment[order],
        )

    @cached_property
    def span(self) -> tuple[float, float]:
        """Least and greatest time, from which single wrong times are kept out."""
        time = self.time[np.isfinite(self.time)]
        if not time.size:
            return np.nan, np.nan
        few = len(time) // 100
        time = np.partition(time, [few, len(time) - 1 - few])
        return float(time[few]), float(time[len(time) - 1 - few])


@dataclass(frozen=True)
class Agreement:
    """Which segments of two recordings belong together.

    Parameters
    ----------
    offset_s
        How far the second clock is ahead, in s; NaN without shared frames.
    evidence
        Shared frames that agree on it / (1 + abs(offset) / s).
    certain
        Whether this is twice the evidence of any other pairing.
    pairs
        Segments of the first and the second recording that show the same boot.
    """

    offset_s: float = np.nan
    evidence: float = 0.0
    certain: bool = False
    pairs: tuple[tuple[int, int], ...] = ()


def agree_on_offset(
    offsets: Floats, shared: Ints, first_spans: Floats, second_spans: Floats
) -> Agreement:
    """Find the clock offset that explains the shared frame numbers of two recordings' segments.

    Boots count alike, so segments of different boots share numbers too. The offset of any pair may
    be the right one, unless two segments that overlap under it suggest another. The more shared
    frames agree on it, the better; and the smaller it is, for receivers know the time of day.

    Parameters
    ----------
    offsets
        Median of second minus first time over frames of equal number, in s, float64 (first
        segment, second segment); NaN where there are none.
    shared
        How many frames those are.
    first_spans, second_spans
        First and last time of each segment on its own clock in s, (segment, 2).

    Returns
    -------
    Agreement
        The best offset.
    """
    enough = shared >= LEAST_FRAMES
    shorter = np.minimum.outer(np.ptp(first_spans, axis=1), np.ptp(second_spans, axis=1))
    tolerance = np.fmax(TOLERANCE_S, shorter / 4)  # drift, and steps of a clock
    (low, high), (other_low, other_high) = first_spans.T, second_spans.T
    found: list[Agreement] = []
    ceiling, best = shared.max(axis=0, initial=0).sum(), Agreement()
    for offset in sorted(offsets[enough].tolist(), key=abs):
        if ceiling / (1 + abs(offset)) < best.evidence / CERTAIN:
            break  # nor will any larger offset be a rival
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
    rivals = [one.evidence for one in found if one.pairs != best.pairs]
    certain = 0 < best.evidence >= CERTAIN * max(rivals, default=0.0)
    return replace(best, certain=certain)


Join = Callable[[Segment, Segment], Segment]


def _join_by_number(boot: Segment, part: Segment) -> Segment:
    """Bring the frames of equal number together."""
    frame_num = np.union1d(boot.frame_num, part.frame_num)
    source = np.full((len(boot.rows) + len(part.rows), len(frame_num)), NO_FRAME, np.int64)
    time = np.full(len(frame_num), np.nan)
    at, own = (np.searchsorted(frame_num, piece.frame_num) for piece in (boot, part))
    source[: len(boot.rows), at], source[len(boot.rows) :, own] = boot.source, part.source
    time[own] = part.time
    time[at] = np.where(np.isfinite(boot.time), boot.time, time[at])
    return Segment(boot.rows + part.rows, frame_num, source, time, time)


def _join_by_time(boot: Segment, part: Segment, gap: float) -> Segment:
    """Bring each other's nearest together; both in the order of their moments."""
    near, back = _nearest(boot.moment, part.moment), _nearest(part.moment, boot.moment)
    apart = np.abs(boot.frame_num - part.frame_num[near])
    linked = (
        (back[near] == np.arange(len(near)))
        & (np.abs(part.moment[near] - boot.moment) <= gap)
        & ((apart == 0) | (apart > DISORDER))
    )
    alone = np.ones(len(part.moment), bool)
    alone[near[linked]] = False
    fields = [(getattr(boot, name), getattr(part, name)[alone]) for name in _COLUMNS]
    source = np.full(
        (len(boot.rows) + len(part.rows), len(linked) + alone.sum()), NO_FRAME, np.int64
    )
    source[: len(boot.rows), : len(linked)] = boot.source
    source[len(boot.rows) :, np.flatnonzero(linked)] = part.source[:, near[linked]]
    source[len(boot.rows) :, len(linked) :] = part.source[:, alone]
    frame_num, time, moment = map(np.concatenate, fields)
    joined = Segment(boot.rows + part.rows, frame_num, source, time, moment)
    return joined.take(np.argsort(moment, kind="stable"))


_COLUMNS = ("frame_num", "time", "moment")


def _nearest(of: Floats, among: Floats) -> NDArray[np.intp]:
    """Position of the nearest of ascending values."""
    after = np.searchsorted(among, of).clip(0, len(among) - 1)
    before = (after - 1).clip(0)
    return np.where(of - among[before] <= among[after] - of, before, after)


def _timed(part: Segment, interval: float) -> Segment:
    """Order a segment by its moments."""
    part = part.take(np.argsort(part.source[0]))
    moment = device_time(part.frame_num, part.time, interval)
    return replace(part, moment=moment).take(np.argsort(moment, kind="stable"))


def _gather(
    recordings: Sequence[FrameIdentity],
    segments: list[list[Segment]],
    join: Join,
    interval: float | None,
) -> list[Segment]:
    """Join recordings boot by boot, those first that can be linked best."""
    boots, waiting = list(segments[0]), list(range(1, len(segments)))
    while waiting:
        links = {}
        for number in waiting:
            links[number] = _link(boots, segments[number], interval)
            if links[number][0].certain and abs(links[number][0].offset_s) < _FAR_S:
                break
        else:
            number = max(links, key=lambda n: links[n][0].evidence)
        agreement, offsets, shifts = links[number]
        if not agreement.certain:
            linked = [n for n in range(len(segments)) if n not in waiting]
            doubt = (
                " at times that fit no other boot as well" if agreement.pairs else " at one offset"
            )
            raise AlignmentError(_no_overlap(recordings, linked, waiting, doubt))
        own: dict[int, int] = {part: boot for boot, part in agreement.pairs}
        for index, part in enumerate(segments[number]):
            boot = own.get(index)
            if boot is None:
                boots.append(replace(part, time=part.time - agreement.offset_s))
                continue
            moved = replace(
                part,
                time=part.time - offsets[boot, index],
                frame_num=part.frame_num + shifts[boot, index],
                moment=part.moment + shifts[boot, index],
            )
            boots[boot] = join(boots[boot], moved)
        waiting.remove(number)
    return sorted(boots, key=lambda boot: boot.span[0])


def _link(
    boots: list[Segment], parts: list[Segment], interval: float | None
) -> tuple[Agreement, Floats, Ints]:
    """Match a recording's segments with boots; offset and counter shift of each pair beside it."""
    shape = (len(boots), len(parts))
    offsets, shared, shifts = (
        np.full(shape, np.nan),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
    )
    for (i, boot), (j, part) in product(enumerate(boots), enumerate(parts)):
        if interval is not None and _near(boot, part):
            counters = (boot.frame_num, boot.time), (part.frame_num, part.time)
            shifts[i, j] = counter_shift(*counters, interval) or 0
        ahead = _ahead(boot, part, shifts[i, j])
        shared[i, j] = ahead.size
        if ahead.size:
            offsets[i, j] = np.median(ahead)
    spans = (np.array([piece.span for piece in pieces]) for pieces in (boots, parts))
    return agree_on_offset(offsets, shared, *spans), offsets, shifts


def _near(boot: Segment, part: Segment) -> bool:
    """Whether two segments overlap in time if the clocks are a minute apart at most."""
    (low, high), (other_low, other_high) = boot.span, part.span
    return min(high, other_high) - max(low, other_low) > -_FAR_S


def _ahead(boot: Segment, part: Segment, shift: np.int64) -> Floats:
    """How far the times of frames of equal number lie apart; a sample of long segments."""
    some = slice(None, None, 1 + len(part.frame_num) // _SAMPLE)
    number = part.frame_num[some] + shift
    order = np.argsort(boot.frame_num, kind="stable")
    at = np.searchsorted(boot.frame_num, number, sorter=order).clip(max=len(order) - 1)
    at = order[at]
    ahead = np.where(boot.frame_num[at] == number, part.time[some] - boot.time[at], np.nan)
    return ahead[np.isfinite(ahead)]


