"""A recording as a lazy Dataset: by path, by frame_num, by xarray, on other processes."""

import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import dask
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

import miostitch
from miostitch.errors import (
    InputError,
    MismatchError,
    MissingInputError,
    Severity,
    UsageError,
    VideoError,
)
from miostitch.recording.files import ReadOptions, segment_paths
from miostitch.recording.lag import Lag
from miostitch.recording.recording import Recording, open_recordings
from miostitch.session.session import bring_together
from miostitch.simulation.receivers import Simulation
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from miostitch.video.source import VideoSource, open_video
from tests.laziness import never
from tests.sessions import received_later
from tests.video_files import decode, encode, make_frames, write


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    config = miostitch.SimulationConfig(frames=900, receivers=1, seed=1, frame_loss=0.02)
    return miostitch.simulate(folder, config).recordings[0]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    config = miostitch.SimulationConfig(frames=40, receivers=1, seed=1, height=30, width=40)
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


@pytest.mark.parametrize(("lag", "salvage"), [(0, False), (0, True), (1, True)])
def test_xarray_opens_what_open_recording_opens(video: Path, lag: int, salvage: bool) -> None:
    ours = miostitch.open_recording(video, lag=lag, salvage=salvage)
    theirs = xr.open_dataset(video, engine="miostitch", lag=lag, salvage=salvage)
    assert ("lost" in ours) == (lag == 1 or salvage)
    xr.testing.assert_identical(ours.drop_vars("video"), theirs.drop_vars("video"))


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


def test_a_store_opens_the_same_way(small: Path, tmp_path: Path) -> None:
    stitch_files([str(small)], tmp_path, StitchOptions(report=False))
    stored = miostitch.open_recording(tmp_path / "receiver1_stitched.zarr")
    number = int(stored.frame_num[9])
    assert stored.video.sel(frame_num=number).shape == (30, 40)
    with pytest.raises(InputError, match="not a Zarr store"):
        miostitch.open_recording(tmp_path / "nothing.zarr")


def test_segments(tmp_path: Path) -> None:
    assert segment_paths("a.avi,b.avi") == ["a.avi", "b.avi"]
    (tmp_path / "a,b.avi").touch()
    assert segment_paths(tmp_path / "a,b.avi") == [str(tmp_path / "a,b.avi")]
    for wrong in ("a.avi,,b.avi", "a.avi,a.avi", "a.avi,"):
        with pytest.raises(UsageError, match="single commas"):
            segment_paths(wrong)


def test_a_frame_that_is_in_no_segment_is_never_black(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=20, height=30, width=40, receivers=1)
    parts = [miostitch.simulate(tmp_path / n, config).recordings[0] for n in ("a", "b")]
    received_later(parts[1])
    both = Recording.open(",".join(map(str, parts)))
    count = both.shape[0]
    assert both.read(np.array([count - 1, 0])).any(axis=(1, 2)).all()
    assert not both.read(np.array([-1])).any()  # a receiver that lacks the frame
    for beyond in (count, 10**6, -7):
        with pytest.raises(VideoError, match=f"frame {beyond} does not exist"):
            both.reader(np.array([0, beyond]))


def test_the_last_frame_of_the_table_has_no_picture(recordings: Path) -> None:
    loaded = Recording.open(recordings / "capture3" / "receiver1.avi", measure=True)
    assert loaded.shape == (116, 200, 200)
    assert len(loaded.frames) == 116
    assert any(
        "the last frame 116 (frame_num 12940) was not saved as an image" in str(n)
        for n in loaded.notices
    )


def test_two_frames_too_many_are_a_mismatch(recordings: Path, tmp_path: Path) -> None:
    folder = recordings / "capture3"
    shutil.copy(folder / "receiver1.avi", tmp_path)
    text = (folder / "receiver1.csv").read_text()
    last = text.splitlines()[-1].rsplit(",", 1)[0]
    (tmp_path / "receiver1.csv").write_text(text + last + ",117\n")
    with pytest.raises(MismatchError, match=r"frames 0 to 117.*frames 0 to 115"):
        Recording.open(tmp_path / "receiver1.avi", measure=True)
    salvaged = Recording.open(tmp_path / "receiver1.avi", ReadOptions(salvage=True))
    assert salvaged.shape[0] == 116


def sent_as(session: Simulation, pictures: NDArray[np.uint8], number: NDArray[np.int64]) -> float:
    """Share of the pixels that are as the device sent them under these ``frame_num``."""
    truth = decode(session.truth_video)[number - session.config.first_frame_num]
    return float((pictures == truth).mean())


@pytest.mark.parametrize("lag", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("extra", [False, True])
def test_an_applied_lag_gives_every_picture_its_rows(lag: int, extra: bool, tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(
        frames=300, receivers=1, height=30, width=40, lag=lag, extra_frame=extra, header_flips=0
    )
    made = miostitch.simulate(tmp_path, config)
    loaded = Recording.open(made.recordings[0], ReadOptions(lag=lag), measure=True)
    pictures = decode(made.recordings[0])
    assert loaded.shape[0] == len(loaded.frames) == len(pictures)
    assert (loaded.lag, loaded.measured_lag.lag) == (lag, lag)
    known = np.flatnonzero(loaded.frames.frame_num >= 0)
    assert known.tolist() == list(range(max(0, lag), len(pictures)))
    assert sent_as(made, pictures[known], loaded.frames.frame_num[known]) > 0.9
    order = np.random.default_rng(0).permutation(known)
    rows = loaded.rows(order)
    assert len(rows) == loaded.frames.num_rows.sum()
    expected = np.repeat(loaded.frames.frame_num[order], loaded.frames.num_rows[order])
    np.testing.assert_array_equal(rows.frame_num, expected)
    said = " ".join(map(str, loaded.notices))
    assert ("was not saved as an image, which is usual" in said) == extra
    assert (f"at lag {lag} the video begins " in said) == (lag > 0)
    assert (f"at lag {lag} the table begins " in said) == (lag < 0)
    assert ("; corrected" in said) == (lag != 0)
    assert len(loaded.rows(np.arange(max(0, lag)))) == 0


def test_segments_share_one_lag(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=100, height=30, width=40, lag=1, header_flips=0)
    made = [miostitch.simulate(tmp_path / str(n), replace(config, seed=n)) for n in (1, 2)]
    received_later(made[1].recordings[0])
    spec = ",".join(str(session.recordings[0]) for session in made)
    loaded = Recording.open(spec, ReadOptions(lag="auto"), measure=True)
    alone = [Recording.open(session.recordings[0], measure=True).measured_lag for session in made]
    assert loaded.measured_lag.lag == 1
    assert loaded.measured_lag.looked_at == sum(lag.looked_at for lag in alone)
    assert loaded.measured_lag.matches == sum(lag.matches for lag in alone)
    edges = loaded.first_frames
    assert np.flatnonzero(loaded.frames.frame_num < 0).tolist() == edges[:-1]
    rows = loaded.rows(np.arange(edges[-1]))
    known = loaded.frames.num_rows > 0
    expected = np.repeat(loaded.frames.frame_num[known], loaded.frames.num_rows[known])
    np.testing.assert_array_equal(rows.frame_num, expected)


def test_a_lag_is_applied_unless_another_is_asked_for(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=100, receivers=1, height=30, width=40, lag=1)
    video = miostitch.simulate(tmp_path, config).recordings[0]
    asked = Recording.open(video, ReadOptions(lag=0), measure=True)
    assert asked.lag == 0
    assert asked.frames.frame_num[0] == asked.tables[0].frames.frame_num[0]
    [notice] = [each for each in asked.notices if "--lag" in str(each)]
    assert notice.severity == Severity.DOUBT
    assert re.fullmatch(
        rf"{video}: the video is 1 frame behind its table \((\d+) of \1 missing buffers are black "
        r"at lag 1, \d+ at lag 0\); lag 0 is used as asked, and frame numbers are wrong; "
        "use --lag auto",
        str(notice),
    )
    measured = Recording.open(video)
    assert measured.lag == 1
    [notice] = [
        each for each in measured.notices if "lag" in str(each) and each.remedy == "corrected"
    ]
    assert notice.severity == Severity.WARNING
    wrong = Recording.open(video, ReadOptions(lag=2, salvage=True), measure=True)
    assert any("lag 2 is used as asked" in str(notice) for notice in wrong.notices)


@pytest.mark.parametrize(
    ("true", "applied", "words"),
    [(0, 1, "is level with its table"), (-2, 0, "is 2 frames ahead of its table")],
)
def test_a_mismatch_by_lag_names_the_remedy(
    true: int, applied: int, words: str, tmp_path: Path
) -> None:
    config = miostitch.SimulationConfig(frames=100, receivers=1, height=30, width=40, lag=true)
    video = miostitch.simulate(tmp_path, config).recordings[0]
    with pytest.raises(MismatchError, match=f"; --salvage .*{words}.*; use --lag auto"):
        Recording.open(video, ReadOptions(lag=applied))
    assert Recording.open(video, ReadOptions(lag="auto")).lag == true


@pytest.mark.parametrize("lag", [899, 10**6, -899, -(10**6)])
def test_a_lag_longer_than_the_recording(video: Path, lag: int) -> None:
    with pytest.raises(UsageError, match=rf"at lag {lag} none of its \d+ frames has a row"):
        Recording.open(video, ReadOptions(lag=lag), measure=True)
    with pytest.raises(UsageError, match="number of frames, or auto"):
        ReadOptions(lag="often")  # type: ignore[arg-type]


def test_holes_are_places_of_pictures_not_of_rows(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(
        frames=60, receivers=1, height=30, width=40, lag=1, buffer_loss=0.2
    )
    video = miostitch.simulate(tmp_path, config).recordings[0]
    before = miostitch.simulate(tmp_path / "before", config).recordings[0]
    received_later(video)
    sound = Recording.open(video, ReadOptions(lag=1), measure=True)
    content = bytearray(video.read_bytes())
    place = int(open_video(video).index.position[20])  # type: ignore[union-attr]
    content[place : place + 1300] = bytes(1300)
    video.write_bytes(content)
    broken = Recording.open(video, ReadOptions(lag=1, salvage=True), measure=True)
    lost = broken.videos[0].lost
    assert 20 in lost
    kept = np.setdiff1d(np.arange(broken.shape[0]), lost)
    assert (broken.frames.frame_num[lost] == -1).all()
    assert (broken.frames.frame_num[kept] == sound.frames.frame_num[kept]).all()
    assert broken.measured_lag.lag == 1
    joined = Recording.open(f"{before},{video}", ReadOptions(lag=1, salvage=True), measure=True)
    assert joined.measured_lag.lag == 1


def test_no_picture_of_lossy_video_is_read(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(tmp_path / "coded.avi", decode(small), "mjpeg", "yuvj420p", {})
    shutil.copy(small.with_suffix(".csv"), tmp_path / "coded.csv")
    monkeypatch.setattr(VideoSource, "subset", lambda *_: pytest.fail("read"))
    assert Recording.open(tmp_path / "coded.avi", measure=True).measured_lag == Lag()


def test_what_cannot_be_measured_does_not_keep_a_recording_closed(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise VideoError("x.avi: frame 3 cannot be read")

    monkeypatch.setattr(VideoSource, "subset", fail)
    loaded = Recording.open(video, measure=True)
    assert loaded.measured_lag == Lag()
    assert any(
        "shifted against its table was not measured: x.avi: frame 3" in str(n)
        for n in loaded.notices
    )


@pytest.mark.parametrize(("lag", "frames"), [(0, 53), (1, 52), ("auto", 52)])
def test_stitching_at_the_right_lag(
    recordings: Path, lag: int | Literal["auto"], frames: int
) -> None:
    videos = [recordings / "stitch" / f"video{n}.avi" for n in (1, 2)]
    both = open_recordings(videos, ReadOptions(lag=lag), measure=True)
    session = bring_together(both)
    assert len(session.alignment) == frames
    assert (2566 in session.alignment.frame_num) == (lag == 0)
    if lag == 0:
        return
    # shared buffers of the two receivers are bit-identical, so the pairs are the true ones
    shared = session.alignment.source_frame[:, (session.alignment.source_frame >= 0).all(axis=0)]
    one, other = (r.reader(frames).read() for r, frames in zip(both, shared, strict=True))
    ranges = [
        np.split(each.reshape(len(each), -1), session.bounds[1:-1], 1) for each in (one, other)
    ]
    pairs = [(a[f], b[f]) for a, b in zip(*ranges, strict=True) for f in range(len(a))]
    delivered = [(a == b).all() for a, b in pairs if a.any() and b.any()]
    assert len(delivered) > 300
    assert all(delivered)
    assert any(
        "the last frame 49 (frame_num 2566) was not saved as an image" in str(n)
        for n in both[1].notices
    )


@pytest.mark.parametrize("table", ["timeStamps.csv", "timestamp.dat"])
def test_a_recording_of_a_wired_miniscope_is_named_so(tmp_path: Path, table: str) -> None:
    video = write(tmp_path / "0.avi", make_frames(3))
    (tmp_path / table).write_text("Frame Number,Time Stamp (ms),Buffer Index\n0,3,0\n")
    with pytest.raises(
        MissingInputError, match="recording of the Miniscope DAQ software"
    ) as raised:
        open_recordings([str(video)])
    assert str(tmp_path / "0.csv") in str(raised.value)
    assert open_recordings([str(video)], ReadOptions(need_table=False))[0].shape[0] == 3
