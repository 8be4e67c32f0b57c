"""Times of frames: of recordings, of stores old and new, and of what is selected of them."""

import shutil
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from miostitch import concat, open_recording, remove_frames, trim, write_recording
from miostitch.buffers.elapsed_time import NAMES, time_of_store
from miostitch.errors import UsageError
from miostitch.recording.datasets import open_dataset
from miostitch.recording.files import ReadOptions
from miostitch.recording.frame_times import timed_root
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from miostitch.store.layout import consolidate
from miostitch.store.reader import Store
from tests.sessions import Made
from tests.video_files import make_frames, write

NAME = "receiver1__receiver2_stitched.zarr"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("session")
    return Made(folder, seed=4, frames=40, frame_loss=0.05, clock_offset_s=3.0)


@pytest.fixture(scope="module")
def store(session: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    stitch_files(session.names, folder, StitchOptions(report=False))
    return folder / NAME


def require_times(dataset: xr.Dataset) -> None:
    """Times begin with 0, rise, and are those of reception where they are not estimated."""
    time, estimated = dataset.time.to_numpy(), dataset.time_estimated.to_numpy()
    received = dataset.timestamp_first.to_numpy()
    assert time[0] == 0
    assert (np.diff(time) > 0).all()
    start = datetime.fromisoformat(dataset.attrs["start_time"]).timestamp()
    np.testing.assert_allclose((time + start)[~estimated], received[~estimated], atol=2e-6)
    assert estimated[np.isnan(received)].all()


@pytest.mark.parametrize("kind", ["recording", "store"])
def test_frames_have_times_by_the_clock(session: Made, store: Path, kind: str) -> None:
    opened = open_recording(store if kind == "store" else session.videos[0])
    require_times(opened)
    assert opened.time_estimated.to_numpy().mean() < 0.2
    require_times(trim(opened, 7, 3))
    require_times(remove_frames(opened, "0,5-9"))
    two = concat([trim(opened, 0, 20), trim(opened, 25, 0)])
    require_times(two)
    assert two.time.to_numpy()[-1] == pytest.approx(opened.time.to_numpy()[-1], abs=1e-5)


def test_the_engine_of_xarray_has_the_times(session: Made) -> None:
    opened = xr.open_dataset(session.names[0], engine="miostitch")
    require_times(opened)


def test_parts_in_the_wrong_order_still_rise(session: Made) -> None:
    opened = open_recording(session.videos[0])
    turned = concat([trim(opened, 20, 0), trim(opened, 0, 20)])
    time = turned.time.to_numpy()
    assert (np.diff(time) > 0).all()
    assert turned.time_estimated.to_numpy().any()


def test_a_video_without_a_table_has_the_times_of_its_rate(tmp_path: Path) -> None:
    write(tmp_path / "bare.avi", make_frames(6))
    bare = open_dataset(tmp_path / "bare.avi", ReadOptions(need_table=False))
    fps = float(Fraction(bare.attrs["fps"]))
    np.testing.assert_allclose(bare.time, np.arange(6) / fps)
    assert bare.time_estimated.all()
    assert "start_time" not in bare.attrs
    np.testing.assert_allclose(remove_frames(bare, "1").time, np.array([0, 2, 3, 4, 5]) / fps)


def test_stores_of_version_1_get_times_when_they_are_opened(store: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.zarr"
    shutil.copytree(store, old)
    root = zarr.open_group(old, mode="r+", use_consolidated=False)
    for name in NAMES:
        del root[name]
    del root["scores/identical"]
    del root.attrs["start_time"]
    root.attrs["format_version"] = "1"
    consolidate(str(old))
    new, found = Store.open(str(store)), Store.open(str(old))
    assert {*NAMES} <= {*timed_root(found).coords}
    np.testing.assert_array_equal(time_of_store(found).seconds, time_of_store(new).seconds)
    opened, expected = open_recording(old), open_recording(store)
    assert opened.attrs["start_time"] == expected.attrs["start_time"]
    xr.testing.assert_equal(opened.time, expected.time)
    write_recording(trim(opened, 3), tmp_path / "new" / "x.zarr")
    require_times(xr.open_zarr(tmp_path / "new" / "x.zarr"))


def test_a_dataset_that_has_lost_its_rate_is_refused(session: Made) -> None:
    opened = open_recording(session.videos[0])
    with pytest.raises(UsageError, match="lost its attribute fps"):
        trim(opened.drop_attrs(), 2)
