"""Compiled loops that tell which frame of its table each picture of a video shows.

Dimension letters: n pictures, k buffers per frame, p pixels per frame, c shifts that are tried.
"""

import numpy as np
from numba import types

from miostitch.arrays import F64, I32, I64, U8, U64
from miostitch.kernels.jit import kernel

PROBED = 64  # pixels of a buffer whose values tell one picture from all others
_MULTIPLIER = np.uint64(0x100000001B3)  # of the hash FNV-1a
_BASIS = np.uint64(0xCBF29CE484222325)

_FLAT = types.Array(types.uint8, 2, "C", readonly=True)
_BOUNDS = types.Array(types.int64, 1, "A", readonly=True)


@kernel(types.void(_FLAT, _BOUNDS, types.int32[:, ::1], types.uint64[:, ::1]))
def describe_buffers(frames: U8, bounds: I64, zeros: I32, digests: U64) -> None:
    """Count the zeros at the end of every buffer, and hash pixels of its middle, both (n, k).

    The hash is 0 where these pixels are few, or nearly of one value: they tell nothing.
    """
    for f in range(frames.shape[0]):
        for k in range(bounds.size - 1):
            start, stop = bounds[k], bounds[k + 1]
            end = stop
            while end > start and frames[f, end - 1] == 0:
                end -= 1
            zeros[f, k] = stop - end
            first = max(start, (start + stop - PROBED) // 2)
            last = min(stop, first + PROBED)
            value, steps = _BASIS, 0
            for i in range(first, last):
                value = (value ^ np.uint64(frames[f, i])) * _MULTIPLIER
                steps += i > first and frames[f, i] != frames[f, i - 1]
            digests[f, k] = value if 4 * steps >= PROBED else np.uint64(0)


@kernel(types.void(types.Array(types.float64, 2, "A", readonly=True), types.float64,
                   types.float64[:, ::1]))  # fmt: skip
def best_before(scores: F64, jump: float, out: F64) -> None:
    """Score of the best explanation of all pictures up to each one that shifts it so, (n, c).

    ``scores`` (n, c): how well a picture agrees with each shift; ``jump``: what a change costs.
    """
    for f in range(scores.shape[0]):
        best = 0.0
        if f:
            best = out[f - 1].max() - jump
        for c in range(scores.shape[1]):
            before = max(out[f - 1, c], best) if f else 0.0
            out[f, c] = scores[f, c] + before
