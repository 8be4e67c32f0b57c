"""Scores of candidates, and the choice among them, against sorting by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from miostitch.config.thresholds import ScoreConfig
from miostitch.kernels.scores import score_frames
from miostitch.schema import PIXEL_SCORES
from miostitch.stitching.selection import (
    find_alike,
    find_equal,
    prefer_likely,
    score_candidates,
    score_pixels,
    select,
)

SMALL = st.integers(0, 2)


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    shape = (draw(st.integers(1, 4)), draw(st.integers(0, 6)))
    present = draw(hnp.arrays(bool, shape))
    return present, *(draw(hnp.arrays(np.int64, shape, elements=SMALL)) for _ in range(3))


@given(tables())
def test_best_score_wins_and_ties_go_to_the_first(scores: tuple[np.ndarray, ...]) -> None:
    present, num_buffers, flaws, edges = scores
    choice = select(present, num_buffers, flaws, edges)
    for frame in range(present.shape[1]):
        ranked = sorted(
            (-num_buffers[r, frame], flaws[r, frame], edges[r, frame], r)
            for r in range(len(present))
            if present[r, frame]
        )
        assert choice.source[frame] == (ranked[0][-1] if ranked else -1)
        assert choice.other[frame] == (ranked[1][-1] if len(ranked) > 1 else -1)
        assert choice.tie[frame] == (len(ranked) > 1 and ranked[0][:2] == ranked[1][:2])


def test_criteria_come_in_order() -> None:
    present = np.ones((2, 3), bool)
    num_buffers = np.array([[8, 8, 8], [7, 8, 8]])
    flaws = np.array([[900, 5, 5], [0, 4, 5]])
    edges = np.array([[900, 1, 6], [0, 9, 5]])
    choice = select(present, num_buffers, flaws, edges)
    assert choice.source.tolist() == [0, 1, 1]
    assert choice.tie.tolist() == [False, False, True]


@given(tables(), st.data())
def test_the_likeliest_is_preferred_and_the_rule_decides_between_equals(
    scores: tuple[np.ndarray, ...], data: st.DataObject
) -> None:
    rule, present = select(*scores), scores[0]
    elements = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    likely = data.draw(hnp.arrays(np.float32, present.shape, elements=elements))
    likely[~present] = -1
    choice = prefer_likely(rule, likely)
    for frame in range(present.shape[1]):
        one, other = int(rule.source[frame]), int(rule.other[frame])
        best = max(likely[:, frame])
        if one == -1 or likely[one, frame] == best:
            expected = one, other, rule.tie[frame]
        else:  # what stood against the choice is the one that the rule had made
            preferred = likely[:, frame].tolist().index(best)
            expected = preferred, one, rule.tie[frame] and preferred == other
        assert (choice.source[frame], choice.other[frame], choice.tie[frame]) == expected


@given(st.integers(1, 3), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_scores_are_those_of_every_picture_by_itself(
    recordings: int, frames: int, seed: int
) -> None:
    video = np.random.default_rng(seed).integers(0, 4, (recordings, frames, 6, 7), np.uint8)
    config = ScoreConfig(value_threshold=1, consecutive_threshold=3, gradient_threshold=1.5)
    video[recordings - 1, ::2] = video[0, ::2]
    alike = find_alike(list(video))
    for number, frame in np.ndindex(recordings, frames):
        first = [(video[number, frame] == video[other, frame]).all() for other in range(number + 1)]
        assert alike[number, frame] == first.index(True)
    scores = score_candidates(list(video), alike, config)
    expected = np.empty((3, recordings * frames), np.int64)
    score_frames(video.reshape(-1, 6, 7), 1, 3, 1.5, expected)
    assert scores.dtype == np.int64
    assert scores.shape == (frames, recordings, 3)
    np.testing.assert_array_equal(scores.T, expected.reshape(3, recordings, frames))
    for number in range(recordings):
        np.testing.assert_array_equal(score_pixels(video[number], config), scores[:, number])


@given(st.integers(0, 41), st.integers(1, 255))
def test_frames_that_differ_in_any_pixel_are_not_alike(place: int, by: int) -> None:
    frames = np.arange(3 * 42, dtype=np.uint8).reshape(3, 6, 7)
    others = frames.copy()
    others[1].flat[place] ^= np.uint8(by)
    assert find_equal(frames, others).tolist() == [True, False, True]


def test_scores_come_in_the_order_of_the_schema() -> None:
    [scores] = score_pixels(np.zeros((1, 5, 8), np.uint8), ScoreConfig())
    known = dict(zip([variable.name for variable in PIXEL_SCORES], scores.tolist(), strict=True))
    assert known == {"black_pixels": 40, "noisy_pixels": 0, "edge_energy": 0}
