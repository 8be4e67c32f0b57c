"""Exports: the very pictures and times of the frames, in the layout that others read."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pynwb
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import miostitch
from miostitch import ExportOptions, cli, export_recording, open_recording
from miostitch.errors import (
    InputError,
    MismatchError,
    OutputExistsError,
    ResourceError,
    UsageError,
)
from miostitch.export import avi as export_avi
from miostitch.export import chunks as export_chunks
from miostitch.export import nwb as export_nwb
from miostitch.export.run import Kind
from miostitch.recording.files import ReadOptions
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from miostitch.video.raw_avi import RawAvi
from miostitch.video.writer import Codec, VideoFile
from tests.folders import content
from tests.video_files import decode, make_frames, write

PER_FILE = 7


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    config = miostitch.SimulationConfig(
        frames=40, seed=5, height=30, width=20, buffer_loss=0.05, frame_loss=0.05
    )
    miostitch.simulate(folder / "in", config)
    names = [str(folder / "in" / f"receiver{n}.avi") for n in (1, 2)]
    stitch_files(names, folder / "out", StitchOptions(chunk_frames=16, report=False))
    return folder


@pytest.fixture(scope="module")
def store(session: Path) -> Path:
    return session / "out" / "receiver1__receiver2_stitched.zarr"


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Video files that no block of the recording fits."""
    monkeypatch.setattr(export_avi, "FRAMES_PER_FILE", PER_FILE)
    monkeypatch.setattr(export_chunks, "CHUNK_BYTES", 5 * 600)


def edited(store: Path) -> xr.Dataset:
    return miostitch.remove_frames(miostitch.trim(open_recording(store), 3, 2), "0,7-9")


SOURCES: dict[str, Callable[[Path], Any]] = {
    "store": lambda store: store,
    "stitched video": lambda store: store.with_suffix(".avi"),
    "recording": lambda store: store.parents[1] / "in" / "receiver1.avi",
    "selection": edited,
}


ONE_MORE = pytest.param("stitched video", marks=pytest.mark.slow)


def of(*names: Any) -> Any:
    """The sources of these names, one test for each."""
    return pytest.mark.parametrize("source", names, indirect=True)


@pytest.fixture
def source(request: pytest.FixtureRequest, store: Path) -> Any:
    return SOURCES[request.param](store)


def opened(source: Any) -> xr.Dataset:
    """The source itself, with times of the first recording's clock."""
    if isinstance(source, xr.Dataset):
        return source.load()
    beside = source.with_suffix(".zarr")
    return open_recording(beside if beside.exists() else source).load()


def seconds(recording: xr.Dataset) -> np.ndarray:
    first = recording.timestamp_first.to_numpy()
    return np.asarray(first - first[0])


@pytest.mark.parametrize("kind", ["ucla", "zarr2", "nwb"])
def test_lost_frames_are_left_out(session: Path, tmp_path: Path, kind: Kind) -> None:
    shutil.copytree(session / "in", tmp_path / "in")
    path = tmp_path / "in" / "receiver1.avi"
    frames = decode(path)
    data = bytearray(path.read_bytes())
    at = data.index(frames[7].tobytes())
    data[at + 300 : at + 300 + 512] = bytes(512)  # into the header of the next one
    path.write_bytes(data)
    with pytest.raises(InputError, match="--salvage"):
        export_recording(path, tmp_path / "out", kind, reading=ReadOptions(need_table=False))
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    reading = ReadOptions(need_table=False, salvage=True)
    made = export_recording(path, tmp_path / "out", kind, reading=reading)
    assert made["frames"] == len(frames) - 2
    assert any("2 frames lost" in warning for warning in made["warnings"])
    if kind == "zarr2":
        [store] = made["outputs"]
        video = zarr.open_group(store, mode="r")["video"]
        expected = np.delete(frames, [7, 8], axis=0)
        np.testing.assert_array_equal(np.asarray(video).reshape(expected.shape), expected)


@pytest.mark.parametrize("opens", [pytest.param(False, marks=pytest.mark.slow), True])
def test_damaged_chunks_are_left_out(store: Path, tmp_path: Path, opens: bool) -> None:
    shutil.copytree(store.parent, tmp_path / "in")
    path = tmp_path / "in" / store.name
    (path / "video" / "c" / "1" / "0" / "0").unlink()
    reading = ReadOptions(need_table=False, salvage=True)
    given = open_recording(path, salvage=True) if opens else path
    made = export_recording(given, tmp_path / "out", "zarr2", reading=reading)
    whole = open_recording(store)
    lost = range(16, min(32, whole.sizes["frame"]))
    [loss] = made["lost_frames"]
    assert loss["frames"] == [lost[0], lost[-1]]
    exported = zarr.open_group(made["outputs"][0], mode="r")
    expected = np.delete(whole.video.to_numpy(), lost, axis=0)
    np.testing.assert_array_equal(np.asarray(exported["video"]), expected)
    history: Any = exported.attrs["history"]
    assert [step["step"] for step in history] == ["stitch", "remove_frames"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=8),
    st.integers(1, 9),
    st.sampled_from(get_args(Codec)),
)
def test_files_do_not_depend_on_blocks(
    tmp_path: Path, blocks: list[int], per_file: int, codec: Codec
) -> None:
    frames = make_frames(sum(blocks), 4, 6)
    paths = [tmp_path / f"{n}.avi" for n in range(-(-len(frames) // per_file))]
    files = tuple(VideoFile(str(path), 6, 4, Fraction(20), codec) for path in paths)
    segments = export_avi.Segments(files, per_file)
    first = 0
    with segments.open(len(frames)) as append:
        for block in np.split(frames, np.cumsum(blocks)[:-1]):
            append(first, segments.pack(first, block))
            first += len(block)
    found = [decode(path) for path in paths]
    assert [len(part) for part in found[:-1]] == [per_file] * (len(paths) - 1)
    np.testing.assert_array_equal(np.concatenate([frames[:0], *found]), frames)


@of("store", ONE_MORE, "recording")
def test_ucla(source: Any, tmp_path: Path) -> None:
    expected = opened(source)
    made = export_recording(source, tmp_path / "x", "ucla")
    count = expected.sizes["frame"]
    videos = [f"{n}.avi" for n in range(-(-count // PER_FILE))]
    assert made["outputs"] == [
        str(tmp_path / "x" / name)
        for name in (*videos, "timeStamps.csv", "metaData.json", "frames.csv")
    ]
    assert {*content(tmp_path)} == {str(Path(p).relative_to(tmp_path)) for p in made["outputs"]}
    parts = [decode(tmp_path / "x" / name) for name in videos]
    assert [len(part) for part in parts[:-1]] == [PER_FILE] * (len(videos) - 1)
    np.testing.assert_array_equal(np.concatenate(parts), expected.video)
    table = pd.read_csv(tmp_path / "x" / "timeStamps.csv")
    assert [*table.columns][:2] == ["Frame Number", "Time Stamp (ms)"]
    assert table["Frame Number"].tolist() == [*range(count)]
    np.testing.assert_allclose(table["Time Stamp (ms)"], 1000 * seconds(expected), atol=6e-4)
    facts = json.loads((tmp_path / "x" / "metaData.json").read_text())
    assert (facts["frameRate"], facts["framesPerFile"]) == ("20FPS", PER_FILE)
    started = facts["recordingStartTime"]
    units = [started[unit] for unit in ("year", "month", "day", "hour", "minute", "second")]
    began = datetime(*units).replace(tzinfo=UTC) + timedelta(milliseconds=started["msec"])
    assert began.timestamp() == pytest.approx(float(expected.timestamp_first[0]), abs=2e-3)
    assert started["msecSinceEpoch"] == round(began.timestamp() * 1000)


@of("stitched video", "selection")
def test_avi_segments(source: Any, tmp_path: Path) -> None:
    expected = opened(source)
    made = export_recording(source, tmp_path, "avi-segments", ExportOptions(codec="ffv1"))
    count = expected.sizes["frame"]
    videos = [tmp_path / f"msCam{n + 1}.avi" for n in range(-(-count // PER_FILE))]
    tables = tmp_path / "timestamps.csv", tmp_path / "frames.csv"
    assert made["outputs"] == [str(path) for path in (*videos, *tables)]
    np.testing.assert_array_equal(np.concatenate([*map(decode, videos)]), expected.video)
    table = pd.read_csv(tmp_path / "timestamps.csv")
    assert table.frame.tolist() == [*range(count)]
    for name in ("timestamp_first", "timestamp_last"):
        np.testing.assert_array_equal(table[name], expected[name])


@of("store", ONE_MORE, "recording", "selection")
def test_zarr2(source: Any, tmp_path: Path) -> None:
    expected = opened(source)
    export_recording(source, tmp_path / "x.zarr", "zarr2")
    made = xr.open_zarr(tmp_path / "x.zarr")
    assert [*made.data_vars] == ["video"]
    assert made.video.chunks[1:] == ((30,), (20,))
    np.testing.assert_array_equal(made.video, expected.video)
    kept = {*expected.coords} - {"origin", "origin_frame", "received"}
    assert {*made.coords} == kept
    for name in kept - {"frame"}:
        np.testing.assert_array_equal(made[name], expected[name])
        assert made[name].dtype == expected[name].dtype
    assert made.frame.to_numpy().tolist() == [*range(expected.sizes["frame"])]
    assert zarr.open_group(tmp_path / "x.zarr", mode="r").metadata.zarr_format == 2
    # a store of ours tells everything of a frame; what tells less does not pretend to be one
    assert ("format_version" in made.attrs) == ("damaged" in expected.coords)


def test_zarr2_can_be_edited_and_exported_again(store: Path, tmp_path: Path) -> None:
    export_recording(store, tmp_path, "zarr2")
    again = open_recording(tmp_path / store.name)
    xr.testing.assert_equal(again.drop_vars(["origin"]), open_recording(store).drop_vars("origin"))
    miostitch.write_recording(miostitch.trim(again, 30), tmp_path / "y.zarr")
    assert open_recording(tmp_path / "y.zarr").sizes["frame"] == again.sizes["frame"] - 30


@pytest.mark.parametrize(
    ("source", "external"),
    [("store", False), ("recording", True), ("selection", False)],
    indirect=["source"],
)
def test_nwb(source: Any, external: bool, tmp_path: Path) -> None:
    expected = opened(source)
    options = ExportOptions(external=external, subject_id="m1", species="Mus musculus", sex="F")
    made = export_recording(source, tmp_path / "x.nwb", "nwb", options)
    names = ["x_external.avi", "x.nwb"] if external else ["x.nwb"]
    assert [Path(path).name for path in made["outputs"]] == names
    with pynwb.NWBHDF5IO(tmp_path / "x.nwb", "r") as io:
        file = io.read()
        series = file.acquisition["OnePhotonSeries"]
        if external:
            assert [*series.external_file] == ["x_external.avi"]
            assert [*series.dimension] == [20, 30]
            pictures = decode(tmp_path / "x_external.avi")
        else:
            assert series.data.chunks == (5, 20, 30)
            assert series.data.compression == "gzip"
            pictures = series.data[:].transpose(0, 2, 1)
        np.testing.assert_array_equal(pictures, expected.video)
        np.testing.assert_allclose(series.timestamps[:], seconds(expected), atol=1e-5)
        began = file.session_start_time.timestamp()
        assert began == pytest.approx(float(expected.timestamp_first[0]), abs=1e-5)
        assert (file.subject.subject_id, file.subject.species) == ("m1", "Mus musculus")
        frames = file.processing["ophys"]["frames"]
        np.testing.assert_array_equal(frames["frame_num"][:], expected.frame_num)
        if "damaged" in expected.coords:
            np.testing.assert_array_equal(frames["damaged"][:], expected.damaged)


@pytest.mark.parametrize(
    "early_s",
    [
        -0.5,
        pytest.param(0.0, marks=pytest.mark.slow),
        3e-7,
        pytest.param(1.25, marks=pytest.mark.slow),
        4000.0,
    ],
)
def test_no_time_of_nwb_is_before_the_session(store: Path, tmp_path: Path, early_s: float) -> None:
    known = open_recording(store)
    first = float(known.timestamp_first[0])
    unix = np.append(first - early_s + np.arange(10) / 30, first + 0.9 + np.arange(9) / 30)
    np.savetxt(tmp_path / "cam.csv", unix, header="time", comments="", fmt="%.7f")
    camera = miostitch.Behaviour(name="cam", timestamps=str(tmp_path / "cam.csv"))
    export_recording(store, tmp_path / "x.nwb", "nwb", behaviour=(camera,))
    with pynwb.NWBHDF5IO(tmp_path / "x.nwb", "r") as io:
        file = io.read()
        began = file.session_start_time.timestamp()
        ours = file.acquisition["OnePhotonSeries"].timestamps[:]
        theirs = file.processing["behavior"]["cam_nearest_frame"].timestamps[:]
    assert 0 <= min(ours[0], theirs[0]) <= 1e-5
    assert began == pytest.approx(min(first, unix[0]), abs=2e-6)
    np.testing.assert_allclose(began + theirs, unix, atol=1e-4)
    np.testing.assert_allclose(ours - ours[0], seconds(known) - seconds(known)[0], atol=1e-5)


def test_a_stated_session_start_stays(store: Path, tmp_path: Path) -> None:
    first = float(open_recording(store).timestamp_first[0])
    start = datetime.fromtimestamp(first - 1, UTC)
    np.savetxt(tmp_path / "cam.csv", first + np.arange(-3, 9), header="time", comments="")
    camera = miostitch.Behaviour(name="cam", timestamps=str(tmp_path / "cam.csv"))
    export_recording(store, tmp_path / "x.nwb", "nwb", behaviour=(camera,), session_start=start)
    with pynwb.NWBHDF5IO(tmp_path / "x.nwb", "r") as io:
        file = io.read()
        assert file.session_start_time == start
        theirs = file.processing["behavior"]["cam_nearest_frame"].timestamps[:]
        assert theirs[0] == pytest.approx(-2, abs=1e-5)


def test_nwb_says_what_archives_search_for(store: Path, tmp_path: Path) -> None:
    told = ExportOptions(indicator="GCaMP6f", location="CA1", subject_id="m1")
    for options, more in ((told, ["GCaMP6f", "CA1"]), (ExportOptions(), [])):
        export_recording(store, tmp_path / "x.nwb", "nwb", options, force=True)
        with pynwb.NWBHDF5IO(tmp_path / "x.nwb", "r") as io:
            file = io.read()
            words = [*file.keywords[:]]
            assert file.experiment_description
            assert file.subject.description
        assert words == ["miniscope", "one-photon imaging", *more]


def test_times_of_nwb_count_from_the_session(store: Path, tmp_path: Path) -> None:
    first = float(open_recording(store).timestamp_first[0])
    zone = datetime.fromtimestamp(first, UTC).astimezone().tzinfo
    start = datetime.fromtimestamp(first - 60, zone)
    export_recording(store, tmp_path / "x.nwb", "nwb", ExportOptions(session_start=start))
    with pynwb.NWBHDF5IO(tmp_path / "x.nwb", "r") as io:
        file = io.read()
        assert file.session_start_time == start
        assert file.acquisition["OnePhotonSeries"].timestamps[0] == pytest.approx(60, abs=1e-5)
    for wrong, message in (
        (start + timedelta(minutes=2), "is after the first frame"),
        (start.replace(tzinfo=None), "how far from UTC"),
    ):
        with pytest.raises(UsageError, match=message):
            export_recording(store, tmp_path / "y", "nwb", ExportOptions(session_start=wrong))
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize("kind", ["ucla", "nwb"])
def test_a_session_start_without_offset_is_refused(store: Path, tmp_path: Path, kind: str) -> None:
    start = ("--session-start", "2020-01-31T09:30:00")
    done = run(store, "--to", kind, "-o", tmp_path / "out", *start)
    assert done.exit_code == UsageError.exit_code
    assert "say how far from UTC, as in +01:00 or Z" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_session_start_with_offset_is_the_same_anywhere(store: Path, tmp_path: Path) -> None:
    start = datetime.fromisoformat("2020-01-31T09:30:00+01:00")
    export_recording(store, tmp_path, "ucla", ExportOptions(session_start=start))
    began = json.loads((tmp_path / "metaData.json").read_text())["recordingStartTime"]
    assert (began["hour"], began["msecSinceEpoch"]) == (9, 1_580_459_400_000)


def test_a_video_alone_has_the_times_of_its_rate(tmp_path: Path) -> None:
    frames = make_frames(20)
    video = write(tmp_path / "a.avi", frames)
    made = export_recording(video, tmp_path / "ucla", "ucla")
    assert "30000/1001" not in (warning := made["warnings"][0])
    assert "no times are known" in warning
    assert "29.97 frames per second" in warning
    table = pd.read_csv(tmp_path / "ucla" / "timeStamps.csv")
    np.testing.assert_allclose(table["Time Stamp (ms)"], np.arange(20) * 1001 / 30, atol=6e-4)
    assert "recordingStartTime" not in (tmp_path / "ucla" / "metaData.json").read_text()
    with pytest.raises(UsageError, match="--session-start"):
        export_recording(video, tmp_path, "nwb")
    start = ExportOptions(session_start=datetime(2026, 1, 31, tzinfo=UTC))
    export_recording(video, tmp_path, "nwb", start)
    with pynwb.NWBHDF5IO(tmp_path / "a.nwb", "r") as io:
        series = io.read().acquisition["OnePhotonSeries"]
        assert series.rate == pytest.approx(30000 / 1001)
        np.testing.assert_array_equal(series.data[:].transpose(0, 2, 1), frames)


def test_a_video_alone_can_stay_beside_its_nwb(tmp_path: Path) -> None:
    video = write(tmp_path / "a.avi", make_frames(20))
    start = datetime(2026, 1, 31, tzinfo=UTC)
    options = ExportOptions(external=True, session_start=start)
    export_recording(video, tmp_path, "nwb", options)
    with pynwb.NWBHDF5IO(tmp_path / "a.nwb", "r") as io:
        series = io.read().acquisition["OnePhotonSeries"]
        assert series.num_samples == 20
        assert series.rate == pytest.approx(30000 / 1001)
    np.testing.assert_array_equal(decode(tmp_path / "a_external.avi"), decode(video))


def test_frames_without_a_time_are_named(store: Path, tmp_path: Path) -> None:
    recording = open_recording(store).load()
    recording.timestamp_first[[0, 4, 5, 9]] = np.nan
    kinds: tuple[Kind, ...] = ("ucla", "nwb")
    for kind in kinds:
        with pytest.raises(InputError, match=r"frame 0: .* remove-frames -f 0,4-5,9"):
            export_recording(recording, tmp_path / "x", kind)
    export_recording(recording, tmp_path, "avi-segments")
    assert pd.read_csv(tmp_path / "timestamps.csv").timestamp_first.isna().sum() == 4


def test_time_that_goes_backwards_is_told_and_kept(store: Path, tmp_path: Path) -> None:
    recording = open_recording(store).load()
    recording.timestamp_first[6] -= 1
    made = export_recording(recording, tmp_path, "ucla")
    before, here = recording.timestamp_first.values[5:7]
    said = f"frame 6: timestamp_first goes backwards there, from {before:.3f} to {here:.3f} s"
    assert said in made["warnings"][0]
    times = pd.read_csv(tmp_path / "timeStamps.csv")["Time Stamp (ms)"]
    np.testing.assert_allclose(times, 1000 * seconds(recording), atol=6e-4)


def test_a_stale_table_of_times_is_refused(session: Path, tmp_path: Path) -> None:
    for suffix in (".avi", ".csv"):
        path = session / "in" / f"receiver1{suffix}"
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "receiver1_timestamps.csv").write_text(
        "frame,timestamp_first,timestamp_last\n0,1.0,2.0\n"
    )
    with pytest.raises(MismatchError, match=r"receiver1_timestamps\.csv: has 1 frame, but"):
        export_recording(tmp_path / "receiver1.avi", tmp_path / "x", "ucla")


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("zarr2", ExportOptions(subject_id="m1"), "subject-id"),
        (
            "avi-segments",
            ExportOptions(session_start=datetime.now(UTC)),
            "session-start",
        ),
        ("ucla", ExportOptions(external=True), "external"),
        ("nwb", ExportOptions(codec="ffv1"), "codec"),
    ],
)
def test_options_without_effect_are_refused(
    kind: Kind, options: ExportOptions, name: str, store: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"has no effect on this export .* leave --{name} out"):
        export_recording(store, tmp_path / "x", kind, options)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "kind", ["ucla", pytest.param("avi-segments", marks=pytest.mark.slow), "zarr2"]
)
def test_nothing_is_replaced_unless_asked(kind: Kind, store: Path, tmp_path: Path) -> None:
    export_recording(store, tmp_path, kind)
    before = content(tmp_path)
    with pytest.raises(OutputExistsError, match="--force"):
        export_recording(edited(store), tmp_path, kind)
    assert content(tmp_path) == before
    made = export_recording(edited(store), tmp_path, kind, force=True)
    names = {str(Path(path).relative_to(tmp_path)).split("/")[0] for path in made["outputs"]}
    # the longer export's last videos are gone: readers take all that are there
    assert {name.split("/")[0] for name in content(tmp_path)} == names
    assert content(tmp_path) != before


@pytest.mark.parametrize("kind", ["ucla", "nwb"])
def test_a_failed_export_leaves_nothing(
    kind: Kind, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_recording(store, tmp_path, kind)
    before = content(tmp_path)

    def full(*args: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_nwb, "compress_chunks", full)
    monkeypatch.setattr(RawAvi, "write", full)
    with pytest.raises(ResourceError):
        export_recording(edited(store), tmp_path, kind, force=True)
    assert content(tmp_path) == before
    with pytest.raises(ResourceError):
        export_recording(store, tmp_path / "new", kind)
    assert not (tmp_path / "new").exists()


def test_other_pictures_than_gray_bytes_are_refused(store: Path, tmp_path: Path) -> None:
    recording = open_recording(store)
    with pytest.raises(UsageError, match="video is float32, and uint8 is written"):
        export_recording(recording.astype("float32"), tmp_path / "x", "zarr2")
    assert not (tmp_path / "x").exists()


def test_other_videos_in_a_ucla_folder_are_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"receiver1.*_stitched\.avi is there"):
        export_recording(store, store.parent, "ucla")


def test_a_store_is_not_exported_onto_itself(store: Path) -> None:
    with pytest.raises(UsageError, match="would replace an input"):
        export_recording(store, store.parent, "zarr2", force=True)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli.main, ["export", *map(str, arguments)])


def test_the_command(store: Path, tmp_path: Path) -> None:
    done = run(store, "--to", "ucla", "-o", tmp_path / "u", "--json")
    found = json.loads(done.stdout)
    assert (found["kind"], found["frames"]) == ("ucla", open_recording(store).sizes["frame"])
    assert found["duration_s"] == pytest.approx(seconds(open_recording(store))[-1], abs=1e-5)
    done = run(store, "--to", "avi-segments", "-o", tmp_path / "m")
    text = done.stdout.splitlines()
    assert text[0].endswith("as avi-segments")
    assert text[-1] == str(tmp_path / "m" / "frames.csv")
    done = run(
        *(store, "--to", "nwb", "-o", tmp_path, "--session-start", "2020-01-31T09:30:00+01:00"),
        *("--subject-id", "m1", "--sex", "M", "--age", "P90D", "--location", "CA1"),
    )
    assert done.exit_code == 0, done.output
    with pynwb.NWBHDF5IO(tmp_path / f"{store.stem}.nwb", "r") as io:
        file = io.read()
        assert file.session_start_time.isoformat() == "2020-01-31T09:30:00+01:00"
        assert (file.subject.age, file.subject.sex) == ("P90D", "M")
        assert file.imaging_planes["ImagingPlane"].location == "CA1"


def test_what_the_command_refuses(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(store, "--to", "nwb", "-o", tmp_path, "--session-start", "yesterday")
    assert done.exit_code == 2
    assert "2026-01-31T09:30:00+01:00" in done.stderr
    assert run(tmp_path / "no.zarr", "--to", "ucla", "-o", tmp_path / "x").exit_code == 3
    monkeypatch.setitem(sys.modules, "miostitch.export.nwb", None)
    done = run(store, "--to", "nwb", "-o", tmp_path)
    assert done.exit_code == 2
    assert "pip install 'miostitch[nwb]'" in done.stderr


def test_many_products_are_told_in_few_lines(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_avi, "FRAMES_PER_FILE", 2)
    done = run(store, "--to", "ucla", "-o", tmp_path / "u")
    assert len(done.stdout.splitlines()) < 10
    assert "more" in done.stdout


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording whose video file says another rate than the device had."""
    folder = tmp_path_factory.mktemp("slow")
    size: dict[str, Any] = {"frames": 30, "height": 30, "width": 20, "buffer_loss": 0.0}
    miostitch.simulate(folder, miostitch.SimulationConfig(fps=Fraction(25), seed=8, **size))
    video = folder / "receiver1.avi"
    table = pd.read_csv(video.with_suffix(".csv"))
    times = table.buffer_recv_unix_time
    table["buffer_recv_unix_time"] = times[0] + (times - times[0]) * 1.25  # 20 frames per s
    table.to_csv(video.with_suffix(".csv"), index=False)
    return video


def test_ucla_states_the_measured_rate(slow: Path, tmp_path: Path) -> None:
    made = export_recording(slow, tmp_path, "ucla")
    facts = json.loads((tmp_path / "metaData.json").read_text())
    assert float(facts["frameRate"].removesuffix("FPS")) == pytest.approx(20, rel=0.01)
    [note] = made["notes"]
    assert re.search(r"measured rate (20|19\.9|20\.0)\d* frames/s, the video file says 25; ", note)


def test_nwb_states_the_measured_rate(slow: Path, tmp_path: Path) -> None:
    made = export_recording(slow, tmp_path / "x.nwb", "nwb")
    with pynwb.NWBHDF5IO(tmp_path / "x.nwb", "r") as io:
        file = io.read()
        series = file.acquisition["OnePhotonSeries"]
        assert series.imaging_plane.imaging_rate == pytest.approx(20, rel=0.01)
        assert "the video file says 25" in series.description
        steps = np.diff(series.timestamps[:])
    assert np.median(steps) == pytest.approx(0.05, rel=0.02)
    assert len(made["notes"]) == 1


def test_a_rate_that_fits_is_that_of_the_file(store: Path, tmp_path: Path) -> None:
    made = export_recording(store, tmp_path, "ucla")
    assert json.loads((tmp_path / "metaData.json").read_text())["frameRate"] == "20FPS"
    assert made["notes"] == []


def test_zarr2_has_the_times(slow: Path, tmp_path: Path) -> None:
    chosen = miostitch.trim(open_recording(slow), 4)
    export_recording(chosen, tmp_path / "x.zarr", "zarr2")
    made = xr.open_zarr(tmp_path / "x.zarr")
    np.testing.assert_array_equal(made.time, chosen.time)
    np.testing.assert_array_equal(made.time_estimated, chosen.time_estimated)
    assert made.time[0] == 0
    assert made.attrs["start_time"] == chosen.attrs["start_time"]
    assert made.attrs["measured_fps"] == pytest.approx(20, rel=0.01)
