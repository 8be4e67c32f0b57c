"""Blocks of lazy arrays: what they share is computed once, what is not wanted is not."""

import pickle
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from miostitch.execution.lazy_blocks import LazyBlock
from miostitch.schema import FRAME, VIDEO

FRAMES = np.arange(50 * 6, dtype=np.uint8).reshape(50, 2, 3)


@pytest.fixture
def called() -> list[int]:
    return []


@pytest.fixture
def lazy(called: list[int]) -> tuple[xr.Dataset, xr.Dataset]:
    def slow(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        called.append(len(block))
        return block + np.uint8(1)

    meta = np.empty((0, 0, 0), np.uint8)
    shared = da.from_array(FRAMES, chunks=(4, -1, -1)).map_blocks(slow, dtype=np.uint8, meta=meta)
    videos = {VIDEO.name: shared, "more": shared + np.uint8(1)}
    tables = xr.Dataset({"mean": (FRAME, shared.mean((1, 2))), "first": (FRAME, shared[:, 0, 0])})
    return xr.Dataset({name: (VIDEO.dims, video) for name, video in videos.items()}), tables


def test_what_is_shared_is_computed_once(
    lazy: tuple[xr.Dataset, xr.Dataset], called: list[int]
) -> None:
    videos, tables = (part.isel({FRAME: slice(3, 11)}) for part in lazy)
    made = LazyBlock.of(videos, tables).make({VIDEO.name, "more"}, tables=True)
    assert sum(called) <= 12  # whole chunks of the input
    np.testing.assert_array_equal(made.videos[VIDEO.name], FRAMES[3:11] + 1)
    np.testing.assert_array_equal(made.videos["more"], FRAMES[3:11] + 2)
    np.testing.assert_allclose(made.tables["mean"], (FRAMES[3:11] + 1).mean((1, 2)))
    np.testing.assert_array_equal(made.tables["first"], FRAMES[3:11, 0, 0] + 1)


def test_only_what_is_wanted_is_computed(
    lazy: tuple[xr.Dataset, xr.Dataset], called: list[int]
) -> None:
    block = LazyBlock.of(lazy[0].isel({FRAME: slice(8)}), lazy[1].isel({FRAME: slice(8)}))
    nothing = block.make((), tables=False)
    assert (nothing.videos, nothing.tables, called) == ({}, {}, [])
    assert {*block.make(["more"], tables=False).videos} == {"more"}
    tables = block.make([], tables=True)
    assert ({*tables.tables}, tables.videos) == ({"mean", "first"}, {})


def test_a_block_is_small_and_picklable() -> None:
    video = da.zeros((10**6, 2, 3), np.uint8, chunks=(100, -1, -1)) + np.uint8(1)
    part = xr.Dataset({VIDEO.name: (VIDEO.dims, video)}).isel({FRAME: slice(5000, 5100)})
    block = LazyBlock.of(part)
    assert len(block.graph) <= 4
    again = pickle.loads(pickle.dumps(block))
    assert (again.make([VIDEO.name], tables=False).videos[VIDEO.name] == 1).all()
