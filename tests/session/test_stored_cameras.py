"""Behaviour cameras as coordinates of a store, and what becomes of them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import miostitch
from miostitch.errors import InputError, OutputExistsError, UsageError
from miostitch.session import stored_cameras
from miostitch.verify.run import verify_files
from tests.commands import run
from tests.folders import content

CONFIG = miostitch.SimulationConfig(frames=60, height=20, width=20, seed=3)
SESSION = """
miostitch: 1
name: S
receivers: {left: receiver1.avi, right: receiver2.avi}
output: out
behaviour:
  - {name: top, timestamps: cam.csv}
  - {name: side, timestamps: side.csv, unit: ms}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session, two cameras, and its result ``out/S``."""
    folder = tmp_path_factory.mktemp("made")
    miostitch.simulate(folder, CONFIG)
    (folder / "session.yml").write_text(SESSION)
    run("stitch", str(folder / "session.yml"), "--crate")
    known = miostitch.open_recording(folder / "out" / "S.zarr")
    start = pd.Timestamp(known.attrs["start_time"]).timestamp()
    times = start - 0.5 + np.arange(0, float(known.time[-1]) + 1, 0.033)
    pd.DataFrame({"time": times}).to_csv(folder / "cam.csv", index=False)
    pd.DataFrame({"time": 1000 * times + 4}).to_csv(folder / "side.csv", index=False)
    return folder


@pytest.fixture
def session(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "session"))


@pytest.fixture(scope="module")
def placed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The session, whose store knows the camera ``cam``."""
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("placed") / "session"))
    path = folder / "out" / "S.zarr"
    outputs = miostitch.align_times(path, folder / "cam.csv", into_store=True)["outputs"]
    assert outputs[-1] == str(path)
    return folder


@pytest.fixture
def store(placed: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(placed, tmp_path / "placed")) / "out" / "S.zarr"


def expected(store: Path, table: str = "cam") -> pd.DataFrame:
    """What the table of the nearest frames says."""
    return pd.read_csv(store.parent / f"S_{table}_camera_frames.csv")


def require_coordinates(recording: xr.Dataset, found: pd.DataFrame) -> None:
    assert recording["cam_frame"].dtype == np.int64
    assert recording["cam_frame"].values.tolist() == found.camera_frame.tolist()
    np.testing.assert_array_equal(recording["cam_error_s"].values, found.error_s.to_numpy())
    assert {"cam_frame", "cam_error_s"} <= {*recording.coords}


def require_verified(folder: Path) -> None:
    found = verify_files(folder)
    assert (found["differences"], found["not_checked"]) == (0, 0), found["results"]


def test_a_store_has_them_as_coordinates(store: Path) -> None:
    recording = miostitch.open_recording(store)
    require_coordinates(recording, expected(store))
    group = xr.open_zarr(store, group="camera_cam")
    assert group.attrs["table"] == "cam.csv"
    assert group.camera_frame.values.tolist() == expected(store).camera_frame.tolist()
    assert not [path.name for path in store.parent.iterdir() if path.name.startswith(".")]
    require_verified(store.parent)


@pytest.mark.parametrize("name", ["camera_frame", pytest.param("error_s", marks=pytest.mark.slow)])
def test_verify_finds_what_was_changed(store: Path, name: str) -> None:
    array = xr.open_zarr(store, group="camera_cam", chunks=None)[name].load()
    array[7] += 1
    array.to_dataset().to_zarr(store, group="camera_cam", mode="a", consolidated=False)
    assert verify_files(store.parent)["differences"]


def test_selections_and_edits_take_them_along(store: Path, tmp_path: Path) -> None:
    recording, known = miostitch.open_recording(store), expected(store)
    require_coordinates(miostitch.trim(recording, start=3, end=4), known[3:-4])
    require_coordinates(recording.isel(frame=[5, 9, 30]), known.iloc[[5, 9, 30]])
    run("trim", "-i", str(store), "-s", "3", "-e", "4", "-o", str(tmp_path / "trim"))
    [trimmed] = (tmp_path / "trim").glob("*.zarr")
    require_coordinates(miostitch.open_recording(trimmed), known[3:-4])
    require_verified(trimmed.parent)
    run("denoise", "-i", str(store), "-c", "denoise_example", "-o", str(tmp_path / "denoised"))
    [denoised] = (tmp_path / "denoised").glob("*.zarr")
    found = miostitch.open_recording(denoised)
    assert found.sizes["frame"] < len(known)
    places = known.frame_num.isin(found.frame_num.values).to_numpy()
    require_coordinates(found, known[places])
    require_verified(denoised.parent)
    run("concat", str(store), str(trimmed), "-o", str(tmp_path / "all"))
    [joined] = (tmp_path / "all").glob("*.zarr")
    require_coordinates(miostitch.open_recording(joined), pd.concat([known, known[3:-4]]))
    require_verified(joined.parent)


def test_a_part_without_the_camera_leaves_it_out(store: Path, made: Path, tmp_path: Path) -> None:
    other = made / "out" / "S.zarr"
    run("concat", str(store), str(other), "-o", str(tmp_path / "all"))
    [joined] = (tmp_path / "all").glob("*.zarr")
    warnings = json.loads(joined.with_suffix(".json").read_bytes())["warnings"]
    assert "camera_cam is left out: not all of the files have the same" in warnings
    assert "cam_frame" not in miostitch.open_recording(joined).coords


def test_frames_that_are_made_have_no_frame_of_the_camera(store: Path, tmp_path: Path) -> None:
    kept = miostitch.open_recording(store).isel(frame=[*range(9), *range(12, 40)])
    miostitch.write_recording(kept, tmp_path / "kept")
    [path] = (tmp_path / "kept").glob("*.zarr")
    run("regularize", str(path), "-o", str(tmp_path / "regular"))
    [regular] = (tmp_path / "regular").glob("*.zarr")
    found = miostitch.open_recording(regular)
    filled = found.filled.values
    assert filled.any()
    assert (found["cam_frame"].values[filled] == -1).all()
    assert np.isnan(found["cam_error_s"].values[filled]).all()
    received = found.isel(frame=~filled)
    assert received["cam_frame"].values.tolist() == kept["cam_frame"].values.tolist()
    require_verified(regular.parent)


def test_another_one_replaces_it_only_by_force(store: Path) -> None:
    session = store.parents[1]
    before = expected(store).camera_frame
    with pytest.raises(OutputExistsError, match="has frames of the camera cam already"):
        miostitch.align_times(store, session / "cam.csv", store.parent / "other", into_store=True)
    late = pd.read_csv(session / "cam.csv") + 0.2
    late.to_csv(session / "cam.csv", index=False)
    miostitch.align_times(store, session / "cam.csv", into_store=True, force=True)
    assert not before.equals(expected(store).camera_frame)
    require_coordinates(miostitch.open_recording(store), expected(store))
    require_verified(store.parent)


@pytest.mark.parametrize(
    "step", [pytest.param("consolidate", marks=pytest.mark.slow), "store_digest"]
)
def test_a_run_that_ends_in_between_is_seen_and_done_again(
    session: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = session / "out" / "S.zarr"

    def die(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stored_cameras, step, die)
        with pytest.raises(KeyboardInterrupt):
            miostitch.align_times(path, session / "cam.csv", into_store=True)
    assert verify_files(path.parent)["differences"]
    miostitch.align_times(path, session / "cam.csv", into_store=True, force=True)
    require_coordinates(miostitch.open_recording(path), expected(path))
    require_verified(path.parent)


def test_the_cameras_of_a_session_file(session: Path) -> None:
    run("align-times", str(session / "session.yml"), "--into-store")
    path = session / "out" / "S.zarr"
    recording = miostitch.open_recording(path)
    for camera in ("top", "side"):
        found = expected(path, camera).camera_frame.tolist()
        assert recording[f"{camera}_frame"].values.tolist() == found
    shift = recording["side_error_s"] - recording["top_error_s"]
    same = recording["side_frame"].values == recording["top_frame"].values
    np.testing.assert_allclose(shift.values[same], 0.004, atol=1e-5)
    require_verified(path.parent)
    crate = json.loads((path.parent / "ro-crate-metadata.json").read_bytes())
    digests = json.loads((path.parent / "S.json").read_bytes())["digests"]
    [described] = [each for each in crate["@graph"] if each["@id"] == "S.zarr/"]
    assert described["identifier"] == f"blake2b:{digests['.zarr']['digest']}"


def test_a_store_of_format_2(made: Path, session: Path) -> None:
    path = session / "two"
    recordings = [str(made / f"receiver{number}.avi") for number in (1, 2)]
    run("stitch", *recordings, "-o", str(path), "--name", "S", "--zarr-format", "2", "--no-report")
    miostitch.align_times(path / "S.zarr", session / "cam.csv", into_store=True)
    require_coordinates(miostitch.open_recording(path / "S.zarr"), expected(path / "S.zarr"))
    require_verified(path)


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        ({"name": "origin"}, UsageError, "origin: a camera in a store cannot be called that"),
        ({"name": "a/b"}, UsageError, "a/b: a camera in a store cannot be called that"),
        (
            {"recording": "receiver1.avi"},
            UsageError,
            r"receiver1.avi: is no store; name",
        ),
        ({"times": "session.yml"}, InputError, "session.yml"),
    ],
)
def test_what_is_refused_changes_nothing(
    session: Path, words: dict[str, Any], error: type[Exception], said: str
) -> None:
    chosen = {"recording": "out/S.zarr", "times": "cam.csv", **words}
    paths = {key: session / chosen.pop(key) for key in ("recording", "times")}
    before = content(session / "out")
    with pytest.raises(error, match=said):
        miostitch.align_times(**paths, into_store=True, **chosen)
    assert content(session / "out") == before


def test_an_open_recording_is_no_store(session: Path) -> None:
    recording = miostitch.open_recording(session / "out" / "S.zarr")
    with pytest.raises(UsageError, match="an open recording: is no store"):
        miostitch.align_times(recording, session / "cam.csv", into_store=True)
