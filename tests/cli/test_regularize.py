"""The command regularize as a user calls it, and what its result goes through afterwards."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import miostitch
from tests.commands import run, run_installed
from tests.folders import content

WAYS = {"frame_loss": 0.1, "buffer_loss": 0.05, "height": 20, "width": 20}
STEM = "receiver1__receiver2_stitched"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    config = miostitch.SimulationConfig(frames=80, seed=5, **WAYS)  # type: ignore[arg-type]
    names = [str(path) for path in miostitch.simulate(folder, config).recordings]
    options = miostitch.StitchOptions(chunk_frames=11, report=False)
    miostitch.stitch_files(names, folder / "out", options)
    return folder


def test_from_a_result_to_analysis(folder: Path, tmp_path: Path) -> None:
    store, out = folder / "out" / f"{STEM}.zarr", tmp_path / "regular"
    done = run_installed("regularize", str(store), "-o", str(out), "--max-fill", "0")
    summary = json.loads((out / f"{STEM}_regular.json").read_text())
    assert summary["filled_frames"] == 0
    assert f"0 frames filled, {len(summary['epochs'])} epochs" in done.stdout
    assert f"{summary['frames']} frames, made of " in done.stdout
    first, last = summary["epochs"][0]
    assert f"frames {first} to {last}" in done.stdout
    words = ("--fill", "linear", "--force", "--json")
    summary = json.loads(run("regularize", str(store), "-o", str(out), *words).stdout)
    assert summary["filled_frames"] > 0
    assert len(summary["epochs"]) == 1
    regular = out / f"{STEM}_regular.zarr"
    run("verify", str(out))
    run("report", str(regular))
    page = (out / f"{STEM}_regular_report.html").read_text()
    assert "Epochs of the regular time base" in page
    assert "frames made to fill gaps, which no receiver has; 1 epoch" in page
    run("trim", str(regular), "-s", "2", "-o", str(tmp_path / "trimmed"))
    run("verify", str(tmp_path / "trimmed"))
    trimmed = miostitch.open_recording(tmp_path / "trimmed" / f"{STEM}_regular_trimmed.zarr")
    np.testing.assert_array_equal(trimmed.filled, miostitch.open_recording(regular).filled[2:])


def test_processes_write_what_threads_write(folder: Path, tmp_path: Path) -> None:
    store = str(folder / "out" / f"{STEM}.zarr")
    command = ("regularize", store, "--fill", "linear", "-o")
    run(*command, str(tmp_path / "threads"))
    run_installed(*command, str(tmp_path / "processes"), "--workers", "2")
    made = [content(tmp_path / name) for name in ("threads", "processes")]
    for each in made:
        del each[f"{STEM}_regular.json"]  # which has the paths of outputs
    assert made[0] == made[1]


def test_a_raw_recording_becomes_a_result(folder: Path, tmp_path: Path) -> None:
    run("regularize", str(folder / "receiver1.avi"), "-o", str(tmp_path), "--fill", "zero")
    made = miostitch.open_recording(tmp_path / "receiver1_regular.zarr")
    raw = miostitch.open_recording(folder / "receiver1.avi")
    assert (np.diff(made.frame_num) == 1).all()
    kept = np.isin(raw.frame_num, made.frame_num[~made.filled.to_numpy()])
    np.testing.assert_array_equal(made.video[~made.filled.to_numpy()], raw.video[kept])
    run("verify", str(tmp_path))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--fill", "best"), "'best' is not one of"),
        (("--max-fill", "-1"), "--max-fill"),
    ],
)
def test_what_is_refused(folder: Path, words: tuple[str, ...], message: str) -> None:
    done = run("regularize", str(folder / "receiver1.avi"), *words, code=2)
    assert message in done.stderr


@pytest.fixture(scope="module")
def in_two_epochs(folder: Path) -> Path:
    """A regular result with a gap that is too long to be filled."""
    store = folder / "out" / f"{STEM}.zarr"
    gone = miostitch.remove_frames(miostitch.open_recording(store), "20-31")
    miostitch.write_recording(miostitch.regularize(gone, "linear", 5), folder / "r", stem="r")
    return folder / "r" / "r.zarr"


@pytest.mark.parametrize("kind", ["nwb", "ucla"])
def test_a_regular_result_is_exported_as_it_is(
    in_two_epochs: Path, tmp_path: Path, kind: str
) -> None:
    made = miostitch.open_recording(in_two_epochs)
    out = tmp_path / ("x.nwb" if kind == "nwb" else "x")
    summary = miostitch.export_recording(in_two_epochs, out, kind)  # type: ignore[arg-type]
    assert summary["filled_frames"] == made.filled.sum() > 0
    assert len(summary["epochs"]) == 2
    if kind == "ucla":
        table = pd.read_csv(out / "timeStamps.csv")
        np.testing.assert_array_equal(table["DAQ Frame Number"], made.frame_num)
        np.testing.assert_allclose(table["Time Stamp (ms)"], 1000 * made.time, atol=2e-3)
        return
    h5py = pytest.importorskip("h5py")
    with h5py.File(out) as file:
        tags = file["intervals/invalid_times/tags"].asstr()[:].tolist()
        times = file["acquisition/OnePhotonSeries/timestamps"][:]
    assert {*tags} == {"filled", "not received"}
    np.testing.assert_allclose(times, made.time, atol=1e-6)
