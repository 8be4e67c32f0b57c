"""Compiled loops over pixels: what one pass over a block of frames can tell.

Dimension letters: n frames, h rows, w columns. ``out`` stands last and is written, never read.
Sums are exact integers. Arrays may be views of any strides and read-only; the loops are compiled
for unit stride along a row as well, so a contiguous block runs vectorised and nothing is ever
copied.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from miostitch.errors import UsageError
from miostitch.kernels.jit import kernel, part

_FRAMES = types.Array(types.uint8, 3, "A", readonly=True)

# |gx| + |gy| <= 2040, so a 16-bit sum holds 32 rows; an 8-bit count holds 255.
_SOBEL_ROWS = 32
_COUNT_ROWS = 255


@part
def _black_rows(frame: NDArray[np.uint8], value_threshold: int, consecutive_threshold: int) -> int:
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
def _noisy_rows(frame: NDArray[np.uint8], threshold: float, bend: NDArray[np.int16]) -> int:
    """Count the rows of a frame (h, w) with a large mean |second difference|; bend (w) is scratch.

    The quotient is NumPy's own: an exact sum, divided once in float64.
    """
    h, w = frame.shape
    if w < 3:
        return 0
    rows = 0
    for y in range(h):
        # Two loops are faster than one: the wide sum would halve the vectors of the difference.
        for x in range(w - 2):
            bend[x] = abs(np.int16(frame[y, x] - 2 * frame[y, x + 1] + frame[y, x + 2]))
        total = np.int32(0)
        for x in range(w - 2):
            total = np.int32(total + bend[x])
        rows += total / (w - 2) > threshold
    return rows


@part
def _edge_energy(
    frame: NDArray[np.uint8],
    smooth: NDArray[np.int16],
    slope: NDArray[np.int16],
    energy: NDArray[np.uint16],
) -> int:
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
    frames: NDArray[np.uint8],
    value_threshold: int,
    consecutive_threshold: int,
    gradient_threshold: float,
    out: NDArray[np.int64],
) -> None:
    """Score every frame of a block by its pixels.

    ``frames``: images, shape (n, h, w); views of any strides.

    Holds four rows of scratch memory per call, and no GIL.
    """
    n, _, w = frames.shape
    if out.shape != (3, n):
        raise UsageError("score_frames: out must have the shape (3, number of frames)")
    bend = np.empty(w, np.int16)
    smooth = np.empty(w + 2, np.int16)
    slope = np.empty(w + 2, np.int16)
    energy = np.empty(w, np.uint16)
    # A sweep per score: with all three in one loop the compiler gives up its vectors, and a frame
    # stays in the cache anyway.
    for i in range(n):
        frame = frames[i]
        out[0, i] = w * _black_rows(frame, value_threshold, consecutive_threshold)
        out[1, i] = w * _noisy_rows(frame, gradient_threshold, bend)
        out[2, i] = _edge_energy(frame, smooth, slope, energy)


@kernel(types.void(_FRAMES, types.int64, types.int64, types.float64, types.int64[:, :]))
def count_rows(
    frames: NDArray[np.uint8],
    value_threshold: int,
    consecutive_threshold: int,
    gradient_threshold: float,
    out: NDArray[np.int64],
) -> None:
    """Count the rows of every frame that :func:`score_frames` counts the pixels of.

    ``out``: written, shape (2, n): rows that hold a black run, and noisy rows.
    """
    n, _, w = frames.shape
    if out.shape != (2, n):
        raise UsageError("count_rows: out must have the shape (2, number of frames)")
    bend = np.empty(w, np.int16)
    for i in range(n):
        out[0, i] = _black_rows(frames[i], value_threshold, consecutive_threshold)
        out[1, i] = _noisy_rows(frames[i], gradient_threshold, bend)


@kernel(types.void(_FRAMES, types.float64, types.int64[:]))
def noisy_pixels(
    frames: NDArray[np.uint8], gradient_threshold: float, out: NDArray[np.int64]
) -> None:
    """Count the pixels of noisy rows alone, as :func:`score_frames` does.

    ``frames``: images, shape (n, h, w); views of any strides; ``out``: written, shape (n,).
    """
    n, _, w = frames.shape
    if out.size != n:
        raise UsageError("noisy_pixels: out must hold a number per frame")
    bend = np.empty(w, np.int16)
    for i in range(n):
        out[i] = w * _noisy_rows(frames[i], gradient_threshold, bend)


@kernel(types.void(_FRAMES, _FRAMES, types.int64[:]))
def differing_pixels(a: NDArray[np.uint8], b: NDArray[np.uint8], out: NDArray[np.int64]) -> None:
    """Count the pixels in which the frames of two blocks differ.

    ``a, b``: images, both of shape (n, h, w); views of any strides; ``out``: written, shape (n,):
    the count of each frame.
    """
    n, h, w = a.shape
    if b.shape != a.shape or out.size != n:
        raise UsageError("differing_pixels: a and b must have one shape, out its first length")
    count = np.zeros(w, np.uint8)
    for i in range(n):
        total = 0
        for y in range(h):
            for x in range(w):
                count[x] += a[i, y, x] != b[i, y, x]
            if y % _COUNT_ROWS == _COUNT_ROWS - 1 or y == h - 1:
                for x in range(w):
                    total += count[x]
                count[:] = 0
        out[i] = total


@kernel(types.void(_FRAMES, _FRAMES, types.bool_[:]))
def same_frames(a: NDArray[np.uint8], b: NDArray[np.uint8], out: NDArray[np.bool_]) -> None:
    """Find the frames that two blocks have pixel for pixel alike.

    ``a, b``: images, both of shape (n, h, w); views of any strides; ``out``: written, shape (n,).
    """
    n, h, w = a.shape
    if b.shape != a.shape or out.size != n:
        raise UsageError("same_frames: a and b must have one shape, out its first length")
    for i in range(n):
        out[i] = True
        for y in range(h):
            # a whole row at a time, so that the comparison runs vectorised
            differs = np.uint8(0)
            for x in range(w):
                differs |= a[i, y, x] ^ b[i, y, x]
            if differs:
                out[i] = False
                break
