"""Denoising as a chain: plain NumPy, mio, laziness, and what a pass reads and holds."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.base import compute
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import miostitch
from miostitch.config.models import DenoiseConfig
from miostitch.denoising import filters as filtering
from miostitch.denoising import stages
from miostitch.errors import InputError, UsageError
from miostitch.ranges import format_frames
from miostitch.recording import recording as opening
from miostitch.recording.lag import Lag
from miostitch.video.readers import FrameReader
from tests.commands import run
from tests.editing.test_picking import tasks
from tests.end_to_end import test_peers
from tests.laziness import never
from tests.video_files import decode

pytestmark = pytest.mark.usefixtures("one_thread")

mio = test_peers.mio
U8 = NDArray[np.uint8]
DROPPED = {  # in stitch, by all shipped configurations, by position and frame_num
    "video1": ([16, 17, 18, 29, 31, 32], [2529, 2530, 2531, 2542, 2543, 2544]),
    "video2": ([], []),
}
WHOLE = ("denoise_example", "denoise_calcium_imaging", "denoise_patch")


FLICKER = {"output_result": True}
OFF: dict[str, Any] = {"frequency_masking": None, "minimum_projection": None}
ONLY_FLICKER = OFF | {"flicker_correction": {}}


def config(**stages: dict[str, Any] | None) -> DenoiseConfig:
    """All stages of mio with small bands and black runs of 3; ``None``: without the stage."""
    usual: dict[str, Any] = {
        "noise_patch": {"method": ["black_area"], "output_result": True}
        | {"black_area_config": {"consecutive_threshold": 3}, "output_noise_patch": True},
        "frequency_masking": {"spatial_LPF_cutoff_radius": 1, "vertical_BEF_cutoff": 1}
        | {"output_result": True, "output_mask": True, "output_freq_domain": True},
        "minimum_projection": {"output_result": True, "output_min_projection": True},
    }
    return DenoiseConfig.model_validate(usual | stages)


def recording(frames: U8, chunks: int | tuple[int, ...] = 4) -> xr.Dataset:
    """Frames with a counter that starts at 100, and origins as an edited recording has them."""
    positions = np.arange(len(frames))
    ds = xr.Dataset(
        {"video": (("frame", "height", "width"), frames)},
        {"frame": positions, "frame_num": ("frame", 100 + positions)},
        {"recording": "rec", "fps": "20", "history": [{"step": "before"}]},
    )
    ds = ds.assign_coords(origin=("frame", positions % 3)).set_xindex("frame_num")
    return ds.chunk(frame=chunks)


def damaged_frames(count: int, seed: int = 1, share: float = 0.3) -> U8:
    rng = np.random.default_rng(seed)
    frames = rng.integers(40, 90, (count, 6, 8), np.uint8)
    frames[rng.random(count) < share, 2:4, 1:5] = 0
    frames[0] = 60
    return frames


def by_hand(frames: U8, made: DenoiseConfig) -> tuple[U8, dict[str, U8], NDArray[np.bool_]]:
    """The result, what is beside it, and the dropped frames, all at once and in memory."""
    patch, masking, projecting = made.noise_patch, made.frequency_masking, made.minimum_projection
    windows = np.lib.stride_tricks.sliding_window_view(frames == 0, 3, axis=2)
    black: NDArray[np.bool_] = np.any(windows.all(axis=-1), axis=-1, keepdims=True)
    noisy: NDArray[np.bool_] = np.array([patch.enable and rows.any() for rows in black], np.bool_)
    kept = result = frames[~noisy]
    stripes = filtering.StripeFilter(6, 8, 1, 1)
    flicker = made.flicker_correction
    if flicker.enable:
        usual = np.sort(kept, axis=0)[(len(kept) - 1) // 2]  # the lower of two in the middle
        correction = filtering.FlickerCorrection(usual, flicker.rows, flicker.frames)
        result = np.concatenate([correction.apply(frame[None]) for frame in kept])
    beside = {"_patch.avi": kept, "_flicker.avi": result}
    beside["_freq_mask_freq_domain.avi"] = filtering.spectrum(result)
    if masking.enable:
        result = stripes.apply(result)
    beside["_freq_mask.avi"] = result
    if projecting.enable:
        above = result - result.min(axis=0)
        result = above
        if projecting.normalize:
            result = np.array(above * (255 / max(above.max(), 1)) + 1e-9, np.uint8)
    beside["_min_proj.avi"] = result
    beside["_patch_noisy_frames.avi"] = frames[noisy]
    beside["_patch_patched_area.avi"] = np.repeat(black[noisy] * np.uint8(255), 8, axis=2)
    return result, beside, noisy


CHUNKINGS = given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(0, 2**32 - 1),
    st.sets(st.sampled_from(["noise_patch", "frequency_masking", "minimum_projection"])),
    st.booleans(),
    st.sampled_from([None, {}, FLICKER, {**FLICKER, "rows": False}, {**FLICKER, "frames": False}]),
)


@settings(max_examples=15)
@CHUNKINGS
def test_any_chunking_gives_what_plain_numpy_gives(
    chunks: list[int], seed: int, off: set[str], normalize: bool, flicker: dict[str, Any] | None
) -> None:
    require_what_numpy_gives(chunks, seed, off, normalize, flicker)


@pytest.mark.slow
@CHUNKINGS
def test_many_chunkings_give_what_plain_numpy_gives(
    chunks: list[int], seed: int, off: set[str], normalize: bool, flicker: dict[str, Any] | None
) -> None:
    require_what_numpy_gives(chunks, seed, off, normalize, flicker)


def require_what_numpy_gives(
    chunks: list[int], seed: int, off: set[str], normalize: bool, flicker: dict[str, Any] | None
) -> None:
    frames = damaged_frames(sum(chunks), seed)
    stages: dict[str, Any] = {"flicker_correction": flicker} | dict.fromkeys(off)
    made_by = config(**stages)
    if made_by.minimum_projection.enable:
        made_by = config(**stages, minimum_projection={"normalize": normalize})
    expected, beside, noisy = by_hand(frames, made_by)
    made = miostitch.denoise(recording(frames, tuple(chunks)), made_by)
    lazy = made.dataset.video, {**made.videos, **made.dropped_videos}
    result, videos = compute(*lazy)  # type: ignore[no-untyped-call]  # no hint in dask
    np.testing.assert_array_equal(result, expected)
    assert made.dataset.frame.to_numpy().tolist() == [*range(len(expected))]
    assert made.dataset.frame_num.to_numpy().tolist() == (100 + np.flatnonzero(~noisy)).tolist()
    assert made.dataset.origin.to_numpy().tolist() == (np.flatnonzero(~noisy) % 3).tolist()
    assert made.dropped.frame.to_numpy().tolist() == np.flatnonzero(noisy).tolist()
    for ending, video in videos.items():
        np.testing.assert_array_equal(video, beside[ending], ending)
    assert made.dataset.sel(frame_num=100).frame == 0


def test_stages_one_by_one_give_the_same() -> None:
    frames = damaged_frames(30)
    all_stages = config(flicker_correction={"frames": False})
    ds = recording(frames)
    with dask.config.set(scheduler=never):
        rows = stages.noise(ds, all_stages.noise_patch)
        flags = stages.noisy(rows, all_stages.noise_patch)
        assert rows.sel(detector="gradient").dims == ("frame",)
    kept = stages.drop(ds, flags)
    with dask.config.set(scheduler=never):
        usual = stages.temporal_median(kept)
    steady = stages.correct_flicker(kept, all_stages.flicker_correction, usual.compute())
    assert stages.correct_flicker(kept, all_stages.flicker_correction).identical(steady.compute())
    with dask.config.set(scheduler=never):
        filtered = stages.remove_stripes(steady, all_stages.frequency_masking)
        projections = stages.background(filtered)
    result = stages.subtract_background(filtered, projections.compute())
    made = miostitch.denoise(ds, all_stages)
    drop = made.dataset.attrs["history"][1]
    reasons = drop.pop("dropped_as")  # which are counted of the rows, not of the flags
    assert sum(reasons.values()) == int(flags.sum()) > 0
    assert result.compute().identical(made.dataset.compute())
    assert rows.compute().identical(made.rows)
    np.testing.assert_array_equal(flags, stages.noisy(rows.compute(), all_stages.noise_patch))
    np.testing.assert_array_equal(
        projections.sel(projection="minimum"), made.images["_min_proj.png"]
    )
    np.testing.assert_array_equal(
        projections.sel(projection="maximum"), filtered.video.max("frame")
    )


def test_the_frames_are_asked_for_once_beforehand_and_once_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = miostitch.simulate(
        tmp_path, miostitch.SimulationConfig(frames=60, seed=5, height=40, width=50)
    )
    monkeypatch.setattr(opening, "measure_lag", lambda *_: Lag())  # reads some, once more
    ds = miostitch.open_recording(session.recordings[0])
    asked: list[int] = []
    read = FrameReader.read

    def counting(self: FrameReader, out: U8 | None = None) -> U8:
        asked.append(len(self.frames))
        return read(self, out)

    monkeypatch.setattr(FrameReader, "read", counting)
    made = miostitch.denoise(ds.chunk(frame=7), config())
    assert sum(asked) == ds.sizes["frame"]
    asked.clear()
    xr.Dataset({name: video.variable for name, video in made.videos.items()}).compute()
    assert sum(asked) == ds.sizes["frame"]


def test_the_usual_brightness_is_that_of_a_sample_of_the_frames_that_are_not_noisy() -> None:
    frames = damaged_frames(700, share=0.4)
    ds = recording(frames, 11)
    made = miostitch.denoise(ds, config(**ONLY_FLICKER))
    chosen = filtering.sampled_frames(700, 48)
    assert len(chosen) == 255
    noisy = np.isin(chosen, made.dropped.frame)
    assert 50 < noisy.sum() < 150
    usual = np.sort(frames[chosen[~noisy]], axis=0)[((~noisy).sum() - 1) // 2]
    expected = filtering.FlickerCorrection(usual).apply(
        frames[made.rows.sel(detector="black_area") == 0]
    )
    np.testing.assert_array_equal(made.dataset.video, expected)
    steps = [note["step"] for note in made.dataset.attrs["history"]]
    assert steps == ["before", "drop", "correct_flicker"]
    note = made.dataset.attrs["history"][-1]
    assert note == {"step": "correct_flicker", "rows": True, "frames": True}


def test_a_sample_of_noisy_frames_alone_is_refused() -> None:
    frames = np.zeros((600, 6, 8), np.uint8)
    between = np.setdiff1d(np.arange(600), filtering.sampled_frames(600, 48))
    frames[between] = 60
    with pytest.raises(InputError, match="rec: no frame of 255 is free of noise; raise"):
        miostitch.denoise(recording(frames, 40), config(**ONLY_FLICKER))
    assert miostitch.denoise(recording(frames, 40), config(**OFF)).dataset.sizes["frame"] == 345


def test_a_stitched_store_is_a_recording_too(tmp_path: Path) -> None:
    session = miostitch.simulate(
        tmp_path, miostitch.SimulationConfig(frames=40, seed=5, height=40, width=50)
    )
    options = miostitch.StitchOptions(chunk_frames=13, report=False)
    miostitch.stitch_files([str(path) for path in session.recordings], tmp_path / "out", options)
    ds = miostitch.open_recording(next((tmp_path / "out").glob("*.zarr")))
    made = miostitch.denoise(ds, miostitch.load_config("denoise_example"))
    assert 0 < made.dropped.sizes["frame"] < 30
    assert set(made.dataset.chunksizes["frame"][:-1]) == {13}
    in_memory = miostitch.denoise(ds.compute(), miostitch.load_config("denoise_example"))
    assert made.dataset.compute().identical(in_memory.dataset.compute())
    assert made.dropped.compute().identical(in_memory.dropped.compute())
    damaged = np.delete(ds.damaged.to_numpy(), made.dropped.frame)
    np.testing.assert_array_equal(made.dataset.damaged, damaged)


def test_without_dropping_and_background_nothing_is_computed() -> None:
    ds = recording(damaged_frames(20))
    with dask.config.set(scheduler=never):
        off = miostitch.denoise(ds, DenoiseConfig())
        bare = miostitch.denoise(ds, miostitch.load_config("remove_stripe_example"))
        known = stages.drop(ds, xr.DataArray(np.arange(20) % 2 == 0, dims="frame"))
    assert off.dataset.identical(ds)
    assert known.frame_num.to_numpy().tolist() == [*range(101, 120, 2)]
    expected = filtering.StripeFilter(6, 8, 5, 2).apply(ds.video.to_numpy())
    np.testing.assert_array_equal(bare.dataset.video, expected)
    for made in (off, bare):
        assert extras(made) == []
        assert made.dropped.sizes["frame"] == made.rows.sizes["frame"] == 0


@pytest.mark.parametrize(
    ("end_frame", "left"), [(None, 20), (-1, 20), (0, 1), (5, 6), (19, 20), (10**9, 20)]
)
def test_the_end_frame_is_the_last_one(end_frame: int | None, left: int) -> None:
    frames = damaged_frames(20, share=0)
    frames[6:] -= 30  # would be the background
    made_by = config().model_copy(update={"end_frame": end_frame})
    made = miostitch.denoise(recording(frames), made_by)
    np.testing.assert_array_equal(made.dataset.video, by_hand(frames[:left], made_by)[0])
    assert made.rows.sizes["frame"] == left
    cut = any(note["step"] == "end" for note in made.dataset.attrs["history"])
    assert cut == (left < 20)


def test_what_was_done_is_noted_and_the_input_left_as_it_was() -> None:
    ds = recording(damaged_frames(30))
    before = ds.copy(deep=True)
    made = miostitch.denoise(ds, config().model_copy(update={"end_frame": 20}))
    assert ds.identical(before)
    history = made.dataset.attrs["history"]
    steps = ["before", "end", "drop", "remove_stripes", "subtract_background"]
    assert [note["step"] for note in history] == steps
    assert history[2] == {
        "step": "drop",
        "frames": 21,
        "dropped": made.dropped.sizes["frame"],
        "dropped_frames": format_frames(made.dropped.frame.values),
        "value_threshold": 0,
        "consecutive_threshold": 3,
        "gradient_threshold": 20.0,
        "method": ["black_area"],
        "min_rows": 1,
        "dropped_as": {"noise": 0, "black areas": history[2]["dropped"], "both": 0},
    }
    assert history[2]["dropped"] > 0
    assert json.loads(json.dumps(history)) == history


def test_flags_of_ones_own_are_noted_as_far_as_they_tell() -> None:
    told = {"units": np.array(1), "min_rows": 2}
    flags = xr.DataArray(np.arange(9) % 4 == 1, dims="frame", attrs=told)
    [_, step] = stages.drop(recording(damaged_frames(9)), flags).attrs["history"]
    dropped = {"step": "drop", "frames": 9, "dropped": 2, "dropped_frames": "1,5"}
    assert step == dropped | {"min_rows": 2}


def test_nothing_left_is_refused() -> None:
    ds = recording(np.zeros((9, 6, 8), np.uint8))
    with pytest.raises(
        InputError, match="rec: no frame of 9 is free of noise; raise the thresholds"
    ):
        miostitch.denoise(ds, config())
    assert miostitch.denoise(ds, config(noise_patch=None)).dataset.sizes["frame"] == 9


def test_what_does_not_belong_together_is_refused() -> None:
    ds = recording(damaged_frames(9))
    for flags in (np.zeros(8, bool), np.zeros(9, int)):
        with pytest.raises(UsageError, match=r"bool \(9,\) is needed"):
            stages.drop(ds, xr.DataArray(flags, dims="frame"))
    others = stages.background(recording(damaged_frames(9) + np.uint8(20)))
    with pytest.raises(UsageError, match="below the background"):
        stages.subtract_background(ds, others).compute()


def extras(made: miostitch.Denoised) -> list[str]:
    """Endings of everything beside the result."""
    return [*made.videos, *made.dropped_videos, *made.images, *made.texts]


def test_what_is_asked_for_is_there_and_no_more() -> None:
    ds = recording(damaged_frames(30))
    everything = miostitch.denoise(ds, config())
    assert extras(everything) == [
        *("_patch.avi", "_freq_mask.avi", "_freq_mask_freq_domain.avi", "_min_proj.avi"),
        *("_patch_noisy_frames.avi", "_patch_patched_area.avi"),
        *("_freq_mask_freq_mask.png", "_min_proj.png", "_patch_dropped_frames.txt"),
    ]
    listed = everything.texts["_patch_dropped_frames.txt"].split()
    assert [*map(int, listed)] == everything.dropped.frame.to_numpy().tolist() != []
    quiet = miostitch.denoise(
        ds,
        config(
            noise_patch={"output_noisy_frames": False},
            frequency_masking={},
            minimum_projection={},
        ),
    )
    assert extras(quiet) == []
    clean = miostitch.denoise(recording(damaged_frames(9, share=0)), config())
    assert not clean.dropped_videos
    assert clean.texts == {"_patch_dropped_frames.txt": ""}


def test_a_field_may_be_dark_in_places() -> None:
    frames = np.full((3, 6, 8), 90, np.uint8)
    frames[1, 2] = frames[2, 2:4] = 0
    for min_rows, dropped in ((1, [1, 2]), (2, [2]), (3, [])):
        black = {"consecutive_threshold": 3, "min_rows": min_rows}
        patch = {"method": ["black_area"], "black_area_config": black}
        made = miostitch.denoise(recording(frames), config(noise_patch=patch))
        assert made.dropped.frame.to_numpy().tolist() == dropped
        assert made.rows.sel(detector="black_area").to_numpy().tolist() == [0, 1, 2]


def test_only_the_methods_that_are_asked_mark_rows() -> None:
    frames = np.full((1, 4, 9), 90, np.uint8)
    frames[0, 1, :5] = 0  # black, and an edge
    frames[0, 2, ::2] = 255
    marked = {}
    for method in (["gradient"], ["black_area"], ["gradient", "black_area"]):
        made_by = config(noise_patch={"method": method}).noise_patch
        shown = stages.mark_rows(recording(frames).video, made_by)
        marked[len(method), method[0]] = shown.to_numpy()[0, :, 0].tolist()
        assert (shown.std("width") == 0).all()
    assert marked == {
        (1, "gradient"): [0, 255, 255, 0],
        (1, "black_area"): [0, 255, 0, 0],
        (2, "gradient"): [0, 255, 255, 0],
    }


def test_batches_are_small_and_picklable() -> None:
    frames = damaged_frames(700)
    made = miostitch.denoise(recording(frames, 10), config())
    batch = made.dataset.isel(frame=slice(400, 480))
    assert batch.video.chunksizes["frame"] == (10,) * 8
    assert tasks(batch.video) <= 6 * 8
    again = pickle.loads(pickle.dumps(batch))
    np.testing.assert_array_equal(again.video, by_hand(frames, config())[0][400:480])


@pytest.mark.parametrize("name", DROPPED)
@pytest.mark.parametrize("by", WHOLE)
def test_real_recordings_lose_the_known_frames(recordings: Path, name: str, by: str) -> None:
    ds = miostitch.open_recording(recordings / "stitch" / f"{name}.avi", lag=0)  # as mio
    made = miostitch.denoise(ds.chunk(frame=17), miostitch.load_config(by))
    positions, frame_nums = DROPPED[name]
    assert made.dropped.frame.to_numpy().tolist() == positions
    assert made.dropped.frame_num.to_numpy().tolist() == frame_nums
    kept = np.delete(ds.frame_num.to_numpy(), positions)  # a split frame's number stands twice
    np.testing.assert_array_equal(made.dataset.frame_num, kept)
    assert (made.dataset.video.max() == 255) == (by != "denoise_patch")


MIO = """
import sys
from pathlib import Path
import yaml
import mio
from mio.models.dataset import Recording
from mio.models.process import DenoiseConfig
from mio.process.video import denoise

video = Path(sys.argv[1])
for path in (Path(mio.__file__).parent / "data" / "config" / "process").glob("*.yml"):
    config = yaml.safe_load(path.read_text())
    if "noise_patch" in config:
        config["output_dir"] = config["id"]
        window = dict(show_videos=False, start_frame=0, end_frame=1, display_freq_mask=False)
        config["interactive_display"] = window
        table = Recording.from_video(video).metadata
        denoise(video, DenoiseConfig(**config), csv_df=table)
"""
BY_US, BY_MIO = "stitched by us", "stitched by mio"


def given_to_both(mio: Path, recordings: Path, name: str, folder: Path) -> Path:
    """A recording of ``stitch``, or both stitched by either program."""
    for path in (recordings / "stitch").iterdir():
        shutil.copy(path, folder)
    videos = [folder / f"video{n}.avi" for n in (1, 2)]
    match name:
        case "stitched by us":
            options = miostitch.StitchOptions(repair=False, keep_clocks=True)
            miostitch.stitch_files([*map(str, videos)], folder / "out", options)
        case "stitched by mio":
            named = ["-i", str(videos[0]), "-i", str(videos[1]), "-o", str(folder / "out")]
            command = [str(mio.with_name("mio")), "process", "stitch", *named]
            subprocess.run(command, check=True, capture_output=True)
        case _:
            return folder / f"{name}.avi"
    return folder / "out" / "video1__video2_stitched.avi"


@pytest.mark.peer
@pytest.mark.parametrize("name", [*DROPPED, BY_US, BY_MIO])
def test_mio_writes_the_same(mio: Path, recordings: Path, tmp_path: Path, name: str) -> None:
    """Every file that mio writes, pictures and tables, and which frames are in them."""
    video = given_to_both(mio, recordings, name, tmp_path)
    subprocess.run([mio, "-W", "ignore", "-c", MIO, video], check=True)
    for by in WHOLE:
        theirs, ours = video.parent / by, tmp_path / f"our_{by}"
        summary = miostitch.denoise_files(video, miostitch.load_config(by), ours)
        assert summary["dropped_frames"] == DROPPED.get(name, ([], []))[0]
        if by == "denoise_patch" and summary["dropped_frames"]:
            # black runs of the whole width begin at column 0, where mio misses them
            assert len(pd.read_csv(theirs / f"{video.stem}_patch_timestamp.csv")) == 50
            continue
        files = sorted(path for path in theirs.iterdir())
        assert {path.suffix for path in files} >= {".avi", ".csv"}
        for file in files:
            require_same_file(ours / file.name, file)


def require_same_file(ours: Path, theirs: Path) -> None:
    if theirs.suffix == ".csv":
        tables = pd.read_csv(ours), pd.read_csv(theirs)
        pd.testing.assert_frame_equal(*tables, check_dtype=False, rtol=0, atol=1e-6)
        return
    one, two = read(ours).astype(int), read(theirs).astype(int)
    assert one.shape == two.shape
    apart = np.abs(one - two)
    assert apart.max(initial=0) <= ("freq_mask" in ours.name), ours
    assert apart.size == 0 or apart.mean() < 1e-3, ours


def read(path: Path) -> NDArray[Any]:
    if path.suffix == ".txt":
        return np.array(path.read_text().split(), int)
    if path.suffix == ".avi":
        return decode(path)
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    return image


PROBE = """
import json, resource, sys
from fractions import Fraction
from pathlib import Path
import miostitch
from miostitch.editing.extra_outputs import write_videos
from miostitch.recording.datasets import to_dataset
from miostitch.recording.recording import Recording

video, folder = Path(sys.argv[1]), Path(sys.argv[2])
# many blocks even of the short recording: then it fills every thread and batch
recording = to_dataset(Recording.open(video)).chunk(frame=100)
made = miostitch.denoise(recording, miostitch.load_config(sys.argv[3]))
unit = 1 if sys.platform == "darwin" else 1024
first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
write_videos({"_denoised.avi": made.dataset.video}, lambda e: folder / e, Fraction(20), folder)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
print(json.dumps({"first": first, "peak": peak, "frames": made.dataset.sizes["frame"]}))
"""


BYTES_PER_FRAME = 4_000
"""A tenth of a frame: nothing that grows with the video holds pictures."""


def peak_bytes(folder: Path, frames: int) -> dict[str, int]:
    """Peak memory of the first pass and of the whole, from a process of its own."""
    folder.mkdir()
    session = miostitch.simulate(
        folder, miostitch.SimulationConfig(frames=frames, receivers=1, seed=1)
    )
    session.truth_video.unlink()
    config_id = "denoise_calcium_imaging"
    command = [sys.executable, "-c", PROBE, str(session.recordings[0]), str(folder), config_id]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    shutil.rmtree(folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
def test_memory_hardly_grows_with_the_frames(tmp_path: Path) -> None:
    short = peak_bytes(tmp_path / "short", 5_000)
    long = peak_bytes(tmp_path / "long", 20_000)
    print({"short": short, "long": long})  # noqa: T201
    assert long["frames"] > 3.5 * short["frames"]
    assert max(long.values()) < 2**30
    for when in ("first", "peak"):
        assert long[when] - short[when] < BYTES_PER_FRAME * (long["frames"] - short["frames"])


def test_removed_frames_are_counted_by_reason(tmp_path: Path) -> None:
    small = miostitch.SimulationConfig(frames=200, height=30, width=40, receivers=1, seed=2)
    [video] = miostitch.simulate(tmp_path, small).recordings
    config = miostitch.load_config("denoise_example")
    asked = ("denoise", str(video), "-c", "denoise_example", "-o", str(tmp_path / "out"))
    text = run(*asked).stdout
    [summary] = (tmp_path / "out").glob("*_denoised.json")
    made = json.loads(summary.read_text("utf-8"))
    reasons = made["dropped_as"]
    assert sum(reasons.values()) == len(made["dropped_frames"]) > 0
    rows = miostitch.denoise(miostitch.open_recording(video), config).rows
    least = config.noise_patch.black_area_config.min_rows
    noise, black = rows.sel(detector="gradient") > 0, rows.sel(detector="black_area") >= least
    assert reasons["both"] == int((noise & black).sum())
    assert reasons["black areas"] == int((black & ~noise).sum()) > 0
    assert f"{reasons['black areas']} for black areas" in text
