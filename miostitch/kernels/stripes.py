"""Compiled loops of the stripe filter: measure a few waves in a frame, and subtract them.

Dimension letters: n frames, h rows, w columns, a waves, r terms. ``out`` stands last and is only
written; frames may be read-only views of any strides. Every frame goes through the same operations
in the same order whatever its block, sums over pixels are exact integers, and nothing is fused or
reordered, so that a frame has one result on any machine.
"""

import numpy as np
from numba import types

from miostitch.arrays import F64, I32, I64, U8
from miostitch.errors import UsageError
from miostitch.kernels.jit import kernel, part

# One, in the fixed point numbers of a wave: 255 times the sum over a row stays exact.
WAVE_UNIT = 2**30
# A value this little below a whole number counts as that number: above the error of the tables.
SLACK = 2.0**-16

_FRAME = types.Array(types.uint8, 2, "A", readonly=True)
_VALUES = types.Array(types.uint8, 1, "C", readonly=True)
_FRAMES = types.Array(types.uint8, 3, "A", readonly=True)
_WAVES = types.Array(types.int32, 2, "C", readonly=True)
_SOURCE = types.Array(types.int64, 1, "C", readonly=True)
_TABLE = types.Array(types.float64, 2, "C", readonly=True)
_PROFILES = types.Array(types.float64, 3, "C", readonly=True)
_BAND = types.Tuple((_PROFILES, _TABLE, _TABLE))  # type: ignore[no-untyped-call]

Band = tuple[F64, F64, F64]


@part
def _circulate(signal: F64, twice: F64, out: F64) -> None:
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
def _subtract_rows(line: F64, factors: F64, rows: F64) -> None:
    """Subtract rows (r, w), each times its factor, from a line (w)."""
    for r in range(rows.shape[0]):
        factor = factors[r]
        row = rows[r]
        for x in range(line.size):
            line[x] -= factor * row[x]


@kernel(types.void(_FRAMES, _WAVES, _SOURCE, _TABLE, types.float64[:, :, ::1]))
def stripe_profiles(frames: U8, waves: I32, source: I64, responses: F64, out: F64) -> None:
    """Measure the waves in every row of frames (n, h, w), and filter that down the rows, into out.

    waves (a, w) along a row, in 1 / WAVE_UNIT; source (r): the wave of each term; responses
    (r, 2 h): impulse response of each term down the rows, twice in a row; out (n, r, h).
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
def subtract_stripes(frames: U8, vertical: Band, horizontal: Band, out: U8) -> None:
    """Subtract stripes from frames (n, h, w); out: modulus of the complex rest, rounded down."""
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
            _subtract_rows(real, down[i, :, y], real_x)
            _subtract_rows(imaginary, down[i, :, y], imaginary_x)
            _subtract_rows(real, real_y[:, y], along[i])
            _subtract_rows(imaginary, imaginary_y[:, y], along[i, : imaginary_y.shape[0]])
            # Two loops, as the change of width would cost the first one its vectors.
            for x in range(w):
                modulus = np.sqrt(real[x] * real[x] + imaginary[x] * imaginary[x])
                real[x] = min(modulus + SLACK, 255.0)
            for x in range(w):
                out[i, y, x] = np.uint8(np.int32(real[x]))


@kernel(types.void(_FRAMES, _FRAME, _VALUES, types.uint8[:, :, ::1]))
def subtract_frame(frames: U8, background: U8, becomes: U8, out: U8) -> None:
    """Subtract background (h, w) from frames (n, h, w); a difference d turns into becomes[d]."""
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
