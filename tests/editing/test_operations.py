"""Selections of frames: any chain of them is one index into the frames that were there."""

import json
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import miostitch
from miostitch.editing.operations import (
    concat,
    describe_seam,
    remove_frames,
    trim,
)
from miostitch.errors import InputError, UsageError
from tests.laziness import never

COUNT = 12


def recording(
    count: int = COUNT, first: int = 100, *, origin: str = "/a.avi", **attrs: Any
) -> xr.Dataset:
    """A recording in memory, every frame of one value."""
    frame = np.arange(count)
    return xr.Dataset(
        {"video": (("frame", "height", "width"), np.tile(frame[:, None, None], (1, 3, 2)))},
        {
            "frame": frame,
            "height": np.arange(3),
            "width": np.arange(2),
            "frame_num": ("frame", first + frame),
            "timestamp_first": ("frame", 1e9 + 0.05 * (first + frame)),
            "origin": ("frame", np.zeros(count, np.int16)),
            "origin_frame": ("frame", frame),
        },
        {"fps": "20", "origins": [origin], "recording": Path(origin).stem} | attrs,
    ).set_xindex("frame_num")


chains = st.lists(
    st.one_of(
        st.tuples(st.just("trim"), st.integers(0, 4), st.integers(0, 4)),
        st.tuples(st.just("remove"), st.lists(st.integers(0, COUNT - 1), max_size=5)),
        st.tuples(st.just("concat"), st.integers(0, 2)),
    ),
    max_size=5,
)


def follow(dataset: xr.Dataset, chain: list[Any]) -> tuple[xr.Dataset, np.ndarray]:
    """Edit, and say by plain numpy which frames should be left; what is refused changes nothing."""
    index = np.arange(dataset.sizes["frame"])
    for step, *args in chain:
        count = len(index)
        if step == "concat":
            dataset = concat([dataset] * (args[0] + 1))
            index = np.tile(index, args[0] + 1)
        elif step == "trim" and sum(args) < count:
            dataset, index = trim(dataset, *args), index[args[0] : count - args[1]]
        elif step == "remove" and max(args[0], default=0) < count and len({*args[0]}) < count:
            dataset, index = remove_frames(dataset, args[0]), np.delete(index, args[0])
        elif step != "concat":
            with pytest.raises(UsageError):
                trim(dataset, *args) if step == "trim" else remove_frames(dataset, *args)
    return dataset, index


@given(chains)
def test_a_chain_is_one_selection(chain: list[Any]) -> None:
    edited, index = follow(recording(), chain)
    np.testing.assert_array_equal(edited.video[:, 0, 0], index)
    np.testing.assert_array_equal(edited.frame_num, 100 + index)
    np.testing.assert_array_equal(edited.origin_frame, index)
    np.testing.assert_array_equal(edited.frame, np.arange(len(index)))
    assert edited.attrs["origins"] == ["/a.avi"]
    assert "frame_num" in edited.xindexes
    history = json.loads(json.dumps(edited.attrs.get("history", [])))
    if history:
        assert history[-1]["frames_after"] == len(index)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda r: trim(r, -1), "-1"),
        (lambda r: trim(r, 6, 6), "none of 12 frames"),
        (lambda r: remove_frames(r, [12]), "frames are 0 to 11"),
        (lambda r: remove_frames(r, [-1]), "frame -1 is not there"),
        (lambda r: remove_frames(r, "0-11"), "no frame of 12"),
        (lambda r: concat([]), "at least one"),
    ],
)
def test_what_cannot_be_meant_is_refused(edit: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        edit(recording())


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([1.7], r"frames \[1\.7\]: must be positions"),
        ([True, False], r"for a mask use numpy\.flatnonzero"),
        (np.arange(COUNT) > 3, r"for a mask use numpy\.flatnonzero"),
        (["a"], "must be positions"),
        ([2**70], "must be positions"),
        ([2**63], "frame 9223372036854775808 is not there"),
        ([[1, 2], [3]], "must be positions"),
        ([[1], [3]], "must be positions"),
        (5, "frames 5: must be positions"),
    ],
)
def test_positions_that_are_none(frames: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        remove_frames(recording(), frames)


@pytest.mark.parametrize(
    "number", [1.5, "3", True, np.True_, None, np.float64(2), np.array([1, 2])]
)
def test_numbers_that_are_none(number: Any) -> None:
    with pytest.raises(UsageError, match=r"start .*: a number of frames to leave out"):
        trim(recording(), number)
    with pytest.raises(UsageError, match=r"end .*: a number of frames to leave out"):
        trim(recording(), 1, number)


@pytest.mark.parametrize("given", [recording(), [recording(), "b.avi"], 5, "b.avi"])
def test_what_is_no_list_of_recordings(given: Any) -> None:
    with pytest.raises(UsageError, match=r"must be a list of recordings, as in concat\(\[a, b"):
        concat(given)


def test_numbers_of_numpy_are_numbers() -> None:
    whole = recording()
    for kind in (np.uint8, np.int32, np.uint64):
        numbers: Any = np.array([7, 2], kind)
        edited = remove_frames(trim(whole, numbers[1], numbers[1] - 1), numbers)
        assert edited.origin_frame.values.tolist() == [2, 3, 5, 6, 7, 8, 10]
        json.dumps(edited.attrs["history"])
    of_dataset = remove_frames(whole, whole.frame[whole.frame_num < 103])
    assert of_dataset.origin_frame.values.tolist() == [*range(3, 12)]
    assert remove_frames(whole, []).sizes["frame"] == COUNT


def test_only_what_belongs_together_is_joined() -> None:
    with pytest.raises(InputError, match=r"/a\.avi has 20 fps, /b\.avi has 30 fps"):
        concat([recording(), recording(origin="/b.avi", fps="30")])
    with pytest.raises(InputError, match=r"sizes: /a\.avi has 2x3, /b\.avi has 2x1"):
        concat([recording(), recording(origin="/b.avi").isel(height=[0])])


def test_origins_of_joined_recordings() -> None:
    a, b = recording(), recording(first=200, origin="/b.avi")
    joined = concat([trim(b, 10), a, b.isel(frame=[3, 1])])
    assert joined.attrs["origins"] == ["/b.avi", "/a.avi"]
    assert joined.origin.values.tolist() == [0] * 2 + [1] * 12 + [0] * 2
    assert joined.origin_frame.values[-2:].tolist() == [3, 1]
    step = joined.attrs["history"][-1]
    assert [s["recording"] for s in step["parameters"]["segments"]] == ["b", "a", "b"]
    assert step["parameters"]["segments"][0]["history"][0]["step"] == "trim"


def test_sources_are_counted_in_the_recordings_of_all() -> None:
    one = recording(recordings=["x", "y"]).assign_coords(source=("frame", [0, 1, -1] * 4))
    two = recording(recordings=["y", "z"]).assign_coords(source=("frame", [1, 0, -1] * 4))
    joined = concat([one, two.chunk(frame=5)])
    assert joined.attrs["recordings"] == ["x", "y", "z"]
    assert joined.source.values.tolist() == [0, 1, -1] * 4 + [2, 1, -1] * 4
    assert "source" not in concat([one, recording()]).coords


@pytest.mark.parametrize(
    ("first", "shift_s", "kind"),
    [
        (112, 0.0, "continues"),
        (140, 0.0, "continues"),
        (0, 6.0, "reboot"),
        (500, -15.0, "unclear"),
        (50, 0.0, "backwards"),
    ],
)
def test_seams(first: int, shift_s: float, kind: str) -> None:
    after = recording(first=first)
    after = after.assign_coords(timestamp_first=after.timestamp_first + shift_s)
    seam = describe_seam(recording(), after)
    assert seam["kind"] == kind
    assert seam["frame_num"] == [111, first]
    assert describe_seam(recording(), after.drop_vars("timestamp_first")) == {"kind": "unknown"}
    unknown = after.drop_indexes("frame_num").assign_coords(frame_num=("frame", [-1] * COUNT))
    assert describe_seam(unknown, after) == {"kind": "unknown"}


def test_nothing_is_read(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=40, receivers=1, height=40, width=50)
    video = miostitch.simulate(tmp_path, config).recordings[0]
    with dask.config.set(scheduler=never):
        opened = miostitch.open_recording(video)
        edited = concat([trim(opened, 3, 3), remove_frames(opened, "0,7-9")])
    one = opened.video.values
    expected = np.concatenate([one[3:-3], np.delete(one, [0, 7, 8, 9], axis=0)])
    np.testing.assert_array_equal(edited.video, expected)
