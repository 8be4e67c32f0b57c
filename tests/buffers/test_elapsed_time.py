"""Elapsed time: as received where that makes sense, estimated elsewhere, always rising."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from miostitch.arrays import F64
from miostitch.buffers.elapsed_time import ElapsedTime, join_times, measure_time, read_start
from miostitch.errors import InputError

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


def file_of(start: float, seconds: list[float], estimated: list[bool] | None = None) -> ElapsedTime:
    told = np.array(estimated or [False] * len(seconds))
    return ElapsedTime(np.array(seconds), told, start)


def test_gaps_between_frames_that_are_kept_stay_gaps() -> None:
    whole = file_of(START, [0, 0.05, 0.1, 0.2, 0.25], [False, False, True, False, False])
    kept = np.array([1, 2, 4])
    found = join_times([whole], np.zeros(3, int), kept, np.array([6, 7, 10]), FPS)
    np.testing.assert_allclose(found.seconds, [0, 0.05, 0.2])
    assert found.estimated.tolist() == [False, True, False]
    assert found.start == pytest.approx(START + 0.05, abs=1e-6)


def test_recordings_that_follow_each_other_go_on_by_the_clock() -> None:
    files = [file_of(START, [0, 0.05]), file_of(START + 60, [0, 0.04])]
    found = join_times(files, np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.arange(4), FPS)
    np.testing.assert_allclose(found.seconds, [0, 0.05, 60, 60.04], atol=1e-6)
    assert not found.estimated.any()
    assert found.start == START


@pytest.mark.parametrize("starts", [(START + 60, START), (START, np.nan), (np.nan, np.nan)])
def test_where_the_clock_does_not_rise_times_are_estimated(starts: tuple[float, float]) -> None:
    files = [file_of(start, [0, 0.05]) for start in starts]
    if np.isnan(starts[1]):
        files[1] = file_of(starts[1], [0, 0.05], [True, True])
    found = join_times(files, np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.arange(4), FPS)
    assert (np.diff(found.seconds) > 0).all()
    assert found.estimated.any()


def test_a_recording_without_any_time_keeps_its_gaps() -> None:
    bare = file_of(np.nan, [0, 0.05, 0.1, 0.15], [True] * 4)
    found = join_times([bare], np.zeros(2, int), np.array([1, 3]), np.full(2, -1), FPS)
    np.testing.assert_allclose(found.seconds, [0, 0.1])
    assert found.estimated.all()
    assert found.attrs == {}


@given(st.data())
def test_times_of_any_choice_of_frames_rise_from_zero(data: st.DataObject) -> None:
    steps = st.lists(st.floats(1e-3, 100), min_size=1, max_size=6)
    starts = st.one_of(st.just(np.nan), st.floats(1e9, 2e9))
    files = []
    for start in data.draw(st.lists(starts, min_size=1, max_size=3)):
        seconds = np.cumsum([0, *data.draw(steps)])
        unknown = st.just(True) if np.isnan(start) else st.booleans()
        told = [data.draw(unknown) for _ in seconds]
        files.append(file_of(start, seconds.tolist(), told))
    frames = [(n, f) for n, file in enumerate(files) for f in range(len(file.seconds))]
    chosen = data.draw(st.lists(st.sampled_from(frames), min_size=1, max_size=12))
    origin, frame = np.array(chosen).T
    found = join_times(files, origin, frame, np.full(len(frame), -1), FPS)
    assert found.seconds[0] == 0
    assert np.isfinite(found.seconds).all()
    assert (np.diff(found.seconds) > 0).all()


def test_the_start_is_told_in_utc_and_read_back() -> None:
    told = file_of(1764712600.000207, [0.0]).attrs
    assert told == {"start_time": "2025-12-02T21:56:40.000207+00:00"}
    assert read_start(told) == pytest.approx(1764712600.000207, abs=1e-6)
    assert np.isnan(read_start({}))
    assert [file_of(start, [0.0]).attrs for start in (np.nan, 1e300, -1e17)] == [{}] * 3
    with pytest.raises(InputError, match="start_time 'noon' is no time"):
        read_start({"start_time": "noon"})


def set_clock(true: NDArray[np.floating], steps: dict[int, float]) -> F64:
    """Times by a clock that is set before some frames."""
    clock = np.asarray(START + true, np.float64)
    for frame, step in steps.items():
        clock[frame:] += step
    return clock


@given(
    seed=st.integers(0, 2**32),
    count=st.integers(200, 400),
    lost=st.sampled_from([0, 0.1, 1]),
    steps=st.dictionaries(
        st.integers(1, 4).map(lambda place: 40 * place),
        st.floats(1, 4000) | st.floats(-4000, -1),
        max_size=3,
    ),
    flipped=st.booleans(),
)
def test_a_clock_that_is_set_does_not_change_the_time(
    seed: int, count: int, lost: float, steps: dict[int, float], flipped: bool
) -> None:
    rng = np.random.default_rng(seed)
    frame_num = 5 + np.cumsum(1 + rng.poisson(lost, count))
    true = frame_num / 20 + rng.uniform(0, 0.005, count)
    clock = set_clock(true, steps)
    if flipped:  # bit errors of the counter, which are no loss and no step
        frame_num[17::40] += 512
        frame_num[29::40] -= 3
    found = measure_time(frame_num, clock, FPS)
    np.testing.assert_allclose(found.seconds, true - true[0], atol=0.05)
    right = ~found.estimated
    np.testing.assert_allclose((found.start + found.seconds)[right], clock[right], atol=2e-6)
    edges = [0, *sorted(steps), count]
    assert right.sum() >= max(np.diff(edges))


def test_frames_after_a_step_are_estimated_until_the_clock_is_right_again() -> None:
    clock = set_clock(0.05 * np.arange(300), {100: 300, 180: -300})
    found = measure_time(np.arange(300), clock, FPS)
    np.testing.assert_allclose(found.seconds, 0.05 * np.arange(300), atol=1e-6)
    assert np.flatnonzero(found.estimated).tolist() == [*range(100, 180)]


def test_a_pause_that_the_counter_does_not_count_is_one() -> None:
    """Of a restart, and of a loss that is longer than a counter tells."""
    for frame_num in (np.r_[500:700, 0:200], np.r_[0:200, 7000:7200]):
        clock = set_clock(0.05 * np.arange(400), {200: 300})
        found = measure_time(frame_num, clock, FPS)
        np.testing.assert_allclose(found.seconds, clock - START, atol=1e-6)
        assert not found.estimated.any()


def test_a_counter_that_jumps_for_good_is_not_followed() -> None:
    clock = set_clock(0.05 * np.arange(300), {})
    found = measure_time(np.r_[0:150, 650:800], clock, FPS)
    np.testing.assert_allclose(found.seconds, clock - START, atol=1e-6)
    assert not found.estimated.any()


def test_a_receiver_that_is_busy_for_a_moment_is_no_step() -> None:
    clock = set_clock(0.05 * np.arange(300), {})
    clock[100:110] = clock[110] - 0.001 * np.arange(10, 0, -1)
    clock[200:240] = clock[240] - 0.001 * np.arange(40, 0, -1)
    found = measure_time(np.arange(300), clock, FPS)
    np.testing.assert_allclose(found.seconds, clock - START, atol=1e-6)
    assert not found.estimated.any()
