"""Rows whose header failed the recorder's check: they are carried, and count as lost."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miostitch.buffers.header_check import find_failed
from miostitch.buffers.repair import derive_layout, repair_table
from miostitch.buffers.table import read_metadata
from miostitch.errors import MetadataError
from miostitch.schema import CHECKED
from tests.strategies import buffer_tables
from tests.tables import session, write

VOTED = (
    "frame_num", "num_buffers", "black_padding", "buffers", "whole_buffers",
    "timestamp_first", "timestamp_last",
)  # fmt: skip


def marked(table: pd.DataFrame, bad: list[int], ok: str = "True", failed: str = "False") -> None:
    table[CHECKED.name] = ok
    table.loc[bad, CHECKED.name] = failed


@pytest.mark.parametrize("ok", ["True", "true", "1", "1.0", ""])
@pytest.mark.parametrize("failed", ["False", "false", "0", "0.0", "FALSE"])
def test_spellings(tmp_path: Path, ok: str, failed: str) -> None:
    table = session(3)
    marked(table, [9], ok, failed)
    read = read_metadata(write(tmp_path / "a.csv", table))
    assert read.failed_rows == 1
    assert read.frames.buffers.tolist() == [255, 255 - 2, 255]
    assert read.rows(np.arange(3))[CHECKED.name].tolist() == table[CHECKED.name].tolist()
    assert [text for text in read.notices if "failed header check" in text]


def test_other_values_are_faults_of_their_line(tmp_path: Path) -> None:
    table = session(2)
    marked(table, [4], failed="perhaps")
    path = write(tmp_path / "a.csv", table)
    with pytest.raises(MetadataError, match="line 6: column header_crc_ok is 'perhaps'"):
        read_metadata(path)
    assert read_metadata(path, salvage=True).dropped_rows == 1


@pytest.mark.parametrize("field", ["", "nan", "3.5", "0x1F", "?", "9" * 30])
@pytest.mark.parametrize("name", ["frame_num", "buffer_count", "pixel_count", "frame_buffer_count"])
def test_fields_of_a_failed_row_may_be_no_numbers(tmp_path: Path, name: str, field: str) -> None:
    table = session(3)
    marked(table, [9])
    expected = read_metadata(write(tmp_path / "a.csv", table))
    table[name] = table[name].astype(object)
    table.loc[9, name] = field
    path = write(tmp_path / "b.csv", table)
    read = read_metadata(path)
    assert (read.failed_rows, read.dropped_rows) == (1, 0)
    for each in VOTED:
        mine, theirs = (getattr(t.frames, each) for t in (read, expected))
        np.testing.assert_array_equal(mine, theirs, err_msg=each)
    assert read.rows(np.arange(3))[name].iloc[9] == -1
    marked(table, [])
    with pytest.raises(MetadataError, match=f"line 11: column {name} is "):
        read_metadata(write(tmp_path / "c.csv", table))


@pytest.mark.parametrize("field", ["", "nan", "9999999999"])
def test_the_frame_of_a_failed_row_is_the_recorders(tmp_path: Path, field: str) -> None:
    table = session(3)
    marked(table, [9])
    table["reconstructed_frame_index"] = table["reconstructed_frame_index"].astype(object)
    table.loc[9, "reconstructed_frame_index"] = field
    with pytest.raises(MetadataError, match="line 11: column reconstructed_frame_index is "):
        read_metadata(write(tmp_path / "a.csv", table))


@settings(max_examples=15)
@given(buffer_tables(), st.randoms(use_true_random=False))
def test_failed_rows_say_nothing_whatever_they_claim(
    tmp_path_factory: pytest.TempPathFactory, table: pd.DataFrame, random: object
) -> None:
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    bad = np.flatnonzero(rng.random(len(table)) < 0.3).tolist()
    marked(table, bad)
    kept = table[table[CHECKED.name] == "True"]
    for name in ("frame_num", "buffer_count", "frame_buffer_count", "pixel_count"):
        table.loc[bad, name] = rng.integers(0, 200, len(bad))
    folder = tmp_path_factory.mktemp("tables")
    if kept.empty:
        return
    with_them = read_metadata(write(folder / "a.csv", table), repair=True)
    without = read_metadata(write(folder / "b.csv", kept), repair=True)
    count = len(without.frames)
    for name in VOTED:
        mine, theirs = (getattr(t.frames, name) for t in (with_them, without))
        np.testing.assert_array_equal(mine[:count], theirs, err_msg=name)
    assert int(with_them.frames.num_rows.sum()) == len(table)
    assert with_them.frames.buffers[count:].sum() == 0
    np.testing.assert_array_equal(with_them.buffer_sizes, without.buffer_sizes)
    assert with_them.failed_rows == len(bad)


def test_a_frame_of_failed_rows_has_neither_number_nor_time(tmp_path: Path) -> None:
    table = session(3)
    marked(table, [*range(8, 16)])
    frames = read_metadata(write(tmp_path / "a.csv", table)).frames
    assert frames.frame_num.tolist() == [500, -1, 502]
    assert frames.num_rows.tolist() == [8, 8, 8]
    assert np.isnan(frames.timestamp_first).tolist() == [False, True, False]


def test_what_stands_where_a_failed_row_claims_is_excluded_unless_it_is_of_another_row(
    tmp_path: Path,
) -> None:
    table = session(3).drop(index=21).reset_index(drop=True)  # frame 2 lacks buffer 5
    marked(table, [16, 17])
    table.loc[16, ["frame_buffer_count", "reconstructed_frame_index"]] = 3, 1  # as frame 1 has
    table.loc[17, "frame_buffer_count"] = 5
    frames = read_metadata(write(tmp_path / "a.csv", table)).frames
    assert frames.excluded.tolist() == [0, 0, 1 << 5]
    assert frames.buffers.tolist() == [255, 255, 255 - 1 - 2 - 32]


def test_failed_rows_are_neither_repaired_nor_witnesses() -> None:
    table = session(20)
    table["linked_list"] = table["buffer_count"] = 500 * 8 + np.arange(len(table))
    marked(table, [40, 41, 43, 44])
    table.loc[[40, 41, 43, 44], "buffer_count"] = 7
    table.loc[42, "frame_num"] = 1  # a flipped one between them
    layout = derive_layout(table)
    assert layout is not None
    repaired, log = repair_table(table, layout)
    assert log["row"].tolist() == [42]
    assert repaired.loc[42, "frame_num"] == 505
    failed = find_failed(table)
    pd.testing.assert_frame_equal(repaired[failed], table[failed])
