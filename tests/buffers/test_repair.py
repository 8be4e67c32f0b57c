"""Header repair: what is certain is repaired, what is not stays as recorded."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miostitch.buffers.repair import (
    MARGIN,
    HeaderLayout,
    derive_layout,
    describe_evidence,
    repair_batches,
    repair_table,
)

LAYOUT = HeaderLayout(8, 32, (5072,) * 7 + (4496,))
HEADER = ["linked_list", "frame_num", "buffer_count", "frame_buffer_count", "pixel_count"]


def headers(positions: np.ndarray) -> pd.DataFrame:
    columns = (
        positions % 32,
        positions // 8,
        positions,
        positions % 8,
        np.asarray(LAYOUT.sizes)[positions % 8],
    )
    return pd.DataFrame(dict(zip(HEADER, columns, strict=True))).astype("int64")


def flip(table: pd.DataFrame, row: int, column: str, bit: int) -> None:
    values = table[column].to_numpy(np.int64, copy=True)
    values[row] ^= 1 << bit
    table[column] = values


@st.composite
def streams(draw: st.DrawFn) -> pd.DataFrame:
    """Sound headers of a session that starts anywhere and loses buffers and frames."""
    random = np.random.default_rng(draw(st.integers(0, 999)))
    steps = random.choice([1, 1, 1, 1, 2, 3, 9], draw(st.integers(40, 90)))
    return headers(draw(st.integers(8, 10**6)) + np.cumsum(steps))


@pytest.mark.fault(29, "any bit of any redundant field", "repaired, logged")
@given(streams(), st.data())
def test_one_flip_between_sound_rows_is_repaired(stream: pd.DataFrame, data: st.DataObject) -> None:
    damaged = stream.copy()
    rows = data.draw(st.sets(st.sampled_from(range(1, len(stream) - 1, 2)), max_size=8))
    for row in rows:
        flip(damaged, row, data.draw(st.sampled_from(HEADER)), data.draw(st.integers(0, 30)))
    repaired, log = repair_table(damaged, LAYOUT)
    pd.testing.assert_frame_equal(repaired, stream)
    assert set(log["row"]) == set(rows)
    for row, column, old, new in log[["row", "column", "old", "new"]].itertuples(index=False):
        assert damaged.loc[row, column] == old != new == stream.loc[row, column]


@given(streams(), st.lists(st.integers(1, 60)), st.integers(0, 999))
def test_batches_give_what_the_whole_table_gives(
    stream: pd.DataFrame, sizes: list[int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    for row in random.choice(len(stream), len(stream) // 2):
        flip(stream, row, str(random.choice(HEADER)), int(random.integers(10)))
    cuts = [0, *np.cumsum(sizes, dtype=int), len(stream)]
    batches = [stream.iloc[lo:hi] for lo, hi in pairwise(cuts) if lo < hi]
    parts = [*repair_batches(batches, LAYOUT)]
    table, log = repair_table(stream, LAYOUT)
    pd.testing.assert_frame_equal(pd.concat([part for part, _ in parts]), table)
    pd.testing.assert_frame_equal(pd.concat([p for _, p in parts], ignore_index=True), log)


def test_only_a_few_rows_are_held_back() -> None:
    stream = headers(np.arange(100, 1100))
    first, _ = next(repair_batches(iter([stream.iloc[:500]]), LAYOUT))
    assert len(first) == 500 - MARGIN


def test_what_was_recorded_is_left_alone() -> None:
    stream = headers(np.arange(100, 200))
    before = stream.copy()
    flip(stream, 50, "frame_num", 3)
    damaged = stream.copy()
    repair_table(stream, LAYOUT)
    pd.testing.assert_frame_equal(stream, damaged)
    assert not stream.equals(before)


@pytest.mark.parametrize(
    "columns", [("frame_num", "buffer_count", "frame_buffer_count"), tuple(HEADER[:4])]
)
def test_a_header_of_noise_stays(columns: tuple[str, ...]) -> None:
    stream = headers(np.arange(100, 200))
    for column in columns:
        stream.loc[50, column] = 123457
    repaired, log = repair_table(stream, LAYOUT)
    unknown = stream.copy()
    if "frame_num" in columns:
        unknown.loc[50, "frame_num"] = -1  # so that it invents no frame
    pd.testing.assert_frame_equal(repaired, unknown)
    assert log["column"].tolist() == [c for c in columns if c == "frame_num"]
    assert [describe_evidence(e) for e in log["evidence"]] == [
        "no place between its neighbours" for _ in log["column"]
    ]


def scramble(table: pd.DataFrame, first: int, last: int, *columns: str) -> None:
    """Make noise of fields, so that nothing can be said of these rows."""
    for column in columns:
        table.loc[first:last, column] = 123457


def test_noise_between_two_frames_far_apart_may_be_of_any_between() -> None:
    stream = headers(np.concatenate([np.arange(100, 150), [200], np.arange(250, 300)]))
    scramble(stream, 50, 50, "linked_list", "buffer_count", "frame_buffer_count")
    for frame, kept in ((25, 25), (18, 18), (31, 31), (17, -1), (32, -1)):
        stream.loc[50, "frame_num"] = frame
        assert repair_table(stream, LAYOUT)[0].loc[50, "frame_num"] == kept


def test_sound_rows_out_of_reach_say_nothing() -> None:
    stream = headers(np.arange(100, 240))
    scramble(stream, 50, 89, "linked_list", "buffer_count", "frame_buffer_count")
    scramble(stream, 50, 89, "frame_num")
    repaired = repair_table(stream, LAYOUT)[0]["frame_num"]
    # 16 rows from the nearest sound one the counter may have been anywhere
    assert repaired[50:66].tolist() == repaired[74:90].tolist() == [-1] * 16
    assert repaired[66:74].tolist() == [123457] * 8


@pytest.mark.parametrize(
    ("lost", "witnesses"),
    [
        ("before", "row after"),
        ("after", "row before"),
        ("neither", "row before, row after"),
    ],
)
def test_rows_that_follow_each_other_are_witnesses(lost: str, witnesses: str) -> None:
    steps = np.ones(100, np.int64)
    steps[{"before": 50, "after": 51, "neither": 0}[lost]] = 50
    stream = headers(100 + np.cumsum(steps))
    flip(stream, 50, "frame_num", 3)
    [evidence] = repair_table(stream, LAYOUT)[1]["evidence"]
    fields = "buffer_count, frame_buffer_count, linked_list"
    assert describe_evidence(evidence) == f"{fields}, {witnesses}"


def test_two_fields_are_enough_whether_or_not_buffers_were_lost() -> None:
    for positions in (np.arange(100, 200), np.arange(100, 1000, 9)):
        table = headers(positions)
        flip(table, 50, "frame_num", 2)
        flip(table, 50, "buffer_count", 7)
        assert repair_table(table, LAYOUT)[0].equals(headers(positions))


def flipped_bits(row: list[int], position: int) -> int:
    """In how many bits the counters of a row differ from those of a position."""
    expected = values(headers(np.array([position])), 0)
    return sum((one ^ other).bit_count() for one, other in zip(row, expected, strict=True))


def values(table: pd.DataFrame, row: int) -> list[int]:
    """The counters of a row."""
    found: list[int] = table[HEADER[:4]].to_numpy(np.int64)[row].tolist()
    return found


@given(streams(), st.data())
def test_the_position_of_fewest_flipped_bits_is_taken(
    stream: pd.DataFrame, data: st.DataObject
) -> None:
    row = data.draw(st.integers(1, len(stream) - 2))
    for _ in range(data.draw(st.integers(1, 4))):
        flip(stream, row, data.draw(st.sampled_from(HEADER[:4])), data.draw(st.integers(0, 15)))
    before, own, after = stream["buffer_count"].to_numpy(np.int64)[row - 1 : row + 2].tolist()
    known = values(stream, row)
    if flipped_bits(known, own) == 0:
        return  # nothing says that it is damaged, unless it is out of order
    bits = {p: flipped_bits(known, p) for p in range(before, after + 1)}
    best = [p for p, n in bits.items() if n == min(bits.values())]
    got, expected = values(repair_table(stream, LAYOUT)[0], row), values(headers(np.array(best)), 0)
    # a place that no field and no row next to it speaks for is none
    witnessed = any(map(int.__eq__, known, expected)) or best[0] in (before + 1, after - 1)
    if len(best) == 1 and witnessed:
        assert got == expected
    else:
        assert got[1] in {-1, known[1], *(p // 8 for p in best)}


def counters(linked_list: int, frame_num: int, buffer_count: int, position: int) -> list[int]:
    return [linked_list, frame_num, buffer_count, position]


@pytest.mark.parametrize(
    ("row", "true"),
    [
        # linked_list, the position and the row after outvote buffer_count, which is right
        (counters(15, 312, 455, 7), 455),
        # two flipped fields, and a frame_num that the rows around would allow
        (counters(6, 26, 199, 7), 199),
    ],
)
def test_a_vote_does_not_outweigh_bits(row: list[int], true: int) -> None:
    positions = np.array([*range(true - 40, true - 6), true, *range(true + 9, true + 40)])
    stream = headers(positions)
    expected = stream.copy()
    stream.loc[34, HEADER[:4]] = row
    assert repair_table(stream, LAYOUT)[0].equals(expected)


@pytest.mark.parametrize("at_start", [True, False])
def test_a_first_or_last_row_invents_no_frame(at_start: bool) -> None:
    expected = headers(np.arange(20_000, 20_100))
    stream, row = expected.copy(), 0 if at_start else 99
    flip(stream, row, "frame_num", 7)  # 2500 becomes 2372
    flip(stream, row, "buffer_count", 10)  # as well
    flip(stream, row, "linked_list", 4)
    assert values(stream, row)[1] == values(expected, row)[1] ^ 128
    repaired, log = repair_table(stream, LAYOUT)
    assert values(repaired, row)[1] in (-1, values(expected, row)[1])
    assert set(log["row"]) == {row}
    for name in ("frame_num", "buffer_count"):  # one flip alone is repaired
        single = expected.copy()
        flip(single, row, name, 9)
        assert repair_table(single, LAYOUT)[0].equals(expected)


def test_more_than_usual_may_be_lost_behind_the_first_row() -> None:
    expected = headers(np.array([20_001, *range(21_307, 21_400)]))
    stream = expected.copy()
    flip(stream, 0, "frame_num", 0)
    assert repair_table(stream, LAYOUT)[0].equals(expected)


@pytest.mark.fault(30, "the same bit of all counters", "repaired by the neighbours")
def test_the_same_bit_of_all_counters_is_found_by_the_neighbours() -> None:
    stream = headers(np.arange(2000, 2200))
    flip(stream, 83, "frame_num", 6)
    flip(stream, 83, "buffer_count", 9)
    repaired, log = repair_table(stream, LAYOUT)
    assert repaired.equals(headers(np.arange(2000, 2200)))
    assert log["column"].tolist() == ["buffer_count", "frame_num"]


def test_a_tie_invents_no_frame() -> None:
    stream = headers(np.array([*range(2000, 2080), 2088, *range(2090, 2200)]))
    stream = stream.drop(columns="linked_list")
    flip(stream, 80, "frame_num", 6)
    flip(stream, 80, "buffer_count", 0)  # as near to 2088 as to 2089
    repaired, _ = repair_table(stream, HeaderLayout(8, 0, LAYOUT.sizes))
    assert repaired["frame_num"][80] == -1
    assert repaired["frame_num"].drop(80).equals(stream["frame_num"].drop(80))


def test_counters_do_not_run_back_but_a_reboot_is_left_alone() -> None:
    stream = headers(np.concatenate([np.arange(9000, 9100), np.arange(8, 108)]))
    expected = stream.copy()
    flip(stream, 99, "frame_num", 4)
    flip(stream, 101, "buffer_count", 11)
    assert repair_table(stream, LAYOUT)[0].equals(expected)


def test_a_flip_that_two_fields_share_is_no_evidence_against_its_neighbours() -> None:
    # buffer_count and linked_list agree on a position that lies far ahead of the row after
    stream = headers(np.arange(100, 200))
    stream.loc[50, ["buffer_count", "linked_list"]] = (150 + 4096, (150 + 4096) % 32)
    assert repair_table(stream, LAYOUT)[0].equals(headers(np.arange(100, 200)))


@given(
    st.sampled_from([(8, 32), (8, 16), (5, 40), (1, 7)]), st.integers(1, 5000), st.integers(0, 99)
)
def test_layout_is_derived_through_noise(layout: tuple[int, int], start: int, seed: int) -> None:
    factor, ring = layout
    random = np.random.default_rng(seed)
    position = start * factor + np.arange(400)
    table = pd.DataFrame({
        "linked_list": position % ring,
        "frame_num": position // factor,
        "buffer_count": position,
        "frame_buffer_count": position % factor,
        "pixel_count": 100 + position % factor,
    })  # fmt: skip
    for row in random.choice(400, 20, replace=False):
        flip(table, row, str(random.choice(HEADER)), int(random.integers(20)))
    assert derive_layout(table) == HeaderLayout(factor, ring, tuple(range(100, 100 + factor)))


def test_without_redundancy_there_is_no_layout() -> None:
    table = headers(np.arange(100, 200))
    table["buffer_count"] = np.random.default_rng(1).permutation(100)
    assert derive_layout(table) is None


def test_linked_list_is_optional() -> None:
    table = headers(np.arange(100, 300)).drop(columns="linked_list")
    expected = table.copy()
    flip(table, 150, "buffer_count", 5)
    layout = derive_layout(table)
    assert layout == HeaderLayout(8, 0, LAYOUT.sizes)
    assert repair_table(table, layout)[0].equals(expected)


def test_real_headers(recordings: Path) -> None:
    table = pd.read_csv(recordings / "stitch" / "video1.csv")
    layout = derive_layout(table)
    assert layout == HeaderLayout(8, 32, (5032,) * 7 + (4776,))
    repaired, log = repair_table(table, layout)
    assert log.iloc[:, :4].to_numpy().tolist() == [
        [63, "buffer_count", 20163, 20175],
        [150, "linked_list", 3, 7],
        [237, "frame_num", 2535, 2543],
        [261, "buffer_count", 16791, 20375],
    ]
    everyone_else = "frame_num, frame_buffer_count, linked_list, row before, row after"
    assert describe_evidence(log["evidence"][0]) == everyone_else
    assert (repaired["buffer_count"].diff().iloc[1:] >= 1).all()


def test_sound_headers_stay(recordings: Path) -> None:
    table = pd.read_csv(recordings / "capture3" / "receiver1.csv")
    layout = derive_layout(table)
    assert layout is not None
    repaired, log = repair_table(table, layout)
    assert log.empty
    pd.testing.assert_frame_equal(repaired, table)
