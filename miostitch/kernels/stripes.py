"""Compiled loops of the stripe filter: what a frame holds of a few waves, and taking it out.

Dimension letters: n frames, h rows, w columns, a waves, r terms. Every frame goes through the same
operations in the same order whatever block it stands in, sums over pixels are exact integers, and
nothing is fused or reordered, so that a frame has one result on any machine.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from miostitch.errors import UsageError
from miostitch.kernels.jit import kernel, part

WAVE_UNIT = 2**30
"""One, in the fixed point numbers of a wave: 255 times the sum over a row stays exact."""

SLACK = 2.0**-16
"""A value this little below a whole number counts as that number, and not as the one before.

It lies above the error of the tables and below anything that shows.
"""

_FRAME = types.Array(types.uint8, 2, "A", readonly=True)
_VALUES = types.Array(types.uint8, 1, "C", readonly=True)
_FRAMES = types.Array(types.uint8, 3, "A", readonly=True)
_WAVES = types.Array(types.int32, 2, "C", readonly=True)
_SOURCE = types.Array(types.int64, 1, "C", readonly=True)
_TABLE = types.Array(types.float64, 2, "C", readonly=True)
_PROFILES = types.Array(types.float64, 3, "C", readonly=True)
_BAND = types.Tuple((_PROFILES, _TABLE, _TABLE))  # type: ignore[no-untyped-call]

Band = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


@part
def _circulate(
    signal: NDArray[np.float64], twice: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """Convolve a signal (h) around a circle with a response, given twice in a row (2 h).

    Four products are added up before the sum so far is read and written once.
    """
    h = signal.size
    out[:] = 0
    fours = h - h % 4
    for t in range(0, fours, 4):
        a, b, c, d = signal[t], signal[t + 1], signal[t + 2], signal[t + 3]
        by_a, by_b = twice[h - t : 2 * h - t], twice[h - t - 1 : 2 * h - t - 1]
        by_c, by_d = twice[h - t - 2 : 2 * h - t - 2], twice[h - t - 3 : 2 * h - t - 3]
        for y in range(h):
            out[y] += (a * by_a[y] + b * by_b[y]) + (c * by_c[y] + d * by_d[y])
    for t in range(fours, h):
        a, by_a = signal[t], twice[h - t : 2 * h - t]
        for y in range(h):
            out[y] += a * by_a[y]


@part
def _take(
    line: NDArray[np.float64], factors: NDArray[np.float64], rows: NDArray[np.float64]
) -> None:
    """Subtract rows (r, w), each times its factor, from a line (w)."""
    for r in range(rows.shape[0]):
        factor = factors[r]
        row = rows[r]
        for x in range(line.size):
            line[x] -= factor * row[x]


@kernel(types.void(_FRAMES, _WAVES, _SOURCE, _TABLE, types.float64[:, :, ::1]))
def stripe_profiles(
    frames: NDArray[np.uint8],
    waves: NDArray[np.int32],
    source: NDArray[np.int64],
    responses: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Measure how much of each wave every row holds, and filter that down the rows.

    ``frames``: images, shape (n, h, w); views of any strides; ``waves``: waves along a row in units
    of 1 / :data:`WAVE_UNIT`, shape (a, w); ``source``: wave of each term, shape (r,);
    ``responses``: impulse response of each term down the rows, twice in a row, shape (r, 2 h);
    ``out``: written, shape (n, r, h).
    """
    n, h, w = frames.shape
    terms = source.size
    if waves.shape[1] != w or responses.shape != (terms, 2 * h) or out.shape != (n, terms, h):
        raise UsageError("stripe_profiles: the tables are made for frames of another shape")
    line = np.empty(w, np.int32)
    amounts = np.empty((waves.shape[0], h), np.float64)
    for i in range(n if terms else 0):
        for y in range(h):
            for x in range(w):
                line[x] = frames[i, y, x]
            for a in range(waves.shape[0]):
                total = np.int64(0)
                for x in range(w):
                    total += np.int64(line[x]) * np.int64(waves[a, x])
                amounts[a, y] = total / WAVE_UNIT
        for r in range(terms):
            _circulate(amounts[source[r]], responses[r], out[i, r])


@kernel(types.void(_FRAMES, _BAND, _BAND, types.uint8[:, :, ::1]))
def subtract_stripes(
    frames: NDArray[np.uint8], vertical: Band, horizontal: Band, out: NDArray[np.uint8]
) -> None:
    """Subtract stripes from every frame; keep the modulus of the complex rest, rounded down.

    ``frames``: images, shape (n, h, w); views of any strides; ``out``: written, shape (n, h, w).
    """
    n, h, w = frames.shape
    down, real_x, imaginary_x = vertical
    along, real_y, imaginary_y = horizontal
    if not (
        out.shape == frames.shape
        and down.shape == (n, real_x.shape[0], h)
        and along.shape == (n, real_y.shape[0], w)
        and real_x.shape[1] == imaginary_x.shape[1] == w
        and real_y.shape[1] == imaginary_y.shape[1] == h
        and imaginary_x.shape[0] <= real_x.shape[0]
        and imaginary_y.shape[0] <= real_y.shape[0]
    ):
        raise UsageError("subtract_stripes: the tables are made for frames of another shape")
    real = np.empty(w, np.float64)
    imaginary = np.empty(w, np.float64)
    for i in range(n):
        for y in range(h):
            for x in range(w):
                real[x] = frames[i, y, x]
                imaginary[x] = 0.0
            _take(real, down[i, :, y], real_x)
            _take(imaginary, down[i, :, y], imaginary_x)
            _take(real, real_y[:, y], along[i])
            _take(imaginary, imaginary_y[:, y], along[i, : imaginary_y.shape[0]])
            # Two loops, as the change of width would cost the first one its vectors.
            for x in range(w):
                modulus = np.sqrt(real[x] * real[x] + imaginary[x] * imaginary[x])
                real[x] = min(modulus + SLACK, 255.0)
            for x in range(w):
                out[i, y, x] = np.uint8(np.int32(real[x]))


@kernel(types.void(_FRAMES, _FRAME, _VALUES, types.uint8[:, :, ::1]))
def subtract_frame(
    frames: NDArray[np.uint8],
    background: NDArray[np.uint8],
    becomes: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    """Subtract one frame from all, and replace every difference by what it becomes.

    ``frames``: images, shape (n, h, w); views of any strides; ``background``: image, shape (h, w);
    ``out``: written, shape (n, h, w).
    """
    n, h, w = frames.shape
    if background.shape != (h, w) or out.shape != frames.shape:
        raise UsageError("subtract_frame: the shapes do not fit each other")
    table = np.zeros(511, np.uint8)  # of differences from -255 on
    table[255 : 255 + becomes.size] = becomes
    difference = np.empty(w, np.int16)
    for i in range(n):
        lowest, highest = np.int16(0), np.int16(0)
        for y in range(h):
            # Two loops, as looking up would cost the first one its vectors.
            for x in range(w):
                difference[x] = np.int16(frames[i, y, x]) - np.int16(background[y, x])
                lowest = min(lowest, difference[x])
                highest = max(highest, difference[x])
            for x in range(w):
                out[i, y, x] = table[255 + difference[x]]
        if lowest < 0:
            raise UsageError("a frame lies below the background: use the one of the same frames")
        if highest >= becomes.size:
            raise UsageError("a difference is too large: use the range of the same frames")
