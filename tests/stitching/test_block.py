"""Gathering, comparing and showing candidates, against NumPy."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miostitch.composing.composition import shared_buffers
from miostitch.composing.learning import learn_model
from miostitch.config.thresholds import ScoreConfig
from miostitch.stitching.block import (
    MARK_DARK,
    MARK_LIGHT,
    PANELS,
    BlockPlan,
    StitchedBlock,
    count_agreement,
    count_differences,
    gather,
    side_by_side,
)
from miostitch.stitching.selection import find_alike, score_pixels, select

Case = tuple[np.ndarray, np.ndarray]


@st.composite
def choices(draw: st.DrawFn) -> Case:
    """Candidates (recording, frame, height, width), and a presence table."""
    recordings, frames = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    seed = draw(st.integers(0, 2**32 - 1))
    video = np.random.default_rng(seed).integers(0, 3, (recordings, frames, 3, 4), np.uint8)
    video[draw(st.integers(0, recordings - 1)), ::2] = video[0, ::2]  # most candidates are alike
    present = np.random.default_rng(seed + 1).random((recordings, frames)) < 0.7
    present[draw(st.integers(0, recordings - 1))] = True
    return video, present


@dataclass(frozen=True)
class Given:
    """Reads what it is given, once."""

    frames: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.frames.shape

    def read(self, out: np.ndarray) -> None:
        out[:] = self.frames


@given(choices(), st.integers(0, 2**32 - 1))
def test_a_block_by_frame_is_chosen_by_what_was_received_and_how_it_looks(
    case: Case, seed: int
) -> None:
    video, present = case
    config = ScoreConfig(value_threshold=1, consecutive_threshold=3, gradient_threshold=1.5)
    table = np.random.default_rng(seed).integers(0, 3, (3, *present.shape))
    num_buffers, padding, missing = table
    delivered = np.where(present, 3, 0).astype(np.uint64)
    known: tuple[Any, ...] = (
        present,
        num_buffers,
        padding,
        missing,
        delivered,
        delivered,
        np.array([0, 5, 12]),
    )
    inputs: Any = (tuple(map(Given, video)), *known, config)
    plan = replace(BlockPlan(*inputs), model=learn_model([]))
    made = plan.make(["video", PANELS], tables=True)
    block = StitchedBlock(**made.tables)
    scores = np.stack([score_pixels(frames, config) for frames in video], axis=1)
    np.testing.assert_array_equal(block.scores, scores)
    black, noisy, edges = scores.T
    choice = select(present, num_buffers, padding + black + noisy, edges)
    np.testing.assert_array_equal(block.source, choice.source)
    for name, column in choice._asdict().items():
        found = getattr(block, "selected" if name == "source" else name)
        np.testing.assert_array_equal(found, column)
    chosen = choice.source, np.arange(len(choice.source))
    np.testing.assert_array_equal(block.missing_pixels, missing[chosen])
    np.testing.assert_array_equal(block.noisy_pixels, noisy[chosen])
    np.testing.assert_array_equal(made.videos["video"], video[chosen])
    np.testing.assert_array_equal(made.videos[PANELS], side_by_side(list(video), present))
    assert block.buffer_source.shape == (len(block.source), 0)


def test_only_what_is_wanted_is_made() -> None:
    class Unread:
        shape = (1, 3, 4)

        def read(self, out: np.ndarray) -> np.ndarray:
            raise AssertionError("read")

    one: Any = np.ones((1, 1), int)
    masks = one.astype(np.uint64)
    known: tuple[Any, ...] = (one > 0, one, one, one, masks, masks, np.array([0, 12]))
    inputs: Any = ((Unread(),), *known, ScoreConfig())
    plan = replace(BlockPlan(*inputs), model=learn_model([]), columns=())
    assert plan.make([], tables=True).tables == {}
    with pytest.raises(AssertionError, match="read"):
        plan.make(["video"], tables=False)


def first_and_next(present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    source = present.argmax(axis=0)
    rest = present & (np.arange(len(present))[:, None] != source)
    return source, np.where(rest.any(axis=0), rest.argmax(axis=0), -1)


@given(choices())
def test_gather_takes_every_frame_from_its_source(
    case: Case,
) -> None:
    video, present = case
    source, _ = first_and_next(present)
    source, before = source.astype(np.int8), video.copy()
    found = gather(video, source)
    np.testing.assert_array_equal(found, before[source, np.arange(len(source))])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(video, before)
    spoilt = gather(video, source, spoil=True)
    np.testing.assert_array_equal(spoilt, found)
    assert np.shares_memory(spoilt, video)


@given(choices())
def test_difference_counts_pixels(case: Case) -> None:
    video, present = case
    source, other = first_and_next(present)
    frames, sides = list(video), (source.astype(np.int8), other.astype(np.int8))
    found = count_differences(frames, find_alike(frames), *sides)
    for frame, (a, b) in enumerate(zip(source, other, strict=True)):
        expected = -1 if b < 0 else (video[a, frame] != video[b, frame]).sum()
        assert found[frame] == expected


@given(choices())
def test_agreement_counts_buffers(case: Case) -> None:
    video, present = case
    bounds = np.array([0, 5, 12])
    delivered = np.where(present, 3, 0).astype(np.uint64)
    found = count_agreement(list(video), find_alike(list(video)), delivered, bounds)
    flat = video.reshape(*video.shape[:2], -1)
    np.testing.assert_array_equal(found, shared_buffers(list(flat), delivered, bounds))


@given(choices())
def test_side_by_side_shows_all_and_the_difference(
    case: Case,
) -> None:
    video, present = case
    shown = side_by_side(list(video), present)
    panels = np.split(shown, len(video) + 1, axis=2)
    for frame in range(video.shape[1]):
        there = [r for r in range(len(video)) if present[r, frame]]
        for number in range(len(video)):
            if number in there:
                np.testing.assert_array_equal(panels[number][frame], video[number, frame])
            else:
                assert set(np.unique(panels[number][frame])) <= {MARK_DARK, MARK_LIGHT}
        differs = (video[there, frame] != video[there[0], frame]).any(axis=0)
        np.testing.assert_array_equal(panels[-1][frame], np.where(differs, 255, 0))


def test_a_missing_candidate_is_no_black_picture() -> None:
    video = np.zeros((2, 1, 40, 40), np.uint8)
    marked = side_by_side(list(video), np.array([[True], [False]]))[0, :, 40:80]
    assert {*np.unique(marked)} == {MARK_DARK, MARK_LIGHT}


def test_a_block_from_one_source_is_not_copied() -> None:
    video = np.ones((2, 3, 2, 2), np.uint8)
    assert np.shares_memory(gather(video, np.ones(3, np.int8)), video)


def test_blocks_are_made_beside_each_other() -> None:
    both = Barrier(2, timeout=20)

    class Meeting(Given):
        def read(self, out: np.ndarray) -> None:
            both.wait()  # breaks where one thread waits for the other one's block
            super().read(out)

    one: Any = np.ones((1, 1), int)
    masks = one.astype(np.uint64)
    known: tuple[Any, ...] = (one > 0, one, one, one, masks, masks, np.array([0, 12]))
    inputs: Any = ((Meeting(np.ones((1, 3, 4), np.uint8)),), *known, ScoreConfig())
    plan = replace(BlockPlan(*inputs), model=learn_model([]))
    with ThreadPoolExecutor(2) as pool:
        made = [*pool.map(lambda _: plan.make(["video"], tables=True), range(2))]
    for block in made:
        np.testing.assert_array_equal(block.videos["video"], np.ones((1, 3, 4)))
