"""Gathering, comparing and showing candidates, against NumPy, in any chunking."""

from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from miostitch.stitching.composition import shared_buffers
from miostitch.stitching.gather import (
    MARK_DARK,
    MARK_LIGHT,
    agreement,
    difference,
    gather,
    side_by_side,
)
from miostitch.stitching.scoring import alike

pytestmark = pytest.mark.usefixtures("one_thread")


@st.composite
def choices(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Candidates (recording, frame, height, width), a presence table, a block size."""
    recordings, frames = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    seed = draw(st.integers(0, 2**32 - 1))
    video = np.random.default_rng(seed).integers(0, 3, (recordings, frames, 3, 4), np.uint8)
    video[draw(st.integers(0, recordings - 1)), ::2] = video[0, ::2]  # most candidates are alike
    present = np.random.default_rng(seed + 1).random((recordings, frames)) < 0.7
    present[draw(st.integers(0, recordings - 1))] = True
    return video, present, draw(st.integers(1, frames))


def lazy(video: np.ndarray, block: int) -> xr.DataArray:
    array = xr.DataArray(video, dims=("recording", "frame", "height", "width"))
    return array.chunk({"recording": 1, "frame": block})


def along_frame(values: Any, block: int) -> xr.DataArray:
    return xr.DataArray(np.asarray(values, np.int8), dims="frame").chunk({"frame": block})


def first_and_next(present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    source = present.argmax(axis=0)
    rest = present & (np.arange(len(present))[:, None] != source)
    return source, np.where(rest.any(axis=0), rest.argmax(axis=0), -1)


@given(choices())
def test_gather_takes_every_frame_from_its_source(
    case: tuple[np.ndarray, np.ndarray, int],
) -> None:
    video, present, block = case
    source, _ = first_and_next(present)
    found = gather(lazy(video, block), along_frame(source, block))
    np.testing.assert_array_equal(found, video[source, np.arange(len(source))])
    assert found.dtype == np.uint8


@given(choices())
def test_difference_counts_pixels(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    video, present, block = case
    source, other = first_and_next(present)
    frames = lazy(video, block)
    sides = along_frame(source, block), along_frame(other, block)
    found = difference(frames, alike(frames), *sides)
    for frame, (a, b) in enumerate(zip(source, other, strict=True)):
        expected = -1 if b < 0 else (video[a, frame] != video[b, frame]).sum()
        assert found[frame] == expected


@given(choices())
def test_agreement_counts_buffers(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    video, present, block = case
    bounds = np.array([0, 5, 12])
    delivered = np.where(present, 3, 0).astype(np.uint64)
    frames = lazy(video, block)
    found = agreement(frames, alike(frames), delivered, bounds)
    flat = video.reshape(*video.shape[:2], -1)
    np.testing.assert_array_equal(found, shared_buffers(list(flat), delivered, bounds))


@given(choices())
def test_side_by_side_shows_all_and_the_difference(
    case: tuple[np.ndarray, np.ndarray, int],
) -> None:
    video, present, block = case
    table = xr.DataArray(present, dims=("recording", "frame"))
    shown = side_by_side(lazy(video, block), table).to_numpy()
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
    table = xr.DataArray([[True], [False]], dims=("recording", "frame"))
    marked = side_by_side(lazy(video, 1), table).to_numpy()[0, :, 40:80]
    assert {*np.unique(marked)} == {MARK_DARK, MARK_LIGHT}


def test_a_block_from_one_source_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    video = np.ones((2, 3, 2, 2), np.uint8)

    def no_copy(*args: object) -> None:
        raise AssertionError

    chain = gather(lazy(video, 3), along_frame([1, 1, 1], 3))
    monkeypatch.setattr(np, "empty", no_copy)
    with dask.config.set(scheduler="synchronous"):
        assert (chain.data.compute() == 1).all()
