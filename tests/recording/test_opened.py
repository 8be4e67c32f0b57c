"""What was opened once travels along: nothing is opened or parsed again to write it."""

import os
import pickle
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import xarray as xr

import miostitch
from miostitch.buffers import table
from miostitch.editing.run import edit_files
from miostitch.recording import recording
from miostitch.recording.files import ReadOptions
from miostitch.recording.recording import reopen_video
from miostitch.video import source
from tests.sessions import received_later

Count = Counter[str]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    config = miostitch.SimulationConfig(frames=40, seed=3, height=24, width=40, receivers=1)
    return miostitch.simulate(tmp_path / "in", config).recordings[0]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Count:
    """How often videos and tables are opened, and lags measured."""
    count: Count = Counter()

    def counting(module: ModuleType, name: str, what: str) -> None:
        plain = getattr(module, name)

        def call(first: Any, *args: Any, **options: Any) -> Any:
            written = isinstance(first, str) and Path(first).stem != "receiver1"
            if not written:  # the result is opened to count its frames
                count[what] += 1
            return plain(first, *args, **options)

        monkeypatch.setattr(module, name, call)

    counting(source, "_checked_stream", "videos")  # whatever door a video is opened by
    counting(table, "_survey", "tables")
    counting(recording, "measure_lag", "lags")
    return count


def test_trimming_into_a_store_opens_once(video: Path, tmp_path: Path, opened: Count) -> None:
    edit_files([video], tmp_path / "t.zarr", lambda p: miostitch.trim(p[0], 2, 1), "_t")
    assert opened == {"videos": 1, "tables": 1, "lags": 1}
    count = miostitch.open_recording(video).sizes["frame"]
    assert xr.open_zarr(tmp_path / "t.zarr").sizes["frame"] == count - 3


def test_an_opened_recording_travels_with_every_selection(
    video: Path, tmp_path: Path, opened: Count
) -> None:
    whole = miostitch.open_recording(video, lag="auto")
    assert opened == {"videos": 1, "tables": 1, "lags": 1}
    parts = [whole.isel(frame=slice(5)), miostitch.trim(whole, 20).sel(height=slice(0, 24))]
    joined = miostitch.concat(parts)
    del whole, parts
    miostitch.write_recording(joined, tmp_path / "j.zarr")
    assert opened == {"videos": 1, "tables": 1, "lags": 1}


def test_segments_travel_together(video: Path, tmp_path: Path, opened: Count) -> None:
    config = miostitch.SimulationConfig(frames=30, seed=4, height=24, width=40, receivers=1)
    other = received_later(miostitch.simulate(tmp_path / "other", config).recordings[0])
    both = miostitch.open_recording(f"{video},{other}")
    opened.clear()
    made = miostitch.write_recording(both, tmp_path / "b.zarr")
    assert opened == {}
    counts = [miostitch.open_recording(path).sizes["frame"] for path in (video, other)]
    assert [each["frames"] for each in made["origins"]] == counts
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "b.zarr").video, both.video)


@pytest.mark.parametrize(
    ("options", "again"),
    [
        (ReadOptions(lag=0), 0),
        (ReadOptions(need_table=False, lag=0), 0),
        (ReadOptions(strict=True, lag=0), 0),
        (ReadOptions(salvage=True, lag=0), 1),
        (ReadOptions(repair=False, lag=0), 1),
        (ReadOptions(lag=-1), 1),
    ],
)
def test_what_was_read_in_another_way_is_read_again(
    video: Path, opened: Count, options: ReadOptions, again: int
) -> None:
    dataset = miostitch.open_recording(video)
    opened.clear()
    assert reopen_video(str(video), options).shape[0] == dataset.sizes["frame"]
    assert opened["videos"] == opened["tables"] == again


@pytest.mark.parametrize("ending", [".avi", ".csv"])
def test_a_file_that_changed_is_opened_again(video: Path, opened: Count, ending: str) -> None:
    dataset = miostitch.open_recording(video)
    os.utime(video.with_suffix(ending), ns=(1, 1))
    opened.clear()
    reopen_video(str(video), ReadOptions())
    assert opened["videos"] == opened["tables"] == 1
    del dataset


def test_nothing_stays_open_without_its_dataset(video: Path, opened: Count) -> None:
    for _ in range(2):
        dataset = miostitch.open_recording(video)
        del dataset
        reopen_video(str(video), ReadOptions())
    assert opened["videos"] == 4


def test_what_travels_is_no_part_of_the_dataset(video: Path, tmp_path: Path) -> None:
    dataset = miostitch.open_recording(video)
    again = pickle.loads(pickle.dumps(dataset))
    assert again.identical(dataset)
    assert dataset.attrs["origins"] == [str(video)]
    written = [
        miostitch.write_recording(each, tmp_path / name)
        for name, each in (("a.zarr", dataset), ("b.zarr", again))
    ]
    assert written[0]["inputs"] == written[1]["inputs"]


def test_a_recording_that_is_opened_again_stays_open(video: Path, opened: Count) -> None:
    """Though the second one is let go at once."""
    dataset = miostitch.open_recording(video)
    miostitch.open_recording(video)
    opened.clear()
    known = reopen_video(str(video), ReadOptions(lag=dataset.attrs.get("lags", {}).get(video, 0)))
    assert opened["videos"] == 0
    assert known.shape[0] == dataset.sizes["frame"]
