"""One row per frame, whatever the order of the rows and the batches they come in."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miostitch.buffers import frame_table
from miostitch.buffers.frame_table import Fold, FrameTable, FrameTally, folded
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


def test_tally_says_which_frames_a_batch_holds() -> None:
    table = session(4)
    rows = {str(name): table[name].to_numpy() for name in table}
    assert FrameTally().add({name: values[12:28] for name, values in rows.items()}) == (1, 3)
    rows["reconstructed_frame_index"] = np.full(len(table), -1)
    tally = FrameTally()
    assert tally.add(rows) == (0, -1)
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
