"""One row per frame, whatever the order of the rows and the batches they come in."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from miostitch.buffers import frame_table
from miostitch.buffers.frame_table import (
    SHORT,
    Fold,
    FrameTable,
    FrameTally,
    Reception,
    complete,
    folded,
)
from tests.tables import LAWS, reference, session, short_buffers, tables


def tallied(*batches: pd.DataFrame) -> tuple[FrameTable, list[int]]:
    tally = FrameTally()
    for batch in batches:
        tally.add({str(name): batch[name].to_numpy() for name in batch})
    table, tied = tally.result()
    return table, tied.tolist()


def assert_equal(table: FrameTable, want: FrameTable) -> None:
    for name, values in vars(want).items():
        np.testing.assert_array_equal(vars(table)[name], values, name, strict=True)


EPOCH = 1.7e9


def described(buffers: NDArray[np.uint64], **columns: NDArray[Any]) -> FrameTable:
    """A table of frames with these buffers."""
    return replace(FrameTable.blank(len(buffers)), buffers=buffers, **columns)


@LAWS
@given(table=tables, padding=st.integers(-9, 9), seed=st.integers(0, 9), cut=st.integers(0, 60))
def test_tally_equals_a_plain_groupby_in_any_order_and_batches(
    table: pd.DataFrame, padding: int, seed: int, cut: int
) -> None:
    table["black_padding_px"] = padding * np.arange(len(table)) % 31 - 9
    read, tied = tallied(table)
    want = reference(table)
    for name in map(str, want):
        assert vars(read)[name][want.index.to_numpy()].tolist() == want[name].tolist(), name
    assert read.short.tolist() == short_buffers(table)
    absent = np.setdiff1d(np.arange(len(read)), want.index.to_numpy(dtype=np.int64))
    for name, values in vars(FrameTable.blank(len(absent))).items():
        if name != "short":
            np.testing.assert_array_equal(vars(read)[name][absent], values, strict=True)
    shuffled = table.sample(frac=1, random_state=seed)
    again, tied_again = tallied(shuffled[:cut], shuffled[cut:])
    assert_equal(again, read)
    assert tied_again == tied


def test_tally_ends_with_the_last_frame_of_its_rows() -> None:
    table = session(4)
    rows = {str(name): table[name].to_numpy() for name in table}
    tally = FrameTally()
    tally.add({name: values[12:28] for name, values in rows.items()})
    assert (tally.result()[0].num_rows > 0).tolist() == [False, True, True, True]
    rows["reconstructed_frame_index"] = np.full(len(table), -1)
    tally = FrameTally()
    tally.add(rows)
    assert len(tally.result()[0]) == 0


def test_tie_takes_the_earliest_buffer_and_is_named() -> None:
    table = session(3)
    table.loc[9:12, "frame_num"] = 9
    read, tied = tallied(table)
    assert (read.frame_num.tolist(), tied) == ([500, 501, 502], [1])


@LAWS
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 9)), min_size=1))
def test_folding_often_equals_folding_once(rows: list[tuple[int, int, int]]) -> None:
    columns = dict(zip("abn", np.array(rows).T, strict=True))
    often = Fold(("a", "b"), n=np.add)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_table, "_UNFOLDED_KEYS", 2)
        for row in range(len(rows)):
            often.add({name: values[row : row + 1] for name, values in columns.items()})
    once = folded(columns, ("a", "b"), {"n": np.add})
    want = pd.DataFrame(columns).groupby(["a", "b"], as_index=False).sum()
    for result in (once, often.result(), often.result()):
        assert pd.DataFrame(result).equals(want)


def test_tables_are_cut_and_joined() -> None:
    table = tallied(session(50))[0]
    assert sum(values.itemsize for values in vars(table).values()) <= 80
    joined = FrameTable.concat([table.placed(0, 2), FrameTable.blank(2), table])
    assert joined.frame_num.tolist() == [500, 501, -1, -1, *range(500, 550)]
    assert np.isnan(joined.timestamp_last).tolist() == [False] * 2 + [True] * 2 + [False] * 50
    assert_equal(FrameTable.concat([FrameTable.blank(0), table]), table)


def test_padding_stays_with_its_frame() -> None:
    rows = session(6)
    rows["black_padding_px"] = 0
    rows.loc[[8, 20, 40], "black_padding_px"] = [4, 5, 6]
    table = tallied(rows)[0]
    assert table.short.tolist() == [(1, 0, 4), (2, 4, 5), (5, 0, 6)]
    assert table.placed(0, 3).short.tolist() == [(1, 0, 4), (2, 4, 5)]
    joined = FrameTable.concat([table.placed(0, 2), FrameTable.blank(3), table.placed(0, 3)])
    assert joined.short.tolist() == [(1, 0, 4), (6, 0, 4), (7, 4, 5)]
    assert table.placed(2, 5).short.tolist() == [(3, 0, 4), (4, 4, 5)]
    assert table.placed(-2, 9).short.tolist() == [(0, 4, 5), (3, 0, 6)]
    assert table.short.tolist()[-1] == (5, 0, 6)


def test_what_stands_in_a_wrong_place_is_excluded() -> None:
    rows = session(2)
    recorded = rows["frame_buffer_count"].copy()
    recorded[3] = 6  # repaired: its pixels stand at 6
    rows.loc[12, "frame_num"] = 507  # repaired: its pixels stand in the frame before
    rows["black_padding_px"] = 0
    rows.loc[3, "black_padding_px"] = 9
    table = tallied(rows.assign(recorded_position=recorded))[0]
    assert table.excluded.tolist() == [1 << 6, 1 << 4]
    assert table.buffers.tolist() == [0xFF - (1 << 3), 0xFF]
    assert table.short.size == 0


@pytest.mark.parametrize("lag", [-60, -50, -49, -2, 0, 1, 9, 10, 70])
@pytest.mark.parametrize("pictures", [1, 10, 50, 60])
def test_pictures_get_the_rows_of_their_frames(lag: int, pictures: int) -> None:
    table = tallied(session(50))[0]
    placed = table.placed(lag, pictures)
    expected = [500 + p - lag if 0 <= p - lag < 50 else -1 for p in range(pictures)]
    assert placed.frame_num.tolist() == expected
    assert (placed.num_rows == np.where(placed.frame_num < 0, 0, 8)).all()


def test_blank_frames_have_no_rows() -> None:
    blank = FrameTable.blank(2)
    assert (blank.frame_num == -1).all()
    assert np.isnan([blank.timestamp_first, blank.timestamp_last]).all()
    for values in (blank.num_rows, blank.num_buffers, blank.black_padding, blank.buffers):
        assert not values.any()


@given(st.lists(st.integers(0, 255), min_size=1, max_size=20))
def test_missing_buffers_do_not_move_a_frame(masks: list[int]) -> None:
    buffers = np.array([255, *masks], np.uint64)
    start = EPOCH + 0.05 * np.arange(len(buffers))
    received = buffers[:, None] >> np.arange(8, dtype=np.uint64) & np.uint64(1) > 0
    times = np.where(received, start[:, None] + 0.005 * np.arange(8), np.nan)
    known = received.any(axis=1)
    first, last = np.full_like(start, np.nan), np.full_like(start, np.nan)
    first[known], last[known] = np.nanmin(times[known], 1), np.nanmax(times[known], 1)
    found = described(buffers, timestamp_first=first, timestamp_last=last).start_times(8)
    np.testing.assert_allclose(found, np.where(known, start, np.nan), rtol=0, atol=1e-5)


def test_all_positions_of_a_mask_count() -> None:
    table = described(
        np.array([2**64 - 1, 2**63], np.uint64),
        timestamp_first=np.array([0.0, 0.63]),
        timestamp_last=np.array([0.63, 0.63]),
    )
    found = table.start_times(64)
    np.testing.assert_allclose(found, 0, atol=1e-12)


@given(st.integers(1, 64), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
def test_complete_frames_have_every_buffer(buffers: int, masks: list[int]) -> None:
    have = complete(np.array(masks, np.uint64), buffers)
    assert have.tolist() == [all(mask >> k & 1 for k in range(buffers)) for mask in masks]


def test_fragments_of_a_frame_are_counted_together() -> None:
    frame_num = np.array([5, 6, 6, -1, 7], np.int64)
    buffers = np.array([0b1111, 0b0011, 0b1100, 0b1111, 0b0111], np.uint64)
    table = described(buffers, frame_num=frame_num, whole_buffers=buffers)
    found = table.reception(4)
    assert (found.frames, found.complete, found.incomplete) == (3, 2, 1)
    assert (found.buffers, found.received, found.lost) == (12, 11, 1)
    assert FrameTable.blank(0).reception(4) == Reception(0, 0, 0, 0)


def test_frames_of_two_boots_are_not_one() -> None:
    frame_num = np.tile(np.arange(40), 2)
    buffers = np.repeat(np.array([0b01, 0b10], np.uint64), 40)
    assert described(buffers, frame_num=frame_num).reception(2).lost == 80


def test_faulty_rows_do_not_wrap_around() -> None:
    count = 40_000
    rows = {
        "reconstructed_frame_index": np.zeros(count, np.int64),
        "frame_num": np.full(count, 7),
        "frame_buffer_count": np.arange(count) + 64,
        "buffer_recv_unix_time": np.full(count, EPOCH),
        "black_padding_px": np.zeros(count, np.int64),
    }
    rows["frame_buffer_count"][0], rows["black_padding_px"][0] = 3, 2**32 + 5
    tally = FrameTally()
    tally.add(rows)
    table, _ = tally.result()
    assert table.num_buffers.tolist() == [2**15 - 1]
    assert table.short["pixels"].tolist() == [2**31 - 1]
    assert table.short.dtype == SHORT
