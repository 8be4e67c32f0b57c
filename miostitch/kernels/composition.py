"""Compiled loops of the composition: presence, prediction, and the choice between copies.

Dimension letters: R recordings, m frames at hand (a block and its halo), n frames of the block, k
buffers per frame, p pixels per frame, d pixels in which copies differ. What is written stands last.
All arithmetic is on integers, so that every machine composes the same bytes.
"""

import numpy as np
from numba import types

from miostitch.arrays import F32, I8, I16, I32, I64, U8, U64, Bools
from miostitch.kernels.confidence import STRETCH, UNIT, VOTE, find_noise, same, share_of_paths
from miostitch.kernels.jit import kernel, part
from miostitch.schema import Evidence

NOBODY, SINGLE, IDENTICAL, MAJORITY, STRETCHES = (int(evidence) for evidence in Evidence)
EXCLUDED = -1
MISSING = -1
"""Clue of a buffer of which pixels are missing."""

_CALM = UNIT // 4  # a burst that spoils few bits leaves many pixels right in between
_SWITCH = STRETCH * _CALM  # inside a stretch the right copy changes about once in a thousand pixels
_TELLING_ZEROS = 32  # fewer at the end of a buffer may be dark pixels that noise hides elsewhere
_NEITHER = 7 * UNIT  # that no copy is right begins as seldom
_NEVER = 2**40  # price of a copy that ends before the pixel

NEIGHBOURS = 8  # two on either side in the row, above, below, the frame before, the frame after
_STEPS = (-1, 1, -2, 2)  # those in the row
_IN_ROW = len(_STEPS)
_UNKNOWN = -1  # no gray value: the copies differ, or there is no such pixel

_FLAT = types.Array(types.uint8, 2, "C", readonly=True)
_PRESENT = types.Array(types.boolean, 2, "A", readonly=True)
_MASKS = types.Array(types.uint64, 1, "A", readonly=True)
_FRAMES = types.Array(types.uint8, 3, "C", readonly=True)
_HAVE = types.Array(types.int32, 3, "C", readonly=True)
_BOUNDS = types.Array(types.int64, 1, "A", readonly=True)
_WEIGHTS = types.Array(types.int32, 1, "C", readonly=True)
_COST = types.Array(types.int32, 2, "C", readonly=True)
_COPIES = (_FRAMES, _HAVE, _BOUNDS)
_MODEL = (_WEIGHTS, _COST, _WEIGHTS, _WEIGHTS)
_COUNTS = types.int64[::1]
_TABLE = types.int64[:, ::1]
_COMPOSED = (
    *(types.uint8[:, ::1], types.int8[:, ::1], types.uint8[:, ::1]),
    *(types.float32[:, ::1], types.int32[::1], types.int8[::1]),
)


@part
def _copy_range(source: U8, target: U8 | I16) -> None:
    """Copy a range; ten times as fast as a slice assignment."""
    for i in range(source.size):
        target[i] = source[i]


@part
def _mask_disagreement(known: I16, other: U8) -> None:
    """Make _UNKNOWN what differs from another copy."""
    for i in range(other.size):
        known[i] = known[i] if known[i] == other[i] else _UNKNOWN


@kernel(types.void(_FLAT, _FLAT, _MASKS, _BOUNDS, types.uint64[::1]))
def identical_buffers(a: U8, b: U8, masks: U64, bounds: I64, out: U64) -> None:
    """Compare the buffers of a and b (n, p) whose bit k is set in masks (n); out (n): the equal."""
    for f in range(a.shape[0]):
        out[f] = 0
        for k in range(bounds.size - 1):
            bit = np.uint64(1) << np.uint64(k)
            lo, hi = bounds[k], bounds[k + 1]
            if masks[f] & bit and same(a[f, lo:hi], b[f, lo:hi]):
                out[f] |= bit


@part
def _is_lit(copy: U8) -> bool:
    """Whether more than half of the pixels, which are zeros elsewhere, were sent as something."""
    lit = 0
    for i in range(copy.size):
        lit += copy[i] != 0
    return 2 * lit > copy.size


@part
def _contradicted_end(copies: U8, have: I32, lo: int, r: int) -> int:
    """Return the pixels of a copy of a buffer before zeros that another copy contradicts.

    copies (R, p), have (R). Where receivers lost the same pixels, many copies may agree on zeros;
    where one has pixels, more than half of them not zero, those were sent. Single ones are errors.
    A copy has no beginning without its head: of one with zeros there nothing is left, unless it
    reaches further than what contradicts it.
    """
    end = int(have[r])
    start = end
    while start > 0 and copies[r, lo + start - 1] == 0:
        start -= 1
    head = 0
    while head < start and copies[r, lo + head] == 0:
        head += 1
    for s in range(have.size):
        if s == r:
            continue
        reach = int(have[s])
        while reach > 0 and copies[s, lo + reach - 1] == 0:
            reach -= 1
        reaches = have[s] >= end and end - reach < _TELLING_ZEROS
        if head >= _TELLING_ZEROS and reaches and _is_lit(copies[s, lo : lo + head]):
            return 0
        stop = min(end, have[s])
        if stop - start >= _TELLING_ZEROS and _is_lit(copies[s, lo + start : lo + stop]):
            end = start
    return end


@kernel(types.void(*_COPIES, types.int32[:, :, ::1]))
def presence(frames: U8, given: I32, bounds: I64, have: I32) -> None:
    """Count the pixels that each copy of each buffer delivered, into have (R, m, k).

    frames (R, m, p); given (R, m, k): pixels by the rows, 0 without a row, EXCLUDED for a copy that
    must not be used. A range without a row that is not all zero was delivered; a range with a row
    was delivered even if black, but for zeros at its ends that another copy contradicts.
    """
    recordings, count, buffers = given.shape
    for r in range(recordings):
        for f in range(count):
            for b in range(buffers):
                have[r, f, b] = max(given[r, f, b], 0)
                if given[r, f, b] == 0:
                    for i in range(bounds[b], bounds[b + 1]):
                        if frames[r, f, i]:
                            have[r, f, b] = bounds[b + 1] - bounds[b]
                            break
    kept = np.empty(recordings, np.int32)
    for f in range(count):
        for b in range(buffers):
            for r in range(recordings):
                kept[r] = _contradicted_end(frames[:, f], have[:, f, b], bounds[b], r)
            have[:, f, b] = kept  # of all at once: what contradicts one copy stands itself


@part
def _find_agreed(frames: U8, have: I32, bounds: I64, f: int, known: I16) -> None:
    """Write into known (p) the value on which all copies of frame f agree, _UNKNOWN elsewhere."""
    for b in range(bounds.size - 1):
        lo, hi = bounds[b], bounds[b + 1]
        known[lo:hi] = _UNKNOWN
        first = 0
        for r in range(frames.shape[0]):
            if have[r, f, b] > have[first, f, b]:
                first = r
        size = have[first, f, b]
        _copy_range(frames[first, f, lo : lo + size], known[lo : lo + size])
        for r in range(frames.shape[0]):
            if r != first:
                size = have[r, f, b]
                _mask_disagreement(known[lo : lo + size], frames[r, f, lo : lo + size])


@part
def _find_agreed_around(frames: U8, have: I32, bounds: I64, f: int, known: I16, held: I64) -> None:
    """Find the agreed values of frames f - 1, f, f + 1 for known (3, p).

    Frame g is row g % 3; held (3) is the frame that each row holds already.
    """
    for g in range(f - 1, f + 2):
        if held[g % 3] != g:
            held[g % 3] = g
            if 0 <= g < frames.shape[1]:
                _find_agreed(frames, have, bounds, g, known[g % 3])
            else:
                known[g % 3] = _UNKNOWN


@part
def _find_neighbours(known: I16, f: int, where: I64, width: int, near: I16) -> None:
    """Write the known neighbours of the pixels where (d) of frame f into near (8, d)."""
    row, before, after = known[f % 3], known[(f - 1) % 3], known[(f + 1) % 3]
    pixels = row.size
    for d in range(where.size):
        i = where[d]
        x = i % width
        near[0, d] = row[i - 1] if x > 0 else _UNKNOWN
        near[1, d] = row[i + 1] if x + 1 < width else _UNKNOWN
        near[2, d] = row[i - 2] if x > 1 else _UNKNOWN
        near[3, d] = row[i + 2] if x + 2 < width else _UNKNOWN
        near[4, d] = row[i - width] if i >= width else _UNKNOWN
        near[5, d] = row[i + width] if i + width < pixels else _UNKNOWN
        near[6, d] = before[i]
        near[7, d] = after[i]


@part
def _fill_from_copy(copy: U8, lo: int, hi: int, where: I64, width: int, near: I16) -> None:
    """Fill the unknown neighbours in the row from one copy (p), which holds lo:hi."""
    for d in range(where.size):
        x = where[d] % width
        for j in range(_IN_ROW):
            q = where[d] + _STEPS[j]
            if near[j, d] < 0 and lo <= q < hi and 0 <= x + _STEPS[j] < width:
                near[j, d] = copy[q]


@part
def _predict(near: I16, weights: I32, guess: I32) -> None:
    """Write the weighted mean of the known neighbours into guess (d), _UNKNOWN without any."""
    weight = np.zeros(guess.size, np.int32)
    guess[:] = 0
    for j in range(NEIGHBOURS):
        row = near[j]
        for d in range(guess.size):  # without a branch: this one is vectorised
            counts = weights[j] if row[d] >= 0 else np.int32(0)
            guess[d] += counts * row[d]
            weight[d] += counts
    for d in range(guess.size):
        guess[d] = (guess[d] + weight[d] // 2) // weight[d] if weight[d] else _UNKNOWN


@part
def _shared_pixels(have: I32, f: int, b: int) -> int:
    """Count the pixels, from the first one, that at least two recordings delivered of a buffer."""
    most, second = np.int32(0), np.int32(0)
    for r in range(have.shape[0]):
        size = have[r, f, b]
        second = max(second, min(most, size))
        most = max(most, size)
    return int(second)


@kernel(types.void(*_COPIES, types.int64, types.int64, _COUNTS, _COUNTS))
def spread(
    frames: U8, have: I32, bounds: I64, width: int, step: int, sums: I64, counts: I64
) -> None:
    """Add up the differences of agreed pixels to each neighbour, into sums and counts (8)."""
    known = np.empty((3, frames.shape[2]), np.int16)
    held = np.full(3, -2)
    for f in range(frames.shape[1]):
        _find_agreed_around(frames, have, bounds, f, known, held)
        for b in range(bounds.size - 1):
            where = np.arange(bounds[b], bounds[b] + _shared_pixels(have, f, b), step)
            near = np.empty((NEIGHBOURS, where.size), np.int16)
            _find_neighbours(known, f, where, width, near)
            for d in range(where.size):
                value = known[f % 3, where[d]]
                for j in range(NEIGHBOURS):
                    if near[j, d] >= 0 and value >= 0:
                        sums[j] += abs(near[j, d] - value)
                        counts[j] += 1


@kernel(types.void(*_COPIES, types.int64, types.int64, _WEIGHTS, _TABLE))
def tally(
    frames: U8, have: I32, bounds: I64, width: int, step: int, weights: I32, table: I64
) -> None:
    """Count how often agreed pixels have which value at which prediction, into table (256, 256)."""
    known = np.empty((3, frames.shape[2]), np.int16)
    held = np.full(3, -2)
    for f in range(frames.shape[1]):
        _find_agreed_around(frames, have, bounds, f, known, held)
        for b in range(bounds.size - 1):
            where = np.arange(bounds[b], bounds[b] + _shared_pixels(have, f, b), step)
            near = np.empty((NEIGHBOURS, where.size), np.int16)
            guess = np.empty(where.size, np.int32)
            _find_neighbours(known, f, where, width, near)
            _predict(near, weights, guess)
            for d in range(where.size):
                value = known[f % 3, where[d]]
                if guess[d] >= 0 and value >= 0:
                    table[guess[d], value] += 1


@part
def _vote(frames: U8, have: I32, bounds: I64, f: int, b: int) -> tuple[int, int]:
    """Return the recording to start from (most pixels, then most votes) and the evidence."""
    recordings = frames.shape[0]
    lo = bounds[b]
    best, copies, votes = -1, 0, 0
    for r in range(recordings):
        copies += have[r, f, b] > 0
    for r in range(recordings):
        size = have[r, f, b]
        if size == 0:
            continue
        alike = 0
        for s in range(recordings):
            if have[s, f, b] == size:
                alike += s == r or same(frames[r, f, lo : lo + size], frames[s, f, lo : lo + size])
        if best < 0 or size > have[best, f, b] or (size == have[best, f, b] and alike > votes):
            best, votes = r, alike
        if alike == copies:
            break
    if copies < 2:
        return best, (SINGLE if copies else NOBODY)
    alike = votes
    for r in range(recordings):  # copies that only end before the longest one
        size = have[r, f, b]
        if 0 < size < have[best, f, b]:
            alike += same(frames[r, f, lo : lo + size], frames[best, f, lo : lo + size])
    if alike == copies:
        return best, IDENTICAL
    if 2 * votes > copies:
        return best, MAJORITY
    return best, STRETCHES


@part
def _price_values(copy: U8, hi: int, where: I64, guess: I32, cost: I32, prices: I64) -> None:
    """Write the surprise of a copy (p) that ends at hi into prices (d) of the pixels where (d)."""
    for d in range(where.size):
        if where[d] >= hi:
            prices[d] = _NEVER
        else:
            prices[d] = cost[guess[d], copy[where[d]]] if guess[d] >= 0 else 0


@part
def _price_contradiction(copy: U8, other: U8, hi: int, trust: int, where: I64, prices: I64) -> None:
    """Raise the prices (d) of a copy (p) where another one, that ends at hi, has other values.

    Where a stretch of these begins, that costs trust, too: how seldom the other one errs.
    """
    end = -1
    for d in range(where.size):
        if where[d] < hi and other[where[d]] != copy[where[d]]:
            prices[d] += VOTE if where[d] < end else VOTE + trust
            end = where[d] + STRETCH


@part
def _find_cheapest_path(where: I64, prices: I64, back: U8) -> None:
    """Write the cheapest (Viterbi) path of recordings over the pixels where (d) into back[:, 0].

    prices (R, d), which become those of the paths, are the costs of each pixel; back is (d, R). To
    change the recording costs _SWITCH, less _CALM for every pixel in between on which the copies
    agree: far apart, differences are decided one by one, and inside a burst together.
    """
    recordings, found = prices.shape
    for d in range(1, found):
        change = max(0, _SWITCH - _CALM * (where[d] - where[d - 1] - 1))
        best = 0
        for r in range(1, recordings):
            if prices[r, d - 1] < prices[best, d - 1]:
                best = r
        for r in range(recordings):
            back[d, r] = r
            stay = prices[r, d - 1]
            if prices[best, d - 1] + change < stay:
                back[d, r] = best
                stay = prices[best, d - 1] + change
            prices[r, d] += stay
    last = 0
    for r in range(1, recordings):
        if prices[r, found - 1] < prices[last, found - 1]:
            last = r
    for d in range(found - 1, -1, -1):
        before = back[d, last] if d else last
        back[d, 0] = last
        last = before


@part
def _price_neither(ends: I64, trust: I32, where: I64, neither: I64) -> None:
    """Write into neither (d) what it costs that no copy, up to its end (R), is right where (d)."""
    neither[:] = 0
    end = -1
    for d in range(where.size):
        for r in range(ends.size):
            if where[d] < ends[r]:
                neither[d] += VOTE if where[d] < end else VOTE + trust[r]
        end = where[d] + STRETCH


@part
def _resolve_buffer(
    frames: U8,
    have: I32,
    bounds: I64,
    width: int,
    weights: I32,
    cost: I32,
    trust: I32,
    f: int,
    b: int,
    known: I16,
    out: U8,
) -> tuple[int, float]:
    """Decide the pixels of a buffer on which the copies differ, into out (p).

    Where the copies differ on neighbours in the row, too, each copy is judged by its own: noise is
    at odds with itself. Above and below they may be another burst's, and are left out.
    The recording taken most often is returned, and the clue.
    """
    recordings = frames.shape[0]
    lo = bounds[b]
    where = lo + np.flatnonzero(known[f % 3, lo : lo + np.max(have[:, f, b])] < 0)
    near = np.empty((NEIGHBOURS, where.size), np.int16)
    own = np.empty_like(near)
    guess = np.empty(where.size, np.int32)
    prices = np.empty((recordings, where.size), np.int64)
    back = np.empty((where.size, recordings), np.uint8)
    _find_neighbours(known, f, where, width, near)
    for r in range(recordings):
        end = lo + have[r, f, b]
        own[:] = near
        _fill_from_copy(frames[r, f], lo, end, where, width, own)
        _predict(own, weights, guess)
        _price_values(frames[r, f], end, where, guess, cost, prices[r])
        for s in range(recordings):
            other_end = lo + have[s, f, b]
            _price_contradiction(frames[r, f], frames[s, f], other_end, trust[s], where, prices[r])
    neither = np.empty(where.size, np.int64)
    _price_neither(lo + have[:, f, b].astype(np.int64), trust, where, neither)
    costs = prices.copy()
    _find_cheapest_path(where, prices, back)
    share = np.zeros(recordings, np.int64)
    for d in range(where.size):
        share[back[d, 0]] += 1
        out[where[d]] = frames[back[d, 0], f, where[d]]
    clue = share_of_paths(where, costs, neither, frames[:, f], out, _SWITCH, _CALM, _NEITHER)
    return int(np.argmax(share)), clue


@kernel(
    types.void(
        *_COPIES,
        _PRESENT,
        types.int64,
        *(_WEIGHTS, _COST, _WEIGHTS, _WEIGHTS),
        types.int64,
        *_COMPOSED,
    )
)
def compose(
    frames: U8,
    have: I32,
    bounds: I64,
    present: Bools,
    width: int,
    weights: I32,
    cost: I32,
    trust: I32,
    surprise: I32,
    start: int,
    out: U8,
    chosen: I8,
    evidence: U8,
    clue: F32,
    missing: I32,
    whole: I8,
) -> None:
    """Compose the frames from start on of frames (R, m, p) into out (n, p).

    chosen (n, k) is the recording that gave most of what had to be decided, -1 nobody; evidence
    (n, k) the code; missing (n) the pixels that nobody delivered; whole (n) the first recording,
    of those that have the frame by present (R, n), whose frame equals the composed one, -1 none.
    The frames before and after these only help to predict.
    """
    known = np.empty((3, frames.shape[2]), np.int16)
    held = np.full(3, -2)
    for n in range(out.shape[0]):
        f = start + n
        missing[n] = 0
        for b in range(bounds.size - 1):
            lo, hi = bounds[b], bounds[b + 1]
            r, proof = _vote(frames, have, bounds, f, b)
            size = have[r, f, b] if r >= 0 else 0
            _copy_range(frames[r, f, lo : lo + size], out[n, lo : lo + size])
            out[n, lo + size : hi] = 0
            missing[n] += hi - lo - size
            clue[n, b] = 0
            if proof == SINGLE:
                clue[n, b] = find_noise(out[n], lo, lo + size, surprise) / UNIT
            if proof == STRETCHES:
                _find_agreed_around(frames, have, bounds, f, known, held)
                r, clue[n, b] = _resolve_buffer(
                    frames, have, bounds, width, weights, cost, trust, f, b, known, out[n]
                )
            if size < hi - lo:
                clue[n, b] = MISSING
            chosen[n, b] = r
            evidence[n, b] = proof
        whole[n] = -1
        for r in range(frames.shape[0]):
            if present[r, n] and same(frames[r, f], out[n]):
                whole[n] = r
                break
