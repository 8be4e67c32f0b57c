"""A result that is used again by its video and its tables is what its store says."""

from pathlib import Path

import numpy as np
import pytest

import miostitch
from tests.sessions import Made


@pytest.mark.parametrize("by", [pytest.param("frame", marks=pytest.mark.slow), "buffer"])
def test_the_table_of_a_result_is_taken_as_it_is(
    by: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flips = {"header_flips": 0.03, "clock_offset_s": -0.011}
    made = Made(tmp_path / "in", frames=80, receivers=3, seed=3, **flips)
    miostitch.stitch_files(made.names, tmp_path / "out", by=by, report=False)  # type: ignore[arg-type]
    [video] = (tmp_path / "out").glob("*.avi")
    caplog.clear()
    read = miostitch.open_recording(video)
    assert "backwards" not in caplog.text
    assert "unknown whether" not in caplog.text
    store = miostitch.open_recording(video.with_suffix(".zarr"))
    # by frame a buffer that a flipped header had put elsewhere is no row of the table, but a loss
    counted = ["num_buffers"] if by == "buffer" else []
    for name in ("frame_num", "timestamp_first", "timestamp_last", *counted):
        np.testing.assert_array_equal(read[name], store[name], name)
    rows = []
    for source in (video, video.with_suffix(".zarr")):
        miostitch.write_recording(
            miostitch.trim(miostitch.open_recording(source), 2, 3), tmp_path / source.suffix
        )
        rows.append(next((tmp_path / source.suffix).glob("*.csv")).read_bytes())
    assert rows[0] == rows[1]


def test_rows_of_several_real_receivers_are_not_repaired_again(
    recordings: Path, tmp_path: Path
) -> None:
    receivers = sorted((recordings / "capture3").glob("receiver?.avi"))
    miostitch.stitch_files(receivers, tmp_path, by="buffer", report=False)
    [video] = tmp_path.glob("*.avi")
    read = miostitch.open_recording(video)
    store = miostitch.open_recording(video.with_suffix(".zarr"))
    for name in ("num_buffers", "timestamp_first", "timestamp_last", "time"):
        np.testing.assert_array_equal(read[name], store[name], name)
