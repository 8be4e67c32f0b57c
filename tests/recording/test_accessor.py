"""What a recording tells of itself."""

from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import miostitch
from miostitch.stitching.run import StitchOptions, stitch_files
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
    assert told["duration_s"] == pytest.approx((told["frames"] - 1) / 20)


@pytest.mark.parametrize("how", ["mean", "max", "min"])
@pytest.mark.parametrize("chunks", [None, {}])
def test_projections_are_lazy(session: Path, how: str, chunks: dict[str, int] | None) -> None:
    path = session / "receiver1.avi"
    recording = xr.open_dataset(path, engine="miostitch", chunks=chunks)
    with dask.config.set(scheduler=never):
        picture = recording.miostitch.projection(how)
        assert (picture.name, picture.dims) == (f"{how}_projection", ("height", "width"))
    expected = getattr(np, how)(recording.video.to_numpy(), axis=0)
    np.testing.assert_array_equal(picture.compute(), expected)
    assert picture.dtype == expected.dtype


def test_names_are_no_markup(session: Path) -> None:
    recording = miostitch.open_recording(session / "receiver1.avi")
    html = recording.assign_attrs(recording="<b>&").miostitch._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "<b>" not in html
    assert html.count("<tr>") == len(repr(recording.miostitch).splitlines()) - 1
