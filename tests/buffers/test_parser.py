"""From text to numbers, by the fast parser or line by line."""

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miostitch.buffers import parser as table_parser
from miostitch.buffers.header import header_columns
from miostitch.buffers.parser import TableParser, text_blocks
from miostitch.errors import MetadataError
from tests.tables import HEADER, LAWS, REQUIRED, lines_of, session

PARSER = TableParser("a.csv", REQUIRED, max_frame=1000, salvage=False)
SALVAGER = TableParser("a.csv", REQUIRED, max_frame=1000, salvage=True)


def text_of(table: pd.DataFrame) -> bytes:
    return b"".join(line + b"\n" for line in lines_of(table)[1:])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\n", b"\r\n"),
        (b"\n", b"\n\n"),
        (b"\n", b"\r\n\r\n"),
        (b"500,", b'"500",'),
        (b"500,", b" +500\t,"),
        (b"1000000000.05,", b"+1.00000000005e9,"),
    ],
)
def test_spellings_of_the_same_rows(old: bytes, new: bytes) -> None:
    text = text_of(session(3))
    assert old in text
    parsed = PARSER.parse(text.replace(old, new), 2)
    assert parsed.table.equals(PARSER.parse(text, 2).table)
    assert (parsed.faults, parsed.headers, parsed.floats) == ((), (), frozenset())
    spread = new.count(b"\n") if b"\n" in new else 1
    assert parsed.lines.tolist() == [2 + spread * row for row in range(24)]


def test_columns_in_any_order_and_further_ones_as_text() -> None:
    table = session(1)[list(REQUIRED[::-1])]
    notes = ["NaN", "", "0x1F", "007", "é", " b ", '"', "1,5"]
    table.insert(0, "note", notes)
    parsed = TableParser("a.csv", tuple(table.columns), 1000, salvage=False).parse(
        text_of(table), 2
    )
    pd.testing.assert_frame_equal(
        parsed.table.to_pandas().astype({"note": object}), table.astype({"note": object})
    )


def test_integer_columns_of_floats_are_named_and_then_read_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = text_of(session(2).astype(float))
    parsed = PARSER.parse(text, 2)
    assert parsed.floats == set(REQUIRED) - {"buffer_recv_unix_time"}
    assert parsed.table.equals(PARSER.parse(text_of(session(2)), 2).table)
    taught = TableParser("a.csv", REQUIRED, 1000, salvage=False, floats=parsed.floats)
    monkeypatch.delattr(TableParser, "_sifted")
    assert taught.parse(text, 2).table.equals(parsed.table)


FAULTY = [
    (b"nan,2,0,100,0.5,0", "column frame_num is 'nan', not an integer"),
    (b"1,,0,100,0.5,0", "column buffer_count is '', not an integer"),
    (b"0x10,2,0,100,0.5,0", "column frame_num is '0x10'"),
    (b'"0"x10,2,0,100,0.5,0', "no comma separated"),
    (b"1,2,0.5,100,0.5,0", "column frame_buffer_count is '0.5', not an integer"),
    (b"1,1_0,0,100,0.5,0", "column buffer_count is '1_0'"),
    (b"1,2,0,9223372036854775808,0.5,0", "column pixel_count is '9223372036854775808', more than"),
    (b"1,2,0,1e999999,0.5,0", "column pixel_count is '1e999999', more than"),
    (b"1,2,0,100,,0", "column buffer_recv_unix_time is '', not a finite number"),
    (b"1,2,0,100,inf,0", "column buffer_recv_unix_time is 'inf'"),
    (b"1,2,0,100,1e400,0", "column buffer_recv_unix_time is '1e400'"),
    (b"1,2,0,100,0.5,-2", "column reconstructed_frame_index is -2, neither -1 nor"),
    (b"1,2,0,100,0.5,2147483647", "column reconstructed_frame_index is 2147483647, neither"),
    (b"1,2,0,100,0.5", "5 cells where the header names 6"),
    (b"1,2,0,100,0.5,0,7", "7 cells where the header names 6"),
    (b"1,2,\0\0\0\0,0.5,0", "NUL bytes"),
    (b"1,2,0,100,\xb5,0", "no comma separated UTF-8"),
    (b'1,2,0,100,0.5,"0', "no comma separated UTF-8"),
    (b"1,2,0,100,0.5,0\r1,2,0,100,0.5,0", "no comma separated UTF-8"),
]


@pytest.mark.parametrize(("line", "what"), FAULTY)
@pytest.mark.parametrize("at", [0, 13, 24])
def test_faulty_row_is_named_or_salvaged(line: bytes, what: str, at: int) -> None:
    lines = lines_of(session(3))[1:]
    want = PARSER.parse(b"\n".join([*lines, b""]), 2).table
    lines.insert(at, line)
    text = b"\n".join([*lines, b""])
    with pytest.raises(MetadataError) as caught:
        PARSER.parse(text, 2)
    assert str(caught.value).startswith(f"a.csv: line {at + 2}: {what}")
    assert "--salvage" in str(caught.value)
    parsed = SALVAGER.parse(text, 2)
    assert parsed.table.equals(want)
    assert parsed.lines.tolist() == [2 + row for row in range(25) if row != at]
    ((where, fault),) = parsed.faults
    assert where == at + 2
    assert fault.startswith(what)


def test_second_header_is_no_row() -> None:
    text = text_of(session(1))
    parsed = PARSER.parse(text + HEADER + b"\n" + text, 2)
    assert parsed.headers == (10,)
    assert len(parsed.table) == 16


@LAWS
@given(
    at=st.integers(0, 700),
    junk=st.binary(max_size=9) | st.sampled_from([b"\n", b",", b'"', b"\r", b".0", b"\0", b"0x"]),
    cut=st.integers(0, 9),
)
def test_fast_and_slow_parser_agree(at: int, junk: bytes, cut: int) -> None:
    text = text_of(session(3))
    damaged = text[:at] + junk + text[at + cut :].removesuffix(b"\n") + b"\n"
    parsed = SALVAGER.parse(damaged, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_parser, "_is_odd", lambda text: True)  # every block is sifted
        sifted = SALVAGER.parse(damaged, 2)
    assert sifted.table.equals(parsed.table)
    np.testing.assert_array_equal(sifted.lines, parsed.lines)


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_header(start: bytes, end: bytes) -> None:
    assert header_columns("a.csv", start + HEADER + b",note" + end) == (*REQUIRED, "note")


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (b"", "the file is empty"),
        (b"\n", "missing columns"),
        (HEADER, "holds no line"),
        (HEADER.replace(b",", b";") + b"\n", "not separated by commas"),
        (HEADER.replace(b",", b"\t") + b"\n", "not separated by commas"),
        (HEADER + b",\xb5m\n", "UTF-8"),
        (HEADER.decode().encode("utf-16") + b"\n", "UTF-8"),
        (HEADER.replace(b"frame_num", b"number") + b"\n", r"columns frame_num; found number"),
        (HEADER + b",pixel_count\n", "pixel_count twice"),
    ],
)
def test_headers_of_no_table(header: bytes, what: str) -> None:
    with pytest.raises(MetadataError, match=rf"a\.csv.*{what}"):
        header_columns("a.csv", header)


@LAWS
@given(
    text=st.lists(st.sampled_from([b"\n", b"a", b"bcd"]), max_size=40).map(b"".join),
    size=st.integers(1, 50),
)
def test_text_comes_in_whole_lines(text: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_parser, "BLOCK_BYTES", size)
        blocks = [*text_blocks("a.csv", io.BytesIO(text))]
    assert b"".join(blocks) == text
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    assert b"" not in blocks


def test_endless_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_parser, "MAX_LINE_BYTES", 2**21)
    with pytest.raises(MetadataError, match=r"a\.csv: a line of over"):
        list(text_blocks("a.csv", io.BytesIO(bytes(2**22))))
