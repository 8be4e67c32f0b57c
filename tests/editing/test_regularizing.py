"""A regular time base as it is written: every tick, nothing of what was received changed."""

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import miostitch
from miostitch import open_recording, regularize, write_recording
from miostitch.editing.regular import FILLS, CountedFrames, Fill
from miostitch.errors import InputError, UsageError
from tests.laziness import never
from tests.sessions import Made, change_table
from tests.video_files import decode, write

ONE_FILL = [pytest.param(f, marks=[] if f == "linear" else pytest.mark.slow) for f in FILLS]
"""For a law of every way to fill: the one that computes most, and the others as slow cases."""

WAYS = {"frame_loss": 0.15, "buffer_loss": 0.1, "height": 13, "width": 17, "header_flips": 0.0}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("session"), frames=46, seed=8, **WAYS)


@pytest.fixture(scope="module")
def stitched(session: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stitched")
    options = miostitch.StitchOptions("buffer", chunk_frames=16, report=False)
    made = miostitch.stitch_files(session.names, folder, options)
    return Path(next(path for path in made["outputs"] if path.endswith(".zarr")))


def ticks(number: np.ndarray, most: int) -> list[int]:
    """Every number of a regular time base, by a plain loop over the ones received."""
    found = [int(number[0])]
    for last, following in pairwise(number):
        filled = range(int(last) + 1, int(following)) if following - last - 1 <= most else ()
        found += [*filled, int(following)]
    return found


def require_regular(made: xr.Dataset, received: xr.Dataset, fill: Fill, most: int) -> None:
    """It has every tick, what was received is as it was, and the rest is filled."""
    number, filled = made.frame_num.to_numpy(), made.filled.to_numpy()
    assert number.tolist() == ticks(received.frame_num.to_numpy(), most)
    np.testing.assert_array_equal(filled, ~np.isin(number, received.frame_num))
    np.testing.assert_array_equal(made.video[~filled], received.video)
    frames, place = received.video.to_numpy(), np.cumsum(~filled) - 1
    for at in np.flatnonzero(filled):
        before, after = place[at], place[at] + 1
        span = received.frame_num[before].item(), received.frame_num[after].item()
        share = (number[at] - span[0]) / (span[1] - span[0])
        expected = {
            "previous": frames[before],
            "zero": 0 * frames[before],
            "linear": np.floor(frames[before] * (1 - share) + frames[after] * share + 0.5),
        }[fill]
        np.testing.assert_allclose(made.video[at], expected, atol=1 if fill == "linear" else 0)
    time, ends = made.time.to_numpy(), np.flatnonzero(np.diff(number) != 1)
    for part in np.split(np.arange(len(number)), ends + 1):
        assert len(part) < 3 or np.ptp(np.diff(time[part])) < 1e-9
    assert time[0] == 0
    assert (np.diff(time) > 0).all()
    assert made.damaged[filled].all()
    assert np.isnan(made.confidence[filled]).all()
    assert np.isnan(made.timestamp_first[filled]).all()


@settings(
    max_examples=4,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
@given(
    st.sets(st.integers(0, 40), max_size=25),
    st.sampled_from(FILLS),
    st.integers(0, 30),
    st.booleans(),
)
def test_what_is_written_has_every_tick(
    stitched: Path,
    tmp_path_factory: pytest.TempPathFactory,
    gone: set[int],
    fill: Fill,
    most: int,
    first: bool,
) -> None:
    opened = open_recording(stitched)
    received = miostitch.remove_frames(opened, sorted(gone)) if gone else opened
    lazy = regularize(received, fill, most)
    if first:  # what is edited lazily afterwards is the same part of it
        lazy = miostitch.trim(lazy, 2, 1)
    folder = tmp_path_factory.mktemp("regular")
    summary = write_recording(lazy, folder)
    made = open_recording(folder / stitched.name)
    if not first:
        require_regular(made.load(), received.load(), fill, most)
    assert summary["filled_frames"] == made.filled.sum()
    assert summary["epochs"] == made.attrs["epochs"]
    spans = [range(a, b + 1) for a, b in summary["epochs"]]
    assert [frame for span in spans for frame in span] == [*range(summary["frames"])]
    for name in ("video", "filled", "frame_num", "time", "time_estimated", "source", "damaged"):
        np.testing.assert_array_equal(made[name], lazy[name], err_msg=name)
    np.testing.assert_array_equal(decode(folder / f"{stitched.stem}.avi"), made.video)
    times = pd.read_csv(folder / f"{stitched.stem}_timestamps.csv")
    np.testing.assert_array_equal(times.filled, made.filled)
    np.testing.assert_array_equal(times.timestamp_first.isna(), made.filled)
    rows = pd.read_csv(folder / f"{stitched.stem}.csv").reconstructed_frame_index
    assert not np.isin(rows, np.flatnonzero(made.filled)).any()
    [found] = miostitch.verify_files(folder)["results"]
    assert (found["differences"], found["not_checked"]) == (0, 0), found["findings"]


def test_nothing_is_computed_before_it_is_asked_for(session: Made) -> None:
    for recording in (open_recording(session.names[0]), miostitch.stitch(session.names)):
        with dask.config.set(scheduler=never):
            lazy = regularize(recording, "linear")
        assert lazy.sizes["frame"] > recording.sizes["frame"]


def test_a_stitch_that_is_not_written_is_made_regular_as_a_written_one(
    session: Made, tmp_path: Path
) -> None:
    stitch = miostitch.stitch(session.names, by="buffer")
    lazy = regularize(stitch, "linear", 3)
    write_recording(lazy, tmp_path / "lazy", stem="x")
    write_recording(stitch, tmp_path / "stitched", stem="x")
    written = regularize(tmp_path / "stitched" / "x.zarr", "linear", 3)
    made = open_recording(tmp_path / "lazy" / "x.zarr")
    for name in ("video", "filled", "frame_num", "time", "confidence", "num_buffers"):
        np.testing.assert_array_equal(made[name], written[name], err_msg=name)
        np.testing.assert_array_equal(made[name], lazy[name], err_msg=name)


@pytest.mark.parametrize("fill", ONE_FILL)
def test_a_regular_result_is_regular_already(stitched: Path, tmp_path: Path, fill: Fill) -> None:
    write_recording(regularize(stitched, fill), tmp_path)
    once = open_recording(tmp_path / stitched.name)
    twice = regularize(once, "zero")
    for name in ("video", "filled", "frame_num"):
        np.testing.assert_array_equal(once[name], twice[name])
    np.testing.assert_allclose(once.time, twice.time, atol=1e-6)


@pytest.fixture(scope="module")
def regular(stitched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    received = miostitch.remove_frames(open_recording(stitched), "10-19,40")
    write_recording(regularize(received, "linear", 4), folder)
    return folder / stitched.name


@pytest.mark.parametrize("name", [pytest.param("trim", marks=pytest.mark.slow), "remove", "concat"])
def test_edits_of_a_regular_result_know_what_is_filled(
    regular: Path, stitched: Path, tmp_path: Path, name: str
) -> None:
    before = open_recording(regular)
    assert before.filled.any()
    assert len(before.attrs["epochs"]) == 2
    filled, numbers = before.filled.to_numpy(), before.frame_num.to_numpy()
    both = miostitch.concat([miostitch.trim(before, 3, 5), open_recording(stitched)])
    plain = np.zeros(both.sizes["frame"] - len(filled) + 8, bool)
    edits: dict[str, tuple[xr.Dataset, Any]] = {
        "trim": (miostitch.trim(before, 3, 5), filled[3:-5]),
        "remove": (miostitch.remove_frames(before, "1,30"), np.delete(filled, [1, 30])),
        "concat": (both, np.append(filled[3:-5], plain)),
    }
    edited, expected = edits[name]
    summary = write_recording(edited, tmp_path, stem="x")
    made = open_recording(tmp_path / "x.zarr")
    np.testing.assert_array_equal(edited.filled, expected)
    np.testing.assert_array_equal(made.filled, expected)
    times = pd.read_csv(tmp_path / "x_timestamps.csv")
    np.testing.assert_array_equal(times.filled, expected)
    assert summary["filled_frames"] == expected.sum()
    assert made.attrs["epochs"] == summary["epochs"]
    assert "regular_frames" not in summary
    [found] = miostitch.verify_files(tmp_path)["results"]
    assert (found["differences"], found["not_checked"]) == (0, 0), found["findings"]
    if name == "remove":
        steps = np.diff(np.delete(numbers, [1, 30])) != 1  # a frame that is removed ends an epoch
        assert len(made.attrs["epochs"]) == 1 + steps.sum()


def test_denoising_keeps_what_is_filled(regular: Path, tmp_path: Path) -> None:
    before = open_recording(regular)
    summary = miostitch.denoise_files(regular, "denoise_calcium_imaging", tmp_path)
    made = open_recording(tmp_path / f"{regular.stem}_denoised.zarr")
    kept = np.delete(np.arange(before.sizes["frame"]), summary["dropped_frames"])
    np.testing.assert_array_equal(made.filled, before.filled[kept])
    assert summary["filled_frames"] == made.filled.sum()
    assert miostitch.verify_files(tmp_path)["differences"] == 0


def test_restarts_of_the_device_are_epochs(tmp_path: Path) -> None:
    made = Made(tmp_path / "in", frames=60, seed=2, resets=2, **WAYS)
    result = miostitch.stitch(made.names)
    summary = write_recording(regularize(result, "previous", 100), tmp_path / "out", stem="x")
    numbers = open_recording(tmp_path / "out" / "x.zarr").frame_num.to_numpy()
    falls = np.flatnonzero(np.diff(numbers) < 0)
    assert len(falls) == 2
    assert [last for _, last in summary["epochs"][:-1]] == falls.tolist()
    assert miostitch.verify_files(tmp_path / "out")["differences"] == 0


@given(st.integers(3, 30).flatmap(lambda n: st.tuples(*[st.integers(-1, 1)] * n)))
def test_a_tick_has_one_frame(flaws: tuple[int, ...]) -> None:
    """Fragments repeat a number, and frames lack one; the most complete one is kept."""
    numbers, buffers = [], []
    for tick, flaw in enumerate(flaws, 100):
        numbers += [-1] if flaw < 0 else [tick] * (1 + flaw)
        buffers += [1] if flaw < 0 else [3, 5][: 1 + flaw]
    whole = np.array([*range(50, 90), *numbers, *range(200, 240)])
    weights = np.array([8] * 40 + buffers + [8] * 40)
    found = CountedFrames.of(whole, weights)
    kept = whole[found.kept]
    assert (np.diff(kept) > 0).all()
    assert {*kept.tolist()} == {*whole[whole >= 0].tolist()}
    repeated = [tick for tick, flaw in enumerate(flaws, 100) if flaw == 1]
    assert (weights[found.kept][np.isin(kept, repeated)] == 5).all()
    counts = {"without a number": flaws.count(-1), "repeated": flaws.count(1)}
    assert found.left_out == {why: count for why, count in counts.items() if count}


def test_a_number_that_does_not_rise_is_left_out_and_said(session: Made, tmp_path: Path) -> None:
    video = write(tmp_path / "a.avi", decode(Path(session.names[0])))
    table = pd.read_csv(Path(session.names[0]).with_suffix(".csv"))
    table.to_csv(video.with_suffix(".csv"), index=False)
    known = open_recording(session.names[0]).frame_num.to_numpy()
    wild = {20: known[20] + 5000}

    def change(rows: pd.DataFrame) -> pd.DataFrame:
        numbers = rows.reconstructed_frame_index.map(wild).fillna(rows.frame_num).astype(int)
        ahead = (numbers - rows.frame_num) * (int(rows.frame_buffer_count.max()) + 1)
        # consistently, so that no header is repaired
        return rows.assign(frame_num=numbers, buffer_count=rows.buffer_count + ahead)

    change_table(video, change)
    dataset = open_recording(video)
    numbers = dataset.frame_num.to_numpy()
    right = [n for n in numbers if n != wild[20]]
    lazy = regularize(dataset, "zero", 30)
    assert lazy.frame_num.to_numpy().tolist() == [*range(min(right), max(right) + 1)]
    assert lazy.attrs["history"][-1]["parameters"]["left_out"] == {"out of order": 1}
    summary = write_recording(lazy, tmp_path / "out")
    assert any("1 frame without a place" in each for each in summary["warnings"])
    assert miostitch.verify_files(tmp_path / "out")["differences"] == 0


@pytest.mark.parametrize("fill", ONE_FILL)
def test_a_filled_frame_that_is_another_is_found(
    stitched: Path, tmp_path: Path, fill: Fill
) -> None:
    write_recording(regularize(stitched, fill), tmp_path)
    store = tmp_path / stitched.name
    at = int(np.flatnonzero(open_recording(store).filled)[0])
    video = zarr.open_array(store / "video", mode="r+")
    video[at] = 255 - np.asarray(video[at])
    [found] = miostitch.verify_files(tmp_path)["results"]
    assert {(f["kind"], f.get("frame")) for f in found["findings"]} == {("pixels", at)}
    assert stitched.name in {finding["file"] for finding in found["findings"]}


@pytest.fixture(scope="module")
def again(regular: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a result that was made regular twice; only to be read."""
    folder = tmp_path_factory.mktemp("again")
    write_recording(regularize(regular), folder)
    return folder


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"filled_frames": 0}, "filled_frames"),
        ({"epochs": [[0, 3]]}, "epochs"),
    ],
)
def test_a_summary_that_says_otherwise_is_found(
    again: Path, tmp_path: Path, change: dict[str, Any], column: str
) -> None:
    shutil.copytree(again, tmp_path, dirs_exist_ok=True)
    [path] = tmp_path.glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}, indent=1) + "\n")
    [found] = miostitch.verify_files(tmp_path)["results"]
    assert column in {finding.get("column") for finding in found["findings"]}


def test_what_cannot_be_made_regular_is_refused(session: Made) -> None:
    dataset = open_recording(session.names[0])
    with pytest.raises(UsageError, match="must be previous, linear or zero"):
        regularize(dataset, "best")  # type: ignore[arg-type]
    for most in (-1, 2.5, True):
        with pytest.raises(UsageError, match=r"max_fill .* must be a number of frames"):
            regularize(dataset, "zero", most)  # type: ignore[arg-type]
    lazy = regularize(dataset)
    with pytest.raises(UsageError, match="has a regular time base already; write it"):
        regularize(lazy)
    with pytest.raises(UsageError, match="join first, and regularize then"):
        miostitch.concat([lazy, dataset])
    with pytest.raises(InputError, match="has no numbers of the device"):
        regularize(dataset.drop_vars("frame_num"))
    far = dataset.assign_coords(frame_num=dataset.frame_num.copy(
        data=np.append(dataset.frame_num[:-1], 2**40)))  # fmt: skip
    with pytest.raises(UsageError, match="too many to be filled; give a lower max_fill"):
        regularize(far, "zero", 2**50)


SELECTIONS: tuple[Callable[[xr.Dataset], xr.Dataset], ...] = (
    lambda ds: ds.isel(frame=[3, 4, 9]),
    lambda ds: miostitch.trim(ds, 2, 1).isel(frame=[0, 5, 6]),
    lambda ds: miostitch.trim(ds, 1).isel(frame=slice(None, None, -2)),
    lambda ds: miostitch.remove_frames(miostitch.trim(ds, 1).isel(frame=slice(2, 9)), [1]),
    lambda ds: regularize(miostitch.trim(ds, 1).isel(frame=[0, 4, 8])),
    lambda ds: miostitch.trim(regularize(miostitch.trim(ds, 1)), 1).isel(frame=[5, 3, 3]),
    lambda ds: miostitch.trim(miostitch.concat([ds, ds.isel(frame=slice(4))]), 3),
)


FAST = (3, 5, 6)
"""Of the selections: one of each kind, with most steps around it."""


@pytest.mark.parametrize(
    "select",
    [
        pytest.param(each, marks=[] if at in FAST else pytest.mark.slow)
        for at, each in enumerate(SELECTIONS)
    ],
)
@pytest.mark.parametrize("raw", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_is_selected_in_python_is_a_step_of_the_history(
    stitched: Path,
    session: Made,
    tmp_path: Path,
    select: Callable[[xr.Dataset], xr.Dataset],
    raw: bool,
) -> None:
    selected = select(open_recording(session.names[0] if raw else stitched))
    summary = write_recording(selected, tmp_path, stem="chosen")
    if len(selected.attrs["origins"]) == 1 and "concat" not in str(summary["history"]):
        assert [step["step"] for step in summary["history"]].count("select") == 1
    [found] = miostitch.verify_files(tmp_path)["results"]
    assert found["findings"] == []
    # a history that leaves other frames is still found
    path = tmp_path / "chosen.json"
    told = json.loads(path.read_text())
    for step in told["history"]:
        if step["step"] == "select" and step.get("frames_before"):
            step["parameters"]["frames"][0] = [step["frames_before"] // 2] * 2
            path.write_text(json.dumps(told, indent=1) + "\n")
            [found] = miostitch.verify_files(tmp_path)["results"]
            assert "history" in {finding.get("column") for finding in found["findings"]}
