"""Compiled loop of the flicker correction: what the pixels of a row or frame share is subtracted.

Dimension letters: n frames, h rows, w columns. ``out`` stands last and is only written; frames may
be read-only views of any strides. Counts are integers, and divisions happen in a fixed order, so
that a frame has one result on any machine.
"""

import numpy as np
from numba import types

from miostitch.arrays import I64, U8
from miostitch.errors import UsageError
from miostitch.kernels.jit import kernel, part

ZERO = 255  # where a histogram of differences of two gray values counts the difference 0
BINS = 2 * ZERO + 1

_FRAME = types.Array(types.uint8, 2, "A", readonly=True)
_FRAMES = types.Array(types.uint8, 3, "A", readonly=True)


@part
def _median(counts: I64, lowest: int, number: int) -> float:
    """Median of a number of integers from lowest on, given as a histogram (BINS).

    Those of one level count as spread evenly over it, from half a level below to half above.
    """
    below = 0
    for level in range(lowest, BINS):
        if 2 * (below + counts[level]) >= number:
            inside = (0.5 * number - below) / float(counts[level])
            return level - ZERO - 0.5 + inside
        below += counts[level]
    return 0.0  # of no pixels


@kernel(types.void(_FRAMES, _FRAME, types.boolean, types.boolean, types.uint8[:, :, ::1]))
def subtract_flicker(frames: U8, usual: U8, by_row: bool, by_frame: bool, out: U8) -> None:
    """Subtract from frames (n, h, w) the median difference from usual (h, w) of rows and frames.

    A row loses a whole number of gray levels. What is rounded off is carried over to the next row,
    so that the mean over some rows is right to a fraction of a level.
    """
    n, h, w = frames.shape
    if usual.shape != (h, w) or out.shape != frames.shape:
        raise UsageError("subtract_flicker: the shapes do not fit each other")
    counts = np.zeros(BINS, np.int64)
    total = np.zeros(BINS, np.int64)
    line = np.empty(w, np.int16)
    offsets = np.zeros(h, np.float64)
    for i in range(n):
        total[:] = 0
        for y in range(h):
            counts[:] = 0
            lowest = BINS
            # Two loops, as counting would cost the first one its vectors.
            for x in range(w):
                line[x] = np.int16(frames[i, y, x]) - np.int16(usual[y, x]) + np.int16(ZERO)
                lowest = min(lowest, int(line[x]))
            for x in range(w):
                counts[line[x]] += 1
            if by_row:
                offsets[y] = _median(counts, lowest, w)
            if by_row != by_frame:
                total += counts
        if by_row != by_frame:  # else the offset of the frame is in those of its rows, or in none
            shared = _median(total, 0, h * w)
            for y in range(h):
                offsets[y] = shared if by_frame else offsets[y] - shared
        rest = 0.0
        for y in range(h):
            rest += offsets[y]
            whole = np.floor(rest + 0.5)
            rest -= whole
            shift = int(whole)
            for x in range(w):
                out[i, y, x] = min(max(int(frames[i, y, x]) - shift, 0), 255)
