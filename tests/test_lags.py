"""The lag between pictures and table: found where the evidence is clear, and else not claimed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import miostitch
from miostitch.frame_table import FrameTable
from miostitch.lags import LAGS, MOST_PICTURES, Lag, measure_lag
from miostitch.opening import ReadOptions, open_files

BOUNDS = np.array([0, 5, 10, 15, 19])
BUFFERS = len(BOUNDS) - 1
NO_FRAMES = np.empty(0, np.int64)

Bools = NDArray[np.bool_]


def losses(frames: int, share: float, seed: int = 0) -> Bools:
    """Buffers that get lost, (frame, buffer); never all of a frame."""
    lost = np.random.default_rng(seed).random((frames, BUFFERS)) < share
    lost[lost.all(axis=1), 0] = False
    return lost


def table_of(lost: Bools) -> FrameTable:
    table = FrameTable.blank(len(lost))
    table.buffers[:] = (~lost @ (1 << np.arange(BUFFERS))).astype(np.uint64)
    table.num_rows[:] = (~lost).sum(axis=1)
    return table


def pictures_of(black: Bools) -> NDArray[np.uint8]:
    """Noise, all zero in some ranges."""
    pictures = np.random.default_rng(1).integers(1, 255, (len(black), 1, BOUNDS[-1]), np.uint8)
    pictures[:, 0][np.repeat(black, np.diff(BOUNDS), axis=1)] = 0
    return pictures


def shifted(lost: Bools, lag: int) -> Bools:
    """What is lost of each picture, where picture i + lag belongs to frame i."""
    black = np.zeros_like(lost)
    black[max(0, lag) : len(lost) + min(0, lag)] = lost[max(0, -lag) : len(lost) - max(0, lag)]
    return black


def measured(
    lost: Bools,
    pictures: NDArray[np.uint8],
    holes: NDArray[np.int64] = NO_FRAMES,
    starts: tuple[int, ...] = (0,),
    asked: list[int] | None = None,
) -> Lag:
    def read(frames: NDArray[np.int64]) -> NDArray[np.uint8]:
        assert not np.isin(frames, holes).any()
        if asked is not None:
            asked.extend(frames.tolist())
        return pictures[frames]

    return measure_lag(table_of(lost), BOUNDS, (*starts, len(lost)), read, holes)


@given(st.integers(0, 2**32), st.integers(-3, 3), st.sampled_from([0.0, 0.02, 0.2, 0.6]))
def test_a_claimed_lag_is_the_true_one(seed: int, lag: int, share: float) -> None:
    lost = losses(150, share, seed)
    found = measured(lost, pictures_of(shifted(lost, lag)))
    assert found.lag == lag if share else found == Lag()
    assert found.matches == found.missing
    assert found.matches_unshifted == found.matches if lag == 0 else found.matches_unshifted >= 0


@given(st.integers(0, 2**32), st.integers(4, 9), st.sampled_from([1, -1]), st.integers(1, 30))
def test_a_lag_beyond_those_tried_is_not_taken_for_a_nearer_one(
    seed: int, lag: int, sign: int, burst: int
) -> None:
    starts = losses(240, 0.01, seed)
    lost = np.logical_or.reduce([shifted(starts, step) for step in range(burst)])
    lost[lost.all(axis=1), 0] = False
    assert measured(lost, pictures_of(shifted(lost, sign * lag))).lag is None


@given(st.integers(0, 2**32), st.integers(-3, 3), st.integers(2, 12))
def test_bursts_over_neighbouring_frames(seed: int, lag: int, burst: int) -> None:
    starts = losses(250, 0.01, seed)
    lost = np.logical_or.reduce([shifted(starts, step) for step in range(burst)])
    lost[lost.all(axis=1), 0] = False
    assume(starts[10:-20].any(axis=1).sum() >= 8)
    assert measured(lost, pictures_of(shifted(lost, lag))).lag == lag


def test_burst_begin_and_end_tell_the_lag() -> None:
    lost = np.zeros((200, BUFFERS), bool)
    for start in range(10, 180, 30):
        lost[start : start + 9, 2] = True
    found = measured(lost, pictures_of(shifted(lost, 2)))
    assert found.lag == 2
    assert found.missing == found.matches > found.matches_unshifted


@given(st.integers(0, 2**32), st.integers(-3, 3))
def test_dark_scenes_tell_nothing(seed: int, lag: int) -> None:
    lost = losses(150, 0.1, seed)
    black = shifted(lost, lag)
    assert measured(lost, pictures_of(np.ones_like(lost))).lag is None
    black[:, [0, 3]] = True  # corners that no light reaches
    assert measured(lost, pictures_of(black)).lag == lag
    black[np.random.default_rng(seed).random(150) < 0.3] = True  # and light that flickers
    assert measured(lost, pictures_of(black)).lag in (lag, None)


def test_dark_pictures_at_a_distance_from_losses_are_no_lag() -> None:
    lost = np.zeros((200, BUFFERS), bool)
    lost[10:190:9, 1] = True
    dark = np.zeros_like(lost)
    dark[12:192:9] = True  # each loss swallowed, and a dark picture two frames later
    assert measured(lost, pictures_of(dark)).lag is None


@pytest.mark.parametrize(("share", "lag"), [(0.05, 2), (0.6, None), (1.0, None)])
def test_pixels_without_a_row(share: float, lag: int | None) -> None:
    lost = losses(250, 0.1)
    black = shifted(lost, 2)
    black[np.random.default_rng(3).random(len(black)) < share] = False
    assert measured(lost, pictures_of(black)).lag == lag


def test_padding_is_no_lost_buffer() -> None:
    lost = losses(250, 0.1)
    pictures = pictures_of(shifted(lost, 0))
    pictures[3::2, 0, 6:10] = 0  # all but the first pixel of buffer 1
    assert measured(lost, pictures).lag == 0


@pytest.mark.parametrize(("frames", "lag"), [(2, None), (3, 1)])
def test_two_frames_are_no_evidence(frames: int, lag: int | None) -> None:
    lost = np.zeros((60, BUFFERS), bool)
    lost[10 : 10 + 9 * frames : 9, :3] = True
    found = measured(lost, pictures_of(shifted(lost, 1)))
    assert found == Lag(lag, 3 * frames, 3 * frames if lag else 0, 0)


def test_a_buffer_that_never_comes_tells_nothing() -> None:
    lost = np.zeros((100, BUFFERS), bool)
    lost[:, 3] = True
    assert measured(lost, pictures_of(lost)) == Lag()
    assert str(Lag()) == "no missing buffer was there to tell it by"


@pytest.mark.parametrize("frames", [1, 6, 200, 256, 257, 20_000])
@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5])
def test_few_pictures_are_read_and_from_all_over(frames: int, share: float) -> None:
    lost, asked = losses(frames, share), list[int]()
    measured(lost, pictures_of(lost), asked=asked)
    assert len(asked) == len(set(asked)) <= MOST_PICTURES
    if frames == 20_000 and share == 0.5:
        assert len(asked) > 0.9 * MOST_PICTURES
        assert np.diff(asked).max() < 2 * frames / (MOST_PICTURES / len(LAGS))
        assert (asked[0], asked[-1]) > (-1, 0.99 * frames)


def test_holes_and_seams_are_kept_clear_of() -> None:
    lost, asked = losses(200, 0.3), list[int]()
    black = shifted(lost, 1)
    black[100:] = shifted(lost[100:], 1)
    holes = np.array([0, 50, 51, 199])
    found = measured(lost, pictures_of(black), holes, (0, 100), asked)
    assert found.lag == 1
    assert found.matches == found.missing
    across = measured(lost, pictures_of(black), holes)
    assert across.matches < across.missing


def test_more_buffers_than_a_table_can_show() -> None:
    table = table_of(losses(99, 0.3))
    found = measure_lag(table, np.arange(66), [0, 99], lambda _: pytest.fail("read"), NO_FRAMES)
    assert found == Lag()


KINDS: dict[str, dict[str, float]] = {
    "usual": {},
    "flips": {"header_flips": 0.1},
    "resets": {"resets": 2},
    "half a percent": {"buffer_loss": 0.005, "frame_loss": 0, "overrun": 0, "truncation": 0},
    "bursts": {"bursts": 0.5, "burst_length": 20, "overrun": 0.03, "truncation": 0.03},
}


@pytest.mark.parametrize("lag", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_simulated_sessions(kind: str, lag: int, tmp_path: Path) -> None:
    size = {"height": 30, "width": 40, "frames": 400}
    config = miostitch.SimulationConfig(lag=lag, **size, **KINDS[kind])  # type: ignore[arg-type]
    for video in miostitch.simulate(tmp_path, config).recordings:
        assert open_files(video, ReadOptions()).measured_lag.lag == lag


def test_lag_of_real_recordings(recordings: Path) -> None:
    def lag_of(name: str) -> Lag:
        return open_files(recordings / f"{name}.avi", ReadOptions()).measured_lag

    assert lag_of("stitch/video1") == Lag(1, 18, 18, 0)
    assert lag_of("stitch/video2") == Lag()  # all its buffers were received
    for name, missing in {"receiver1": 43, "receiver2": 43, "receiver3": 42, "truth": 23}.items():
        assert lag_of(f"capture3/{name}") == Lag(0, missing, missing, missing)
