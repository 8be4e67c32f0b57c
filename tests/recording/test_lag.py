"""The lag between pictures and table: found where the evidence is clear, and else not claimed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import miostitch
from miostitch.buffers.frame_table import FrameTable
from miostitch.recording.files import ReadOptions
from miostitch.recording.lag import (
    LAGS,
    MOST_PICTURES,
    Lag,
    Pictures,
    measure_lag,
    measure_shared_lag,
    shared_frames,
)
from miostitch.recording.recording import Recording

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
    table.frame_num[:] = np.where(table.num_rows > 0, np.arange(len(lost)), -1)
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

    starts = (*starts, len(lost))
    return measure_lag(Pictures(table_of(lost), starts, read, holes), BOUNDS)


@given(st.integers(0, 2**32), st.integers(-3, 3), st.sampled_from([0.0, 0.02, 0.2, 0.6]))
def test_a_claimed_lag_is_the_true_one(seed: int, lag: int, share: float) -> None:
    lost = losses(150, share, seed)
    found = measured(lost, pictures_of(shifted(lost, lag)))
    assert found.lag == lag if share else found == Lag()
    assert found.matches == found.looked_at
    if lag == 0:
        assert found.matches_unshifted == found.matches
    else:
        assert found.matches_unshifted < found.matches or not share


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
    assert found.looked_at == found.matches > found.matches_unshifted


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
    assert str(Lag()) == "no missing buffer shows it"


@pytest.mark.parametrize("frames", [1, 6, 200, 256, 257, 20_000])
@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5])
def test_few_pictures_are_read_and_from_all_over(frames: int, share: float) -> None:
    lost, asked = losses(frames, share), list[int]()
    measured(lost, pictures_of(lost), asked=asked)
    assert len(asked) == len(set(asked)) <= MOST_PICTURES
    if frames == 20_000 and share == 0.5:
        assert 0.9 < len(asked) / (MOST_PICTURES / 2) <= 1  # the other witness reads as many
        assert np.diff(asked).max() < 2 * frames / (MOST_PICTURES / 2 / len(LAGS))
        assert (asked[0], asked[-1]) > (-1, 0.99 * frames)


def test_holes_and_seams_are_kept_clear_of() -> None:
    lost, asked = losses(200, 0.3), list[int]()
    black = shifted(lost, 1)
    black[100:] = shifted(lost[100:], 1)
    holes = np.array([0, 50, 51, 199])
    found = measured(lost, pictures_of(black), holes, (0, 100), asked)
    assert found.lag == 1
    assert found.matches == found.looked_at
    across = measured(lost, pictures_of(black), holes)
    assert across.matches < across.looked_at


def heard(
    scene: NDArray[np.uint8],
    lag: int,
    lost: Bools | None = None,
    bad: Bools | None = None,
    asked: list[int] | None = None,
    holes: NDArray[np.int64] = NO_FRAMES,
) -> Pictures:
    """What a receiver has of a scene, (frame, pixel): zeros where lost, wrong bits where bad."""
    lost = np.zeros((len(scene), BUFFERS), bool) if lost is None else lost
    received = scene.copy()
    if bad is not None:
        received[:, BOUNDS[:-1]] ^= bad
    received[np.repeat(lost, np.diff(BOUNDS), axis=1)] = 0
    pictures = np.full_like(scene, 99)
    pictures[max(0, lag) : len(scene) + min(0, lag)] = received[
        max(0, -lag) : len(scene) - max(0, lag)
    ]

    def read(frames: NDArray[np.int64]) -> NDArray[np.uint8]:
        assert not np.isin(frames, holes).any()
        if asked is not None:
            asked.extend(frames.tolist())
        return pictures[frames][:, None]

    table = table_of(lost)
    table.whole_buffers[:] = table.buffers
    table.frame_num[:] = 500 + np.arange(len(scene))
    return Pictures(table, (0, len(scene)), read, holes)


def noise(frames: int, values: int = 255, seed: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, values, (frames, BOUNDS[-1]), np.uint8)


def compared(mine: Pictures, other: Pictures, other_lag: int = 0, partners: int = 1) -> Lag:
    return measure_shared_lag(mine, other, other_lag, BOUNDS, name="rec", partners=partners)


SEEDS, NEAR = st.integers(0, 2**32), st.integers(-3, 3)


@given(SEEDS, NEAR, NEAR, st.sampled_from([0, 0.1, 0.5]), st.sampled_from([0, 0.2, 0.4]))
def test_shared_buffers_tell_the_lag(
    seed: int, lag: int, other_lag: int, share: float, errors: float
) -> None:
    rng = np.random.default_rng(seed)
    first, second = (rng.random((120, BUFFERS)) < errors for _ in range(2))
    scene, gone = noise(120), losses(120, share, seed)
    mine = heard(scene, lag, gone, first)
    other = heard(scene, other_lag, losses(120, share, seed + 1), second)
    found = compared(mine, other, other_lag)
    assert found.shared_with == "rec"
    if found.lag is None:  # seen where half is lost and nearly half of the rest is wrong
        assert (share, errors) == (0.5, 0.4)
        return
    assert found.lag == lag
    assert (found.matches == found.looked_at) == (not errors)
    assert found.matches_unshifted == (0 if lag else found.matches)


@pytest.mark.parametrize("lag", [0, 2])
def test_scenes_that_stand_still_tell_nothing(lag: int) -> None:
    still = np.repeat(noise(1), 100, axis=0)
    for scene in (still, still * 0, still * 0 + 255):
        assert compared(heard(scene, lag), heard(scene, 0)) == Lag(shared_with="rec")
    flicker = noise(2)[np.arange(100) % 2]
    found = compared(heard(flicker, lag), heard(flicker, 0))
    assert (found.lag, found.looked_at > 300) == (None, True)
    bright = np.where(np.arange(100) % 2, 255, 0).astype(np.uint8)[:, None] + still * 0
    assert compared(heard(bright, lag), heard(bright, 0)) == Lag(shared_with="rec")


@given(SEEDS, NEAR, st.integers(2, 40))
def test_what_moves_in_a_still_scene_tells_the_lag(seed: int, lag: int, stills: int) -> None:
    scene = noise(120)
    scene[:, BOUNDS[1] :] = scene[0, BOUNDS[1] :]  # all but one buffer
    for start in np.random.default_rng(seed).integers(0, 120, 2):
        scene[start : start + stills] = scene[start]
    found = compared(heard(scene, lag), heard(scene, 0))
    assert found.lag == lag
    assert found.matches == found.looked_at < 120


@given(SEEDS, st.integers(4, 9), st.sampled_from([1, -1]), st.integers(2, 255))
def test_neighbours_alike_by_chance_are_no_shared_lag(
    seed: int, lag: int, sign: int, values: int
) -> None:
    scene = np.repeat(noise(150, values, seed)[:, ::5], 5, axis=1)[:, : BOUNDS[-1]]
    scene = scene ^ np.arange(BOUNDS[-1]).astype(np.uint8)  # no buffer of one single value
    assert compared(heard(scene, sign * lag), heard(scene, 0)).lag is None
    assert compared(heard(scene, lag % 4), heard(scene, 0)).lag in (lag % 4, None)


def test_a_few_alike_by_accident_are_no_shared_lag() -> None:
    scene, other = noise(100), noise(100, seed=2)
    other[20:60:10] = scene[21:61:10]
    found = compared(heard(scene, 0), heard(other, 0))
    assert (found.lag, found.matches) == (None, 0)


@pytest.mark.parametrize(("slip", "lag"), [(100, None), (150, None), (190, 0)])
def test_a_lag_that_changes_midway_is_no_lag(slip: int, lag: int | None) -> None:
    scene = noise(200)
    slipped = np.concatenate([scene[:slip], scene[slip - 1 : -1]])
    assert compared(heard(slipped, 0), heard(scene, 0)).lag == lag


def test_buffers_lost_by_both_are_not_shared() -> None:
    both = losses(200, 0.3)
    scene, other = noise(200), noise(200, seed=2)
    found = compared(heard(scene, 1, both), heard(other, 1, both))
    assert found.lag is None
    assert found.matches == 0


@pytest.mark.parametrize(("frames", "lag"), [(2, None), (3, 1)])
def test_two_shared_frames_are_no_evidence(frames: int, lag: int | None) -> None:
    mine, other = (heard(noise(60), 1) for _ in range(2))
    other.frames.frame_num[10 + frames :] += 1000
    other.frames.frame_num[:10] += 1000
    count = frames * BUFFERS
    assert compared(mine, other, 1) == Lag(lag, count, count if lag else 0, 0, "rec")


@pytest.mark.parametrize(("frames", "partners"), [(256, 9), (257, 1), (5000, 1), (5000, 16)])
def test_few_shared_pictures_are_read_and_from_all_over(frames: int, partners: int) -> None:
    asked: tuple[list[int], list[int]] = ([], [])
    mine, other = (heard(noise(frames), lag, None, None, asked[lag]) for lag in (1, 0))
    assert compared(mine, other, 0, partners).lag == 1
    most = MOST_PICTURES // 2 if frames > MOST_PICTURES else frames
    for own, limit in ((asked[1], most), (asked[0], most if frames == 256 else most // partners)):
        assert len(own) == len(set(own)) <= limit
        assert max(own) - min(own) > 0.97 * frames - 6


def test_shared_frames_at_holes_and_seams_are_kept_clear_of() -> None:
    holes = np.array([0, 50, 51, 119])
    mine, other = (heard(noise(120), lag, holes=holes) for lag in (2, -1))
    mine = replace(mine, first_frames=(0, 30, 120))
    found = compared(mine, other, -1)
    assert found.lag == 2
    clear = np.ones(120, bool)
    for edge in (0, 30, 120):
        clear[max(0, edge - 3) : edge + 3] = False
    for hole in holes:
        clear[max(0, hole - 3) : hole + 4] = False
    assert found.matches == found.looked_at == BUFFERS * clear.sum()


def unread(_: NDArray[np.int64]) -> NDArray[np.uint8]:
    pytest.fail("read")


@given(st.lists(st.integers(-1, 9), max_size=12), st.lists(st.integers(-1, 9), max_size=12))
def test_shared_frames_have_a_number_of_their_own(first: list[int], second: list[int]) -> None:
    pictures = []
    for numbers in (first, second):
        table = FrameTable.blank(len(numbers))
        table.frame_num[:] = numbers
        pictures.append(Pictures(table, (0, len(numbers)), unread, NO_FRAMES))
    expected = [
        (first.index(n), second.index(n))
        for n in range(10)
        if first.count(n) == second.count(n) == 1
    ]
    found = shared_frames(*pictures)
    assert [*zip(*(each.tolist() for each in found), strict=True)] == expected


def test_excluded_and_padded_buffers_are_not_shared() -> None:
    mine, other = (heard(noise(60), 1) for _ in range(2))
    mine.frames.excluded[20] = other.frames.excluded[30] = 1
    other.frames.whole_buffers[40] -= np.uint64(1)
    assert compared(mine, other, 1).looked_at == compared(other, mine, 1).looked_at == 54 * 4 - 3


def test_more_buffers_than_a_table_can_show() -> None:
    table = table_of(losses(99, 0.3))
    pictures = Pictures(table, [0, 99], unread, NO_FRAMES)
    found = measure_lag(pictures, np.arange(66))
    assert found == Lag()
    bounds = np.arange(66)
    assert measure_shared_lag(pictures, pictures, 0, bounds, name="rec") == Lag()


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
        assert Recording.open(video, ReadOptions(lag="auto")).measured_lag.lag == lag


def test_lag_of_real_recordings(recordings: Path) -> None:
    def lag_of(name: str) -> Lag:
        return Recording.open(recordings / f"{name}.avi", measure=True).measured_lag

    assert lag_of("stitch/video1") == Lag(1, 18, 18, 0)
    assert lag_of("stitch/video2") == Lag()  # all its buffers were received; see test_shared_lag
    for name, missing in {"receiver1": 43, "receiver2": 43, "receiver3": 42, "truth": 23}.items():
        assert lag_of(f"capture3/{name}") == Lag(0, missing, missing, missing)
