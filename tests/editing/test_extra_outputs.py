"""What stands beside a result is read back as it was."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import xarray as xr

from miostitch.editing.extra_outputs import write_notes, write_videos
from miostitch.errors import ResourceError
from miostitch.video.source import open_video
from tests.video_files import decode, make_frames

FPS = Fraction(30000, 1001)


def test_videos_follow_their_blocks(tmp_path: Path) -> None:
    frames = make_frames(103, 8, 12)
    video = xr.DataArray(frames, dims=("frame", "height", "width")).chunk(frame=10)
    videos = {"_a.avi": video, "_b.avi": 255 - video}
    write_videos(videos, lambda end: tmp_path / f"x{end}", FPS, tmp_path)
    np.testing.assert_array_equal(decode(tmp_path / "x_a.avi"), frames)
    np.testing.assert_array_equal(decode(tmp_path / "x_b.avi"), 255 - frames)
    assert open_video(tmp_path / "x_a.avi").fps == FPS


def test_one_array_may_go_to_two_files(tmp_path: Path) -> None:
    frames = make_frames(50, 8, 12)
    video = xr.DataArray(frames, dims=("frame", "height", "width")).chunk(frame=10)
    write_videos({"_a.avi": video, "_b.avi": video}, lambda end: tmp_path / end, FPS, tmp_path)
    for ending in ("_a.avi", "_b.avi"):
        np.testing.assert_array_equal(decode(tmp_path / ending), frames)


def test_no_video_is_no_pass(tmp_path: Path) -> None:
    write_videos({}, lambda end: tmp_path / end, FPS, tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (31, 20)])
def test_pictures_and_lists_are_read_back(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = make_frames(1, *shape)[0]
    write_notes({"_i.png": image}, {"_t.txt": "16\n17\n"}, lambda end: tmp_path / f"x{end}")
    read = cv2.imread(str(tmp_path / "x_i.png"), cv2.IMREAD_UNCHANGED)
    assert read is not None
    np.testing.assert_array_equal(read, image)
    assert (tmp_path / "x_t.txt").read_text() == "16\n17\n"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"_t\.txt: cannot be written"):
        write_notes({}, {"_t.txt": ""}, lambda end: tmp_path / "no" / end)
