"""A recording as a lazy Dataset: by path, by frame_num, by xarray, on other processes."""

import pickle
import shutil
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import miostitch
from miostitch.errors import InputError, MismatchError, MissingInputError, UsageError
from miostitch.recording import ReadOptions, load_recording, segment_paths
from tests.test_scoring import never
from tests.video_files import decode


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    config = miostitch.SimulationConfig(frames=900, receivers=1, seed=1, frame_loss=0.02)
    return miostitch.simulate(folder, config).recordings[0]


def test_video_by_frame_num(video: Path) -> None:
    recording = miostitch.open_recording(video)
    pictures = decode(video)
    assert recording.video.dims == ("frame", "height", "width")
    known = recording.frame_num.to_numpy()
    unique = [n for n in known[known >= 0] if (known == n).sum() == 1][::97]
    for number in unique:
        (position,) = np.flatnonzero(known == number)
        np.testing.assert_array_equal(recording.video.sel(frame_num=number), pictures[position])
    np.testing.assert_array_equal(recording.video.isel(frame=[3, 700, 5]), pictures[[3, 700, 5]])
    np.testing.assert_array_equal(recording.video[7, 10:20, ::3], pictures[7, 10:20, ::3])


def test_chunks_are_those_of_the_store(video: Path) -> None:
    count = len(decode(video))
    expected = (419, 419, count - 838)
    assert miostitch.open_recording(video).video.chunks[0] == expected
    by_xarray = xr.open_dataset(video, engine="miostitch", chunks={})
    assert by_xarray.video.chunks[0] == expected
    assert by_xarray.video.chunksizes["frame"] == expected
    chosen = xr.open_dataset(video, engine="miostitch", chunks={"frame": 838})
    assert chosen.video.chunksizes["frame"] == (838, count - 838)


def test_nothing_is_read_before_it_is_asked_for(video: Path) -> None:
    with dask.config.set(scheduler=never):
        recording = miostitch.open_recording(video)
        recording.video.sel(frame_num=recording.frame_num[5]).mean()
    unchunked = xr.open_dataset(video, engine="miostitch")
    assert not unchunked.video.variable._in_memory
    np.testing.assert_array_equal(unchunked.video[2], decode(video)[2])


def test_it_can_be_sent_to_another_process(video: Path) -> None:
    recording = miostitch.open_recording(video).isel(frame=slice(0, 5))
    again = pickle.loads(pickle.dumps(recording))
    np.testing.assert_array_equal(again.video, recording.video)


def test_a_guess_by_suffix_is_enough(video: Path) -> None:
    assert xr.open_dataset(video).sizes["frame"] == len(decode(video))


def test_a_video_alone_is_enough_for_xarray(video: Path, tmp_path: Path) -> None:
    shutil.copy(video, tmp_path)
    alone = xr.open_dataset(tmp_path / video.name, engine="miostitch")
    assert (alone.frame_num == -1).all()
    assert "video" not in xr.open_dataset(video, engine="miostitch", drop_variables="video")
    with pytest.raises(MissingInputError, match=r"receiver1\.csv is missing"):
        miostitch.open_recording(tmp_path / video.name)


@pytest.mark.parametrize("name", ["ü %d {}", "-dash", "new\nline", "a,b", "c:d", "\udcff"])
def test_names_of_any_characters(video: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / f"{name}.avi"
    shutil.copy(video, copy)
    shutil.copy(video.with_suffix(".csv"), copy.with_suffix(".csv"))
    assert miostitch.open_recording(copy).video[0].equals(miostitch.open_recording(video).video[0])


def test_a_store_opens_the_same_way(video: Path, tmp_path: Path) -> None:
    from miostitch.workflow import stitch_files

    stitch_files([str(video)], tmp_path)
    stored = miostitch.open_recording(tmp_path / "receiver1_stitched.zarr")
    number = int(stored.frame_num[9])
    assert stored.video.sel(frame_num=number).shape == (200, 200)
    with pytest.raises(InputError, match="not a Zarr store"):
        miostitch.open_recording(tmp_path / "nothing.zarr")


def test_segments(tmp_path: Path) -> None:
    assert segment_paths("a.avi,b.avi") == ["a.avi", "b.avi"]
    (tmp_path / "a,b.avi").touch()
    assert segment_paths(tmp_path / "a,b.avi") == [str(tmp_path / "a,b.avi")]
    for wrong in ("a.avi,,b.avi", "a.avi,a.avi", "a.avi,"):
        with pytest.raises(UsageError, match="single commas"):
            segment_paths(wrong)


def test_the_last_frame_of_the_table_has_no_picture(recordings: Path) -> None:
    loaded = load_recording(recordings / "capture3" / "receiver1.avi")
    assert loaded.shape == (116, 200, 200)
    assert len(loaded.frames) == 116
    assert any("frame 116 (frame_num 12940) has no picture" in n for n in loaded.notices)


def test_two_frames_too_many_are_a_mismatch(recordings: Path, tmp_path: Path) -> None:
    folder = recordings / "capture3"
    shutil.copy(folder / "receiver1.avi", tmp_path)
    text = (folder / "receiver1.csv").read_text()
    last = text.splitlines()[-1].rsplit(",", 1)[0]
    (tmp_path / "receiver1.csv").write_text(text + last + ",117\n")
    with pytest.raises(MismatchError, match=r"frames 0 to 117.*frames 0 to 115"):
        load_recording(tmp_path / "receiver1.avi")
    assert load_recording(tmp_path / "receiver1.avi", ReadOptions(salvage=True)).shape[0] == 116
