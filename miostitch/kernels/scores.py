"""Compiled loops over pixels: scores of single frames, and comparison of two blocks of them.

Dimension letters: n frames, h rows, w columns, s scores. ``out`` stands last and is only written.
Sums are exact integers. Frames may be read-only views of any strides; the loops are compiled for
unit stride along a row as well, so a contiguous block runs vectorised and nothing is copied.
"""

import numpy as np
from numba import types

from miostitch.arrays import I16, I64, U8, U16
from miostitch.errors import UsageError
from miostitch.kernels.jit import kernel, part

_FRAMES = types.Array(types.uint8, 3, "A", readonly=True)

# |gx| + |gy| <= 2040, so a 16-bit sum holds 32 rows; an 8-bit count holds 255.
_SOBEL_ROWS = 32
_COUNT_ROWS = 255


@part
def _black_rows(frame: U8, value_threshold: int, consecutive_threshold: int) -> int:
    """Count the rows of a frame (h, w) that hold a run of black pixels."""
    h, w = frame.shape
    rows = 0
    for y in range(h):
        # Most rows end here: the darkest pixel is found a vector at a time.
        darkest = np.uint8(255)
        for x in range(w):
            darkest = min(darkest, frame[y, x])
        if darkest > value_threshold:
            continue
        # A window is read from its right end. A bright pixel in it rules out every window over
        # that pixel, so the next one to read starts right behind.
        start, x = 0, consecutive_threshold - 1
        while start <= x < w:
            if frame[y, x] <= value_threshold:
                x -= 1
            else:
                start, x = x + 1, x + consecutive_threshold
        rows += x < start
    return rows


@part
def _noisy_rows(frame: U8, threshold: float, second: I16) -> int:
    """Count the rows of a frame (h, w) with a large mean |second difference|; second (w): scratch.

    The quotient is NumPy's own: an exact sum, divided once in float64.
    """
    h, w = frame.shape
    if w < 3:
        return 0
    rows = 0
    for y in range(h):
        # Two loops are faster than one: the wide sum would halve the vectors of the difference.
        for x in range(w - 2):
            second[x] = abs(np.int16(frame[y, x] - 2 * frame[y, x + 1] + frame[y, x + 2]))
        total = np.int32(0)
        for x in range(w - 2):
            total = np.int32(total + second[x])
        rows += total / (w - 2) > threshold
    return rows


@part
def _edge_energy(frame: U8, smooth: I16, slope: I16, energy: U16) -> int:
    """Sum |gx| + |gy| over a frame (h, w); smooth (w + 2), slope (w + 2), energy (w) are scratch.

    The operator is separable: first down the columns of three rows, then along the result, which
    carries one reflected pixel at each end.
    """
    h, w = frame.shape
    total = 0
    energy[:] = 0
    for y in range(h):
        above = frame[y - 1 if y > 0 else min(1, h - 1)]
        here = frame[y]
        below = frame[y + 1 if y < h - 1 else max(0, h - 2)]
        for x in range(w):
            smooth[x + 1] = above[x] + 2 * here[x] + below[x]
            slope[x + 1] = below[x] - above[x]
        for line in (smooth, slope):
            line[0] = line[min(2, w)]
            line[w + 1] = line[max(1, w - 1)]
        for x in range(w):
            gx = np.int16(smooth[x + 2] - smooth[x])
            gy = np.int16(slope[x] + 2 * slope[x + 1] + slope[x + 2])
            energy[x] += abs(gx) + abs(gy)
        if y % _SOBEL_ROWS == _SOBEL_ROWS - 1 or y == h - 1:
            for x in range(w):
                total += energy[x]
            energy[:] = 0
    return total


@kernel(types.void(_FRAMES, types.int64, types.int64, types.float64, types.int64[:, :]))
def score_frames(
    frames: U8,
    value_threshold: int,
    consecutive_threshold: int,
    gradient_threshold: float,
    out: I64,
) -> None:
    """Score frames (n, h, w) into out (s, n): pixels of black rows, of noisy rows, edge energy.

    The edge energy, which takes longest, is left out where out has no third row.
    """
    n, _, w = frames.shape
    if not 2 <= out.shape[0] <= 3 or out.shape[1] != n:
        raise UsageError("score_frames: out must have the shape (2 or 3, number of frames)")
    second = np.empty(w, np.int16)
    smooth = np.empty(w + 2, np.int16)
    slope = np.empty(w + 2, np.int16)
    energy = np.empty(w, np.uint16)
    # A sweep per score: with all three in one loop the compiler gives up its vectors, and a frame
    # stays in the cache anyway.
    for i in range(n):
        frame = frames[i]
        out[0, i] = w * _black_rows(frame, value_threshold, consecutive_threshold)
        out[1, i] = w * _noisy_rows(frame, gradient_threshold, second)
        if out.shape[0] > 2:
            out[2, i] = _edge_energy(frame, smooth, slope, energy)


@kernel(types.void(_FRAMES, _FRAMES, types.int64[:], types.int64[:]))
def differing_pixels(a: U8, b: U8, frames: I64, out: I64) -> None:
    """Count the pixels in which some frames (k) of a and b (n, h, w) differ, into out (k)."""
    n, h, w = a.shape
    if b.shape != a.shape or out.size != frames.size:
        raise UsageError("differing_pixels: a and b must have one shape, out and frames one length")
    for i in frames:
        if not 0 <= i < n:
            raise UsageError("differing_pixels: a frame that is not there")
    count = np.zeros(w, np.uint8)
    for at in range(frames.size):
        i = frames[at]
        total = 0
        for y in range(h):
            for x in range(w):
                count[x] += a[i, y, x] != b[i, y, x]
            if y % _COUNT_ROWS == _COUNT_ROWS - 1 or y == h - 1:
                for x in range(w):
                    total += count[x]
                count[:] = 0
        out[at] = total
