"""What the two clocks of a recording say, against sessions that are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miostitch.buffers.device_counter import counter_resets
from miostitch.buffers.elapsed_time import frame_interval, measured_rate
from miostitch.session.clocks import (
    Clock,
    counter_shift,
    device_time,
    estimate_clock,
    to_first_clock,
)

EPOCH = 1.7e9


@given(
    boots=st.lists(st.integers(20, 60), min_size=1, max_size=4),
    start=st.sampled_from([0, 2500, 2**32 - 200]),
    seed=st.integers(0, 2**32),
)
def test_resets_are_found_whatever_is_lost_between(boots: list[int], start: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    kept = [np.sort(random.choice(n, n - n // 20, replace=False)) for n in boots]
    kept[0] = kept[0] + start
    expected = np.cumsum([len(boot) for boot in kept])[:-1]
    assert counter_resets(np.concatenate(kept)).tolist() == expected.tolist()


@given(
    flips=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 31)), max_size=10),
    swaps=st.lists(st.integers(0, 97), max_size=20),
    losses=st.lists(st.integers(0, 99), max_size=60),
)
def test_flips_disorder_and_losses_are_no_resets(
    flips: list[tuple[int, int]], swaps: list[int], losses: list[int]
) -> None:
    number = np.delete(np.arange(3000, 3100), losses)
    for at in swaps:
        number[at : at + 2] = number[at : at + 2][::-1]
    for place, bit in flips:  # ten frames apart
        number[10 * place : 10 * place + 1] ^= 1 << bit
    assert counter_resets(number).tolist() == []


@pytest.mark.parametrize(
    ("last", "first"),
    [([499, 500], [7, 1, 2]), ([500, 9000], [0, 1, 2]), ([499, 500], [0, 9000, 2])],
)
def test_a_flip_beside_a_reset(last: list[int], first: list[int]) -> None:
    number = np.array([*range(480, 499), *last, *first, *range(3, 30)])
    assert counter_resets(number).tolist() == [19 + len(last)]


def test_three_frames_confirm_a_reset() -> None:
    number = np.arange(100, 150)
    assert counter_resets(np.append(number, [0, 1, 2])).tolist() == [50]
    assert counter_resets(np.append(number, [0, 1])).tolist() == []


@given(st.integers(0, 2**32), st.floats(-200, 200), st.sampled_from([-1.0, 0.0, 0.7]))
def test_device_time_heeds_neither_drift_nor_steps_nor_flips(
    seed: int, drift_ppm: float, step: float
) -> None:
    random = np.random.default_rng(seed)
    number = np.flatnonzero(random.random(600) > 0.1)
    time = EPOCH + 0.05 * (1 + drift_ppm * 1e-6) * number + random.uniform(0, 0.005, len(number))
    time[300:] += step
    flipped = number.copy()
    flipped[5::20] ^= 1 << 9
    interval = frame_interval(flipped, time)
    assert interval == pytest.approx(0.05, rel=1e-3)
    away = np.abs(device_time(flipped, time, interval) - number)
    assert away.max() < 0.25


def test_numbers_that_do_not_rise_have_no_interval() -> None:
    assert np.isnan(frame_interval(np.zeros(9, np.int64), np.arange(9.0)))
    assert np.isnan(frame_interval(np.arange(1), np.zeros(1)))


@given(st.integers(0, 2**32), st.integers(-2000, 2000))
def test_irregularities_tell_how_far_counters_are_apart(seed: int, shift: int) -> None:
    random = np.random.default_rng(seed)
    sent = EPOCH + 0.05 * np.arange(2000) + random.normal(0, 0.002, 2000)
    pair = []
    for start, stop in ((0, 1500), (400, 2000)):
        frame = np.arange(start, stop)[random.random(stop - start) > 0.1]
        pair.append((frame, sent[frame] + random.normal(0, 0.001, len(frame))))
    (first, first_time), (second, second_time) = pair
    second_time[800:] -= 1.0
    found = counter_shift((first, first_time), (second - shift, second_time + 3), 0.05)
    assert found == shift


@given(st.integers(0, 2**32), st.booleans())
def test_no_common_irregularity_is_no_shift(seed: int, periodic: bool) -> None:
    random = np.random.default_rng(seed)
    number = np.arange(1000)
    sent = EPOCH + 0.05 * number + 0.002 * (number % 3 == 0) * periodic
    first, second = (sent + random.uniform(0, 0.0005, 1000) for _ in range(2))
    assert counter_shift((number, first), (number, second), 0.05) is None


@given(
    offset=st.sampled_from([-3.0, 0.03, 3.0, 3600.0]),
    drift_ppm=st.sampled_from([-100.0, 20.0, 100.0]),
    seed=st.integers(0, 2**32),
)
def test_times_come_back_to_the_first_clock(offset: float, drift_ppm: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    reference = np.asarray(EPOCH + 0.5 * np.arange(4000), np.float64)
    time = reference + offset + drift_ppm * 1e-6 * (reference - EPOCH)
    time += random.uniform(-0.001, 0.001, len(time))
    time[::50] += 0.3  # late ones
    clock = estimate_clock(np.append(time, np.nan), np.append(reference, 0.0))
    assert clock.frames == 4000
    assert clock.drift_ppm == pytest.approx(drift_ppm, abs=1)
    back = np.abs(to_first_clock(time, clock) - reference)
    assert np.median(back) < 0.001
    assert np.delete(back, slice(None, None, 50)).max() < 0.005


def test_a_step_or_scatter_is_no_drift() -> None:
    random = np.random.default_rng(1)
    reference = np.asarray(EPOCH + 0.05 * np.arange(3000), np.float64)
    scattered = reference + 3 + random.uniform(0, 0.005, 3000)
    assert estimate_clock(scattered, reference).drift_ppm is None
    stepped = scattered - (np.arange(3000) > 1700)
    clock = estimate_clock(stepped, reference)
    assert clock.drift_ppm is None
    assert clock.offset_s == pytest.approx(3, abs=0.01)


def test_without_shared_frames_times_stay() -> None:
    clock = estimate_clock(np.array([1.0, np.nan]), np.array([np.nan, 1.0]))
    assert clock.frames == 0
    assert to_first_clock(np.array([5.0]), clock).tolist() == [5.0]
    assert estimate_clock(np.array([4.0]), np.array([1.0])) == Clock(3.0, None, 1, 4.0)


@pytest.mark.parametrize("wrong", [-1.7e9, -3600.0, 3600.0, 1e9])
def test_a_clock_that_was_set_does_not_change_the_rate(wrong: float) -> None:
    """As that of a receiver that begins in 1970 and asks a time server later."""
    time = 1.7e9 + 0.05 * np.arange(105.0)
    time[:30] += wrong
    assert measured_rate(np.arange(105), time) == pytest.approx(20, rel=1e-3)


def test_a_rate_of_nothing_is_none() -> None:
    assert measured_rate(np.array([1, 2]), np.array([0.0, 1e9])) is None
