"""Compiled loops that tell whether two receivers' frames are of the same image.

Dimension letters: n frames, k buffers per frame, p pixels per frame. What is written stands last.
"""

import numpy as np
from numba import types

from miostitch.arrays import I8, I64, U8, U64
from miostitch.kernels.jit import kernel, part

ALIKE, UNLIKE, UNKNOWN = 1, -1, 0
_SAMPLES = 128  # pixels of a buffer that are compared: one half stands out from one third
_FEWEST = 16  # pixels that must speak
_ROUGHER = 2  # times the steps from pixel to pixel: of two images of one device no more
_SLACK = 4  # gray values of such steps that smooth images may differ by
_NOISE = 64  # steps of an image; those of noise are 85 in the mean

_FLAT = types.Array(types.uint8, 2, "C", readonly=True)
_MASKS = types.Array(types.uint64, 1, "A", readonly=True)
_BOUNDS = types.Array(types.int64, 1, "A", readonly=True)


@part
def _signed(value: np.uint8) -> int:
    """Convert a gray value to what can be subtracted; int alone would leave it unsigned."""
    return int(np.int64(value))


@part
def _compare_range(a: U8, b: U8) -> int:
    """Tell whether two copies of a buffer are of one image, as errors of bits leave it.

    Pixels that are saturated or black in both say nothing. Copies of which one is much rougher than
    the other differ by noise: that is no evidence either.
    """
    telling = equal = rough_a = rough_b = 0
    step = max(1, a.size // _SAMPLES)
    enough = a.size // step // 2 + 1  # however the others turn out
    for i in range(0, a.size - 1, step):
        x, y = _signed(a[i]), _signed(b[i])
        if x == y and (x == 0 or x == 255):
            continue
        telling += 1
        equal += x == y
        if equal >= enough and telling >= _FEWEST:
            return ALIKE
        rough_a += abs(_signed(a[i + 1]) - x)
        rough_b += abs(_signed(b[i + 1]) - y)
    if telling < _FEWEST:
        return UNKNOWN
    if 2 * equal >= telling:
        return ALIKE
    most, least = max(rough_a, rough_b), min(rough_a, rough_b)
    smooth = most <= _ROUGHER * least + _SLACK * telling and most <= _NOISE * telling
    return UNLIKE if smooth else UNKNOWN


@kernel(types.void(_FLAT, _FLAT, _MASKS, _BOUNDS, types.int8[::1]))
def compare_images(a: U8, b: U8, masks: U64, bounds: I64, out: I8) -> None:
    """Tell of which frames a and b (n, p) show the same image, into out (n).

    The buffers whose bit is set in masks (n) decide by majority; ALIKE in a tie.
    """
    for f in range(a.shape[0]):
        balance = seen = 0
        for k in range(bounds.size - 1):
            if masks[f] >> np.uint64(k) & np.uint64(1):
                found = _compare_range(
                    a[f, bounds[k] : bounds[k + 1]], b[f, bounds[k] : bounds[k + 1]]
                )
                balance += found
                seen += found != UNKNOWN
        out[f] = UNKNOWN if not seen else ALIKE if balance >= 0 else UNLIKE
