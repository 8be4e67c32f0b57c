"""Exports that the next tools open: TIFF, HDF5, UCLA's folder of either version, previews."""

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import av
import cv2
import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
import xarray as xr
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import miostitch
from miostitch import ExportOptions, cli, export_recording, open_recording
from miostitch.errors import InputError, ResourceError, UsageError
from miostitch.export import chunks as export_chunks
from miostitch.export import tiff as export_tiff
from miostitch.export.run import Kind
from miostitch.export.selection import bin_frames
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from miostitch.video.preview import LINE, contrast, preview_rate
from tests.folders import content
from tests.video_files import decode, make_frames, write

STEM = "receiver1__receiver2_stitched"
COUNT = 40


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    config = miostitch.SimulationConfig(
        frames=COUNT, seed=6, height=30, width=21, buffer_loss=0.1, frame_loss=0.1
    )
    miostitch.simulate(folder / "in", config)
    names = [str(folder / "in" / f"receiver{n}.avi") for n in (1, 2)]
    stitch_files(names, folder / "out", StitchOptions(chunk_frames=16, report=False))
    return folder


@pytest.fixture(scope="module")
def store(session: Path) -> Path:
    return session / "out" / f"{STEM}.zarr"


@pytest.fixture(scope="module")
def expected(store: Path) -> xr.Dataset:
    found = open_recording(store).load()
    assert 0 < int(found.damaged.sum()) < found.sizes["frame"]  # else nothing is tried
    return found


def pages(path: Path) -> np.ndarray:
    with tifffile.TiffFile(path) as file:
        return np.stack([page.asarray() for page in file.pages])


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli.main, ["export", *map(str, arguments)])


def test_tiff_is_opened_by_tifffile_imagej_and_opencv(
    store: Path, expected: xr.Dataset, tmp_path: Path
) -> None:
    made = export_recording(store, tmp_path / "x.tif", "tiff")
    assert [Path(path).name for path in made["outputs"]] == ["x.tif", "x_frames.csv"]
    path, count = tmp_path / "x.tif", expected.sizes["frame"]
    np.testing.assert_array_equal(pages(path), expected.video)
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej
        assert not file.is_bigtiff
        about = file.imagej_metadata or {}
        # ImageJ reads so many images from behind the first directory on
        assert (about["images"], about["frames"]) == (count, count)
        assert about["finterval"] == pytest.approx(0.05, rel=0.01)
        offset = file.pages[0].dataoffsets[0]
    raw = np.fromfile(path, np.uint8, expected.video.size, offset=offset)
    np.testing.assert_array_equal(raw.reshape(expected.video.shape), expected.video)
    found, images = cv2.imreadmulti(str(path), flags=cv2.IMREAD_UNCHANGED)
    assert found
    np.testing.assert_array_equal(np.stack(images), expected.video)


def test_tiff_of_many_files(store: Path, expected: xr.Dataset, tmp_path: Path) -> None:
    export_recording(store, tmp_path, "tiff", per_file=7)
    count = expected.sizes["frame"]
    names = [f"{STEM}_{n + 1:04}.tif" for n in range(-(-count // 7))]
    parts = [pages(tmp_path / name) for name in names]
    assert [len(part) for part in parts[:-1]] == [7] * (len(names) - 1)
    np.testing.assert_array_equal(np.concatenate(parts), expected.video)
    export_recording(store, tmp_path, "tiff", per_file=30, force=True)
    assert sorted(path.name for path in tmp_path.glob("*.tif")) == names[:2]
    export_recording(store, tmp_path, "tiff", force=True)
    assert [path.name for path in tmp_path.glob("*.tif")] == [f"{STEM}.tif"]


def test_a_tiff_too_large_for_imagej_is_a_bigtiff(
    store: Path, expected: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_tiff, "CLASSIC_BYTES", 20 * (30 * 21 + export_tiff.PAGE_BYTES))
    made = export_recording(store, tmp_path / "big.tif", "tiff")
    [note] = made["notes"]
    assert "--per-file 20" in note
    with tifffile.TiffFile(tmp_path / "big.tif") as file:
        assert file.is_bigtiff
    np.testing.assert_array_equal(pages(tmp_path / "big.tif"), expected.video)
    made = export_recording(store, tmp_path / "small", "tiff", per_file=20)
    assert made["notes"] == []
    with tifffile.TiffFile(made["outputs"][0]) as file:
        assert file.is_imagej


@pytest.mark.parametrize("name", ["x.h5", "x.hdf5", "folder"])
def test_hdf5_has_the_names_of_caiman_and_suite2p(
    name: str,
    store: Path,
    expected: xr.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export_chunks, "CHUNK_BYTES", 5 * 630)
    made = export_recording(store, tmp_path / name, "hdf5")
    with h5py.File(made["outputs"][0]) as file:
        for key in ("mov", "data"):
            np.testing.assert_array_equal(file[key], expected.video)
        assert file["mov"] == file["data"]  # one and the same
        batch = np.arange(3, 19)  # as suite2p reads it, in batches of a list of frames
        read = file["data"][batch, :, :].astype(np.int16)
        np.testing.assert_array_equal(read, expected.video[batch])
        assert len(file) == 3  # with more than one dataset, CaImAn takes the one called mov
        assert file["mov"].chunks == (5, 30, 21)
        assert file["mov"].compression == "gzip"
        assert file["mov"].attrs["fr"] == pytest.approx(20, rel=0.01)
        for key in ("frame_num", "damaged", "timestamp_first", "time"):
            np.testing.assert_array_equal(file["frames"][key], expected[key])
    assert made["outputs"] == [str(path) for path in (tmp_path.rglob("*.*5"))]


def test_ucla_as_of_version_2(store: Path, expected: xr.Dataset, tmp_path: Path) -> None:
    export_recording(store, tmp_path, "ucla")
    table = pd.read_csv(tmp_path / "timeStamps.csv")
    assert [*table.columns] == [
        "Frame Number", "Time Stamp (ms)", "Buffer Index", "DAQ Frame Number",
        "Unix Time Stamp (ms)",
    ]  # fmt: skip
    np.testing.assert_array_equal(table["DAQ Frame Number"], expected.frame_num)
    unix = 1000 * expected.timestamp_first
    np.testing.assert_allclose(table["Unix Time Stamp (ms)"], unix, atol=1e-3, rtol=0)
    start = json.loads((tmp_path / "metaData.json").read_text())["recordingStartTime"]
    assert start["msecSinceEpoch"] == pytest.approx(table["Unix Time Stamp (ms)"][0], abs=1)


def test_lost_frames_are_gaps_in_the_number_of_the_daq(session: Path, tmp_path: Path) -> None:
    video = session / "in" / "receiver1.avi"
    export_recording(video, tmp_path, "ucla")
    number = pd.read_csv(tmp_path / "timeStamps.csv")["DAQ Frame Number"]
    np.testing.assert_array_equal(number, open_recording(video).frame_num)
    assert (np.diff(number) > 1).any()


def test_ucla_as_of_version_1(store: Path, tmp_path: Path) -> None:
    export_recording(store, tmp_path, "ucla", ucla_format=1)
    table = pd.read_csv(tmp_path / "timeStamps.csv")
    assert [*table.columns] == ["Frame Number", "Time Stamp (ms)"]


def test_ucla_of_a_video_alone_knows_no_numbers(tmp_path: Path) -> None:
    export_recording(write(tmp_path / "a.avi", make_frames(9)), tmp_path / "u", "ucla")
    table = pd.read_csv(tmp_path / "u" / "timeStamps.csv")
    assert "Unix Time Stamp (ms)" not in table
    assert table["DAQ Frame Number"].tolist() == [-1] * 9
    assert "damaged" not in pd.read_csv(tmp_path / "u" / "frames.csv")


def preview(path: Path) -> tuple[np.ndarray, Fraction]:
    """Luma of all frames, and their rate."""
    with av.open(path) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        rate = stream.average_rate
        assert rate is not None
        frames = [frame.to_ndarray()[: frame.height] for frame in file.decode(stream)]
    return np.stack(frames), rate


def test_a_preview_shows_every_frame(store: Path, expected: xr.Dataset, tmp_path: Path) -> None:
    made = export_recording(store, tmp_path / "x.mp4", "mp4")
    assert [Path(path).name for path in made["outputs"]] == ["x.mp4", "x_frames.csv"]
    frames, rate = preview(tmp_path / "x.mp4")
    assert rate == pytest.approx(20, rel=0.01)
    assert frames.shape == (expected.sizes["frame"], 30 + LINE, 176)
    shown = frames[:, :30, :21].astype(float)
    for frame in np.flatnonzero(~expected.damaged.to_numpy())[:5]:
        same = np.corrcoef(shown[frame].ravel(), expected.video[frame].to_numpy().ravel())[0, 1]
        assert same > 0.9
    assert np.ptp(frames[:, 30:]) > 100  # something is written there
    assert not np.array_equal(frames[0, 30:], frames[1, 30:])


def test_a_fast_preview_leaves_frames_out(store: Path, tmp_path: Path) -> None:
    export_recording(store, tmp_path / "x.mp4", "mp4", speed=6)  # 120 frames per s
    frames, rate = preview(tmp_path / "x.mp4")
    count = open_recording(store).sizes["frame"]
    assert len(frames) == -(-count // 2)
    assert rate == pytest.approx(60, rel=0.01)


@given(st.floats(1e-3, 1e5))
def test_the_pace_of_a_preview_is_kept(fps: float) -> None:
    rate, step = preview_rate(fps, 60)
    assert rate <= 60 + 1e-3
    assert float(rate * step) == pytest.approx(fps, abs=step * 1e-3)


def test_receivers_are_shown_next_to_the_result(
    store: Path, expected: xr.Dataset, tmp_path: Path
) -> None:
    export_recording(store, tmp_path / "x.mp4", "mp4", receivers=True)
    frames, _ = preview(tmp_path / "x.mp4")
    assert frames.shape[2] == 176  # three of 21 pixels
    scores = xr.open_zarr(store, group="scores")
    source = np.flatnonzero(expected.source.to_numpy() == 1)[0]  # the second one's frame
    result, first, second = np.split(frames[:, :30, :63].astype(int), 3, axis=2)
    assert np.abs(result[source] - second[source]).mean() < 8
    gone = np.flatnonzero(scores.source_frame[0].to_numpy() == -1)
    assert len(gone)
    assert first[gone].mean() < 24 < result[gone].mean()


def test_receivers_that_are_gone_are_named(session: Path, store: Path, tmp_path: Path) -> None:
    moved = session / "gone"
    (session / "in").rename(moved)
    try:
        made = export_recording(store, tmp_path / "x.mp4", "mp4", receivers=True)
    finally:
        moved.rename(session / "in")
    assert len(made["notes"]) == 2
    assert all("is left out of the preview" in note for note in made["notes"])
    made = export_recording(session / "in" / "receiver1.avi", tmp_path / "y", "mp4", receivers=True)
    assert any("name the store of a stitch" in note for note in made["notes"])


def test_contrast_ignores_what_is_lost() -> None:
    sample = np.full((2, 10, 10), 100, np.uint8)
    sample[0, :5], sample[1, 0] = 0, 120
    assert contrast(sample, (0.0, 1.0)) == (100, 120)
    assert contrast(np.zeros((1, 2, 2), np.uint8), (0.0, 1.0)) == (0, 255)


@pytest.mark.parametrize("kind", [*get_args(Kind)])
def test_a_part_is_exported_in_every_format(
    kind: Kind, store: Path, expected: xr.Dataset, tmp_path: Path
) -> None:
    part = expected.isel(frame=slice(5, 26))
    part = part.isel(frame=~part.damaged.to_numpy())
    assert part.sizes["frame"] < 21
    options = ExportOptions(frames="5-25", binning=2, drop_damaged=True)
    made = export_recording(store, tmp_path, kind, options)
    assert made["frames"] == part.sizes["frame"]
    pixels = part.video.to_numpy()[:, :, :20].reshape(-1, 15, 2, 10, 2).mean(axis=(2, 4))
    found = exported(tmp_path, kind)
    if kind == "mp4":  # which is lossy
        assert found.shape == (part.sizes["frame"], 15 + 1 + LINE, 176)
    else:
        np.testing.assert_array_equal(found, np.floor(pixels + 0.5).astype(np.uint8))
    assert any("1 column" in note and "fill no square" in note for note in made["notes"])
    if kind in ("tiff", "ucla", "avi-segments", "mp4"):
        table = pd.read_csv(next(tmp_path.glob("*frames.csv")))
        np.testing.assert_array_equal(table.frame_num, part.frame_num)
        assert table.damaged.tolist() == [0] * len(table)


def exported(folder: Path, kind: Kind) -> np.ndarray:
    """The frames of an export."""
    match kind:
        case "tiff":
            return pages(folder / f"{STEM}.tif")
        case "hdf5" | "nwb":
            with h5py.File(folder / f"{STEM}{'.h5' if kind == 'hdf5' else '.nwb'}") as file:
                if kind == "hdf5":
                    return np.array(file["mov"])
                return np.array(file["acquisition/OnePhotonSeries/data"]).transpose(0, 2, 1)
        case "zarr2":
            made = xr.open_zarr(folder / f"{STEM}.zarr")
            step = made.attrs["history"][-1]
            asked = {"frames": "5-25", "binning": 2, "drop_damaged": True}
            assert (step["step"], step["parameters"]) == ("export", asked)
            assert step["frames_before"] > step["frames_after"] == made.sizes["frame"]
            return np.array(made.video)
        case "mp4":
            return preview(folder / f"{STEM}.mp4")[0]
        case _:
            return np.concatenate([decode(path) for path in sorted(folder.glob("*.avi"))])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 17])
def test_bins_are_rounded_means(size: int) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 37, 20), np.uint8)
    frames[1] = 255
    height, width = 37 // size, 20 // size
    cut = frames[:, : height * size, : width * size].astype(np.uint64)
    total = cut.reshape(2, height, size, width, size).sum(axis=(2, 4))
    expected = (2 * total + size**2) // (2 * size**2)
    np.testing.assert_array_equal(bin_frames(frames, size), expected)


@pytest.mark.parametrize("table", [False, True])
def test_damaged_frames_of_one_receiver(session: Path, tmp_path: Path, table: bool) -> None:
    """Its table says which frames lack buffers; without one nothing does."""
    video = session / "in" / "receiver1.avi"
    if table:
        made = export_recording(video, tmp_path / "x.tif", "tiff", drop_damaged=True)
        known = open_recording(video)
        complete = int((known.num_buffers == known.num_buffers.max()).sum())
        assert made["frames"] <= complete < known.sizes["frame"]
        assert pd.read_csv(tmp_path / "x_frames.csv").damaged.sum() == 0
        return
    alone = tmp_path / "alone.avi"
    alone.write_bytes(video.read_bytes())
    with pytest.raises(InputError, match="leave --drop-damaged out"):
        export_recording(alone, tmp_path / "x", "tiff", drop_damaged=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": "0-400"}, "frame 400 is not there to be exported"),
        ({"frames": "9-5"}, "must be positions and ranges"),
        ({"binning": 22}, "must be from 1 to 21"),
        ({"per_file": 0}, "at least 1"),
        ({"speed": 2.0}, "leave --speed out"),
        ({"receivers": True}, "leave --receivers out"),
        ({"ucla_format": 1}, "leave --ucla-format out"),
    ],
)
def test_impossible_parts_are_refused(
    options: dict[str, Any], message: str, store: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        export_recording(store, tmp_path / "x", "tiff", **options)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("options", [{"speed": 0.0}, {"speed": np.nan}, {"ucla_format": 3}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be"):
        ExportOptions(**options)


@pytest.mark.parametrize(("kind", "package"), [("tiff", "tifffile"), ("hdf5", "h5py")])
def test_a_missing_package_is_named(
    kind: str, package: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"miostitch.export.{kind}", raising=False)
    done = run(store, "--to", kind, "-o", tmp_path / "x")
    assert done.exit_code == 2
    assert f"pip install 'miostitch[{kind}]'" in done.stderr


@pytest.mark.parametrize("kind", ["tiff", "hdf5", "mp4"])
def test_a_failed_export_keeps_the_earlier_one(
    kind: Kind, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_recording(store, tmp_path, kind)
    before = content(tmp_path)

    def full(*args: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("miostitch.export.hdf5.compress_chunks", full)
    monkeypatch.setattr("miostitch.export.tiff.tifffile.memmap", full)
    monkeypatch.setattr("miostitch.video.preview.av.VideoFrame.from_ndarray", full)
    with pytest.raises(ResourceError):
        export_recording(store, tmp_path, kind, frames="3-9", force=True)
    assert content(tmp_path) == before


def test_the_command_takes_parts(store: Path, tmp_path: Path) -> None:
    arguments = ("--to", "tiff", "-o", tmp_path, "--frames", "2-11", "--bin", 3, "--per-file", 4)
    done = run(store, *arguments, "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert (made["kind"], made["frames"]) == ("tiff", 10)
    assert [len(pages(path)) for path in sorted(tmp_path.glob("*.tif"))] == [4, 4, 2]
    done = run(store, "--to", "ucla", "-o", tmp_path / "u", "--ucla-format", 1, "--drop-damaged")
    assert done.exit_code == 0, done.output
    fill = ("--fill", "linear", "--max-fill", 0, "--json")
    done = run(store, "--to", "hdf5", "-o", tmp_path / "x.h5", "--drop-damaged", *fill)
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made["filled_frames"] == 0
    assert len(made["epochs"]) > 1
    done = run(store, "--to", "mp4", "-o", tmp_path / "x.mp4", "--speed", 2, "--receivers")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("kind", ["hdf5", "zarr2", "nwb", "ucla", "mp4"])
def test_every_tick_has_a_frame(kind: Kind, session: Path, tmp_path: Path) -> None:
    video = session / "in" / "receiver1.avi"
    known = open_recording(video).load()
    number = known.frame_num.to_numpy()
    count = int(number[-1] - number[0]) + 1
    assert len(number) < count  # else nothing is filled
    made = export_recording(video, tmp_path, kind, fill="previous", max_fill=60)
    assert (made["frames"], made["filled_frames"]) == (count, count - len(number))
    assert made["epochs"] == [[0, count - 1]]
    received = np.isin(np.arange(count) + number[0], number)
    place = np.cumsum(received) - 1
    match kind:
        case "hdf5":
            with h5py.File(tmp_path / "receiver1.h5") as file:
                np.testing.assert_array_equal(file["mov"], known.video.to_numpy()[place])
                np.testing.assert_array_equal(file["frames/filled"], ~received)
                np.testing.assert_array_equal(
                    file["frames/frame_num"], np.arange(count) + number[0]
                )
                steps = np.diff(file["frames/time"])
            np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
            assert steps[0] == pytest.approx(0.05, rel=0.01)
        case "zarr2":
            [store] = made["outputs"]
            again = xr.open_zarr(store)
            np.testing.assert_array_equal(again.video, known.video.to_numpy()[place])
            np.testing.assert_array_equal(again.filled, ~received)
            assert again.attrs["history"][-1]["parameters"] == {"fill": "previous", "max_fill": 60}
        case "nwb":
            with h5py.File(tmp_path / "receiver1.nwb") as file:
                invalid = file["intervals/invalid_times"]
                marked = np.zeros(count, bool)
                times = file["acquisition/OnePhotonSeries/timestamps"][:]
                for start, stop in zip(invalid["start_time"], invalid["stop_time"], strict=True):
                    marked |= (times > start) & (times < stop)
            np.testing.assert_array_equal(marked, ~received)
        case "ucla":
            table = pd.read_csv(tmp_path / "timeStamps.csv")
            assert (np.diff(table["DAQ Frame Number"]) == 1).all()
            np.testing.assert_allclose(np.diff(table["Time Stamp (ms)"]), 50, rtol=0.02)
            assert pd.read_csv(tmp_path / "frames.csv").filled.sum() == count - len(number)
        case _:
            assert len(preview(tmp_path / "receiver1.mp4")[0]) == count


def test_long_gaps_are_epochs(store: Path, tmp_path: Path) -> None:
    part = miostitch.remove_frames(open_recording(store), "6-9,20")
    made = export_recording(part, tmp_path / "x.nwb", "nwb", fill="linear", max_fill=2)
    assert len(made["epochs"]) == 2
    assert made["filled_frames"] >= 1
    with h5py.File(tmp_path / "x.nwb") as file:
        tags = file["intervals/invalid_times/tags"].asstr()[:].tolist()
    assert {*tags} == {"filled", "not received"}


def test_damaged_frames_are_filled_where_they_are_dropped(
    store: Path, expected: xr.Dataset, tmp_path: Path
) -> None:
    options = ExportOptions(drop_damaged=True, fill="zero", max_fill=40)
    made = export_recording(store, tmp_path / "x.h5", "hdf5", options)
    intact = expected.frame_num.to_numpy()[~expected.damaged.to_numpy()]
    assert made["filled_frames"] == intact[-1] + 1 - intact[0] - len(intact) > 5
    with h5py.File(tmp_path / "x.h5") as file:
        filled = file["frames/filled"][:]
        assert not file["mov"][:][filled].any()
        np.testing.assert_array_equal(file["frames/damaged"][:], filled)
        assert np.isfinite(file["frames/timestamp_first"][:]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_fill": 3}, "give --fill"),
        ({"fill": "best"}, "must be previous, linear or zero"),
        ({"fill": "zero", "max_fill": -1}, "0 at least"),
    ],
)
def test_impossible_fills_are_refused(
    options: dict[str, Any], message: str, store: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        export_recording(store, tmp_path / "x", "hdf5", **options)


def test_nothing_is_known_of_filled_frames(store: Path, tmp_path: Path) -> None:
    """And edits of what was exported still know which they are."""
    part = miostitch.remove_frames(open_recording(store), "9,20-21")
    [made] = export_recording(part, tmp_path / "x.zarr", "zarr2", fill="linear")["outputs"]
    again, number = xr.open_zarr(made), part.frame_num.to_numpy()
    filled = ~np.isin(again.frame_num, number)
    np.testing.assert_array_equal(again.filled, filled)
    assert filled.sum() >= 3
    np.testing.assert_array_equal(again.video[~filled], part.video)
    for name in ("num_buffers", "missing_pixels", "damaged", "timestamp_first", "source"):
        np.testing.assert_array_equal(again[name][~filled], part[name])
    assert (again.missing_pixels[filled] == 30 * 21).all()
    assert (again.source[filled] == -1).all()
    assert again.damaged[filled].all()
    assert (np.diff(again.time) > 0).all()
    np.testing.assert_array_equal(open_recording(made).filled, filled)


def test_what_has_no_numbers_is_not_filled(tmp_path: Path) -> None:
    video = write(tmp_path / "a.avi", make_frames(9))
    with pytest.raises(InputError, match="has no numbers of the device"):
        export_recording(video, tmp_path / "x", "hdf5", fill="zero")
