"""Frames that a recording holds twice are told from a device that restarted by their pixels."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from miostitch.arrays import I64, U8
from miostitch.buffers.device_counter import counter_resets
from miostitch.buffers.frame_table import FrameTable
from miostitch.fitting.repeats import describe_repeats, find_repeats
from miostitch.schema import NO_FRAME

BOUNDS = np.arange(0, 41, 10)
BUFFERS = len(BOUNDS) - 1


def described(number: I64, loss: float, seed: int) -> FrameTable:
    """A table of frames of which buffers are lost; of equal numbers the same ones are."""
    lost = np.random.default_rng(seed).random((number.max() + 1, BUFFERS)) < loss
    have = (~lost << np.arange(BUFFERS)).sum(axis=1).astype(np.uint64)[number]
    table = FrameTable.blank(len(number))
    return replace(table, frame_num=number, buffers=have, whole_buffers=have)


def noise(count: int, seed: int = 0) -> U8:
    return np.random.default_rng(seed).integers(0, 200, (count, 4, 10)).astype(np.uint8)


def reader(images: U8) -> Callable[[I64], U8]:
    return images.__getitem__


@given(data=st.data())
def test_stretches_that_are_written_again_are_found_wherever_they_stand(
    data: st.DataObject,
) -> None:
    number = np.arange(200) + 7
    seed = data.draw(st.integers(0, 99))
    length = data.draw(st.integers(14, 60))
    start = data.draw(st.integers(0, 200 - length))
    later = data.draw(st.integers(0, 200 - length - start))
    times = data.draw(st.integers(1, 3))
    at = start + length + later
    order = [*range(at), *[*range(start, start + length)] * times, *range(at, 200)]
    table = described(number[order], data.draw(st.sampled_from([0, 0.1, 0.5])), seed)
    pairs = find_repeats(table, reader(noise(200)[order]), BOUNDS)
    wanted = np.arange(at, at + times * length)
    left = table.frame_num.copy()
    left[pairs[:, 0]] = NO_FRAME
    assert len(counter_resets(left[left >= 0])) == 0  # what is left meets by its number
    assert len(pairs) > length // 2 or len(counter_resets(table.frame_num)) == 0
    np.testing.assert_array_equal(np.setdiff1d(pairs[:, 0], wanted), [])
    np.testing.assert_array_equal(np.array(order)[pairs[:, 0]], np.array(order)[pairs[:, 1]])
    assert (pairs[:, 1] < at).all()


@given(start=st.integers(0, 150), seed=st.integers(0, 99))
def test_a_device_that_restarted_repeats_nothing(start: int, seed: int) -> None:
    number = np.concatenate([np.arange(100, 300), np.arange(start, start + 150)])
    table = described(number, 0.1, seed)
    assert len(find_repeats(table, reader(noise(350, seed)), BOUNDS)) == 0


def test_the_dark_repeats_nothing() -> None:
    """A covered sensor has zeros, a pixel that is always bright, and now and then a bright one."""
    images = np.zeros((200, 4, 10), np.uint8)
    images[:, 1, 3] = 255
    images[::17, 2, 2] = 1
    table = described(np.concatenate([np.arange(100), np.arange(100)]), 0, 0)
    assert len(find_repeats(table, reader(images), BOUNDS)) == 0


def test_repeats_are_named_by_where_they_stand_and_what_they_repeat() -> None:
    number = np.concatenate([np.arange(500, 560), np.arange(510, 530), np.arange(560, 580)])
    pairs = find_repeats(described(number, 0, 0), reader(noise(60)[np.arange(100) % 60]), BOUNDS)
    assert len(pairs) == 0  # whose pixels are others
    order = [*range(60), *range(10, 30), *range(60, 80)]
    pairs = find_repeats(described(number, 0, 0), reader(noise(80)[order]), BOUNDS)
    assert describe_repeats(pairs, number) == (
        "frames 60 to 79 (frame_num 510 to 529, first in frame 10) repeat earlier ones, "
        "pixel by pixel"
    )
    many = [*range(60), *[*range(10, 30)] * 5, *range(60, 80)]
    number = np.array(many) + 500
    said = describe_repeats(
        find_repeats(described(number, 0, 0), reader(noise(80)[many]), BOUNDS), number
    )
    assert said.endswith(
        "first in frame 10), and in 2 more places repeat earlier ones, pixel by pixel"
    )
