"""Lines and rows looked up by frame, as a plain reading finds them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miostitch.buffers.csv_files import FrameLines
from miostitch.errors import InputError, MismatchError
from miostitch.origins.sidecars import lines_at, rows_at

CELLS = st.sampled_from(["", "0", "1.50", "-3", "a b", '"x, y"', "ü"])


class RowsOfMemory:
    """Rows that stand in memory."""

    buffer_columns: tuple[str, ...] = ("reconstructed_frame_index", "value")

    def __init__(self, counts: list[int]) -> None:
        self.row_counts = np.array(counts)
        index = np.repeat(np.arange(len(counts)), counts)
        self.table = pd.DataFrame(
            {"reconstructed_frame_index": index, "value": np.arange(len(index))}
        )

    def rows(self, frames: np.ndarray) -> pd.DataFrame:
        assert (np.diff(frames) > 0).all()
        return self.table[self.table.reconstructed_frame_index.isin(frames)]


@given(st.data(), st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_rows_in_any_order(data: st.DataObject, counts: list[int]) -> None:
    rows = RowsOfMemory(counts)
    frames = data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1, max_size=12))
    where = np.array(frames), 100 + np.arange(len(frames))
    found = rows_at(rows, *where)
    expected = [
        (100 + position, value)
        for position, frame in enumerate(frames)
        for value in rows.table.value[rows.table.reconstructed_frame_index == frame]
    ]
    assert [*zip(found.reconstructed_frame_index, found.value, strict=True)] == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.data(),
    st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=9),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_lines_in_any_order(
    tmp_path: Path, data: st.DataObject, cells: list[tuple[str, str]], end: str, cut: bool
) -> None:
    path = tmp_path / "x.csv"
    lines = [f"{a},{i},{b}" for i, (a, b) in enumerate(cells)]
    text = end.join(["a,index,b", *lines, "1,2" if cut else ""])
    path.write_bytes(text.encode())
    table = FrameLines(str(path), "index")
    assert table.columns == ["a", "index", "b"]
    assert (table.count, table.cut) == (len(cells), cut)
    table.check(len(cells))
    frames = data.draw(st.lists(st.integers(0, len(cells) - 1), min_size=1, max_size=12))
    found = lines_at(table, "index", np.array(frames), np.arange(len(frames)))
    assert found["index"].tolist() == [*range(len(frames))]
    for name, at in (("a", 0), ("b", 1)):
        assert found[name].tolist() == [cells[frame][at].strip('"') for frame in frames]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "the file is empty"),
        ("a,b\n", "no column index"),
        ("a,frame\n1,0\n", "no column index"),
        ("index,a,a\n0,1,2\n", "two columns of one name"),
    ],
)
def test_a_table_of_something_else(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InputError, match=rf"x\.csv: line 1: {fault}; .*--salvage"):
        FrameLines(str(tmp_path / "x.csv"), "index")


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        (b"0,5", "line 3 does not list frame 1"),
        (b"x,5", "line 3 does not list frame 1"),
        (b"1,5\n1,5", "line 4 does not list frame 2"),
        (b"", "line 3 has 0 cells, where there should be 2"),
        (b"1", "line 3 has 1 cell, where"),
        (b"1,5,6", "line 3 has 3 cells, where"),
        (b"1,\xff", "line 3 is not UTF-8"),
        (b"1,5\r6", "line 3 is no line"),
        (b'1,"5', "line 4 does not list frame 2"),
    ],
)
def test_a_line_of_another_frame(tmp_path: Path, second: bytes, fault: str) -> None:
    (tmp_path / "x.csv").write_bytes(b"index,a\n0,4\n" + second + b"\n2,6\n")
    table = FrameLines(str(tmp_path / "x.csv"), "index")
    for read in (lambda: table.of(np.arange(3)), lambda: table.check(3)):
        with pytest.raises(MismatchError, match=rf"x\.csv: {fault}"):
            read()
    assert table.of(np.array([0])).a.tolist() == ["4"]
