"""What is missing, counted buffer by buffer."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from miostitch.buffers.damage import complete, lost_buffers, received_buffers


@given(st.integers(1, 64), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
def test_complete_frames_have_every_buffer(buffers: int, masks: list[int]) -> None:
    have = complete(np.array(masks, np.uint64), np.arange(buffers + 1))
    assert have.tolist() == [all(mask >> k & 1 for k in range(buffers)) for mask in masks]


def test_pieces_of_a_frame_are_counted_together() -> None:
    frame_num = np.array([5, 6, 6, -1, 7], np.int64)
    buffers = np.array([0b1111, 0b0011, 0b1100, 0b1111, 0b0111], np.uint64)
    assert received_buffers(frame_num, buffers, 4).tolist() == [4, 4, 3]
    assert lost_buffers(frame_num, buffers, 4) == 1
    assert lost_buffers(frame_num[:0], buffers[:0], 4) == 0


def test_frames_of_two_boots_are_not_one() -> None:
    frame_num = np.tile(np.arange(40), 2)
    buffers = np.repeat(np.array([0b01, 0b10], np.uint64), 40)
    assert lost_buffers(frame_num, buffers, 2) == 80
