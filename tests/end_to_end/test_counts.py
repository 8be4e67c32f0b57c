"""What a receiver received is one number, wherever it is said."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, reject, settings

import miostitch
from miostitch.batch.outcome import lost_shares
from miostitch.errors import InputError, UsageError
from miostitch.inspect.recordings import inspect_recordings
from miostitch.recording.files import ReadOptions
from miostitch.recording.recording import open_recordings
from miostitch.report.data import read_data
from miostitch.report.statistics import describe_recordings
from miostitch.session.session import bring_together
from miostitch.simulation.receivers import SimulationConfig
from miostitch.store.reader import Store
from tests.strategies import simulation_configs

By = Literal["frame", "buffer"]


def require_one_meaning(videos: list[str], folder: Path, by: By, lag: int) -> None:
    """What inspect, summary, report, batch and `recording.miostitch` say is the same."""
    options = miostitch.StitchOptions(by=by, lag=lag, report=False)
    summary = miostitch.stitch_files(videos, folder, options)
    [path] = [each for each in summary["outputs"] if each.endswith(".zarr")]
    store = Store.open(path)
    reported = describe_recordings(read_data(store))
    looked_at = inspect_recordings(videos, ReadOptions(lag=lag)).recordings
    session = bring_together(open_recordings(videos, ReadOptions(lag=lag)))
    assert session.shape[0] == store.frames
    every = zip(summary["recordings"], reported, looked_at, session.reception(), strict=True)
    for number, (said, shown, seen, counted) in enumerate(every):
        table = seen.table
        assert table is not None
        assert said["frames"] == shown.frames == table.received_frames == counted.frames
        assert said["buffers_lost"] == shown.buffers_lost == table.buffers_lost == counted.lost
        assert said["complete"] == shown.whole == counted.complete
        assert table.incomplete_frames == counted.frames - counted.complete
        assert said["only_complete"] == shown.only_complete
        sent = store.frames * session.buffers
        assert counted.received + counted.lost == counted.frames * session.buffers
        assert shown.absent == store.frames - counted.frames
        assert shown.received_share == counted.received / sent
        lost = counted.lost + shown.absent * session.buffers
        assert lost_shares(store)[number] == pytest.approx(lost / sent, abs=1e-6)
        opened = miostitch.open_recording(videos[number], lag=lag).miostitch.summary()
        if lag == 0:  # else the first frames have no rows
            assert opened["buffers"] == counted.frames * session.buffers
            assert opened["lost_buffers"] == counted.lost


@pytest.mark.parametrize("by", ["frame", "buffer"])
@pytest.mark.slow
@settings(max_examples=30)
@given(simulation_configs(lag=0))
def test_a_receiver_has_one_number(by: By, config: SimulationConfig) -> None:
    with TemporaryDirectory() as folder:
        try:
            videos = [*map(str, miostitch.simulate(folder, config).recordings)]
            require_one_meaning(videos, Path(folder, "out"), by, 0)
        except (UsageError, InputError):  # nothing in common
            reject()


@pytest.mark.parametrize("by", [pytest.param("frame", marks=pytest.mark.slow), "buffer"])
@pytest.mark.parametrize("failed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_flips_restarts_and_failed_headers(by: By, failed: bool, tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(
        frames=120, height=20, width=30, resets=1, seed=3, header_flips=0.05, buffer_loss=0.05,
        frame_loss=0.02, truncation=0.02, failed_headers=0.05 if failed else 0.0,
    )  # fmt: skip
    videos = [*map(str, miostitch.simulate(tmp_path, config).recordings)]
    session = bring_together(open_recordings(videos))
    assert session.alignment.duplicates, "the simulated flips split no frame"
    require_one_meaning(videos, tmp_path / "out", by, 0)


def test_an_edit_counts_the_frames_that_it_has(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(
        frames=60, height=20, width=30, seed=3, header_flips=0.1, buffer_loss=0.1
    )
    videos = [*map(str, miostitch.simulate(tmp_path, config).recordings)]
    made = miostitch.stitch_files(videos, tmp_path, miostitch.StitchOptions(report=False))
    [store] = [path for path in made["outputs"] if path.endswith(".zarr")]
    part = tmp_path / "part.zarr"
    miostitch.write_recording(miostitch.trim(miostitch.open_recording(store), start=7, end=5), part)
    session = bring_together(open_recordings(videos))
    kept = np.zeros(session.shape[0], bool)
    kept[7:-5] = True
    assert session.alignment.duplicates
    for shown, counted in zip(
        describe_recordings(read_data(Store.open(str(part)))),
        session.only(kept).reception(),
        strict=True,
    ):
        found = shown.frames, shown.whole, shown.buffers_lost
        assert found == (counted.frames, counted.complete, counted.lost)


@pytest.mark.parametrize(
    ("name", "by", "lag"),
    [
        ("stitch", "frame", 1),
        pytest.param("unequal3", "buffer", 0, marks=pytest.mark.slow),
        pytest.param("capture3", "buffer", 0, marks=pytest.mark.slow),
        pytest.param("flips2", "buffer", 0, marks=pytest.mark.slow),
    ],
)
def test_real_recordings(recordings: Path, tmp_path: Path, name: str, by: By, lag: int) -> None:
    videos = sorted(map(str, (recordings / name).glob("*[0-9].avi")))
    assert len(videos) > 1
    require_one_meaning(videos, tmp_path, by, lag)


@pytest.mark.parametrize(
    ("seed", "by"),
    [
        (0, "frame"),
        (1, "buffer"),
        *(
            pytest.param(seed, by, marks=pytest.mark.slow)
            for seed, by in ((0, "buffer"), (1, "frame"), (2, "frame"), (2, "buffer"))
        ),
    ],
)
def test_a_result_that_is_read_back_has_the_buffers_of_its_store(
    by: By, seed: int, tmp_path: Path
) -> None:
    """Also where the recorder placed a buffer by a flipped position, which was repaired."""
    config = miostitch.SimulationConfig(
        frames=80, height=20, width=30, seed=seed, header_flips=0.1, buffer_loss=0.05,
        truncation=0.02,
    )  # fmt: skip
    videos = [*map(str, miostitch.simulate(tmp_path, config).recordings)]
    moved = {"frame_buffer_count"} & {
        column
        for recording in open_recordings(videos)
        for table in recording.tables
        for column in table.repairs["column"]
    }
    assert moved, "no position was repaired"
    options = miostitch.StitchOptions(by=by, report=False)
    made = miostitch.stitch_files(videos, tmp_path / "out", options)
    [path] = [each for each in made["outputs"] if each.endswith(".zarr")]
    video = path.replace(".zarr", ".avi")
    stored = Store.open(path).arrays("", ["num_buffers", "missing_pixels"])
    again = miostitch.open_recording(video, lag=0)
    assert again.num_buffers.values.tolist() == stored["num_buffers"].tolist()
    [result] = open_recordings([video], ReadOptions(lag=0))
    session = bring_together([result])
    if by == "frame":
        missing = session.missing_pixels(slice(None))[0]
        assert missing.tolist() == stored["missing_pixels"].tolist()
    trimmed = tmp_path / "trimmed.avi"
    raw = miostitch.open_recording(videos[0], lag=0)
    miostitch.write_recording(miostitch.trim(raw, start=3), trimmed)
    part = open_recordings([str(trimmed)], ReadOptions(lag=0))[0].frames
    whole = open_recordings([videos[0]], ReadOptions(lag=0))[0].frames
    for name in ("num_buffers", "buffers", "excluded", "frame_num"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[3 : 3 + len(part)])
