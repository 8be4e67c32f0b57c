"""One frame per tick of the device's counter, whatever was received."""

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from miostitch.editing.regular import FILLS, Fill, RegularFrames
from miostitch.errors import InputError

TICKS = st.lists(st.integers(0, 60), min_size=1, max_size=20, unique=True).map(sorted)


def slow(ticks: list[int], most: int) -> list[tuple[int, int, int]]:
    """Previous and following frame and tick of every frame, one after the other."""
    frames = []
    for place, tick in enumerate(ticks):
        frames.append((place, place, tick))
        if place + 1 < len(ticks) and ticks[place + 1] - tick - 1 <= most:
            frames += [(place, place + 1, n) for n in range(tick + 1, ticks[place + 1])]
    return frames


@given(TICKS, st.integers(0, 12))
def test_every_tick_has_a_frame(ticks: list[int], most: int) -> None:
    found = RegularFrames.of(np.array(ticks), most)
    times = found.fit(0.05 * (np.array(ticks) - ticks[0]))
    previous, following, numbers = map(list, zip(*slow(ticks, most), strict=True))
    assert found.previous.tolist() == previous
    assert found.following.tolist() == following
    assert found.frame_num.tolist() == numbers
    assert found.filled.tolist() == [a != b for a, b in zip(previous, following, strict=True)]
    np.testing.assert_allclose(times.seconds, 0.05 * (np.array(numbers) - ticks[0]), atol=1e-9)
    assert times.worst_s < 1e-9
    # an epoch is a run of ticks, and they are all of the frames
    steps = np.flatnonzero(np.diff(numbers) != 1)
    ends = [*zip([0, *steps + 1], [*steps, len(numbers) - 1], strict=True)]
    assert found.epochs == [(int(a), int(b)) for a, b in ends]


@given(
    TICKS, st.sampled_from(FILLS), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1)
)
def test_what_is_filled_does_not_depend_on_blocks(
    ticks: list[int], how: Fill, block: int, other: int, seed: int
) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (len(ticks), 2, 3), np.uint8)
    found = RegularFrames.of(np.array(ticks), 60)
    video = xr.DataArray(frames, dims=("frame", "height", "width")).chunk({"frame": block})
    with dask.config.set(scheduler="sync"):
        made = found.fill(video, how, other).to_numpy()
    assert made.shape[0] == ticks[-1] - ticks[0] + 1
    for frame, (before, after, tick) in enumerate(slow(ticks, 60)):
        expected = frames[before].astype(float)
        if before != after and how == "zero":
            expected = 0 * expected
        elif how == "linear":
            share = (tick - ticks[before]) / max(ticks[after] - ticks[before], 1)
            expected = np.floor(expected * (1 - share) + frames[after] * share + 0.5)
        np.testing.assert_allclose(made[frame], expected, atol=1 if how == "linear" else 0)


def test_a_counter_that_falls_begins_another_epoch() -> None:
    numbers = np.array([7, 8, 10, 1, 2, 4])
    seconds = np.array([0, 1, 3, 3.2, 4.2, 6.2])
    found = RegularFrames.of(numbers, 5)
    assert found.frame_num.tolist() == [7, 8, 9, 10, 1, 2, 3, 4]
    assert found.epochs == [(0, 3), (4, 7)]
    np.testing.assert_allclose(found.fit(seconds).seconds, [0, 1, 2, 3, 3.2, 4.2, 5.2, 6.2])


def test_time_rises_even_if_the_lines_of_epochs_cross() -> None:
    numbers = np.array([0, 1, 2, 3, 0, 1, 2])
    seconds = np.array([0, 0.1, 0.2, 5.0, 5.1, 5.2, 5.3])
    found = RegularFrames.of(numbers, 5).fit(seconds)
    assert (np.diff(found.seconds) > 0).all()
    assert found.worst_s > 1


def test_a_frame_without_a_number_is_refused() -> None:
    with pytest.raises(InputError, match="frame 1 has no frame_num"):
        RegularFrames.of(np.array([3, -1, 5]), 5, "a.avi")
