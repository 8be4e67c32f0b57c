"""Frames picked out of blocks: the same as out of the whole array, in blocks of equal size."""

import pickle
import weakref

import dask
import numpy as np
import pytest
import xarray as xr
from dask.base import optimize
from hypothesis import given
from hypothesis import strategies as st

from miostitch.editing.picking import in_blocks, pick
from miostitch.errors import UsageError
from tests.laziness import never
from tests.video_files import make_frames


def recording(count: int, chunks: tuple[int, ...] | int) -> xr.Dataset:
    frames = make_frames(count, 3, 4)
    ds = xr.Dataset({"video": (("frame", "height", "width"), frames)})
    ds = ds.assign_coords(frame_num=("frame", 7 * np.arange(count))).set_xindex("frame_num")
    return in_blocks(ds).chunk(frame=chunks)


def tasks(array: xr.DataArray) -> int:
    """How many tasks are left of its graph when it is computed."""
    (needed,) = optimize(array.data)  # type: ignore[no-untyped-call]
    return len(dict(needed.__dask_graph__()))


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[int, ...], list[int]]:
    chunks = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    count = sum(chunks)
    return tuple(chunks), sorted(draw(st.sets(st.integers(0, count - 1))))


@given(cases())
def test_picked_frames_are_those_of_the_whole(case: tuple[tuple[int, ...], list[int]]) -> None:
    chunks, frames = case
    ds = recording(sum(chunks), chunks)
    with dask.config.set(scheduler=never):
        picked = pick(ds, np.array(frames, np.int64))
    assert picked.compute().identical(ds.compute().isel(frame=frames))
    *full, last = picked.video.chunksizes["frame"]
    assert set(full) <= {max(chunks)}
    assert last <= max(chunks)
    assert len(full) == max(0, len(frames) - 1) // max(chunks)


def test_a_batch_needs_no_other_blocks() -> None:
    ds = recording(1000, 10)
    frames = np.flatnonzero(np.arange(1000) % 7)
    picked = pick(ds, frames)
    part = picked.isel(frame=slice(400, 480))
    assert tasks(part.video) <= 5 * 8
    again = pickle.loads(pickle.dumps(part))
    np.testing.assert_array_equal(again.video, ds.video.to_numpy()[frames[400:480]])


def test_lazy_coordinates_follow_the_blocks() -> None:
    ds = recording(25, 10).chunk(frame=10)
    ds = ds.assign_coords(late=("frame", ds.frame_num.chunk(frame=7).data, {"units": "s"}))
    frames = np.flatnonzero(np.arange(25) % 3)
    picked = pick(ds, frames)
    assert picked.chunksizes["frame"] == (10, 6)
    assert picked.compute().identical(ds.compute().isel(frame=frames))


def test_all_frames_are_no_further_task() -> None:
    ds = recording(25, 10)
    assert pick(ds, np.arange(25)).video.data.name == ds.video.data.name
    assert pick(recording(9, (2, 4, 3)), np.arange(9)).video.chunksizes["frame"] == (4, 4, 1)


def test_the_input_is_made_fit() -> None:
    frames = make_frames(9, 3, 4)
    ds = xr.Dataset({"video": (("frame", "height", "width"), frames)})
    made = in_blocks(ds.chunk(frame=2, height=2, width=3))
    assert made.video.chunks == ((2, 2, 2, 2, 1), (3,), (4,))
    assert in_blocks(ds).video.chunks == ((9,), (3,), (4,))
    assert made.frame.to_numpy().tolist() == [*range(9)]
    shifted = in_blocks(ds.assign_coords(frame=np.arange(9) + 5))
    assert shifted.frame.to_numpy()[0] == 5


@pytest.mark.parametrize(
    ("ds", "wrong"),
    [
        (xr.Dataset(), "a Dataset with frames"),
        (
            xr.Dataset({"video": (("width", "height", "frame"), np.zeros((2, 2, 2), "u1"))}),
            "frames",
        ),
        (
            xr.Dataset({"video": (("frame", "height", "width"), np.zeros((0, 2, 2), "u1"))}),
            "frames",
        ),
        (xr.Dataset({"video": (("frame", "height", "width"), np.zeros((2, 2, 2)))}), "float64"),
    ],
)
def test_what_is_no_video_is_refused(ds: xr.Dataset, wrong: str) -> None:
    with pytest.raises(UsageError, match=wrong):
        in_blocks(ds)


@pytest.mark.parametrize("step", [3, 10, 40])
def test_frames_far_apart_do_not_hold_what_lies_between(step: int) -> None:
    held, most = 0, 0

    def look(block: np.ndarray) -> np.ndarray:
        """Count the blocks of the input that are in memory."""
        nonlocal held, most
        fresh = block.copy()
        held, most = held + 1, max(most, held + 1)
        weakref.finalize(fresh, gone)
        return fresh

    def gone() -> None:
        nonlocal held
        held -= 1

    ds = recording(400, 10)
    ds = ds.assign(video=ds.video.copy(data=ds.video.data.map_blocks(look, dtype=np.uint8)))
    frames = np.arange(0, 400, step)
    picked = pick(ds, frames).video.data
    for block in picked.blocks:
        block.compute(scheduler="sync")
    np.testing.assert_array_equal(picked.compute(scheduler="sync"), make_frames(400, 3, 4)[frames])
    assert most <= 2
