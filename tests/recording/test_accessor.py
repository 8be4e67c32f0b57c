"""What a recording tells of itself."""

import base64
import os
import re
import shutil
import sys
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

import miostitch
from miostitch.errors import UsageError
from miostitch.inspect.recordings import inspect_recordings
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from tests.laziness import never


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    config = miostitch.SimulationConfig(
        frames=40, seed=5, height=30, width=20, buffer_loss=0.05, frame_loss=0.1, header_flips=0
    )
    miostitch.simulate(folder, config)
    stitch_files(
        [str(folder / f"receiver{n}.avi") for n in (1, 2)],
        folder / "out",
        StitchOptions(report=False),
    )
    return folder


def test_a_recording_tells_its_losses(session: Path) -> None:
    recording = miostitch.open_recording(session / "receiver1.avi")
    told = recording.miostitch.summary()
    numbers = recording.frame_num.to_numpy()
    missing = set(range(numbers[0], numbers[-1])) - {*numbers.tolist()}
    assert missing
    assert told["lost_frames"] == len(missing)
    assert told["frame_num"] == [numbers[0], numbers[-1]]
    assert told["buffers"] == 8 * len(numbers)
    assert told["lost_buffers"] == told["buffers"] - int(recording.num_buffers.sum()) > 0
    first = recording.timestamp_first
    assert told["duration_s"] == pytest.approx(float(first[-1] - first[0]), abs=1e-6)
    assert {name: told[name] for name in ("name", "frames", "height", "width", "fps")} == {
        "name": "receiver1",
        "frames": len(numbers),
        "height": 30,
        "width": 20,
        "fps": "20",
    }


def test_buffers_lost_are_those_of_inspect(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(
        frames=300, receivers=1, seed=3, height=30, width=20, header_flips=0.05, resets=1
    )
    video = miostitch.simulate(tmp_path, config).recordings[0]
    table = inspect_recordings([video]).to_json()["recordings"][0]["table"]
    told = miostitch.open_recording(video).miostitch.summary()
    assert told["lost_buffers"] == table["buffers_lost"]
    assert told["lost_frames"] == table["lost_frames"]
    assert table["repeated_frames"] > 0  # fragments of one frame
    assert table["lost_frames"] < 300  # none between the runs


def test_it_speaks_of_the_frames_that_are_left(session: Path) -> None:
    recording = miostitch.open_recording(session / "receiver1.avi")
    gap = int(np.flatnonzero(np.diff(recording.frame_num) > 1)[0])
    pair = recording.isel(frame=[gap, gap + 1])
    assert pair.miostitch.summary()["lost_frames"] == pair.frame_num[1] - pair.frame_num[0] - 1
    assert "frames" in repr(recording.isel(frame=slice(0)).miostitch)


def test_a_reboot_is_no_loss(session: Path) -> None:
    recording = miostitch.open_recording(session / "receiver1.avi")
    twice = miostitch.concat([recording, recording])
    once = recording.miostitch.summary()["lost_frames"]
    assert twice.miostitch.summary()["lost_frames"] == 2 * once


def test_a_result_tells_damage_and_sources(session: Path) -> None:
    path = session / "out" / "receiver1__receiver2_stitched.zarr"
    for recording in (miostitch.open_recording(path), xr.open_zarr(path)):
        told = recording.miostitch.summary()
        for name in ("damaged", "unrecoverable", "missing_pixels"):
            assert told[name] == int(recording[name].sum()) > 0
        counts = [int((recording.source == n).sum()) for n in (0, 1)]
        assert told["sources"] == {"receiver1": counts[0], "receiver2": counts[1], "several": 0}
        text = repr(recording.miostitch)
        assert f"{told['damaged']} frames, {told['unrecoverable']} unrecoverable" in text
        assert f"receiver1 {counts[0]}, receiver2 {counts[1]}" in text


def test_no_picture_is_read_to_tell(session: Path) -> None:
    stitched = miostitch.stitch([session / f"receiver{n}.avi" for n in (1, 2)])
    with dask.config.set(scheduler=never):
        told = stitched.miostitch.summary()
        assert repr(stitched.miostitch)
    assert told["frames"] == stitched.sizes["frame"]
    assert "missing_pixels" not in told
    assert told["duration_s"] is None  # least of all by the frame rate of the file


@pytest.mark.parametrize("how", ["mean", "max", "min"])
@pytest.mark.parametrize("chunks", [None, {}])
def test_projections_are_lazy(session: Path, how: str, chunks: dict[str, int] | None) -> None:
    path = session / "receiver1.avi"
    recording = xr.open_dataset(path, engine="miostitch", chunks=chunks)
    with dask.config.set(scheduler=never):
        picture = recording.miostitch.projection(how, damaged=True)
        assert (picture.name, picture.dims) == (f"{how}_projection", ("height", "width"))
    expected = getattr(np, how)(recording.video.to_numpy(), axis=0)
    np.testing.assert_array_equal(picture.compute(), expected)
    assert picture.dtype == expected.dtype


@pytest.mark.parametrize("how", ["mean", "max", "min"])
@pytest.mark.parametrize("lazily", [True, False])
def test_projections_leave_damaged_frames_out(session: Path, how: str, lazily: bool) -> None:
    if lazily:
        recording = miostitch.stitch([session / f"receiver{n}.avi" for n in (1, 2)])
    else:
        recording = miostitch.open_recording(session / "out" / "receiver1__receiver2_stitched.zarr")
    with dask.config.set(scheduler=never):
        image = recording.miostitch.projection(how)
    damaged = (recording.damaged | recording.unrecoverable).to_numpy()
    assert 0 < damaged.sum() < len(damaged)
    expected = getattr(np, how)(recording.video.to_numpy()[~damaged], axis=0)
    np.testing.assert_allclose(image, expected, rtol=1e-12)
    assert image.dtype == expected.dtype
    with pytest.raises(UsageError, match="no frame is intact"):
        recording.isel(frame=np.flatnonzero(damaged)).miostitch.projection(how).compute()


def test_projections_of_a_recording_leave_incomplete_frames_out(session: Path) -> None:
    recording = miostitch.open_recording(session / "receiver1.avi")
    complete = recording.num_buffers.to_numpy() == 8
    assert 0 < complete.sum() < len(complete)
    expected = recording.video.to_numpy()[complete].min(axis=0)
    np.testing.assert_array_equal(recording.miostitch.projection("min"), expected)
    with pytest.raises(UsageError, match="must be mean, max or min"):
        recording.miostitch.projection("median")


class Axes:
    """What of matplotlib's axes a plot uses."""

    def __init__(self) -> None:
        self.done: dict[str, Any] = {}

    def imshow(self, image: np.ndarray, **how: Any) -> str:
        self.done |= {"image": image, **how}
        return "image"

    def set_title(self, text: str) -> None:
        self.done["title"] = text

    def set_xlabel(self, text: str) -> None:
        self.done["x"] = text

    def set_ylabel(self, text: str) -> None:
        self.done["y"] = text


def test_a_frame_is_plotted_as_it_was_seen(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = miostitch.open_recording(session / "receiver1.avi")
    current = Axes()
    pyplot = SimpleNamespace(gca=lambda: current)
    monkeypatch.setitem(sys.modules, "matplotlib", SimpleNamespace(pyplot=pyplot))
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", pyplot)
    number = int(recording.frame_num[4])
    assert recording.miostitch.plot(4) == "image"
    np.testing.assert_array_equal(current.done["image"], recording.video[4])
    assert (current.done["cmap"], current.done["origin"]) == ("gray", "upper")
    assert current.done["title"] == f"receiver1: frame 4, frame_num {number}"
    assert current.done["x"] == "width in pixels"
    given = Axes()
    recording.miostitch.plot(frame_num=number, ax=given)
    np.testing.assert_array_equal(given.done["image"], recording.video[4])
    recording.miostitch.plot("max", ax=given)
    np.testing.assert_array_equal(given.done["image"], recording.miostitch.projection("max"))
    assert given.done["title"] == "receiver1: max of the intact frames"
    for wrong in ({"frame": 1000}, {"frame_num": 1}):
        with pytest.raises(UsageError, match=r"frame.* 1"):
            recording.miostitch.plot(**wrong)


def test_without_matplotlib_a_plot_says_what_to_install(
    session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    recording = miostitch.open_recording(session / "receiver1.avi")
    with pytest.raises(UsageError, match="pip install matplotlib"):
        recording.miostitch.plot(0)


def test_html_has_an_image_unless_frames_would_have_to_be_stitched(session: Path) -> None:
    names = [session / f"receiver{n}.avi" for n in (1, 2)]
    recording = miostitch.open_recording(names[0])
    html = recording.miostitch._repr_html_()
    [text] = re.findall('src="data:image/png;base64,([^"]+)"', html)
    with Image.open(BytesIO(base64.b64decode(text))) as image:
        assert image.size == (20, 30)
    assert "<img" not in miostitch.stitch(names).miostitch._repr_html_()
    assert "<img" not in recording.isel(frame=slice(0)).miostitch._repr_html_()


def test_html_says_why_there_is_no_image(session: Path, tmp_path: Path) -> None:
    for path in session.glob("receiver1.*"):
        shutil.copy(path, tmp_path)
    recording = miostitch.open_recording(tmp_path / "receiver1.avi")
    os.truncate(tmp_path / "receiver1.avi", 5000)
    html = recording.miostitch._repr_html_()
    assert "<img" not in html
    assert "cannot be read: " in html


def test_names_are_no_markup(session: Path) -> None:
    recording = miostitch.open_recording(session / "receiver1.avi")
    html = recording.assign_attrs(recording="<b>&").miostitch._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "<b>" not in html
    assert html.count("<tr>") == len(repr(recording.miostitch).splitlines()) - 1


def test_a_stitch_whose_times_are_not_computed_has_no_duration(session: Path) -> None:
    """Least of all one by the frame rate of the file, which may be wrong."""
    lazy = miostitch.stitch([session / f"receiver{n}.avi" for n in (1, 2)])
    assert lazy.miostitch.summary()["duration_s"] is None
    assert "duration" not in repr(lazy.miostitch)
    computed = lazy.drop_vars("video").compute().time
    assert lazy.compute().miostitch.summary()["duration_s"] == pytest.approx(float(computed[-1]))


@pytest.mark.parametrize(("factor", "said"), [(1, "at 20 "), (8, r"at 160.* \(the file says 20\)")])
def test_the_rate_shown_is_that_of_the_timestamps(
    session: Path, tmp_path: Path, factor: int, said: str
) -> None:
    shutil.copy(session / "receiver1.avi", tmp_path)
    rows = pd.read_csv(session / "receiver1.csv")
    first = rows.buffer_recv_unix_time.min()
    faster = first + (rows.buffer_recv_unix_time - first) / factor
    rows.assign(buffer_recv_unix_time=faster).to_csv(tmp_path / "receiver1.csv", index=False)
    recording = miostitch.open_recording(tmp_path / "receiver1.avi").miostitch
    assert recording.summary()["measured_fps"] == pytest.approx(20 * factor, rel=0.02)
    assert re.search(said, repr(recording))
