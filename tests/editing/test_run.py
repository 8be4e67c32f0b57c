"""What is written of an edit: every file tells of the same frames, as they were before."""

import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings

import miostitch
from miostitch import concat, open_recording, remove_frames, trim, write_recording
from miostitch.buffers.table import read_metadata
from miostitch.denoising.run import denoise_files
from miostitch.editing.run import edit_files
from miostitch.errors import (
    InputError,
    MismatchError,
    OutputExistsError,
    ResourceError,
    UsageError,
)
from miostitch.recording.files import ReadOptions
from miostitch.recording.recording import Recording
from miostitch.schema import FRAME_VARIABLES, RECORDED
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from tests.editing.test_operations import chains, follow
from tests.folders import content
from tests.reference.composition import repaired_table
from tests.video_files import blake2s_of, decode

TRIMMED = "432642b1528fcd9ad553cfb3cc3862bef931301bd11d44dc3c2372fc379fa629"
"""``blake2s_of`` what mio makes of ``stitch/video1``, trimmed by 10 and 10."""

STEM = "receiver1__receiver2_stitched"
TIMES = ["time", "time_estimated"]
SIDES = {"_timestamps.csv": "frame", "_scores.csv": "index"}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    rates = {"buffer_loss": 0.05, "frame_loss": 0.03, "overrun": 0.02, "header_flips": 0.02}
    config = miostitch.SimulationConfig(frames=40, seed=3, height=40, width=50, **rates)  # type: ignore[arg-type]
    miostitch.simulate(folder, config)
    return folder


@pytest.fixture(scope="module")
def stitched(session: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Results by frame and by buffer, in both formats of Zarr."""
    names = [str(session / f"receiver{n}.avi") for n in (1, 2)]
    made = {}
    for by, zarr_format in (("frame", 2), ("buffer", 3)):
        folder = tmp_path_factory.mktemp(by)
        options = StitchOptions(by, zarr_format=zarr_format, chunk_frames=16, report=False)  # type: ignore[arg-type]
        stitch_files(names, folder, options)
        made[by] = folder / STEM
    return made


def beside(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def rows_of(table: Path, index: np.ndarray) -> pd.DataFrame:
    """Rows of chosen frames, one frame after the other, as a plain loop finds them."""
    rows = repaired_table(table)
    if RECORDED.name not in rows:
        moved = rows.recorded != rows.frame_buffer_count
        rows[RECORDED.name] = rows.recorded.where(moved, -1)
    rows = rows.drop(columns=["recorded", "padding"])
    parts = []
    for position, frame in enumerate(index):
        of_frame = rows[rows.reconstructed_frame_index == frame]
        parts.append(of_frame.assign(reconstructed_frame_index=position))
    found: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return found


def require_same(before: Path, after: Path, index: np.ndarray) -> None:
    """Every file of a stem tells of the chosen frames what it told before."""
    np.testing.assert_array_equal(
        decode(beside(after, ".avi")), decode(beside(before, ".avi"))[index]
    )
    if beside(before, ".csv").exists():
        written = pd.read_csv(beside(after, ".csv"))
        if RECORDED.name not in written:  # as no position of the table was repaired
            written[RECORDED.name] = -1
        pd.testing.assert_frame_equal(written, rows_of(beside(before, ".csv"), index))
    for suffix, key in SIDES.items():
        if not beside(before, suffix).exists():
            assert not beside(after, suffix).exists()
            continue
        old, new = (pd.read_csv(beside(s, suffix), dtype=str) for s in (before, after))
        expected = old.iloc[index].reset_index(drop=True)
        expected[key] = np.arange(len(index)).astype(str)
        pd.testing.assert_frame_equal(new, expected)
    if beside(before, ".zarr").exists():
        require_same_store(str(beside(before, ".zarr")), str(beside(after, ".zarr")), index)


def require_same_times(new: xr.Dataset, expected: xr.Dataset) -> None:
    """Times are as before, from the first frame on, wherever they rose; else they rise now."""
    time, before = new.time.to_numpy(), expected.time.to_numpy()
    assert time[0] == 0
    assert (np.diff(time) > 0).all()
    if (np.diff(before) > 0).all():
        np.testing.assert_allclose(time, before - before[0], atol=1e-9)
        np.testing.assert_array_equal(new.time_estimated, expected.time_estimated)


def require_same_store(before: str, after: str, index: np.ndarray) -> None:
    old, new = (xr.open_zarr(path).load() for path in (before, after))
    expected = old.isel(frame=index).assign_coords(frame=np.arange(len(index)))
    xr.testing.assert_equal(new.drop_vars(TIMES), expected.drop_vars(TIMES))
    require_same_times(new, expected)
    assert new.video.encoding["chunks"] == old.video.encoding["chunks"]
    groups = [p.name for p in Path(before).iterdir() if p.is_dir() and p.name not in old.variables]
    assert {"scores", "buffers"} <= {*groups}
    for name in groups:
        old, new = (xr.open_zarr(path, group=name).load() for path in (before, after))
        assert {n: v.attrs for n, v in new.variables.items()} == {
            n: v.attrs for n, v in old.variables.items()
        }
        if name == "buffers":
            table = old.to_dataframe().reset_index(drop=True)
            parts = [
                table[table.reconstructed_frame_index == frame].assign(
                    reconstructed_frame_index=position
                )
                for position, frame in enumerate(index)
            ]
            pd.testing.assert_frame_equal(
                new.to_dataframe().reset_index(drop=True), pd.concat(parts, ignore_index=True)
            )
        elif "frame" in old.sizes:
            kept = old.isel(frame=index).assign_coords(frame=np.arange(len(index)))
            xr.testing.assert_equal(new, kept)
        else:
            times = len(new.row) // len(old.row)
            np.testing.assert_array_equal(new.row, np.tile(old.row, times))


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow], database=None)
@given(chains)
def test_a_raw_recording_stays_one(
    session: Path, tmp_path_factory: pytest.TempPathFactory, chain: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("raw")
    edited, index = follow(open_recording(session / "receiver1.avi"), chain)
    write_recording(edited, folder / "x.avi")
    require_same(session / "receiver1", folder / "x", index)
    again = Recording.open(folder / "x.avi")
    assert again.shape[0] == len(index)
    shutil.rmtree(folder)


def require_together(stem: Path, suffix: str, folder: Path, chain: list[Any]) -> set[str]:
    """If one product of a result is edited, all are; their names."""
    edited, index = follow(open_recording(beside(stem, suffix)), chain)
    summary = write_recording(edited, folder / suffix[1:], stem="x")
    assert not any("left out" in warning for warning in summary["warnings"])
    require_same(stem, folder / suffix[1:] / "x", index)
    return {*content(folder / suffix[1:])}


@pytest.mark.parametrize(
    ("by", "suffix"),
    [pytest.param("frame", ".avi", marks=pytest.mark.slow), ("buffer", ".zarr")],
)
def test_all_products_of_a_result_stay_together(
    by: str, suffix: str, stitched: dict[str, Path], tmp_path: Path
) -> None:
    chain = [("trim", 1, 2), ("remove", [0, 3, 4]), ("concat", 1), ("trim", 3, 0)]
    require_together(stitched[by], suffix, tmp_path, chain)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["frame", "buffer"])
@settings(suppress_health_check=[HealthCheck.too_slow], database=None)
@given(chain=chains)
def test_all_products_of_any_edit_stay_together(
    by: str,
    stitched: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    chain: list[Any],
) -> None:
    folder = tmp_path_factory.mktemp("result")
    names = [require_together(stitched[by], suffix, folder, chain) for suffix in (".avi", ".zarr")]
    assert names[0] == names[1]
    shutil.rmtree(folder)


def test_steps_of_several_runs_are_one_history(stitched: dict[str, Path], tmp_path: Path) -> None:
    def files(folder: Path) -> dict[str, bytes]:
        found = content(folder)
        assert json.loads(found.pop("x.json"))["inputs"] == once["inputs"]
        return found

    first = trim(open_recording(beside(stitched["frame"], ".zarr")), 2, 3)
    write_recording(first, tmp_path / "one", stem="x")
    once = write_recording(remove_frames(first, "1,4-5"), tmp_path / "once", stem="x")
    assert [step["step"] for step in once["history"]] == ["stitch", "trim", "remove_frames"]
    for suffix in (".avi", ".zarr"):
        second = remove_frames(open_recording(tmp_path / "one" / f"x{suffix}"), "1,4-5")
        twice = write_recording(second, tmp_path / suffix[1:], stem="x")
        assert second.attrs["history"] == twice["history"] == once["history"]
        assert files(tmp_path / suffix[1:]) == files(tmp_path / "once")
        stored = xr.open_zarr(tmp_path / suffix[1:] / "x.zarr").attrs
        assert stored["history"] == once["history"]
        assert stored["inputs"] == once["inputs"]
        assert str(tmp_path) not in json.dumps(stored)


def test_the_selection_that_the_documentation_shows(stitched: dict[str, Path]) -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "cut-and-join.md"
    [shown] = re.findall(r"`(kept\.isel\(.*?\))`", page.read_text("utf-8"))
    kept = open_recording(beside(stitched["frame"], ".zarr"))
    sound = eval(shown)
    assert 0 < sound.sizes["frame"] == (~kept.damaged.values).sum() < kept.sizes["frame"]


def test_a_store_alone(stitched: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(beside(stitched["buffer"], ".zarr"), tmp_path / "in" / "s.zarr")
    kept = trim(open_recording(tmp_path / "in" / "s.zarr"), 4, 4)
    summary = write_recording(kept, tmp_path / "out")
    assert [Path(p).name for p in summary["outputs"]] == ["s.zarr", "s.json"]
    write_recording(kept, tmp_path / "out" / "video.avi")
    assert sorted(os.listdir(tmp_path / "out")) == [
        "s.json", "s.zarr", "video.avi", "video.csv", "video.json", "video.zarr",
    ]  # fmt: skip
    index = np.arange(4, kept.sizes["frame"] + 4)
    expected = rows_of(beside(stitched["buffer"], ".csv"), index)
    assert (expected.pop(RECORDED.name) == -1).all()  # composed: no position was repaired
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "video.csv"), expected)


def test_joined_segments_stitch_as_segments_do(session: Path, tmp_path: Path) -> None:
    """Parts of one recording, joined again, give what the whole gives."""
    whole = open_recording(session / "receiver1.avi")
    for name, part in (("A1", trim(whole, 0, 20)), ("A2", trim(whole, part_of(whole)))):
        write_recording(part, tmp_path / f"{name}.avi")
    segments = [str(tmp_path / "A1.avi"), str(tmp_path / "A2.avi")]
    summary = edit_files(segments, tmp_path / "A.avi", concat, "")
    (seam,) = summary.history[-1]["parameters"]["seams"]
    assert seam["kind"] == "continues"
    require_same(session / "receiver1", tmp_path / "A", np.arange(whole.sizes["frame"]))
    in_one = edit_files([",".join(segments)], tmp_path / "B.avi", lambda p: p[0], "")
    assert [each.frames for each in in_one.origins] == [whole.sizes["frame"] - 20, 20]
    for suffix in (".avi", ".csv"):
        joined = (tmp_path / f"A{suffix}").read_bytes()
        assert joined == (tmp_path / f"B{suffix}").read_bytes()


def part_of(whole: xr.Dataset) -> int:
    return int(whole.sizes["frame"]) - 20


def test_boots_are_told_apart_after_joining(tmp_path: Path) -> None:
    size: dict[str, Any] = {"receivers": 2, "height": 40, "width": 50}
    config = miostitch.SimulationConfig(frames=120, resets=1, seed=5, header_flips=0, **size)
    made = miostitch.simulate(tmp_path / "s", config)
    names = [str(path) for path in made.recordings]
    whole = open_recording(names[0])
    fall = int(np.flatnonzero(np.diff(whole.frame_num) < 0)[0]) + 1
    count = whole.sizes["frame"]
    write_recording(trim(whole, 0, count - fall), tmp_path / "in" / "A1.avi")
    write_recording(trim(whole, fall), tmp_path / "in" / "A2.avi")
    parts = [open_recording(tmp_path / "in" / f"A{n}.avi") for n in (1, 2)]
    joined = concat(parts)
    assert joined.attrs["history"][-1]["parameters"]["seams"][0]["kind"] == "reboot"
    write_recording(joined, tmp_path / "in" / "receiver1.avi")
    options = StitchOptions(report=False)
    one = stitch_files(names, tmp_path / "one", options)
    names[0] = str(tmp_path / "in" / "receiver1.avi")
    two = stitch_files(names, tmp_path / "two", options)
    assert one["frames"] == two["frames"]
    for suffix in (".avi", ".csv"):
        files = [
            next(p for p in (tmp_path / n).iterdir() if p.name.endswith(f"stitched{suffix}"))
            for n in ("one", "two")
        ]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_joined_results_count_recordings_once(stitched: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(stitched["frame"].parent, tmp_path / "other")
    twin = tmp_path / "other" / f"{STEM}.zarr"
    for attributes in (".zattrs", ".zmetadata"):
        text = (twin / attributes).read_text()
        (twin / attributes).write_text(text.replace('"receiver1"', '"receiver9"'))
    one, two = open_recording(beside(stitched["frame"], ".zarr")), open_recording(twin)
    write_recording(concat([one, two]), tmp_path / "x.zarr")
    made = xr.open_zarr(tmp_path / "x.zarr")
    assert made.attrs["recordings"] == ["receiver1", "receiver2", "receiver9"]
    count = one.sizes["frame"]
    source = made.source.values
    np.testing.assert_array_equal(source[:count], one.source)
    np.testing.assert_array_equal(source[count:], np.array([2, 1, -1])[two.source.values])
    np.testing.assert_array_equal(made.source, concat([one, two]).source)
    scores = xr.open_zarr(tmp_path / "x.zarr", group="scores").edge_energy.values
    old = xr.open_zarr(twin, group="scores").edge_energy.values
    np.testing.assert_array_equal(scores[[2, 1], count:], old)
    assert (scores[2, :count] == -1).all()
    assert (scores[0, count:] == -1).all()


@pytest.mark.slow
def test_frames_of_two_files_in_turn(stitched: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(stitched["frame"].parent, tmp_path / "other")
    stems = [stitched["frame"], tmp_path / "other" / STEM]
    joined = concat([open_recording(beside(stem, ".zarr")) for stem in stems])
    count = joined.sizes["frame"] // 2
    turns = np.stack([np.arange(count), count + np.arange(count)[::-1]], axis=1).ravel()
    write_recording(joined.isel(frame=turns), tmp_path / "x.zarr")
    require_same(stitched["frame"], tmp_path / "x", turns % count)


def test_what_not_all_have_is_left_out_and_told(
    session: Path, stitched: dict[str, Path], tmp_path: Path
) -> None:
    raw, result = open_recording(session / "receiver1.avi"), beside(stitched["frame"], ".zarr")
    summary = write_recording(concat([raw, open_recording(result)]), tmp_path, stem="x")
    assert [Path(p).name for p in summary["outputs"]] == ["x.avi", "x.csv", "x.json"]
    assert any("_scores.csv" in warning for warning in summary["warnings"])


def test_a_video_without_a_table(session: Path, tmp_path: Path) -> None:
    shutil.copy(session / "receiver1.avi", tmp_path / "bare.avi")
    edit_files([tmp_path / "bare.avi"], tmp_path / "out", lambda p: trim(p[0], 1, 1), "_trimmed")
    assert sorted(os.listdir(tmp_path / "out")) == ["bare_trimmed.avi", "bare_trimmed.json"]
    edit_files([tmp_path / "bare.avi"], tmp_path / "y" / "x.zarr", lambda p: p[0], "")
    assert sorted(os.listdir(tmp_path / "y")) == ["x.avi", "x.json", "x.zarr"]
    store = xr.open_zarr(tmp_path / "y" / "x.zarr")
    assert (store.frame_num == -1).all()
    assert not store.damaged.any()  # nothing is known


def test_the_store_of_a_raw_recording(tmp_path: Path) -> None:
    """Its tables say what a stitch of the recording alone says."""
    rates = {"buffer_loss": 0.05, "overrun": 0.02, "truncation": 0.02, "header_flips": 0.0}
    config = miostitch.SimulationConfig(frames=40, seed=3, height=40, width=50, **rates)  # type: ignore[arg-type]
    video = miostitch.simulate(tmp_path / "session", config).recordings[0]
    write_recording(trim(open_recording(video), 2, 3), tmp_path / "x.zarr")
    stitch_files([str(video)], tmp_path / "alone", StitchOptions(report=False))
    ours = xr.open_zarr(tmp_path / "x.zarr").load()
    alone = xr.open_zarr(tmp_path / "alone" / "receiver1_stitched.zarr").load()
    assert ours.attrs["recordings"] == alone.attrs["recordings"] == ["receiver1"]
    assert ours.attrs["inputs"] == alone.attrs["inputs"]
    alone = alone.isel(frame=slice(2, -3))
    for name in FRAME_VARIABLES:
        if name.name not in ("damaged", "confidence", *TIMES):  # nobody has scored a raw recording
            np.testing.assert_array_equal(ours[name.name], alone[name.name], name.name)
    require_same_times(ours, alone)
    np.testing.assert_array_equal(ours.damaged, alone.missing_pixels > 0)
    assert 0 < ours.damaged.sum() < ours.sizes["frame"]
    np.testing.assert_array_equal(ours.video, alone.video)
    written = pd.read_csv(tmp_path / "x.csv")
    buffers = xr.open_zarr(tmp_path / "x.zarr", group="buffers")
    for column in written:
        np.testing.assert_array_equal(buffers[column], written[column])
    again = trim(open_recording(tmp_path / "x.zarr"), 1, 0)
    write_recording(again, tmp_path / "y.zarr")
    twice = xr.open_zarr(tmp_path / "y.zarr").load()
    np.testing.assert_array_equal(twice.missing_pixels, ours.missing_pixels[1:])


def drop_line(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:5] + lines[6:]))


def swap_lines(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:5], lines[6], lines[5], *lines[7:]]))


def test_stale_companions_are_refused_or_left_out(
    stitched: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(stitched["frame"].parent, tmp_path / "in")
    write_recording(trim(open_recording(beside(stitched["frame"], ".avi")), 1), tmp_path / "x.avi")
    kept = trim(open_recording(tmp_path / "in" / f"{STEM}.zarr"), 1)
    suffixes = ("_scores.csv", "_timestamps.csv", ".avi", ".csv")
    for suffix in suffixes:
        sound, stale = beside(stitched["frame"], suffix), tmp_path / "in" / f"{STEM}{suffix}"
        if suffix == ".avi":
            shutil.copy(tmp_path / "x.avi", stale)
        else:
            drop_line(stale)
        with pytest.raises(MismatchError, match=rf"{STEM}{suffix}: .*--salvage"):
            write_recording(kept, tmp_path / "out")
        assert not any((tmp_path / "out").glob("*"))
        stale.rename(tmp_path / f"stale{suffix}")
        shutil.copy(sound, stale)
    for suffix in suffixes:
        (tmp_path / f"stale{suffix}").replace(tmp_path / "in" / f"{STEM}{suffix}")
    summary = write_recording(kept, tmp_path / "out", reading=ReadOptions(salvage=True))
    for suffix in suffixes:
        assert any(f"{STEM}{suffix}" in warning for warning in summary["warnings"])
        assert not (tmp_path / "out" / f"{STEM}{suffix}").exists()


@pytest.mark.parametrize("ending", [".avi", ".zarr"])
def test_rows_go_on_repaired_and_as_received(recordings: Path, tmp_path: Path, ending: str) -> None:
    video = recordings / "stitch" / "video1.avi"
    write_recording(trim(open_recording(video, lag=1), 2), tmp_path / f"x{ending}")
    original, written = read_metadata(video.with_suffix(".csv"), repair=True), tmp_path / "x.csv"
    assert len(original.repairs)
    again = read_metadata(written, repair=True)
    assert not len(again.repairs)
    assert not [text for text in again.notices if "backwards" in text]
    assert [*pd.read_csv(written).columns] == [*original.columns]
    if ending == ".zarr":
        kept = xr.open_zarr(tmp_path / "x.zarr", group="repairs").load()
        np.testing.assert_array_equal(kept.row, original.repairs["row"])
        np.testing.assert_array_equal(kept.old, original.repairs["old"])
        assert kept.attrs["recordings"] == ["video1"]
    assert miostitch.verify_files(tmp_path)["differences"] == 0


def test_rows_can_go_on_as_they_are(recordings: Path, tmp_path: Path) -> None:
    video, plain = recordings / "stitch" / "video1.avi", ReadOptions(repair=False)
    write_recording(trim(open_recording(video, lag=1), 2), tmp_path / "x.avi", reading=plain)
    assert len(read_metadata(tmp_path / "x.csv", repair=True).repairs)
    [origin] = json.loads((tmp_path / "x.json").read_text())["origins"]
    assert origin["repair"] is False
    assert miostitch.verify_files(tmp_path)["differences"] == 0


@pytest.mark.parametrize("suffix", [pytest.param(".avi", marks=pytest.mark.slow), ".zarr"])
def test_rows_are_those_of_the_store_beside(
    stitched: dict[str, Path], tmp_path: Path, suffix: str
) -> None:
    shutil.copytree(stitched["frame"].parent, tmp_path / "in")
    drop_line(tmp_path / "in" / f"{STEM}.csv")
    kept = trim(open_recording(tmp_path / "in" / f"{STEM}{suffix}", salvage=True), 1)
    with pytest.raises(MismatchError, match=rf"{STEM}\.csv: has \d+ rows, but there should"):
        write_recording(kept, tmp_path / "out")
    summary = write_recording(kept, tmp_path / "out", reading=ReadOptions(salvage=True))
    assert any(f"{STEM}.csv: has " in told for told in summary["warnings"])
    assert not (tmp_path / "out" / f"{STEM}.csv").exists()
    index = np.arange(1, kept.sizes["frame"] + 1)
    require_same_store(
        str(beside(stitched["frame"], ".zarr")), str(tmp_path / "out" / f"{STEM}.zarr"), index
    )


def crosswise(one: str, other: str) -> list[Any]:
    """By frame with one thing, by buffer with the other; the other way round is slow."""
    slow = [
        pytest.param("frame", other, marks=pytest.mark.slow),
        pytest.param("buffer", one, marks=pytest.mark.slow),
    ]
    return [("frame", one), ("buffer", other), *slow]


@pytest.mark.parametrize(("by", "what"), crosswise("missing", "damaged"))
def test_damaged_chunks_are_refused_or_left_out(
    stitched: dict[str, Path], tmp_path: Path, by: str, what: str
) -> None:
    before, store = stitched[by], tmp_path / "in" / f"{STEM}.zarr"
    shutil.copytree(before.parent, tmp_path / "in")
    [file] = [p for p in (store / "video" / "c/1/0/0", store / "video" / "1.0.0") if p.exists()]
    if what == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=f"{STEM}.*--salvage"):
        write_recording(trim(open_recording(store), 2), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    kept = trim(open_recording(store, salvage=True), 2, 1)
    summary = write_recording(kept, tmp_path / "out", reading=ReadOptions(salvage=True))
    frames = np.array([n for n in range(2, kept.sizes["frame"] + 2) if not 16 <= n < 32])
    np.testing.assert_array_equal(
        decode(tmp_path / "out" / f"{STEM}.avi"), decode(beside(before, ".avi"))[frames]
    )
    require_same_store(str(beside(before, ".zarr")), str(tmp_path / "out" / f"{STEM}.zarr"), frames)
    [loss] = summary["lost_frames"]
    assert (loss["frames"], loss["why"]) == ([16, 31], f"the chunk is {what}")
    assert loss["file"] == str(file)
    assert any("16 frames lost in damaged chunks" in told for told in summary["warnings"])


@pytest.mark.parametrize(("by", "suffix"), crosswise(".avi", ".zarr"))
@pytest.mark.parametrize("array", ["timestamp_last", "scores/edge_energy", "buffers/frame_num"])
def test_damaged_tables_of_a_store_are_refused(
    stitched: dict[str, Path], tmp_path: Path, by: str, array: str, suffix: str
) -> None:
    shutil.copytree(stitched[by].parent, tmp_path / "in")
    (tmp_path / "in" / f"{STEM}.csv").unlink()  # else the rows of the video stand there
    store = tmp_path / "in" / f"{STEM}.zarr"
    chunk = next(p for p in (store / array).rglob("[0-9]*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-9])
    with pytest.raises(InputError, match=rf"{STEM}.zarr: {array}: .*copy the store again"):
        edit_files([beside(store.with_suffix(""), suffix)], tmp_path / "out", concat, "")


def test_damaged_times_are_named_where_recordings_are_joined(
    stitched: dict[str, Path], tmp_path: Path
) -> None:
    store = tmp_path / f"{STEM}.zarr"
    shutil.copytree(beside(stitched["buffer"], ".zarr"), store)
    chunk = next(p for p in (store / "timestamp_first").rglob("[0-9]*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-9])
    recording = open_recording(store)
    with pytest.raises(InputError, match=r"timestamp_first: .*copy the store again"):
        concat([recording, recording])


@pytest.mark.parametrize("by", ["frame", "buffer"])
@pytest.mark.parametrize("array", ["frame_num", "scores/edge_energy", "buffers/frame_num"])
@pytest.mark.parametrize("what", ["chunk", "folder"])
def test_tables_that_are_not_whole_are_refused(
    stitched: dict[str, Path], tmp_path: Path, by: str, array: str, what: str
) -> None:
    shutil.copytree(stitched[by].parent, tmp_path / "in")
    store = tmp_path / "in" / f"{STEM}.zarr"
    (store / array / ".DS_Store").touch()
    if what == "folder":
        shutil.rmtree(store / array)
    else:
        next(p for p in (store / array).rglob("[0-9]*") if p.is_file()).unlink()
    for salvage in (False, True):
        with pytest.raises(InputError, match=rf"{STEM}.*'{array}' has \d of \d chunks"):
            open_recording(store, salvage=salvage)


def test_a_store_is_found_from_another_folder(
    stitched: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stitched["frame"].parent)
    opened = open_recording(f"{STEM}.zarr")
    monkeypatch.chdir(tmp_path)
    expected = decode(beside(stitched["frame"], ".avi"))
    np.testing.assert_array_equal(opened.video.to_numpy(), expected)


def cut_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def rename_key(path: Path) -> None:
    path.write_text(path.read_text().replace("frame", "picture").replace("index", "number"))


SPOILT = [
    (swap_lines, "line 6 does not list frame 4"),
    (cut_end, "has .*, for its last line is cut"),
    (rename_key, "line 1: no column"),
    (os.truncate, "line 1: the file is empty"),
]


@pytest.mark.parametrize(
    ("spoil", "fault", "suffix", "side"),
    [
        # each fault in one table, and the other one as a slow case
        pytest.param(*spoilt, *table, marks=pytest.mark.slow if (at + of) % 2 else [])
        for at, spoilt in enumerate(SPOILT)
        for of, table in enumerate(zip([".avi", ".zarr"], SIDES, strict=True))
    ],
)
def test_spoilt_lines_are_refused_or_left_out(
    stitched: dict[str, Path], tmp_path: Path, suffix: str, side: str, spoil: Any, fault: str
) -> None:
    shutil.copytree(stitched["frame"].parent, tmp_path / "in")
    table = tmp_path / "in" / f"{STEM}{side}"
    spoil(table, 0) if spoil is os.truncate else spoil(table)
    opened = open_recording(tmp_path / "in" / f"{STEM}{suffix}")
    with pytest.raises(InputError, match=rf"{side}: {fault}.*; make it again, or --salvage"):
        write_recording(opened, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    summary = write_recording(opened, tmp_path / "out", reading=ReadOptions(salvage=True))
    [told] = [each for each in summary["warnings"] if side in each]
    assert re.search(rf"{side}: {fault}.*; it is left out", told)
    assert {*SIDES} - {s for s in SIDES if (tmp_path / "out" / f"{STEM}{s}").exists()} == {side}


def test_a_dataset_of_no_origin(session: Path, tmp_path: Path) -> None:
    opened = open_recording(session / "receiver1.avi")
    for wrong in (opened.drop_vars("origin"), opened.isel(frame=slice(0, 0))):
        with pytest.raises(UsageError):
            write_recording(wrong, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_input_and_an_existing_result_are_safe(session: Path, tmp_path: Path) -> None:
    shutil.copytree(session, tmp_path / "in")
    opened = trim(open_recording(tmp_path / "in" / "receiver1.avi"), 1)
    with pytest.raises(UsageError, match="would replace an input"):
        write_recording(opened, tmp_path / "in", force=True)
    with pytest.raises(UsageError, match=r"is written as \.avi or \.zarr; name"):
        write_recording(opened, tmp_path / "x.mp4")
    write_recording(opened, tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(OutputExistsError):
        write_recording(opened, tmp_path / "out")
    assert content(tmp_path / "out") == before


def test_stale_products_of_the_name_go(session: Path, tmp_path: Path) -> None:
    opened = open_recording(session / "receiver1.avi")
    write_recording(opened, tmp_path / "x.avi")
    (tmp_path / "x_noise.csv").write_text("reconstructed_frame_index\n")
    with pytest.raises(OutputExistsError):
        write_recording(trim(opened, 1), tmp_path / "x.avi")
    write_recording(trim(opened, 1), tmp_path / "x.avi", force=True)
    assert sorted(os.listdir(tmp_path)) == ["x.avi", "x.csv", "x.json"]


def test_a_full_disk_leaves_nothing(
    session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_recording(session / "receiver1.avi")

    def full(*_: object) -> None:
        raise ResourceError("no space")

    monkeypatch.setattr("miostitch.buffers.row_writer.BufferTable.append", full)
    with pytest.raises(ResourceError, match="no space"):
        write_recording(opened, tmp_path)
    assert os.listdir(tmp_path) == []


def test_trimmed_as_mio_trims(recordings: Path, tmp_path: Path) -> None:
    opened = open_recording(recordings / "stitch" / "video1.avi", lag=0)
    write_recording(trim(opened, 10, 10), tmp_path)
    assert blake2s_of(decode(tmp_path / "video1.avi")) == TRIMMED
    index = np.arange(10, 40)
    require_same(recordings / "stitch" / "video1", tmp_path / "video1", index)


def test_an_extra_row_frame_goes(recordings: Path, tmp_path: Path) -> None:
    write_recording(open_recording(recordings / "capture3" / "receiver1.avi"), tmp_path)
    assert pd.read_csv(tmp_path / "receiver1.csv").reconstructed_frame_index.max() == 115
    require_same(recordings / "capture3" / "receiver1", tmp_path / "receiver1", np.arange(116))


@pytest.fixture(scope="module")
def lagging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video whose picture i + 1 belongs to frame i of its table."""
    config = miostitch.SimulationConfig(
        frames=40, seed=3, height=40, width=50, receivers=1, buffer_loss=0.1, lag=1
    )
    [video] = miostitch.simulate(tmp_path_factory.mktemp("lagging"), config).recordings
    return video


def require_at_lag(video: Path, made: Path, pictures: list[int]) -> None:
    """A result has these pictures of a lagging video, each with the rows of the frame before."""
    np.testing.assert_array_equal(decode(made), decode(video)[pictures])
    rows = rows_of(video.with_suffix(".csv"), np.array(pictures) - 1)
    columns = ["reconstructed_frame_index", "buffer_count", "timestamp"]
    pd.testing.assert_frame_equal(pd.read_csv(made.with_suffix(".csv"))[columns], rows[columns])


def test_frames_of_a_lagging_video_are_counted_in_its_file(lagging: Path, tmp_path: Path) -> None:
    count = len(decode(lagging))
    reading = ReadOptions(lag=1)
    edit_files([lagging], tmp_path, lambda p: remove_frames(p[0], "5,7-9"), "_r", reading=reading)
    kept = [k for k in range(1, count) if k not in (5, 7, 8, 9)]
    require_at_lag(lagging, tmp_path / "receiver1_r.avi", kept)
    edit_files([lagging], tmp_path, lambda p: trim(p[0], 4, 3), "_t", reading=reading)
    require_at_lag(lagging, tmp_path / "receiver1_t.avi", list(range(4, count - 3)))
    edit_files([lagging], tmp_path, lambda p: trim(p[0], 0, 3), "_u", reading=reading)
    require_at_lag(lagging, tmp_path / "receiver1_u.avi", list(range(1, count - 3)))
    history = json.loads((tmp_path / "receiver1_u.json").read_text())["history"]
    assert [step["step"] for step in history] == ["lag", "trim", "remove_frames"]
    assert history[0]["parameters"] == {"lag": 1}
    assert history[2]["parameters"] == {"frames": "0"}
    found = miostitch.verify_files(tmp_path)
    assert (found["differences"], found["not_checked"]) == (0, 0)


def test_a_lag_goes_from_python_to_what_is_written(lagging: Path, tmp_path: Path) -> None:
    count = len(decode(lagging))
    recording = open_recording(lagging, lag="auto")
    assert recording.lost.values.tolist() == [True] + [False] * (count - 1)
    both = concat([trim(recording, 2, 5), trim(recording, 20)])
    write_recording(both, tmp_path / "both.avi")
    pictures = [*range(2, count - 5), *range(20, count)]
    require_at_lag(lagging, tmp_path / "both.avi", pictures)
    with pytest.raises(UsageError, match="two lags"):
        concat([recording, open_recording(lagging, lag=0)])
    with pytest.raises(UsageError, match="opened with another lag"):
        write_recording(recording, tmp_path / "no", reading=ReadOptions(lag=0))


def test_a_lag_that_cannot_be_told_is_that_of_the_other_segments(
    lagging: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole.avi"
    config = miostitch.SimulationConfig(
        frames=40, seed=3, height=40, width=50, receivers=1, buffer_loss=0.0, lag=1
    )
    [video] = miostitch.simulate(tmp_path / "sound", config).recordings
    for suffix in (".avi", ".csv"):
        shutil.copy(video.with_suffix(suffix), whole.with_suffix(suffix))
    reading = ReadOptions(lag="auto")
    edit_files([lagging, whole], tmp_path / "j.avi", concat, "", reading=reading)
    before, after = (len(decode(path)) for path in (lagging, whole))
    expected = np.concatenate([decode(lagging)[1:], decode(whole)[1:]])
    assert len(expected) == before + after - 2
    np.testing.assert_array_equal(decode(tmp_path / "j.avi"), expected)


def test_what_is_known_of_the_files_is_logged(
    lagging: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_recording(lagging)
    assert "the video is 1 frame behind its table" in caplog.text
    caplog.clear()
    miostitch.stitch([lagging], lag=0)
    assert "lag 0 is used as asked" in caplog.text


def test_frames_without_rows_are_left_out_of_every_file(
    stitched: dict[str, Path], tmp_path: Path
) -> None:
    for suffix in (".avi", ".csv", *SIDES):
        shutil.copy(beside(stitched["buffer"], suffix), beside(tmp_path / "S", suffix))
    table = tmp_path / "S.csv"
    rows = pd.read_csv(table)
    rows[rows.reconstructed_frame_index < 30].to_csv(table, index=False)
    reading = ReadOptions(need_table=False, salvage=True)
    told = edit_files(
        [tmp_path / "S.avi"], tmp_path / "out", lambda p: trim(p[0], 1), "", reading=reading
    )
    assert told.frames == 29
    assert len(decode(tmp_path / "out" / "S.avi")) == 29
    for suffix in SIDES:
        assert len(pd.read_csv(beside(tmp_path / "out" / "S", suffix))) == 29
    assert pd.read_csv(tmp_path / "out" / "S.csv").reconstructed_frame_index.max() == 28


def test_a_lagging_recording_is_joined_with_one_that_does_not_lag(
    lagging: Path, session: Path, tmp_path: Path
) -> None:
    config = miostitch.SimulationConfig(
        frames=40, seed=4, height=40, width=50, receivers=1, buffer_loss=0.1
    )
    [level] = miostitch.simulate(tmp_path / "level", config).recordings
    paths = [lagging, level]
    told = edit_files(
        paths, tmp_path / "j.avi", concat, "", reading=ReadOptions(need_table=False, lag="auto")
    )
    expected = np.concatenate([decode(lagging)[1:], decode(level)])
    assert told.frames == len(expected)
    np.testing.assert_array_equal(decode(tmp_path / "j.avi"), expected)
    assert miostitch.open_recording(tmp_path / "j.avi").sizes["frame"] == len(expected)


@pytest.mark.parametrize("command", ["trim", "denoise"])
def test_a_lag_that_is_assumed_is_told(
    command: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "miostitch")
    config = miostitch.SimulationConfig(
        frames=20, seed=3, height=40, width=50, receivers=1, buffer_loss=0.0
    )
    [video] = miostitch.simulate(tmp_path, config).recordings
    reading = ReadOptions(need_table=False, lag="auto")
    if command == "trim":
        edit_files([video], tmp_path, lambda p: trim(p[0], 1), "_t", reading=reading)
    else:
        denoise_files(video, "denoise_example", tmp_path / "d", reading=reading)
    assert "it is unknown whether the video is shifted against its table" in caplog.text


def test_a_lag_of_what_has_its_rows_in_their_places_is_refused(
    stitched: dict[str, Path], tmp_path: Path
) -> None:
    reading = ReadOptions(need_table=False, lag=1)
    for suffix in (".avi", ".zarr"):
        path = beside(stitched["buffer"], suffix)
        with pytest.raises(UsageError, match=r"was made without a lag|in their places"):
            edit_files([path], tmp_path / "out", concat, "", reading=reading)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [pytest.param(".avi", marks=pytest.mark.slow), ".zarr"])
def test_rows_that_the_store_has_are_not_lost_with_the_table(
    stitched: dict[str, Path], tmp_path: Path, suffix: str
) -> None:
    shutil.copytree(stitched["buffer"].parent, tmp_path / "in")
    table = tmp_path / "in" / f"{STEM}.csv"
    whole = pd.read_csv(table)
    whole[whole.reconstructed_frame_index < 30].to_csv(table, index=False)
    reading = ReadOptions(need_table=False, salvage=True)
    path = tmp_path / "in" / f"{STEM}{suffix}"
    told = edit_files([path], tmp_path / "out", lambda p: trim(p[0], 1), "", reading=reading)
    count = whole.reconstructed_frame_index.max()
    assert (told.frames, told.lost_frames) == (count, [])
    assert any("rows, but there should be" in each for each in told.warnings)
    assert not any("no row for" in each for each in told.warnings)
    store = xr.open_zarr(tmp_path / "out" / f"{STEM}.zarr", group="buffers")
    assert store.sizes["buffer"] == (whole.reconstructed_frame_index > 0).sum()


def test_damaged_buffers_of_a_store_are_no_matter_where_the_table_has_them(
    stitched: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(stitched["buffer"].parent, tmp_path / "in")
    array = tmp_path / "in" / f"{STEM}.zarr" / "buffers" / "reconstructed_frame_index"
    chunk = next(p for p in array.rglob("[0-9]*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-9])
    edit_files([tmp_path / "in" / f"{STEM}.avi"], tmp_path / "out", concat, "")
    rows = pd.read_csv(tmp_path / "out" / f"{STEM}.csv")
    pd.testing.assert_frame_equal(rows, pd.read_csv(tmp_path / "in" / f"{STEM}.csv"))
