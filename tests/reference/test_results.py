"""Published results are what a slow reference, which shares nothing with the package, makes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from tests.reference.composition import check_composed, composed_rows, copies_of
from tests.sessions import CONFIGS, Made, made
from tests.video_files import decode

session = made()

FEW = ("lagging", "many")
SESSIONS = pytest.mark.parametrize(
    "session",
    [
        name if name in FEW else pytest.param(name, marks=pytest.mark.slow)
        for name in CONFIGS
        if name != "rebooted"
    ],
    indirect=True,
)
"""Those with the most receivers; the others are slow."""


def stitched(session: Made, folder: Path, by: Any) -> tuple[xr.Dataset, xr.Dataset, pd.DataFrame]:
    """The store, its group of compositions, and the table of buffers."""
    options = StitchOptions(by=by, lag=session.config.lag, report=False, chunk_frames=7)
    stitch_files(session.names, folder, options)
    [store], [table] = folder.glob("*.zarr"), folder.glob("*_stitched.csv")
    frames = xr.open_zarr(store, mask_and_scale=False).load()
    np.testing.assert_array_equal(decode(store.with_suffix(".avi")), frames.video)
    group = "composition" if by == "buffer" else "scores"
    return frames, xr.open_zarr(store, group=group).load(), pd.read_csv(table)


@SESSIONS
def test_composed_results(session: Made, tmp_path: Path) -> None:
    frames, composition, table = stitched(session, tmp_path, "buffer")
    bounds = session.together().bounds
    receivers = [copies_of(path, bounds, session.config.lag) for path in session.videos]
    numbers, gave = frames.frame_num.values.tolist(), composition.buffer_source.to_numpy()
    check_composed(
        receivers,
        bounds,
        frames.video.to_numpy().reshape(len(numbers), -1),
        numbers,
        frames.missing_pixels.values.tolist(),
        (frames.source.values.tolist(), gave),
    )
    expected = composed_rows(receivers, numbers, gave)
    clocks = session.together().alignment.clocks
    corrected = expected.buffer_recv_unix_time.to_numpy().copy()
    for number, clock in enumerate(clocks):
        mine = (expected.receiver == number).to_numpy()
        if clock.frames:
            drift = (clock.drift_ppm or 0) * 1e-6 * (corrected[mine] - clock.middle_s)
            corrected[mine] -= clock.offset_s + drift
    expected = expected.drop(columns="receiver").assign(buffer_recv_unix_time_corrected=corrected)
    pd.testing.assert_frame_equal(table, expected, rtol=0, atol=1e-6)


@SESSIONS
def test_chosen_results(session: Made, tmp_path: Path) -> None:
    frames, scores, table = stitched(session, tmp_path, "frame")
    bounds = session.together().bounds
    receivers = [copies_of(path, bounds, session.config.lag) for path in session.videos]
    numbers = frames.frame_num.values.tolist()
    assert numbers == sorted({number for copies in receivers for number in copies})
    count = 0
    for place, (number, source) in enumerate(zip(numbers, frames.source.values, strict=True)):
        best = [copies[number].best if number in copies else None for copies in receivers]
        present = scores.source_frame.values[:, place] >= 0
        assert present.tolist() == [each is not None for each in best]
        chosen = best[source]
        assert chosen is not None
        assert chosen.distinct == max(each.distinct for each in best if each)
        np.testing.assert_array_equal(frames.video.values[place].ravel(), chosen.pixels)
        delivered = sum(max(given, 0) for given in chosen.given.values())
        assert frames.missing_pixels.values[place] == bounds[-1] - delivered
        count += len(table[table.reconstructed_frame_index == place])
    assert count == len(table)
