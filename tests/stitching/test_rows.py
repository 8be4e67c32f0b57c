"""The rows of the result: in order, from who gave each buffer, on one clock."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from miostitch.buffers.row_writer import BufferTable, RowFormat
from miostitch.recording.recording import open_recordings
from miostitch.schema import COLUMNS, CORRECTED
from miostitch.session.clocks import to_first_clock
from miostitch.session.session import AlignOptions, Session, bring_together
from miostitch.stitching.options import StitchConfig
from miostitch.stitching.rows import (
    RECEIVER,
    BlockRows,
    RowPlan,
    frame_times,
    rows_of_buffers,
    rows_of_frames,
)
from miostitch.stitching.tables import column_names
from tests.laziness import stitch_frames
from tests.reference.composition import repaired_table
from tests.sessions import Made, change_table, made, renumber

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = [column.name for column in COLUMNS]
session = made()


@pytest.fixture(scope="module")
def together(session: Made) -> Session:
    return session.together()


@pytest.fixture(scope="module")
def gave(together: Session) -> np.ndarray:
    return composed_by(together)


def composed_by(session: Session) -> np.ndarray:
    """Who gave each buffer, (frame, position)."""
    span = slice(0, session.shape[0])
    made = stitch_frames(session, span, 16, StitchConfig(by="buffer"))
    gave: np.ndarray = made.buffer_source.to_numpy()
    return gave


def source_of(session: Session) -> np.ndarray:
    """The first recording that has each frame, (frame,)."""
    here = session.source_frame(slice(None)) >= 0
    first: np.ndarray = here.argmax(axis=0).astype(np.int8)
    return first


def test_rows_are_in_order_and_spans_are_parts(together: Session, gave: np.ndarray) -> None:
    whole = rows_of_buffers(together, slice(0, len(gave)), gave)
    place = ["reconstructed_frame_index", "frame_buffer_count"]
    assert not whole[place].duplicated().any()
    by = [place[0], CORRECTED.name, place[1]]
    assert whole[by].equals(whole[by].sort_values(by))
    spans = [slice(at, min(at + 5, len(gave))) for at in range(0, len(gave), 5)]
    parts = [rows_of_buffers(together, span, gave[span]) for span in spans]
    pd.testing.assert_frame_equal(
        pd.concat(parts).reset_index(drop=True), whole.reset_index(drop=True)
    )
    delivered = {(i, k) for i, k in np.argwhere(gave >= 0)}
    assert set(map(tuple, whole[place].to_numpy())) <= delivered


def test_rows_of_frames_are_those_of_their_source(session: Made, together: Session) -> None:
    source_frame = together.source_frame(slice(None))
    chosen = source_of(together)
    span = slice(2, 15)
    rows = rows_of_frames(together, span, chosen[span])
    tables = [repaired_table(path) for path in session.videos]
    for place in range(span.start, span.stop):
        number = chosen[place]
        index = source_frame[number, place] - session.config.lag
        table = tables[number][tables[number].reconstructed_frame_index == index]
        expected = table[NAMES[:-1]]
        found = rows[rows.reconstructed_frame_index == place]
        pd.testing.assert_frame_equal(
            found[NAMES[:-1]].reset_index(drop=True), expected.reset_index(drop=True)
        )
        assert (found[RECEIVER] == number).all()


def test_rows_of_a_composed_frame_stand_as_they_were_received(tmp_path: Path) -> None:
    swapped = Made(tmp_path, seed=14, header_flips=0, late_start_frames=0)

    def late(table: pd.DataFrame) -> pd.DataFrame:  # the first buffer comes after others
        first = table.frame_buffer_count == 0
        times = table.buffer_recv_unix_time + np.where(first, 0.02, 0)
        return table.assign(buffer_recv_unix_time=times)

    for video in swapped.videos:
        change_table(video, late)
    together = swapped.together()
    gave = composed_by(together)
    rows = rows_of_buffers(together, slice(0, len(gave)), gave)
    for _, frame in rows.groupby("reconstructed_frame_index"):
        assert frame[CORRECTED.name].is_monotonic_increasing
    position = rows.frame_buffer_count.to_numpy()
    assert (np.diff(position)[np.diff(rows.reconstructed_frame_index) == 0] < 0).any()


@pytest.mark.parametrize("one_clock", [True, False])
def test_times_are_those_of_the_first_and_the_last_row(
    together: Session, gave: np.ndarray, one_clock: bool
) -> None:
    together = replace(together, one_clock=one_clock)
    span = slice(0, len(gave))
    rows = rows_of_buffers(together, span, gave)
    times = frame_times(rows, span)
    clocks = together.alignment.clocks
    for frame in range(len(gave)):
        own = rows[rows.reconstructed_frame_index == frame]
        received = [
            to_first_clock(time, clocks[receiver]) if one_clock else time
            for time, receiver in zip(own.buffer_recv_unix_time, own[RECEIVER], strict=True)
        ]
        if own[RECEIVER].nunique() > 1:
            received.sort()
        expected = (received[0], received[-1]) if received else (np.nan, np.nan)
        np.testing.assert_array_equal(times[:, frame], expected)


def test_one_clock_is_the_first_receivers(tmp_path: Path) -> None:
    apart = Made(tmp_path, seed=11, frames=40, clock_offset_s=30.0, late_start_frames=0)
    together = apart.together()
    gave = composed_by(together)
    rows = rows_of_buffers(together, slice(0, len(gave)), gave)
    number = together.frame_num(slice(None)) - apart.config.first_frame_num
    apart_ = replace(together, one_clock=False)
    raw_rows = rows_of_buffers(apart_, slice(0, len(gave)), gave)
    raw = frame_times(raw_rows, slice(0, len(gave)))[0]
    one = frame_times(rows, slice(0, len(gave)))[0]
    sent = one - number / 20
    assert np.nanmax(sent) - np.nanmin(sent) < 0.05  # where first buffers are lost, by the next
    assert np.nanmax(raw - number / 20) - np.nanmin(raw - number / 20) > 29


def test_numbers_may_differ_between_recordings_aligned_by_time(tmp_path: Path) -> None:
    apart = Made(tmp_path, seed=12, frames=200, height=10, width=20, header_flips=0)
    renumber(apart.videos, 1000)
    together = bring_together(open_recordings(apart.names), AlignOptions("time"))
    both = np.all(together.source_frame(slice(None)) >= 0, axis=0)
    assert both.sum() > 150
    gave = composed_by(together)
    rows = rows_of_buffers(together, slice(0, len(gave)), gave)
    assert len(rows) > 0.95 * (gave >= 0).sum()
    ahead = rows.frame_num - together.frame_num(slice(None))[rows.reconstructed_frame_index]
    shared = both[rows.reconstructed_frame_index.to_numpy()]
    right = ahead.to_numpy() == 1000 * rows[RECEIVER].to_numpy()
    assert right[shared].all()
    given = gave[rows.reconstructed_frame_index, rows.frame_buffer_count]
    assert ((rows[RECEIVER] == given) & (given == 1)).sum() > 20


def test_a_table_without_padding_has_none(tmp_path: Path) -> None:
    bare = Made(tmp_path, seed=13, header_flips=0.1, truncation=0.1)
    change_table(bare.videos[0], lambda t: t.drop(columns=["black_padding_px", "linked_list"]))
    change_table(bare.videos[1], lambda t: t.assign(note="a"))
    together = bare.together()
    gave = composed_by(together)
    rows = rows_of_buffers(together, slice(0, len(gave)), gave)
    place = ["reconstructed_frame_index", "frame_buffer_count"]
    assert not rows[place].duplicated().any()
    mine = rows[RECEIVER] == 0
    assert rows.black_padding_px[mine].isna().all()
    assert (rows.note[~mine] == "a").all()


@pytest.mark.parametrize("composed", [False, True])
def test_a_task_makes_the_rows_of_its_block_from_what_it_is_sent(
    together: Session, gave: np.ndarray, tmp_path: Path, composed: bool
) -> None:
    gave = gave if composed else source_of(together)
    find = rows_of_buffers if composed else rows_of_frames
    count = len(gave)
    form = RowFormat.of(column_names(together, composed=composed))
    spans = [slice(at, min(at + 6, count)) for at in range(0, count, 6)]
    plans = [RowPlan(BlockRows.of(together, each, composed=composed), form) for each in spans]
    sent = [pickle.loads(pickle.dumps(plan)) for plan in plans]
    name = "buffer_source" if composed else "source"
    parts = [plan.make({name: gave[each]}) for plan, each in zip(sent, spans, strict=True)]
    rows = find(together, slice(0, count), gave)
    with BufferTable(
        column_names(together, composed=composed), tmp_path / "rows.csv", None
    ) as table:
        table.append(rows)
    text = (tmp_path / "rows.csv").read_bytes().split(b"\n", 1)[1]
    assert b"".join(part["text"].tobytes() for part in parts) == text
    times = np.concatenate([part["times"] for part in parts]).T
    np.testing.assert_array_equal(times, frame_times(rows, slice(0, count)))
    numbers = np.concatenate([part["column frame_num"] for part in parts])
    np.testing.assert_array_equal(numbers, rows.frame_num)


def test_a_plan_of_rows_is_as_small_in_a_long_session(tmp_path: Path) -> None:
    sizes = []
    for name, frames in (("short", 30), ("long", 1500)):
        size = {"frames": frames, "height": 4, "width": 20}
        long = Made(tmp_path / name, seed=3, header_flips=0, **size)
        block = BlockRows.of(long.together(), slice(10, 20), composed=True)
        sizes.append(len(pickle.dumps(RowPlan(block, RowFormat(())))))
    assert sizes[1] < 1.3 * sizes[0] < 10_000
