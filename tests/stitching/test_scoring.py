"""Scores and choices as lazy arrays: the kernels', in any chunking, and only when asked for."""

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from miostitch.config.thresholds import ScoreConfig
from miostitch.kernels.scores import score_frames
from miostitch.session.session import TABLES
from miostitch.stitching.scoring import alike, choose, score, score_candidates
from miostitch.stitching.selection import select
from tests.laziness import never

pytestmark = pytest.mark.usefixtures("one_thread")

DIMS = ("recording", "frame", "height", "width")


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_any_chunking_gives_the_same(recordings: int, frames: int, block: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    video = rng.integers(0, 4, (recordings, frames, 6, 7), np.uint8)
    config = ScoreConfig(value_threshold=1, consecutive_threshold=3, gradient_threshold=1.5)
    video[recordings - 1, ::2] = video[0, ::2]
    chunked = xr.DataArray(video, dims=DIMS).chunk({"recording": 1, "frame": block})
    with dask.config.set(scheduler=never):
        same = alike(chunked)
        lazy = score_candidates(chunked, same, config)
    scores, same = lazy.compute(), same.compute()
    for number, frame in np.ndindex(recordings, frames):
        first = [(video[number, frame] == video[other, frame]).all() for other in range(number + 1)]
        assert same[number, frame] == first.index(True)
    expected = np.empty((3, recordings, frames), np.int64)
    score_frames(video.reshape(-1, 6, 7), 1, 3, 1.5, expected.reshape(3, -1))
    assert lazy.dims == ("recording", "frame", "score")
    np.testing.assert_array_equal(scores, np.moveaxis(expected, 0, -1))
    np.testing.assert_array_equal(score(xr.DataArray(video, dims=DIMS), config), scores)
    np.testing.assert_array_equal(score(chunked, config), scores)

    present = rng.random((recordings, frames)) < 0.8
    num_buffers, padding, missing = rng.integers(0, 3, (3, recordings, frames))
    stacked = np.stack([present, num_buffers, padding, missing], axis=-1)
    tables = xr.DataArray(stacked, {"table": list(TABLES)}, (*DIMS[:2], "table"))
    with dask.config.set(scheduler=never):
        choice = choose(lazy, tables)
    choice = choice.compute()
    by_hand = select(present, num_buffers, padding + expected[0] + expected[1], expected[2])
    for role in by_hand._fields:
        np.testing.assert_array_equal(choice.sel(role=role), getattr(by_hand, role))
    chosen = by_hand.source, np.arange(frames)
    np.testing.assert_array_equal(choice.sel(role="missing_pixels"), missing[chosen])
    np.testing.assert_array_equal(choice.sel(role="noisy_pixels"), expected[1][chosen])


def test_scores_are_named() -> None:
    scores = score(xr.DataArray(np.zeros((1, 1, 5, 8), np.uint8), dims=DIMS), ScoreConfig())
    assert scores.sel(score="black_pixels").item() == 40
    assert scores.sel(score="noisy_pixels").item() == 0
    assert scores.sel(score="edge_energy").item() == 0
