"""Elapsed time: as received where that makes sense, estimated elsewhere, always rising."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from miostitch.buffers.elapsed_time import measure_time

FPS = Fraction(20)
START = 1.7e9


def test_times_of_reception_are_taken_as_they_are() -> None:
    received = START + np.array([0.0, 0.0501, 0.0998, 0.25])
    found = measure_time(np.array([5, 6, 7, 10]), received, FPS)
    np.testing.assert_allclose(found.seconds, [0, 0.0501, 0.0998, 0.25], atol=1e-6)
    assert not found.estimated.any()
    assert found.start == START


def test_a_frame_without_a_time_is_estimated_by_the_counter() -> None:
    received = START + np.array([0.0, np.nan, 0.4, np.nan])
    found = measure_time(np.array([10, 16, 18, 19]), received, FPS)
    np.testing.assert_allclose(found.seconds, [0, 0.3, 0.4, 0.45], atol=1e-6)
    assert found.estimated.tolist() == [False, True, False, True]


def test_without_numbers_frames_are_evenly_spaced() -> None:
    received = np.array([np.nan, START, np.nan, np.nan, START + 0.3])
    found = measure_time(np.full(5, -1), received, FPS)
    np.testing.assert_allclose(found.seconds, [0, 0.1, 0.2, 0.3, 0.4], atol=1e-6)
    assert found.estimated.tolist() == [True, False, True, True, False]


def test_without_any_time_the_rate_of_the_video_tells() -> None:
    found = measure_time(np.full(3, -1), np.full(3, np.nan), FPS)
    assert found.seconds.tolist() == [0, 0.05, 0.1]
    assert found.estimated.all()


@pytest.mark.parametrize("wrong", [-3600.0, 3600.0])
def test_a_wrong_time_is_left_out_alone(wrong: float) -> None:
    received = START + 0.05 * np.arange(100.0)
    received[40] += wrong
    found = measure_time(np.arange(100), received, FPS)
    np.testing.assert_allclose(found.seconds, 0.05 * np.arange(100), atol=1e-6)
    assert np.flatnonzero(found.estimated).tolist() == [40]


def test_a_counter_that_jumps_does_not_stretch_the_time() -> None:
    received = START + 0.05 * np.arange(6.0)
    received[2:4] = np.nan
    found = measure_time(np.array([1, 2, 2**30, 4, 5, 6]), received, FPS)
    np.testing.assert_allclose(found.seconds, 0.05 * np.arange(6), atol=0.03)


def test_no_frames() -> None:
    found = measure_time(np.empty(0, np.int64), np.empty(0), FPS)
    assert len(found.seconds) == len(found.estimated) == 0


@given(st.data(), st.integers(1, 60))
def test_time_is_finite_and_rises(data: st.DataObject, count: int) -> None:
    """Whatever was received: any order, any counter, any gaps."""
    offset = st.floats(0, 3e4) | st.just(np.nan) | st.sampled_from([0.0, 1.0, 1 + 1e-7])
    received = START + data.draw(arrays(np.float64, count, elements=offset))
    number = st.integers(-1, 100) | st.integers(-1, 2**40)
    frame_num = data.draw(arrays(np.int64, count, elements=number))
    found = measure_time(frame_num, received, FPS)
    assert np.isfinite(found.seconds).all()
    assert found.seconds[0] == 0
    assert (np.diff(found.seconds) > 0).all()
    kept = np.flatnonzero(~found.estimated)
    np.testing.assert_allclose(np.diff(found.seconds[kept]), np.diff(received[kept]), atol=1e-6)
    if np.isfinite(received).any():
        assert len(kept)
        start = received[kept[0]] - found.seconds[kept[0]]
        np.testing.assert_allclose(found.start, start, atol=1e-6)
