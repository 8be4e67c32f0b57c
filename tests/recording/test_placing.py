"""Recordings whose video or table lacks frames in the middle, from the files to the result."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import miostitch
from miostitch.arrays import Bools
from miostitch.cli.main import main
from miostitch.errors import MismatchError
from miostitch.recording.files import ReadOptions
from miostitch.recording.recording import Recording, open_recordings
from tests.sessions import Made, change_table, change_video
from tests.video_files import Frames

SALVAGE = ReadOptions(salvage=True)
SIZE = {"frames": 160, "height": 20, "width": 30}


def without(count: int, *cuts: tuple[int, int]) -> Bools:
    left = np.ones(count, np.bool_)
    for first, length in cuts:
        left[first : first + length] = False
    return left


def take(images: Bools, frames: Frames) -> Frames:
    return frames[images]


def cut_rows(video: Path, left: Bools) -> None:
    """Take frames out of a table, and number what follows as if they had never been there."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        index = table.reconstructed_frame_index
        known = (index >= 0) & (index < len(left))
        stays = ~known | left[index.clip(0, len(left) - 1)]
        later = np.cumsum(left)[index.clip(0, len(left) - 1)] - 1
        return table.assign(reconstructed_frame_index=np.where(known, later, index))[stays]

    change_table(video, change)


def assert_right(found: Recording, whole: Recording, images: Bools, most_left_out: int) -> None:
    """Every picture has the number that it had before the cut, or none."""
    truth, number = whole.frames.frame_num[images], found.frames.frame_num
    known = number >= 0
    np.testing.assert_array_equal(number[known], truth[known])
    assert np.count_nonzero(~known) <= most_left_out


@pytest.mark.fault(73, "a video cut in the middle under its table", "salvage: right, or left out")
@pytest.mark.parametrize("lag", [0, 1, -1])
def test_cuts_in_both_receivers(tmp_path: Path, lag: int) -> None:
    made = Made(tmp_path, receivers=2, seed=3, lag=lag, **SIZE)
    whole = open_recordings(made.names)
    cuts = [((30, 4), (90, 1)), ((33, 2), (120, 7))]
    left = [without(each.shape[0], *cut) for each, cut in zip(whole, cuts, strict=True)]
    for video, images in zip(made.videos, left, strict=True):
        change_video(video, partial(take, images))
    with pytest.raises(MismatchError, match="--salvage finds where frames are missing"):
        open_recordings(made.names)
    for found, before, images in zip(
        open_recordings(made.names, SALVAGE), whole, left, strict=True
    ):
        assert_right(found, before, images, 8)
        [said] = [str(n) for n in found.notices if "are missing" in str(n)]
        assert said.startswith(f"{found.path}: images of ")
        assert "between frame_num" in said
        rows = found.rows(np.arange(found.shape[0]))
        expected = np.repeat(found.frames.frame_num, found.frames.num_rows)
        assert np.mean(rows.frame_num.to_numpy() == expected) > 0.95  # but for flipped headers


@pytest.mark.fault(73, "rows missing under a whole video", "salvage: right, or left out")
def test_rows_missing_under_a_whole_video(tmp_path: Path) -> None:
    made = Made(tmp_path, receivers=2, seed=4, **SIZE)
    whole = open_recordings(made.names)
    left = without(whole[1].shape[0], (50, 6), (100, 2))
    cut_rows(made.videos[1], np.append(left, True))
    alone = Recording.open(made.videos[1], SALVAGE)
    both = open_recordings(made.names, SALVAGE)[1]
    for found, most in ((alone, 30), (both, 14)):
        number = np.where(left, whole[1].frames.frame_num, -1)
        known = found.frames.frame_num >= 0
        np.testing.assert_array_equal(found.frames.frame_num[known], number[known])
        assert np.count_nonzero(~known) <= most
        assert any("rows of 6 frames between" in str(notice) for notice in found.notices)


@pytest.mark.fault(73, "one of two segments is cut", "salvage: right, or left out")
def later(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(
        buffer_recv_unix_time=table.buffer_recv_unix_time + 60, frame_num=table.frame_num + 1000
    )


def test_a_cut_in_one_of_two_segments(tmp_path: Path) -> None:
    made = Made(tmp_path, receivers=2, seed=5, **SIZE)
    names = ",".join(made.names)  # as if they were two parts of one recording
    change_table(made.videos[1], later)
    whole = Recording.open(names)
    left = without(whole.videos[1].frame_count, (70, 5))
    change_video(made.videos[1], lambda frames: frames[left])
    found = Recording.open(names, SALVAGE)
    first = whole.videos[0].frame_count
    assert_right(found, whole, np.concatenate([np.ones(first, np.bool_), left]), 30)
    part = found.segment(made.names[1])
    np.testing.assert_array_equal(part.frames.frame_num, found.frames.frame_num[first:])


@pytest.mark.parametrize("by", [pytest.param("frame", marks=pytest.mark.slow), "buffer"])
def test_the_result_of_a_cut_recording_is_right_and_verified(
    tmp_path: Path, by: Literal["frame", "buffer"]
) -> None:
    made = Made(tmp_path / "raw", receivers=2, seed=3, **SIZE)
    miostitch.stitch_files(made.names, tmp_path / "whole", by=by, report=False)
    change_video(made.videos[1], lambda frames: np.delete(frames, slice(60, 65), axis=0))
    args = ["stitch", *made.names, "-o", str(tmp_path / "cut"), "--by", by, "--no-report"]
    done = CliRunner().invoke(main, [*args, "--salvage", "--json"])
    assert done.exit_code == 0, done.output
    losses = json.loads(done.stdout)["recordings"][1]["lost_frames"]
    assert any(loss["why"] == "the video does not show it for certain" for loss in losses)
    [before] = (tmp_path / "whole").glob("*.zarr")
    [after] = (tmp_path / "cut").glob("*.zarr")
    old, new = xr.open_zarr(before).load(), xr.open_zarr(after).load()
    assert set(new.frame_num.values) <= set(old.frame_num.values)
    source = new.source.values == 0
    same = np.isin(old.frame_num.values, new.frame_num.values)
    np.testing.assert_array_equal(old.timestamp_first.values[same].shape, new.frame_num.shape)
    equal = (old.video.values[same] == new.video.values).all(axis=(1, 2))
    assert np.mean(equal) > 0.9  # but for frames of which the cut receiver had more
    assert np.count_nonzero(~source) > 20
    verified = CliRunner().invoke(main, ["verify", str(tmp_path / "cut")])
    assert verified.exit_code == 0, verified.output


def test_a_lag_that_is_asked_for_is_not_taken_where_images_contradict_it(tmp_path: Path) -> None:
    made = Made(tmp_path, receivers=1, seed=3, lag=1, **SIZE)
    whole = Recording.open(made.names[0])
    left = without(whole.shape[0], (80, 5))
    change_video(made.videos[0], lambda frames: frames[left])
    found = Recording.open(made.names[0], ReadOptions(salvage=True, lag=0))
    assert_right(found, whole, left, 20)
    assert any("a lag of 1, and not of 0" in str(notice) for notice in found.notices)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("cut", [(20, 25), (30, 32)])
def test_a_receiver_whose_lag_a_cut_one_shows(
    recordings: Path, tmp_path: Path, order: int, cut: tuple[int, int]
) -> None:
    first, other = (recordings / "stitch" / f"video{n}.avi" for n in (1, 2))
    mine = tmp_path / "cut.avi"
    for suffix in (".avi", ".csv"):
        shutil.copy(first.with_suffix(suffix), mine.with_suffix(suffix))
    change_video(mine, lambda frames: np.delete(frames, slice(*cut), axis=0))
    paths = [str(mine), str(other)][::order]
    run = partial(miostitch.stitch_files, paths, tmp_path / "out", salvage=True, report=False)
    if cut == (30, 32):  # next to nothing shows where: most of it would be left out
        with pytest.raises(MismatchError, match="images can be assigned to a row for certain"):
            run()
        return
    made = run()
    assert made["frames"] >= 49
    assert made["shared_buffers"] == made["identical_shared_buffers"] > 300
