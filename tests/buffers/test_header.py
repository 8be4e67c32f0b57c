"""Tables as spreadsheet programs save them, and columns of any name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miostitch.buffers.header import header_columns
from miostitch.buffers.table import Metadata, read_metadata
from miostitch.errors import MetadataError
from tests.tables import HEADER, LAWS, lines_of, session


def put(path: Path, text: bytes) -> Metadata:
    path.write_bytes(text)
    return read_metadata(path)


def text_of(table: pd.DataFrame) -> str:
    return b"".join(line + b"\n" for line in lines_of(table)).decode()


def semicolons(text: str) -> str:
    return text.replace(",", ";").replace(".", ",")


SPREADSHEETS: dict[str, Callable[[str], str]] = {
    "semicolons": semicolons,
    "semicolons and points": lambda text: text.replace(",", ";"),
    "tabulators": lambda text: semicolons(text).replace(";", "\t"),
    "sep": lambda text: f"sep=;\n{semicolons(text)}",
    "mark and sep": lambda text: f"\ufeffsep=;\r\n{semicolons(text)}".replace("\n", "\r\n"),
    "carriage returns": lambda text: text.replace("\n", "\r"),
    "empty columns": lambda text: text.replace("\n", ",,,\n"),
    "empty cells behind rows": lambda text: text.replace("\n", ",,\n").replace(",,\n", "\n", 1),
    "quotes": lambda text: "".join(
        ",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in text.splitlines()
    ),
    "all at once": lambda text: (
        "\ufeffsep=;\r" + semicolons(text).replace("\n", ";;\r").replace("500;", '"500";')
    ),
}


@pytest.mark.fault(64, "each of ten spellings", "read as the table that it was")
@pytest.mark.parametrize("name", SPREADSHEETS)
def test_spellings_of_spreadsheet_programs_are_the_same_table(tmp_path: Path, name: str) -> None:
    table = session(12)
    plain = text_of(table)
    expected = put(tmp_path / "plain.csv", plain.encode())
    found = put(tmp_path / "saved.csv", SPREADSHEETS[name](plain).encode())
    assert found.columns == expected.columns
    assert not found.oddities
    for frames in (np.arange(12), np.array([7, 2])):
        pd.testing.assert_frame_equal(found.rows(frames), expected.rows(frames))
    for column, values in vars(expected.frames).items():
        np.testing.assert_array_equal(getattr(found.frames, column), values)


def test_a_cell_of_a_column_without_a_name_is_not_lost(tmp_path: Path) -> None:
    text = text_of(session(2)).replace("\n", ",\n").replace(",\n", ",here\n", 3)
    header, rest = text.split("\n", 1)
    with pytest.raises(MetadataError, match=r"line 2: 7 cells where the header names 6 columns"):
        put(tmp_path / "a.csv", f"{header.removesuffix('here')}\n{rest}".encode())


@pytest.mark.fault(64, "times rounded to seconds, to tenths, to 1.76E+09", "warning, no clock")
@pytest.mark.parametrize("spelled", ["{:.0f}", "{:.1f}", "{:.2E}"])
def test_rounded_times_tell_no_clock(tmp_path: Path, spelled: str) -> None:
    table = session(20)
    table["buffer_recv_unix_time"] = [*map(spelled.format, table["buffer_recv_unix_time"])]
    found = put(tmp_path / "a.csv", text_of(table).encode())
    assert any("times of reception are rounded" in each for each in found.oddities)
    assert np.isnan(found.frames.timestamp_first).all()
    assert np.isnan(found.frames.timestamp_last).all()
    rows = found.rows(np.arange(20))["buffer_recv_unix_time"]
    assert rows.tolist() == [*map(float, table["buffer_recv_unix_time"])]


def test_times_of_milliseconds_are_not_rounded(tmp_path: Path) -> None:
    found = put(tmp_path / "a.csv", text_of(session(20)).encode())
    assert not found.oddities
    assert np.isfinite(found.frames.timestamp_first).all()


@pytest.mark.fault(64, "cut at the most lines of a spreadsheet", "warning")
@pytest.mark.parametrize(("lines", "warned"), [(2**16 - 1, False), (2**16, True)])
def test_a_table_that_fills_a_spreadsheet_may_be_cut(
    tmp_path: Path, lines: int, warned: bool
) -> None:
    row = b"1,2,0,100,0.001,0\n"
    found = put(tmp_path / "a.csv", HEADER + b"\n" + row * (lines - 1))
    assert any(f"cut the table at line {lines}" in each for each in found.oddities) == warned


@given(st.lists(st.text(st.characters(exclude_characters='\n\r"\0', codec="utf-8")), max_size=4))
@LAWS
def test_headers_of_any_columns_are_read_or_refused(names: list[str]) -> None:
    quoted = [f'"{name}"' for name in names]
    line = ",".join([HEADER.decode(), *quoted]).encode() + b"\n"
    found = [*HEADER.decode().split(","), *names]
    named = [*found]
    while named and not named[-1]:
        named.pop()
    if len(set(named)) < len(named):
        with pytest.raises(MetadataError, match=r"twice|have no name"):
            header_columns("a.csv", line)
    else:
        assert header_columns("a.csv", line) == tuple(found)
