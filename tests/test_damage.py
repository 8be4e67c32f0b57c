"""Missing pixels, counted buffer by buffer."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from miostitch.damage import complete, missing_pixels


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=64),
    st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 60)), min_size=1, max_size=5),
)
def test_against_counting(sizes: list[int], frames: list[tuple[int, int]]) -> None:
    bounds = np.cumsum([0, *sizes])
    buffers = np.array([mask for mask, _ in frames], np.uint64)
    padding = np.array([pixels for _, pixels in frames], np.int64)
    missing = missing_pixels(buffers, padding, bounds)
    for frame, (mask, pixels) in enumerate(frames):
        lost = [size for number, size in enumerate(sizes) if not mask >> number & 1]
        assert missing[frame] == min(sum(lost) + pixels, sum(sizes))
        assert complete(buffers, bounds)[frame] == (not lost)
    assert missing.dtype == np.int32
