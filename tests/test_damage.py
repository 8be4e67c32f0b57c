"""Missing pixels, counted buffer by buffer."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from miostitch.damage import complete, lost_buffers, missing_pixels


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


def test_pieces_of_a_frame_are_counted_together() -> None:
    frame_num = np.array([5, 6, 6, -1, 7], np.int64)
    buffers = np.array([0b1111, 0b0011, 0b1100, 0b1111, 0b0111], np.uint64)
    assert lost_buffers(frame_num, buffers, 4) == 1
    assert lost_buffers(frame_num[:0], buffers[:0], 4) == 0


def test_frames_of_two_boots_are_not_one() -> None:
    frame_num = np.tile(np.arange(40), 2)
    buffers = np.repeat(np.array([0b01, 0b10], np.uint64), 40)
    assert lost_buffers(frame_num, buffers, 2) == 80
