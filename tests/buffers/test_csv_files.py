"""Writing tables plainly."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from miostitch.buffers.csv_files import TableWriter
from miostitch.buffers.table import read_metadata
from miostitch.errors import ResourceError
from tests.tables import LAWS, REQUIRED, session, table_of


def test_writer_writes_plainly(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    table = pd.DataFrame(
        {
            "i": [1, -(2**62)],
            "f": [0.1 + 0.2, np.nan],
            "s": ["=cmd()", 'a,"b"\n'],
            "n": pd.array([None, 3], "Int64"),
            "unused": [0, 0],
        }
    )
    with TableWriter(path, ["s", "i", "n", "f"]) as writer:
        writer.append(table[:1])
        writer.append(table)
    plain = "=cmd(),1,,0.30000000000000004\n"
    quoted = '"a,""b""\n",-4611686018427387904,3,\n'
    assert path.read_bytes().decode() == f"s,i,n,f\n{plain}{plain}{quoted}"


@LAWS
@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")),
        ),
        min_size=1,
    )
)
@example([(0, 1.7e308, ""), (0, -1.7e308, "")])
def test_writing_then_reading_is_identity(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[int, float, str]]
) -> None:
    path = tmp_path_factory.mktemp("law") / "a.csv"
    number, time, note = (list(column) for column in zip(*cells, strict=True))
    table = table_of([(i, number[i], 0, time[i]) for i in range(len(cells))])
    table["note"] = note
    with TableWriter(path, list(table.columns)) as writer:
        writer.append(table)
    got = read_metadata(path).rows(np.arange(len(cells)))
    assert got["note"].tolist() == note
    numbers = list(REQUIRED)
    pd.testing.assert_frame_equal(got[numbers], table[numbers], check_exact=True)


def test_writer_without_space_or_folder(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"no/a\.csv: cannot be written"):
        TableWriter(tmp_path / "no" / "a.csv", ["a"])
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    with (
        pytest.raises(ResourceError, match="No space"),
        TableWriter(full, list(REQUIRED)) as writer,
    ):
        writer.append(session(2000))


def test_writer_keeps_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), TableWriter(tmp_path / "a.csv", ["a"]):
        raise ZeroDivisionError
