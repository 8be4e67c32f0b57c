"""Compiled loops of the confidence: how likely what was chosen is, of all that may have been sent.

Dimension letters: R recordings, p pixels per frame, d pixels in which copies differ. Sums are of
float64 in one order and of table values that are rounded: every machine finds the same.
"""

import numpy as np
from numba import types

from miostitch.arrays import F32, F64, I32, I64, U8, U64
from miostitch.kernels.jit import kernel, part

STRETCH = 28  # pixels; differences that are further apart are decided one by one
UNIT = 64  # costs are integers, in 1/64 nat
_ROUND = 2.0**-48  # libraries differ in what stands behind
_REACH = 32 * UNIT  # what is less likely by more counts nothing
_LIKELY = np.rint(np.exp(-np.arange(_REACH) / UNIT) / _ROUND) * _ROUND
_SMALL, _SCALE = 2.0**-200, 2.0**200
_MOST = _REACH - 1
MOST_SURPRISE = 2**15

_FLAT = types.Array(types.uint8, 2, "C", readonly=True)
_MASKS = types.Array(types.uint64, 1, "A", readonly=True)
_BOUNDS = types.Array(types.int64, 1, "A", readonly=True)
_SURPRISE = types.Array(types.int32, 1, "C", readonly=True)
_LEADS = types.Array(types.int32, 1, "A", readonly=True)


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
    most = sum_ = 0
    for i in range(lo + 1, hi - 1):
        sum_ = max(0, sum_ + surprise[_distance(copy, i) + 255])
        most = max(most, sum_)
    return min(most, MOST_SURPRISE)


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


@kernel(types.void(_FLAT, _MASKS, _BOUNDS, _SURPRISE, types.float32[:, ::1]))
def noise_of_buffers(frames: U8, masks: U64, bounds: I64, surprise: I32, out: F32) -> None:
    """Find how much speaks for noise in the buffers of frames (n, p) set in masks (n).

    out (n, k): in nats; what is not in masks stays as it is.
    """
    for f in range(frames.shape[0]):
        for k in range(bounds.size - 1):
            if masks[f] >> np.uint64(k) & np.uint64(1):
                noise = find_noise(frames[f], bounds[k], bounds[k + 1], surprise)
                out[f, k] = noise / UNIT


@part
def _share_of(margin: int) -> float:
    """Return how likely one of two is that leads the other by a margin."""
    if margin >= 0:
        return 1.0 / (1.0 + _likelihood(margin))
    less = _likelihood(-margin)
    return less / (1.0 + less)


@part
def _odds_of_stretches(a: U8, b: U8, lo: int, hi: int, surprise: I32, lead: int) -> float:
    """Return the odds that somewhere in lo:hi copy b (p) is right and not a.

    Each stretch of pixels on which they differ is decided by how the pixels go with their
    neighbours, and by the lead of a.
    """
    right, end, margin = 1.0, -1, 0
    for i in range(lo, hi):
        if a[i] == b[i]:
            continue
        if i >= end:
            right *= _share_of(margin) if end >= 0 else 1.0
            margin = lead
        end = i + STRETCH
        if lo < i < hi - 1:
            gain = surprise[_distance(b, i) + 255] - surprise[_distance(a, i) + 255]
            margin = max(-_MOST, min(_MOST, margin + gain))
    right *= _share_of(margin)
    return 1.0 / max(right, _SMALL) - 1.0


@kernel(types.void(_FLAT, _FLAT, _MASKS, _BOUNDS, _SURPRISE, _LEADS, types.float64[:, ::1]))
def odds_against(
    chosen: U8, others: U8, masks: U64, bounds: I64, surprise: I32, lead: I32, out: F64
) -> None:
    """Find the odds that a buffer of the others is right and not the chosen one, into out (n, k).

    chosen, others (n, p); masks (n): the buffers to compare; lead (n): how much more seldom the
    chosen one errs. Equal buffers get -1; what is not in masks stays as it is.
    """
    for f in range(chosen.shape[0]):
        for k in range(bounds.size - 1):
            if masks[f] >> np.uint64(k) & np.uint64(1):
                lo, hi = bounds[k], bounds[k + 1]
                if same(chosen[f, lo:hi], others[f, lo:hi]):
                    out[f, k] = -1
                else:
                    out[f, k] = _odds_of_stretches(chosen[f], others[f], lo, hi, surprise, lead[f])
