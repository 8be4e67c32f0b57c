"""When a frame was received, whatever rows flipped headers gave to it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miostitch.buffers.table import read_metadata
from tests.tables import session, write

INTERVAL = 0.05


def move(table: pd.DataFrame, row: int, by: float) -> None:
    times = table["buffer_recv_unix_time"].to_numpy(copy=True)
    times[table.index.get_loc(row)] += by
    table["buffer_recv_unix_time"] = times


@pytest.mark.parametrize("late", [763.0, -763.0])
@pytest.mark.parametrize("position", [0, 3, 7])
@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.fault(72, "row of minutes later or before in a frame", "its time is left out, told")
def test_a_row_of_another_time_sets_no_time(
    tmp_path: Path, late: float, position: int, at_end: bool
) -> None:
    table = session(40)
    row = table[(table.reconstructed_frame_index == 20) & (table.frame_buffer_count == position)]
    stray = row.assign(buffer_recv_unix_time=row.buffer_recv_unix_time + late)
    parts = [table, stray] if at_end else [table[:100], stray, table[100:]]
    read = read_metadata(write(tmp_path / "a.csv", pd.concat(parts)))
    want = read_metadata(write(tmp_path / "b.csv", table)).frames
    np.testing.assert_array_equal(read.frames.timestamp_first, want.timestamp_first)
    np.testing.assert_array_equal(read.frames.timestamp_last, want.timestamp_last)
    reported = any(text.startswith("1 row received long before or after") for text in read.notices)
    assert reported == ((position, late > 0) in ((0, False), (7, True)))  # else it changed nothing


def test_a_frame_that_has_a_foreign_row_alone_keeps_the_time_next_to_its_neighbours(
    tmp_path: Path,
) -> None:
    table = session(40)
    table = table[(table.reconstructed_frame_index != 20) | (table.frame_buffer_count < 2)].copy()
    where = table.index[(table.reconstructed_frame_index == 20) & (table.frame_buffer_count == 1)]
    move(table, where[0], 600.0)
    frames = read_metadata(write(tmp_path / "a.csv", table)).frames
    assert frames.timestamp_last[20] == frames.timestamp_first[20] == 1e9 + 20 * INTERVAL


def test_buffers_out_of_order_do_not_turn_a_frame_around(tmp_path: Path) -> None:
    table = session(10)
    ends = table.frame_buffer_count.isin([0, 7]) & (table.reconstructed_frame_index == 4)
    table.loc[ends, "buffer_recv_unix_time"] = table.buffer_recv_unix_time[ends].to_numpy()[::-1]
    read = read_metadata(write(tmp_path / "a.csv", table))
    assert read.frames.timestamp_last[4] - read.frames.timestamp_first[4] == pytest.approx(
        0.007, rel=1e-3
    )
    assert not [text for text in read.notices if "received long" in text]


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 239), st.floats(-1e4, 1e4)), max_size=25))
def test_frames_end_after_they_begin_and_soon(
    tmp_path_factory: pytest.TempPathFactory, wrong: list[tuple[int, float]]
) -> None:
    table = session(30)
    for row, off in wrong:
        move(table, row, off)
    read = read_metadata(write(tmp_path_factory.mktemp("law") / "a.csv", table))
    elapsed = read.frames.timestamp_last - read.frames.timestamp_first
    assert (elapsed >= 0).all()
    assert (elapsed <= read.longest_frame_s).all()
