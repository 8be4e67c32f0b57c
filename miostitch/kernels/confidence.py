"""Compiled loops of the confidence: how likely what was chosen is, of all that may have been sent.

Dimension letters: R recordings, p pixels per frame, d pixels in which copies differ. Sums are of
float64 in one order and of table values that are rounded: every machine finds the same.
"""

import numpy as np
from numba import types

from miostitch.arrays import F64, I8, I32, I64, U8, U64, Bools
from miostitch.kernels.jit import kernel, part

STRETCH = 28  # pixels; differences that are further apart are decided one by one
UNIT = 64  # costs are integers, in 1/64 nat
VOTE = 11 * UNIT // 2  # a wrong value is one of 256
_ROUND = 2.0**-48  # libraries differ in what stands behind
_REACH = 32 * UNIT  # what is less likely by more counts nothing
_LIKELY = np.rint(np.exp(-np.arange(_REACH) / UNIT) / _ROUND) * _ROUND
_SMALL, _SCALE = 2.0**-200, 2.0**200
_MOST = _REACH - 1
MOST_SURPRISE = 2**15

_PLACES = _BOUNDS = types.Array(types.int64, 1, "A", readonly=True)
_SURPRISE = types.Array(types.int32, 1, "C", readonly=True)


@part
def same(a: U8, b: U8) -> bool:
    """Whether two ranges hold the same bytes."""
    for lo in range(0, a.size, 1024):
        x = a[lo : lo + 1024]
        y = b[lo : lo + 1024]
        differ = np.uint8(0)
        for i in range(x.size):  # from 0 and without a branch: this one is vectorised
            differ |= x[i] ^ y[i]
        if differ:
            return False
    return True


@part
def _likelihood(cost: int) -> float:
    """Return how likely something is that costs more than the cheapest by that much."""
    return _LIKELY[cost] if cost < _REACH else 0.0


@part
def share_of_paths(
    where: I64,
    prices: I64,
    neither: I64,
    copies: U8,
    made: U8,
    switch: int,
    calm: int,
    entry: int,
) -> float:
    """Return the share of the likelihood of all paths that those have which give the made pixels.

    A path takes a recording at each of the pixels where (d), at the prices (R, d); copies (R, p)
    are theirs, and made (p) is what was chosen. One more way to go is that no copy is right, which
    costs neither (d), and entry where it begins.
    """
    recordings, found = prices.shape
    paths = np.ones(recordings)
    equal = np.ones(recordings)
    wrong = 0.0
    begin = _likelihood(entry)
    everything, same = float(recordings), float(recordings)
    for d in range(found):
        i = where[d]
        change = max(0, switch - calm * (i - where[d - 1] - 1)) if d else 0
        come = _likelihood(change)
        stay = 1.0 - come
        low = neither[d]
        for r in range(recordings):
            low = min(low, prices[r, d])
        wrong = (stay * wrong + come * begin * everything) * _likelihood(neither[d] - low)
        total = wrong
        alike = 0.0
        for r in range(recordings):
            weight = _likelihood(prices[r, d] - low)
            paths[r] = (stay * paths[r] + come * everything) * weight
            total += paths[r]
            kept = weight if copies[r, i] == made[i] else 0.0
            equal[r] = (stay * equal[r] + come * same) * kept
            alike += equal[r]
        everything, same = total, alike
        if everything < _SMALL:
            everything *= _SCALE
            same *= _SCALE
            wrong *= _SCALE
            for r in range(recordings):
                paths[r] *= _SCALE
                equal[r] *= _SCALE
    return same / everything


@part
def _distance(copy: U8, i: int) -> int:
    """Return how far a pixel of a copy (p) is from the mean of those next to it."""
    before, value, after = np.int64(copy[i - 1]), np.int64(copy[i]), np.int64(copy[i + 1])
    return int(value - ((before + after + 1) >> 1))


@part
def find_noise(copy: U8, lo: int, hi: int, surprise: I32) -> int:
    """Return how much the likeliest burst of noise in lo:hi of a copy (p) explains its pixels.

    surprise (511): how much more a pixel's distance from the mean of its neighbours speaks for
    noise than for an image, by the distance + 255.
    """
    most = sum_ = np.int64(0)
    part = copy[lo:hi]
    before, value = np.int64(part[0]), np.int64(part[min(1, part.size - 1)])
    for i in range(2, part.size):
        after = np.int64(part[i])
        place = value - ((before + after + 1) >> 1) + 255
        sum_ += surprise[np.uint64(place)]
        sum_ &= ~(sum_ >> 63)  # not below 0, without a branch that nobody could predict
        most = max(most, sum_)
        before, value = value, after
    return int(min(most, np.int64(MOST_SURPRISE)))


@kernel(
    types.void(
        types.Array(types.uint8, 3, "C", readonly=True),
        types.Array(types.int32, 3, "C", readonly=True),
        types.Array(types.int64, 1, "A", readonly=True),
        types.int64[::1],
    )
)
def count_distances(frames: U8, have: I32, bounds: I64, out: I64) -> None:
    """Count how far pixels are from the mean of those next to them, + 255, into out (511).

    frames (R, m, p), have (R, m, k): only buffers that a recording has whole teach.
    """
    for r in range(frames.shape[0]):
        for f in range(frames.shape[1]):
            for b in range(bounds.size - 1):
                lo, hi = bounds[b], bounds[b + 1]
                if have[r, f, b] == hi - lo:
                    for i in range(lo + 1, hi - 1):
                        out[_distance(frames[r, f], i) + 255] += 1


@kernel(
    types.void(
        types.Array(types.uint8, 3, "C", readonly=True),
        types.Array(types.int8, 1, "A", readonly=True),
        _BOUNDS,
        types.boolean[:, ::1],
    )
)
def find_dark(frames: U8, source: I8, bounds: I64, out: Bools) -> None:
    """Find the buffers of chosen frames of which every pixel is 0, into out (n, k).

    frames (R, n, p); source (n): which recording was chosen.
    """
    for f in range(source.size):
        for b in range(bounds.size - 1):
            out[f, b] = True
            for i in range(bounds[b], bounds[b + 1]):
                if frames[source[f], f, i]:
                    out[f, b] = False
                    break


@part
def _share_of(margin: int) -> float:
    """Return how likely one of two is that leads the other by a margin."""
    if margin >= 0:
        return 1.0 / (1.0 + _likelihood(margin))
    less = _likelihood(-margin)
    return less / (1.0 + less)


@part
def _odds_of_stretches(
    frames: U8, masks: U64, lo: int, hi: int, k: int, c: int, s: int, surprise: I32, lead: int
) -> float:
    """Return the odds that somewhere in lo:hi, buffer k, copy s is right and not copy c.

    frames (R, p), masks (R). Each stretch of pixels on which they differ is decided by how the
    pixels go with their neighbours, by what the others have there, and by the lead of c.
    """
    right, end, margin = 1.0, -1, 0
    for i in range(lo, hi):
        mine, other = frames[c, i], frames[s, i]
        if mine == other:
            continue
        if i >= end:
            right *= _share_of(margin) if end >= 0 else 1.0
            margin = lead
        end = i + STRETCH
        for r in range(masks.size):
            if r != c and r != s and masks[r] >> np.uint64(k) & np.uint64(1):
                margin += VOTE * (int(frames[r, i] == mine) - int(frames[r, i] == other))
        if lo < i < hi - 1:
            margin += surprise[_distance(frames[s], i) + 255]
            margin -= surprise[_distance(frames[c], i) + 255]
        margin = max(-_MOST, min(_MOST, margin))
    right *= _share_of(margin)
    return max(1.0 / max(right, _SMALL) - 1.0, _SMALL)  # never 0, which is that nothing differs


@kernel(
    types.void(
        types.Array(types.uint8, 3, "C", readonly=True),
        _PLACES,
        types.Array(types.int8, 1, "A", readonly=True),
        types.Array(types.uint64, 2, "A", readonly=True),
        _BOUNDS,
        _SURPRISE,
        _SURPRISE,
        types.float64[:, ::1],
        types.float64[:, ::1],
    )
)
def judge_chosen(
    frames: U8,
    places: I64,
    source: I8,
    masks: U64,
    bounds: I64,
    surprise: I32,
    trust: I32,
    against: F64,
    noise: F64,
) -> None:
    """Find what speaks against the buffers of chosen frames, into against and noise (n, k).

    frames (R, n, p); places: which frames are judged; source (n): which recording was chosen;
    masks (R, n): the buffers that each delivered; trust (R or more). against: the odds that another
    copy is right, 0 if there is none, -1 if one is equal; noise: how much speaks for noise, in
    nats, where none is.
    """
    for f in places:
        c = source[f]
        for k in range(bounds.size - 1):
            lo, hi = bounds[k], bounds[k + 1]
            against[f, k], noise[f, k] = 0.0, 0.0
            if not masks[c, f] >> np.uint64(k) & np.uint64(1):
                continue
            for s in range(frames.shape[0]):
                if s != c and masks[s, f] >> np.uint64(k) & np.uint64(1):
                    if same(frames[c, f, lo:hi], frames[s, f, lo:hi]):
                        against[f, k] = -1.0
                        break
                    against[f, k] += _odds_of_stretches(
                        frames[:, f], masks[:, f], lo, hi, k, c, s, surprise, trust[c] - trust[s]
                    )
            if against[f, k] >= 0:
                noise[f, k] = find_noise(frames[c, f], lo, hi, surprise) / UNIT
