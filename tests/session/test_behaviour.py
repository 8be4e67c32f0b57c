"""Behaviour cameras: the nearest frame by Unix time, or by events that both clocks recorded."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import miostitch
from miostitch import align_times, cli
from miostitch.errors import InputError, MissingInputError, OutputExistsError, UsageError
from miostitch.session.camera_times import fit_clock, nearest, read_camera_times

FORWARD, BACK = "receiver1_cam_camera_frames.csv", "receiver1_cam_recording_frames.csv"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = miostitch.SimulationConfig(frames=60, receivers=1, height=20, width=20, frame_loss=0.1)
    return miostitch.simulate(tmp_path_factory.mktemp("in"), config).recordings[0]


@pytest.fixture(scope="module")
def recording(video: Path) -> xr.Dataset:
    return miostitch.open_recording(video)


@pytest.fixture(scope="module")
def unix(recording: xr.Dataset) -> np.ndarray:
    """When each frame was made, Unix time in s."""
    start = pd.Timestamp(recording.attrs["start_time"]).timestamp()
    return np.asarray(start + recording.time.to_numpy())


def camera(unix: np.ndarray, interval: float = 0.033) -> np.ndarray:
    """Frames of a camera that begins before the recording and ends after it."""
    return np.arange(unix[0] - 0.5, unix[-1] + 0.5, interval)


def write_times(path: Path, **columns: Any) -> Path:
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def require_nearest(folder: Path, unix: np.ndarray, times: np.ndarray) -> None:
    """Compare both tables with the distances of all frames to all."""
    apart = times[None, :] - unix[:, None]
    found = pd.read_csv(folder / FORWARD)
    assert found.frame.tolist() == [*range(len(unix))]
    assert found.camera_frame.tolist() == np.abs(apart).argmin(axis=1).tolist()
    expected = apart[np.arange(len(unix)), found.camera_frame]
    np.testing.assert_allclose(found.error_s, expected, atol=1e-5)
    back = pd.read_csv(folder / BACK)
    assert back.camera_frame.tolist() == [*range(len(times))]
    assert back.frame.tolist() == np.abs(apart).argmin(axis=0).tolist()
    np.testing.assert_allclose(
        back.error_s,
        -np.abs(apart).min(axis=0) * np.sign(apart[back.frame, np.arange(len(times))]),
        atol=1e-5,
    )


@pytest.mark.parametrize(("name", "scale"), [("time", 1), ("Unix Time Stamp (ms)", 1000)])
def test_by_unix_time(
    name: str, scale: int, video: Path, recording: xr.Dataset, unix: np.ndarray, tmp_path: Path
) -> None:
    times = camera(unix)
    table = {"Frame Number": np.arange(len(times)), name: times * scale}
    path = write_times(tmp_path / "cam.csv", **table)
    made = align_times(video, path, tmp_path)
    require_nearest(tmp_path, unix, times)
    assert [Path(each).name for each in made["outputs"]] == [FORWARD, BACK]
    assert (made["frames"], made["camera_frames"]) == (len(unix), len(times))
    assert 0 < made["median_error_s"] <= made["worst_error_s"] < 0.033 / 2 + 1e-5
    assert made["frames_outside"] == 0
    np.testing.assert_array_equal(pd.read_csv(tmp_path / FORWARD).frame_num, recording.frame_num)


def test_a_selection_is_aligned_by_its_own_times(
    recording: xr.Dataset, unix: np.ndarray, tmp_path: Path
) -> None:
    path = write_times(tmp_path / "cam.csv", time=camera(unix))
    align_times(miostitch.trim(recording, 7), path, tmp_path)
    require_nearest(tmp_path, unix[7:], camera(unix))


@pytest.mark.parametrize("in_unix_time", [False, True])
@pytest.mark.parametrize("unit", ["s", "ms"])
def test_by_events(
    in_unix_time: bool, unit: Any, video: Path, unix: np.ndarray, tmp_path: Path
) -> None:
    """The camera's clock began 12.5 s before the recording, and runs 300 ppm fast."""
    scale = 1000 if unit == "ms" else 1

    def on_camera(times: np.ndarray) -> np.ndarray:
        return np.asarray((times - unix[0]) * (1 + 300e-6) + 12.5)

    times = camera(unix)
    path = write_times(tmp_path / "cam.csv", t=on_camera(times) * scale)
    events = unix[[3, 20, 44]]
    ours = events if in_unix_time else events - unix[0]
    table = {"recording": ours, "camera": on_camera(events) * scale}
    made = align_times(
        video, path, tmp_path, unit=unit, events=write_times(tmp_path / "led.csv", **table)
    )
    require_nearest(tmp_path, unix, times)
    assert made["drift_ppm"] == pytest.approx(300, abs=5)
    assert (made["events"], made["warnings"]) == (3, [])
    assert made["worst_event_s"] < 1e-5


def test_one_event_tells_the_offset(video: Path, unix: np.ndarray, tmp_path: Path) -> None:
    times = camera(unix)
    path = write_times(tmp_path / "cam.csv", t=times - unix[0] + 30)
    table = write_times(tmp_path / "led.csv", ours=[0.0], camera=[30.0])
    made = align_times(video, path, tmp_path, events=table)
    require_nearest(tmp_path, unix, times)
    assert "drift_ppm" not in made or made["drift_ppm"] is None


def test_a_wrong_event_is_a_warning(video: Path, unix: np.ndarray, tmp_path: Path) -> None:
    path = write_times(tmp_path / "cam.csv", t=camera(unix) - unix[0])
    table = write_times(tmp_path / "led.csv", ours=[0.0, 1.0, 2.0], camera=[0.0, 1.4, 2.0])
    made = align_times(video, path, tmp_path, events=table)
    assert any("from where the others put it" in text for text in made["warnings"])
    done = run(video, "--times", path, "-o", tmp_path / "x", "--events", table, "--strict")
    assert done.exit_code == 3
    assert not (tmp_path / "x").exists()


def test_frames_that_the_camera_missed(video: Path, unix: np.ndarray, tmp_path: Path) -> None:
    times = np.arange(unix[10], unix[-1] + 1, 0.01)
    made = align_times(video, write_times(tmp_path / "cam.csv", t=times), tmp_path)
    require_nearest(tmp_path, unix, times)
    assert made["frames_outside"] == 10
    assert any("10 frames" in text and "outside" in text for text in made["warnings"])


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9),
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9),
)
def test_nearest_is_the_nearest(times: list[float], others: list[float]) -> None:
    wanted, known = np.array(times), np.sort(others)
    place, error = nearest(wanted, known)
    apart = np.abs(known[None, :] - wanted[:, None])
    np.testing.assert_array_equal(np.abs(error), apart.min(axis=1))
    np.testing.assert_array_equal(error, known[place] - wanted)


@given(
    st.floats(-1e5, 1e5),
    st.floats(-500, 500),
    st.lists(st.integers(0, 9999), min_size=2, max_size=9, unique=True),
)
def test_a_clock_is_fitted(offset: float, ppm: float, events: list[int]) -> None:
    ours = np.array(events, float)
    clock = fit_clock(ours, ours * (1 + ppm * 1e-6) + offset)
    camera_times = np.linspace(0, 1e4, 5) * (1 + ppm * 1e-6) + offset
    np.testing.assert_allclose(clock.to_recording(camera_times), np.linspace(0, 1e4, 5), atol=1e-2)


def test_a_table_without_names(tmp_path: Path) -> None:
    (tmp_path / "cam.txt").write_text("1.5\n2.5\n2.5\n")
    assert read_camera_times(str(tmp_path / "cam.txt")).seconds.tolist() == [1.5, 2.5, 2.5]
    (tmp_path / "two.csv").write_text("0;7.5\n1;8.5\n")
    found = read_camera_times(str(tmp_path / "two.csv"), column="1", unit="ms")
    np.testing.assert_allclose(found.seconds, [0.0075, 0.0085])


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", InputError, "no table of times"),
        ("time\n", InputError, "has no line"),
        ("time\n1\nx\n", InputError, "line 3: 'x' is no time"),
        ("time\n1\n\n2\n0\n", InputError, "goes backwards"),
        ("a,b\n1,2\n", UsageError, "one of a, b"),
        ("time\n1\n2\n", InputError, "do not count from 1970"),
        ("time\n1e9\n1.1e9\n", InputError, "ends before"),
        ("time\n4e9\n4.1e9\n", InputError, "begins after"),
    ],
)
def test_what_is_refused(
    text: str, error: type[Exception], message: str, video: Path, tmp_path: Path
) -> None:
    (tmp_path / "cam.csv").write_text(text)
    with pytest.raises(error, match=message):
        align_times(video, tmp_path / "cam.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_of_events_is_refused(video: Path, unix: np.ndarray, tmp_path: Path) -> None:
    path = write_times(tmp_path / "cam.csv", t=camera(unix))
    with pytest.raises(MissingInputError, match="no such table"):
        align_times(video, path, tmp_path, events=tmp_path / "no.csv")
    with pytest.raises(InputError, match="events have two"):
        align_times(video, path, tmp_path, events=write_times(tmp_path / "e.csv", a=[1.0]))
    with pytest.raises(UsageError, match="no column x; give --column, one of t"):
        align_times(video, path, tmp_path, column="x")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli.main, ["align-times", *map(str, arguments)])


def test_the_command(video: Path, unix: np.ndarray, tmp_path: Path) -> None:
    path = write_times(tmp_path / "cam.csv", t=camera(unix))
    done = run(video, "--times", path, "-o", tmp_path / "x", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["frames"] == len(unix)
    done = run(video, "--times", path, "-o", tmp_path / "x")
    assert done.exit_code == OutputExistsError.exit_code
    events = write_times(tmp_path / "led.csv", ours=[0.0, 2.0], camera=unix[0] + [0.2, 2.2])
    done = run(video, "--times", path, "-o", tmp_path / "x", "-f", "--events", events)
    assert done.exit_code == 0, done.output
    assert "camera's clock" in done.stdout
    assert str(tmp_path / "x" / BACK) in done.stdout
