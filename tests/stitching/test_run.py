"""Whole runs: the products agree with each other, and a refused run leaves nothing."""

import json
import os
import shutil
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import miostitch
from miostitch.errors import (
    AlignmentError,
    InputError,
    MismatchError,
    MissingInputError,
    OutputExistsError,
    ResourceError,
    UsageError,
)
from miostitch.recording.files import recording_names
from miostitch.recording.recording import open_recordings
from miostitch.schema import COLUMNS, CORRECTED, FRAME_VARIABLES
from miostitch.session.clocks import to_first_clock
from miostitch.session.session import bring_together
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from tests.folders import content, rewrite_summary
from tests.reference.composition import composed_rows, copies_of, repaired_table
from tests.sessions import Made, change_table
from tests.video_files import GOLDEN, blake2s_of, decode, write

STEM = "receiver1__receiver2_stitched"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    config = miostitch.SimulationConfig(
        frames=50, seed=3, height=40, width=50, fps=Fraction(30000, 1001)
    )
    miostitch.simulate(folder, config)
    return folder


@pytest.fixture
def inputs(session: Path, tmp_path: Path) -> list[str]:
    """A copy that a test may spoil."""
    folder = tmp_path / "in"
    shutil.copytree(session, folder)
    return [str(folder / f"receiver{n}.avi") for n in (1, 2)]


@pytest.fixture(scope="module")
def products(session: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out")
    names = [str(session / f"receiver{n}.avi") for n in (1, 2)]
    options = StitchOptions(debug_video=True, chunk_frames=16, repair=False, keep_clocks=True)
    stitch_files(names, output, options)
    return output


@pytest.fixture(scope="module")
def plain(session: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without any option; the recordings are as they were before it."""
    output = tmp_path_factory.mktemp("plain")
    before = content(session)
    stitch_files([str(session / f"receiver{n}.avi") for n in (1, 2)], output)
    assert content(session) == before
    return output


def test_store_video_and_tables_agree(products: Path, session: Path) -> None:
    store = xr.open_zarr(products / f"{STEM}.zarr")
    video = decode(products / f"{STEM}.avi")
    np.testing.assert_array_equal(store.video, video)
    pictures = [decode(session / f"receiver{n}.avi") for n in (1, 2)]
    scores = xr.open_zarr(products / f"{STEM}.zarr", group="scores").load()
    for frame, source in enumerate(store.source.to_numpy()):
        position = int(scores.source_frame[source, frame])
        np.testing.assert_array_equal(video[frame], pictures[source][position])

    table = pd.read_csv(products / f"{STEM}.csv")
    assert list(table.columns) == [column.name for column in (*COLUMNS, CORRECTED)]
    types = {column.name: column.dtype for column in (*COLUMNS, CORRECTED)}
    assert table.dtypes.astype(str).to_dict() == types
    assert table[CORRECTED.name].equals(table.buffer_recv_unix_time.rename(CORRECTED.name))
    assert sorted(table.reconstructed_frame_index.unique()) == list(range(len(video)))
    by_frame = table.groupby("reconstructed_frame_index")
    np.testing.assert_array_equal(by_frame.frame_buffer_count.nunique(), store.num_buffers)
    originals = [pd.read_csv(session / f"receiver{n}.csv") for n in (1, 2)]
    for frame in range(len(video)):
        source = int(store.source[frame])
        original = originals[source]
        mine = original[
            original.reconstructed_frame_index == scores.source_frame[source, frame].item()
        ]
        rows = by_frame.get_group(frame)
        added = ["reconstructed_frame_index", CORRECTED.name]
        pd.testing.assert_frame_equal(
            rows.drop(columns=added).reset_index(drop=True),
            mine.drop(columns="reconstructed_frame_index").reset_index(drop=True),
        )

    buffers = xr.open_zarr(products / f"{STEM}.zarr", group="buffers").to_dataframe()
    pd.testing.assert_frame_equal(
        buffers[list(table.columns)].reset_index(drop=True), table, check_names=False
    )
    times = pd.read_csv(products / f"{STEM}_timestamps.csv")
    assert list(times.columns) == ["frame", "timestamp_first", "timestamp_last"]
    np.testing.assert_array_equal(times.timestamp_first, store.timestamp_first)
    ordered = table.sort_values("frame_buffer_count", kind="stable")
    last = ordered.groupby("reconstructed_frame_index").buffer_recv_unix_time.last()
    np.testing.assert_array_equal(times.timestamp_last, last)


def test_scores_table_tells_the_choice(products: Path) -> None:
    table = pd.read_csv(products / f"{STEM}_scores.csv")
    store = xr.open_zarr(products / f"{STEM}.zarr")
    scores = xr.open_zarr(products / f"{STEM}.zarr", group="scores").load()
    names = np.array(store.attrs["recordings"])
    assert (table.selected_video == names[store.source]).all()
    both = (scores.source_frame >= 0).all("recording").to_numpy()
    assert (table.compare_video.notna() == both).all()
    assert (table.diff_pixels.notna() == both).all()
    ties = table.selected_edge_score.notna()
    assert (ties == table.compare_edge_score.notna()).all()
    assert (table.selected_edge_score[ties] >= table.compare_edge_score[ties]).all()
    np.testing.assert_array_equal(
        -table.selected_edge_score[ties],
        scores.edge_energy.to_numpy()[store.source, store.frame][ties],
    )
    absent = scores.source_frame == -1
    for name in ("num_buffers", "black_padding", "black_pixels", "noisy_pixels", "edge_energy"):
        assert (scores[name].where(absent, -1) == -1).all()


def test_repaired_cells_are_in_every_table(plain: Path) -> None:
    summary = json.loads((plain / f"{STEM}.json").read_text())
    assert sum(recording["repairs"] for recording in summary["recordings"]) > 0
    assert any("header cells repaired" in note for note in summary["notes"])
    table = pd.read_csv(plain / f"{STEM}.csv")
    assert (table.buffer_count == 8 * table.frame_num + table.frame_buffer_count).all()
    buffers = xr.open_zarr(plain / f"{STEM}.zarr", group="buffers")
    np.testing.assert_array_equal(buffers.buffer_count, table.buffer_count)


def test_damage_is_what_the_truth_says(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(
        frames=120,
        seed=8,
        height=40,
        width=50,
        header_flips=0,
        frame_loss=0,
        corruption=0,
        truncation=0.03,
    )
    made = miostitch.simulate(tmp_path / "in", config)
    names = [str(path) for path in made.recordings]
    stitch_files(names, tmp_path / "out", StitchOptions(report=False))
    store = xr.open_zarr(tmp_path / "out" / f"{STEM}.zarr").load()
    scores = xr.open_zarr(tmp_path / "out" / f"{STEM}.zarr", group="scores").load()
    truth = made.load_arrays()
    frame = store.frame_num.to_numpy() - config.first_frame_num
    shown = truth["video_frame"][:, frame]
    there = (shown >= 0) & (shown == scores.source_frame.to_numpy()[:, :, None])
    whole = there & ~truth["short"][:, frame]
    source = store.source.to_numpy()
    chosen = whole[source, np.arange(len(source))]
    np.testing.assert_array_equal(store.missing_pixels > 0, ~chosen.all(axis=1))
    np.testing.assert_array_equal(store.unrecoverable, ~whole.any(axis=0).all(axis=1))
    assert 0 < store.unrecoverable.sum() < store.damaged.sum()
    assert (store.damaged >= (store.missing_pixels > 0)).all()


def test_reboots_do_not_mix_frames(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(
        frames=240, seed=4, height=40, width=50, resets=1, header_flips=0
    )
    made = miostitch.simulate(tmp_path / "in", config)
    names = [str(path) for path in made.recordings]
    summary = stitch_files(names, tmp_path / "out", StitchOptions(report=False))
    assert any("device restarted" in warning for warning in summary["warnings"])
    store = xr.open_zarr(tmp_path / "out" / f"{STEM}.zarr").load()
    truth = decode(made.truth_video)
    # the device's image moves: the nearest true frame tells which one this is
    clean = np.flatnonzero(~store.damaged)
    nearest = [
        int(np.abs(truth.astype(int) - store.video[i].to_numpy().astype(int)).sum((1, 2)).argmin())
        for i in clean
    ]
    assert len(clean) > 100
    assert nearest == sorted(set(nearest))


def test_too_many_buffers_per_frame_are_refused(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(
        frames=20, height=50, width=50, buffer_pixels=30, header_flips=0, corruption=0
    )
    made = miostitch.simulate(tmp_path / "in", config)
    with pytest.raises(InputError, match="at most 64"):
        stitch_files([str(path) for path in made.recordings], tmp_path / "out")


def test_debug_video_is_readable_and_complete(products: Path) -> None:
    debug = decode(products / f"{STEM}_debug.avi")
    video = decode(products / f"{STEM}.avi")
    assert debug.shape == (*video.shape[:2], 3 * video.shape[2])
    panels = np.split(debug, 3, axis=2)
    either = [(panel == video).all(axis=(1, 2)) for panel in panels[:2]]
    assert (either[0] | either[1]).all()


def test_same_inputs_same_bytes_and_the_summary_is_the_json_file(
    plain: Path, session: Path, tmp_path: Path
) -> None:
    summary = stitch_files([str(session / f"receiver{n}.avi") for n in (1, 2)], tmp_path)
    assert json.loads((tmp_path / f"{STEM}.json").read_text()) == summary
    assert summary["frames"] == len(decode(tmp_path / f"{STEM}.avi"))
    assert sum(r["chosen"] for r in summary["recordings"]) == summary["frames"]
    assert all(Path(path).exists() for path in summary["outputs"])
    assert {Path(path) for path in summary["outputs"]} == set(tmp_path.iterdir())
    one, two = content(plain), content(tmp_path)
    told, again = (json.loads(files.pop(f"{STEM}.json")) for files in (one, two))
    assert told.pop("digest") != again.pop("digest")
    assert json.loads(json.dumps(told).replace(str(plain), str(tmp_path))) == again
    assert one == two


def test_the_frame_rate_stays_exact(products: Path) -> None:
    import av

    with av.open(str(products / f"{STEM}.avi"), format="avi") as container:
        assert Fraction(container.streams.video[0].average_rate or 0) == Fraction(30000, 1001)
    assert xr.open_zarr(products / f"{STEM}.zarr").attrs["fps"] == "30000/1001"


def test_ffv1_and_no_avi(plain: Path, inputs: list[str], tmp_path: Path) -> None:
    stitch_files(inputs, tmp_path / "ffv1", StitchOptions(codec="ffv1", report=False))
    options = StitchOptions(codec=None, zarr_format=2, report=False)
    stitch_files(inputs, tmp_path / "none", options)
    raw, ffv1 = (decode(folder / f"{STEM}.avi") for folder in (plain, tmp_path / "ffv1"))
    np.testing.assert_array_equal(raw, ffv1)
    assert not (tmp_path / "none" / f"{STEM}.avi").exists()
    store = xr.open_zarr(tmp_path / "none" / f"{STEM}.zarr", consolidated=True)
    np.testing.assert_array_equal(store.video, raw)
    assert {v.name for v in FRAME_VARIABLES} < set(store.coords)


def test_the_reference_figures_with_debug_video(recordings: Path, tmp_path: Path) -> None:
    names = [str(recordings / "stitch" / f"video{n}.avi") for n in (1, 2)]
    summary = stitch_files(names, tmp_path, StitchOptions(debug_video=True, lag=0))
    assert summary["frames"] == 53
    assert blake2s_of(decode(tmp_path / "video1__video2_stitched.avi")) == GOLDEN
    assert sorted(os.listdir(tmp_path)) == sorted(Path(p).name for p in summary["outputs"])


def test_segments_are_one_recording(plain: Path, inputs: list[str], tmp_path: Path) -> None:
    video, table = decode(Path(inputs[0])), pd.read_csv(Path(inputs[0]).with_suffix(".csv"))
    cut, parts = 31, []
    for name, span in (("A1", slice(0, cut)), ("A2", slice(cut, len(video)))):
        path = tmp_path / f"{name}.avi"
        write(path, video[span])
        index = table.reconstructed_frame_index
        rows = table[(index >= span.start) & (index < span.stop)].copy()
        rows["reconstructed_frame_index"] -= span.start
        rows.to_csv(path.with_suffix(".csv"), index=False)
        parts.append(str(path))
    split = stitch_files([",".join(parts), inputs[1]], tmp_path / "split")
    assert split["frames"] == json.loads((plain / f"{STEM}.json").read_text())["frames"]
    one, two = plain / STEM, tmp_path / "split" / "A1__receiver2_stitched"
    for suffix in (".avi", ".csv", "_timestamps.csv"):
        assert Path(f"{one}{suffix}").read_bytes() == Path(f"{two}{suffix}").read_bytes()


def test_names() -> None:
    assert recording_names(["b.avi", "a.avi"]) == ["b", "a"]
    assert recording_names(["x/left/r.avi", "x/right/r.avi"]) == ["left-r", "right-r"]
    assert recording_names(["1/x/r.avi", "2/x/r.avi"]) == ["1-x-r", "2-x-r"]
    assert recording_names(["A1.avi,A2.avi", "B.avi"]) == ["A1", "B"]
    with pytest.raises(UsageError, match="two formats"):
        recording_names(["a.avi", "a.mkv"])


def test_order_given_decides_ties_names_do_not(
    plain: Path, inputs: list[str], tmp_path: Path
) -> None:
    back = stitch_files(inputs[::-1], tmp_path)
    assert [r["name"] for r in back["recordings"]] == ["receiver2", "receiver1"]
    assert {Path(path).name for path in back["outputs"]} == {p.name for p in plain.iterdir()}


Spoil = Any


def drop_column(folder: Path) -> None:
    table = pd.read_csv(folder / "receiver2.csv")
    table.drop(columns="pixel_count").to_csv(folder / "receiver2.csv", index=False)


def shift(folder: Path) -> None:
    table = pd.read_csv(folder / "receiver2.csv")
    table["frame_num"] += 10_000
    table.to_csv(folder / "receiver2.csv", index=False)


def halve_table(folder: Path) -> None:
    table = pd.read_csv(folder / "receiver2.csv")
    table[table.reconstructed_frame_index < 20].to_csv(folder / "receiver2.csv", index=False)


def other_size(folder: Path) -> None:
    config = miostitch.SimulationConfig(frames=80, seed=3, height=20, width=50)
    made = miostitch.simulate(folder / "small", config)
    for path in (made.recordings[1], made.recordings[1].with_suffix(".csv")):
        shutil.copy(path, folder)


def truncate(folder: Path) -> None:
    video = folder / "receiver2.avi"
    os.truncate(video, video.stat().st_size // 2)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda f: (f / "receiver2.csv").unlink(), MissingInputError, r"receiver2\.csv is missing"),
        (lambda f: (f / "receiver2.avi").unlink(), MissingInputError, r"receiver2\.avi: no such"),
        (drop_column, InputError, "missing columns pixel_count"),
        (shift, AlignmentError, "no overlap"),
        (halve_table, MismatchError, r"frames 0 to 19.*--salvage"),
        (other_size, InputError, r"50x40 and .*receiver2\.avi has frames of 50x20"),
        (lambda f: (f / "receiver2.avi").write_text("hello"), InputError, "AVI"),
        (lambda f: (f / "receiver2.avi").write_bytes(b""), InputError, r"receiver2\.avi"),
        (truncate, InputError, r"receiver2\.avi"),
    ],
)
def test_a_refused_run_leaves_nothing(
    inputs: list[str], tmp_path: Path, spoil: Spoil, error: type[Exception], message: str
) -> None:
    spoil(Path(inputs[0]).parent)
    with pytest.raises(error, match=message):
        stitch_files(inputs, tmp_path / "out")
    assert not any((tmp_path / "out").glob("*")) or os.listdir(tmp_path / "out") == []


def test_salvage_goes_on_with_what_matches(inputs: list[str], tmp_path: Path) -> None:
    halve_table(Path(inputs[0]).parent)
    options = StitchOptions(salvage=True, report=False)
    summary = stitch_files(inputs, tmp_path / "out", options)
    assert summary["recordings"][1]["frames"] <= 20
    assert any("left out" in warning for warning in summary["warnings"])


def test_the_same_file_twice(inputs: list[str], tmp_path: Path) -> None:
    link = tmp_path / "link.avi"
    link.symlink_to(inputs[0])
    for twin in (inputs[0], str(link)):
        with pytest.raises(UsageError, match="same file as"):
            stitch_files([inputs[0], twin], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.fault(40, "interrupted while it writes, with --force", "the old result stays")
def test_an_existing_result_is_untouched_by_a_run_that_dies_too(
    plain: Path, session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(session / f"receiver{n}.avi") for n in (1, 2)]
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    before = content(tmp_path)
    with pytest.raises(OutputExistsError):
        stitch_files(names, tmp_path)
    assert content(tmp_path) == before

    def dies(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("miostitch.execution.engine.write_block", dies)
        with pytest.raises(KeyboardInterrupt):
            stitch_files(names, tmp_path, StitchOptions(force=True))
    assert content(tmp_path) == before
    stitch_files(names, tmp_path, StitchOptions(force=True))
    (summary,) = tmp_path.glob("*.json")
    rewrite_summary(summary, summary.read_text().replace(str(tmp_path), str(plain)))
    assert content(tmp_path) == before


def test_no_room(inputs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ResourceError, match="make room"):
        stitch_files(inputs, tmp_path / "out")


@pytest.fixture(scope="module")
def flawed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A session with damage that one receiver can mend, and damage that none can."""
    folder = tmp_path_factory.mktemp("flawed")
    return Made(folder, seed=21, frames=24, receivers=3, buffer_loss=0.25, truncation=0.05).names


FLAWED = {
    "frame": StitchOptions("frame", chunk_frames=7, unrecoverable_video=True, zarr_format=2),
    "buffer": StitchOptions("buffer", chunk_frames=7, unrecoverable_video=True),
}


@pytest.fixture(scope="module")
def flawed_results(flawed: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("results")
    for by, options in FLAWED.items():
        stitch_files(flawed, folder / by, options)
    return {by: folder / by for by in FLAWED}


def summary_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(next(folder.glob("*_stitched.json")).read_text())
    return found


def opened(folder: Path, group: str | None = None, suffix: str = "") -> xr.Dataset:
    (path,) = folder.glob(f"*_stitched{suffix}.zarr")
    found: xr.Dataset = xr.open_zarr(path, group=group).load()
    return found


@pytest.mark.parametrize("by", ["frame", "buffer"])
def test_frames_that_a_receiver_has_as_in_the_result_are_known(
    flawed: list[str], flawed_results: dict[str, Path], by: str
) -> None:
    store, scores = (opened(flawed_results[by], group) for group in (None, "scores"))
    for number, name in enumerate(flawed):
        video, frames = decode(Path(name)), scores.source_frame[number].to_numpy()
        same = (video[frames] == store.video.to_numpy()).all(axis=(1, 2)) & (frames >= 0)
        np.testing.assert_array_equal(scores["identical"][number], same)
    assert 0 < scores["identical"].to_numpy().mean() < 1


@pytest.mark.parametrize("by", ["frame", "buffer"])
def test_times_and_rates_of_a_result_are_measured(flawed_results: dict[str, Path], by: str) -> None:
    store, summary = opened(flawed_results[by]), summary_in(flawed_results[by])
    time, estimated = store.time.to_numpy(), store.time_estimated.to_numpy()
    assert time[0] == 0
    assert (np.diff(time) > 0).all()
    assert estimated.mean() < 0.2
    start = datetime.fromisoformat(store.attrs["start_time"]).timestamp()
    received = store.timestamp_first.to_numpy()
    np.testing.assert_allclose((start + time)[~estimated], received[~estimated], atol=2e-6)
    assert store.attrs["measured_fps"] == summary["measured_fps"] == pytest.approx(20, rel=0.02)
    assert summary["fps"] == store.attrs["fps"]
    for recording in summary["recordings"]:
        assert recording["fps"] == "20"
        assert recording["measured_fps"] == pytest.approx(20, rel=0.02)


@pytest.mark.parametrize("by", [pytest.param("frame", marks=pytest.mark.slow), "buffer"])
def test_without_damaged_frames_the_others_stay_as_they_are(
    flawed: list[str], flawed_results: dict[str, Path], tmp_path: Path, by: str
) -> None:
    runs = whole, left = flawed_results[by], tmp_path / "part"
    options = replace(FLAWED[by], drop_damaged=True, debug_video=True, report=False)
    part = stitch_files(flawed, left, options)
    all_frames, frames = opened(whole), opened(left)
    damaged = all_frames.damaged.to_numpy()
    assert 0 < damaged.sum() < len(damaged)
    sound = all_frames.isel(frame=~damaged)
    # the time of the first frame that is left is 0
    assert frames.time[0] == 0
    assert (np.diff(frames.time) > 0).all()
    sound = sound.assign_coords(frame=frames.frame)
    sound.attrs = frames.attrs
    measured = ["time", "time_estimated"]
    assert frames.drop_vars(measured).identical(sound.drop_vars(measured))
    for group in ("scores", *(["composition"] if by == "buffer" else [])):
        mine = opened(left, group)
        kept = opened(whole, group).isel(frame=~damaged)
        assert mine.identical(kept.assign_coords(frame=mine.frame))
    assert part["dropped_frame_num"] == all_frames.frame_num.to_numpy()[damaged].tolist()
    assert summary_in(whole)["dropped_frame_num"] == []
    assert (part["frames"], part["damaged"]) == (len(sound.frame), 0)

    place = np.cumsum(~damaged) - 1
    for suffix, column in ((".csv", "reconstructed_frame_index"), ("_scores.csv", "index"),
                           ("_timestamps.csv", "frame")):  # fmt: skip
        tables = [pd.read_csv(next(run.glob(f"*_stitched{suffix}"))) for run in runs]
        kept = tables[0][~damaged[tables[0][column]]]
        kept = kept.assign(**{column: place[kept[column]]}).reset_index(drop=True)
        pd.testing.assert_frame_equal(tables[1], kept, check_dtype=False)  # empty cells

    lost = all_frames.isel(frame=all_frames.unrecoverable.to_numpy())
    assert len(lost.frame) > 2
    for run in runs:
        (video,) = run.glob("*_unrecoverable.avi")
        np.testing.assert_array_equal(decode(video), lost.video)
        recording = miostitch.open_recording(video)
        assert recording.frame_num.to_numpy().tolist() == lost.frame_num.to_numpy().tolist()
    again = stitch_files([str(video)], tmp_path / "again", StitchOptions(report=False))
    assert again["frames"] == len(lost.frame)


@pytest.mark.parametrize("by", ["frame", "buffer"])
def test_if_all_frames_are_damaged_none_is_left(tmp_path: Path, by: Any) -> None:
    lossy = Made(tmp_path / "in", seed=22, height=20)
    for path in lossy.videos:
        change_table(path, lambda t: t.assign(black_padding_px=10 * (t.frame_buffer_count == 3)))
    options = StitchOptions(by=by, drop_damaged=True, unrecoverable_video=True)
    with pytest.raises(InputError, match="is intact; stitch without --drop-damaged"):
        stitch_files(lossy.names, tmp_path / "out", options)
    assert not Path(tmp_path / "out").exists()


def test_groups_open_as_they_are_and_tell_the_composition(
    flawed: list[str], flawed_results: dict[str, Path]
) -> None:
    folder = flawed_results["buffer"]
    store, found = opened(folder), opened(folder, "composition")
    names = [recording["name"] for recording in summary_in(folder)["recordings"]]
    assert found.attrs["recordings"] == names
    count, buffers = len(store.frame), found.sizes["position"]
    assert found.buffer_source.dims == found.buffer_evidence.dims == ("frame", "position")
    assert (found.buffer_source.dtype, found.buffer_evidence.dtype) == ("int8", "uint8")
    assert found.buffer_evidence.attrs["flag_values"] == [0, 1, 2, 3, 4]
    assert found.buffer_evidence.attrs["flag_meanings"].split() == [
        "nobody", "single", "identical", "majority", "stretches",
    ]  # fmt: skip
    assert found.buffer_source.shape == (count, buffers)
    nobody = found.buffer_evidence == 0
    assert (nobody == (found.buffer_source == -1)).all()
    assert nobody.any()
    np.testing.assert_array_equal((~nobody).sum("position"), store.num_buffers)
    assert set(np.flatnonzero(nobody.any("position"))) <= set(np.flatnonzero(store.unrecoverable))
    np.testing.assert_array_equal(store.unrecoverable, store.missing_pixels > 0)

    session = bring_together(open_recordings(flawed))
    for position, (lo, hi) in enumerate(pairwise(session.bounds)):
        lost = nobody.isel(position=position).to_numpy()
        assert not store.video.to_numpy().reshape(count, -1)[lost, lo:hi].any()


@pytest.mark.parametrize("by", FLAWED)
def test_every_repaired_cell_is_in_the_store(
    flawed: list[str], flawed_results: dict[str, Path], by: str
) -> None:
    summary = summary_in(flawed_results[by])
    found = opened(flawed_results[by], "repairs")
    assert found.attrs["recordings"] == [r["name"] for r in summary["recordings"]]
    assert found.sizes == {"repair": sum(r["repairs"] for r in summary["recordings"])}
    assert found.sizes["repair"] > 5
    columns = found.column.attrs["flag_meanings"].split()
    assert found.column.attrs["flag_values"] == [*range(len(columns))]
    masks = found.evidence.attrs["flag_masks"]
    assert masks == [1 << bit for bit in range(8)]
    assert len(found.evidence.attrs["flag_meanings"].split()) == len(masks)
    raw = [pd.read_csv(Path(name).with_suffix(".csv")) for name in flawed]
    mended = [repaired_table(Path(name)) for name in flawed]
    for cell in found.to_dataframe().to_dict("records"):
        at = cell["row"], columns[cell["column"]]
        assert cell["old"] == raw[cell["recording"]].loc[at] != cell["new"]
        assert cell["new"] == mended[cell["recording"]].loc[at]
        assert (cell["segment"], cell["evidence"] > 0) == (0, True)
    assert not found.to_dataframe()[["recording", "row", "column"]].duplicated().any()


def test_without_repair_there_is_no_log(flawed: list[str], tmp_path: Path) -> None:
    stitch_files(flawed, tmp_path, StitchOptions(repair=False, report=False))
    (path,) = tmp_path.glob("*.zarr")
    assert set(zarr.open_group(path, mode="r").group_keys()) == {"scores", "buffers"}


@pytest.mark.parametrize("keep_clocks", [pytest.param(True, marks=pytest.mark.slow), False])
def test_tables_by_buffer_agree(
    flawed: list[str], flawed_results: dict[str, Path], tmp_path: Path, keep_clocks: bool
) -> None:
    folder = flawed_results["buffer"]
    if keep_clocks:
        folder = tmp_path
        options = StitchOptions(by="buffer", keep_clocks=True, chunk_frames=3, report=False)
        stitch_files(flawed, folder, options)
    store, gave = opened(folder), opened(folder, "composition").buffer_source.to_numpy()
    table = pd.read_csv(next(folder.glob("*_stitched.csv")))
    session = bring_together(open_recordings(flawed))
    copies = [copies_of(Path(name), session.bounds) for name in flawed]
    expected = composed_rows(copies, store.frame_num.to_numpy().tolist(), gave)
    receiver = expected.pop("receiver").to_numpy()
    pd.testing.assert_frame_equal(table.drop(columns=CORRECTED.name), expected)
    buffers = opened(folder, "buffers").to_dataframe()[list(table)]
    pd.testing.assert_frame_equal(buffers.reset_index(drop=True), table)

    times = table.buffer_recv_unix_time.to_numpy().copy()
    if not keep_clocks:
        for number, clock in enumerate(session.alignment.clocks):
            mine = receiver == number
            times[mine] = to_first_clock(times[mine], clock)
    np.testing.assert_array_equal(table[CORRECTED.name], times)
    assert table.columns[-1] == CORRECTED.name
    rows = table.assign(time=times, receiver=receiver).groupby("reconstructed_frame_index")
    written = pd.read_csv(next(folder.glob("*_timestamps.csv")))
    np.testing.assert_array_equal(written.frame, np.arange(len(store.frame)))
    one = rows.receiver.nunique() == 1  # of several the earliest and the latest count
    first = rows.time.first().where(one, rows.time.min())
    last = rows.time.last().where(one, rows.time.max())
    for name, ends in (("first", first), ("last", last)):
        expected_times = ends.reindex(store.frame.to_numpy())
        np.testing.assert_array_equal(written[f"timestamp_{name}"], expected_times)
        np.testing.assert_array_equal(store[f"timestamp_{name}"], expected_times)
