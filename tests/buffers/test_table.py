"""Reading metadata tables and looking up rows."""

import hashlib
import importlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from miostitch import schema
from miostitch.buffers import parser as table_parser
from miostitch.buffers import table as metadata
from miostitch.buffers.csv_files import TableWriter
from miostitch.buffers.table import Metadata, buffer_layout, read_metadata
from miostitch.errors import MetadataError, MiostitchError, MissingInputError, UsageError
from tests.tables import (
    HEADER,
    LAWS,
    REQUIRED,
    lines_of,
    reference,
    session,
    short_buffers,
    tables,
    write,
)

ALL = tuple(column.name for column in schema.COLUMNS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.csv"


TIMES = ("timestamp_first", "timestamp_last")


def require_reception(read: Metadata, want: pd.DataFrame) -> None:
    """Times lie together, and are those of the first and the last buffer where those do."""
    first, last = (vars(read.frames)[name][want.index.to_numpy()] for name in TIMES)
    elapsed = last - first
    assert ((elapsed >= 0) & (elapsed <= read.longest_frame_s)).all()
    begin, end = (want[name].to_numpy(float) for name in TIMES)
    together = (end >= begin) & (end - begin <= read.longest_frame_s)
    np.testing.assert_array_equal(first[together], begin[together])
    np.testing.assert_array_equal(last[together], end[together])


def read_lines(path: Path, lines: list[bytes], **options: bool) -> Metadata:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return read_metadata(path, **options)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(table_parser, "BLOCK_BYTES", 100)  # frames straddle blocks
    yield
    metadata._cached_block.cache_clear()


# ---- the frame table ------------------------------------------------------------------------


@LAWS
@given(table=tables, padding=st.integers(-9, 9), seed=st.integers(0, 9), size=st.integers(30, 300))
def test_frame_table_equals_a_plain_groupby_in_any_row_order(
    tmp_path_factory: pytest.TempPathFactory,
    table: pd.DataFrame,
    padding: int,
    seed: int,
    size: int,
) -> None:
    path = tmp_path_factory.mktemp("law") / "a.csv"
    if (table["reconstructed_frame_index"] < 0).all():
        return
    table["black_padding_px"] = padding * np.arange(len(table)) % 31 - 9
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_parser, "BLOCK_BYTES", size)
        read = read_metadata(write(path, table))
        shuffled = table.sample(frac=1, random_state=seed)
        again = read_metadata(write(path, shuffled))
    want = reference(table)
    for name in map(str, want):
        values = vars(read.frames)[name][want.index.to_numpy()]
        if name not in TIMES:
            assert values.tolist() == want[name].tolist(), name
    require_reception(read, want)
    for name, values in vars(read.frames).items():
        np.testing.assert_array_equal(values, vars(again.frames)[name])
    assert read.orphan_rows == (table["reconstructed_frame_index"] == -1).sum()
    np.testing.assert_array_equal(read.buffer_sizes, again.buffer_sizes)


def test_tie_is_noticed(path: Path) -> None:
    table = session(3)
    table.loc[9:12, "frame_num"] = 9
    read = read_metadata(write(path, table))
    assert read.notices == ("tie in frame 1: frame_num is taken from the earliest buffer",)


def test_times_that_go_backwards_are_flagged_not_sorted(path: Path, small_blocks: None) -> None:
    table = session(4)
    table.loc[[9, 20], "buffer_recv_unix_time"] = 5.0
    read = read_metadata(write(path, table))
    assert read.notices == ("receive times go backwards at 2 rows, first at line 11",)
    spaced = path.with_name("b.csv")
    spaced.write_bytes(path.read_bytes().replace(b"\n", b"\n\n"))
    (notice,) = read_metadata(spaced).notices
    assert notice.endswith("first at line 21")
    assert read.rows(np.array([1]))["buffer_recv_unix_time"][1] == 5.0


# ---- rows -----------------------------------------------------------------------------------


@LAWS
@given(table=tables, wanted=st.permutations(range(6)), keep=st.integers(0, 6))
def test_rows_equal_a_plain_selection(
    tmp_path_factory: pytest.TempPathFactory, table: pd.DataFrame, wanted: list[int], keep: int
) -> None:
    path = tmp_path_factory.mktemp("law") / "a.csv"
    dtypes = table.dtypes
    table.loc[len(table)] = [1, 1, 0, 100, 0.5, 5]
    table = table.astype(dtypes)  # older pandas widens integers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_parser, "BLOCK_BYTES", 100)
        read = read_metadata(write(path, table))
    got = read.rows(np.array(wanted[:keep], "int64"))
    parts = [table[table["reconstructed_frame_index"] == i] for i in wanted[:keep]]
    want = pd.concat([table.iloc[:0], *parts], ignore_index=True)
    pd.testing.assert_frame_equal(got, want)
    streamed = pd.concat(list(read.batches()), ignore_index=True)
    pd.testing.assert_frame_equal(streamed, table)


def test_metadata_can_be_pickled(path: Path, small_blocks: None) -> None:
    read = read_metadata(write(path, session(9)))
    again = pickle.loads(pickle.dumps(read))
    wanted = np.array([8, 2])
    pd.testing.assert_frame_equal(again.rows(wanted), read.rows(wanted))


def test_rows_parse_only_what_they_need(
    path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_metadata(write(path, session(200)))
    parsed: list[int] = []
    parse = metadata._parse_block

    def spy(parser: Any, repaired: Any, *block: int) -> metadata.Rows:
        parsed.append(block[0])
        return parse(parser, repaired, *block)

    monkeypatch.setattr(metadata, "_parse_block", spy)
    for frame in range(100, 104):
        read.rows(np.array([frame]))
    assert len(parsed) == len(set(parsed)) < len(read._blocks) / 10


def test_readers_that_were_sent_parse_a_repaired_block_once(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From whatever folder they read."""
    table = session(40)
    table["buffer_count"] = 8 * table["frame_num"] + table["frame_buffer_count"]
    table.loc[100, "frame_num"] = int(table["frame_num"][100]) ^ 64
    write(path, table)
    monkeypatch.chdir(path.parent)
    read = read_metadata(path.name, repair=True)
    assert read.repairs["row"].tolist() == [100]
    frames = np.array([12, 5])
    sent = [pickle.loads(pickle.dumps(read.row_reader(frames))) for _ in range(3)]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    metadata._cached_block.cache_clear()
    found = [reader.read(frames) for reader in sent]
    assert metadata._cached_block.cache_info().misses == 1
    expected = np.repeat(read.frames.frame_num[frames], 8)
    for rows in found:
        np.testing.assert_array_equal(rows["frame_num"], expected)


def test_no_frames_have_all_columns(path: Path) -> None:
    read = read_metadata(write(path, session(3).assign(note="a")))
    nothing, some = (read.rows(np.array(frames, "int64")) for frames in ([], [1]))
    assert len(nothing) == 0
    assert nothing.dtypes.equals(some.dtypes)


@pytest.mark.parametrize("wanted", [[0, 3], [-1], [1, 1]])
def test_frames_that_cannot_be_meant_are_refused(path: Path, wanted: list[int]) -> None:
    read = read_metadata(write(path, session(3)))
    with pytest.raises(UsageError, match=r"a\.csv"):
        read.rows(np.array(wanted))


@given(at=st.integers(0, 20), digit=st.integers(0, 9))
def test_any_other_digit_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, at: int, digit: int
) -> None:
    """As many rows as before, of which one says something else."""
    path = write(tmp_path_factory.mktemp("changed") / "a.csv", session(3))
    read = read_metadata(path)
    text = bytearray(path.read_bytes())
    digits = [place for place, byte in enumerate(text) if chr(byte).isdigit()]
    place = digits[at * len(digits) // 21]
    before, text[place] = text[place], ord(str(digit))
    path.write_bytes(text)
    metadata._cached_block.cache_clear()
    if before == text[place]:
        assert sum(map(len, read.batches())) == 24
        return
    with pytest.raises(MetadataError, match=r"a\.csv: line \d+: the file changed"):
        list(read.batches())
    with pytest.raises(MetadataError, match=r"a\.csv: line \d+: the file changed"):
        read.rows(np.arange(3))


@pytest.mark.parametrize("change", ["rows", "gone", "cut"])
def test_a_file_that_changes_is_noticed(path: Path, change: str) -> None:
    read = read_metadata(write(path, session(3)))
    metadata._cached_block.cache_clear()
    if change == "gone":
        path.unlink()
    else:
        text = path.read_bytes()
        path.write_bytes(text[:200] if change == "cut" else text.replace(b"\n", b"\n\n"))
    with pytest.raises(MetadataError, match=r"a\.csv: line"):
        read.rows(np.array([1]))


def test_a_rewritten_file_is_not_answered_from_memory(path: Path) -> None:
    table = session(3)
    before = read_metadata(write(path, table))
    before.rows(np.array([1]))
    table["pixel_count"] += 100
    after = read_metadata(write(path, table))
    assert after.rows(np.array([1]))["pixel_count"][0] == 200
    assert after.digest == hashlib.blake2b(path.read_bytes()).hexdigest() != before.digest


# ---- odd but legal text ---------------------------------------------------------------------


def assert_same(read: Metadata, want: Metadata) -> None:
    for name, values in vars(want.frames).items():
        np.testing.assert_array_equal(vars(read.frames)[name], values, name)
    pd.testing.assert_frame_equal(
        pd.concat(list(read.batches()), ignore_index=True),
        pd.concat(list(want.batches()), ignore_index=True),
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b"\xef\xbb\xbf"),  # at the first place: a byte order mark
        (b"\n", b"\r\n"),
        (b"\n", b"\n\n"),
        (b"\n", b"\r\n\r\n"),
        (b"500,", b'"500",'),
        (b"500,", b" +500\t,"),
        (b"1000000000.05,", b"+1.00000000005e9,"),
    ],
)
def test_spellings_of_the_same_table(path: Path, tmp_path: Path, old: bytes, new: bytes) -> None:
    want = read_metadata(write(path, session(3)))
    other = tmp_path / "b.csv"
    text = path.read_bytes()
    other.write_bytes(text.replace(old, new) if old else new + text)
    read = read_metadata(other)
    assert_same(read, want)
    assert read.notices == ()


def test_integral_floats_are_integers_with_one_notice(path: Path, small_blocks: None) -> None:
    table = session(5)
    want = read_metadata(write(path, table))
    mio = path.with_name("mio.csv")
    read = read_metadata(write(mio, table.astype(float)))
    assert_same(read, want)
    names = [name for name in REQUIRED if name != "buffer_recv_unix_time"]
    columns = ", ".join(names)
    assert read.notices == (f"integral floats read as integers in columns {columns}",)


@pytest.mark.parametrize(
    "cell", [b"9007199254740993", b"9007199254740993.0", b"9223372036854775807"]
)
def test_large_integers_stay_exact(path: Path, small_blocks: None, cell: bytes) -> None:
    lines = [HEADER, b"1.0,2.0,0,100,0.5,0", *[b"%s,2.0,0,100,0.5,1" % cell] * 9]
    assert read_lines(path, lines).frames.frame_num.tolist() == [1, int(cell.split(b".")[0])]


def test_negative_padding_and_orphans_are_legal(path: Path) -> None:
    table = session(2).assign(black_padding_px=[-1276, 5, *[0] * 14])
    table.loc[4, "reconstructed_frame_index"] = -1
    read = read_metadata(write(path, table))
    assert read.frames.black_padding.tolist() == [5, 0]
    assert (read.orphan_rows, read.frames.num_rows.tolist()) == (1, [7, 8])


@pytest.mark.parametrize("name", ["a\nb.csv", "%s{}.csv", "é😀.csv", "\udcff.csv", "<script>.csv"])
def test_any_file_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    try:
        path.touch()
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    assert len(read_metadata(write(path, session(2))).rows(np.array([1]))) == 8


def test_second_header_is_skipped_with_its_line(path: Path, small_blocks: None) -> None:
    lines = lines_of(session(6))
    want = read_lines(path, lines)
    lines.insert(20, lines[0])
    read = read_lines(path.with_name("b.csv"), lines)
    assert_same(read, want)
    assert read.notices == ("2nd header at line 21 skipped",)


@pytest.mark.parametrize("tail", [b"509,1", b"502,24,0,100,1000000000.1,1", b"50"])
def test_last_line_without_line_end_is_dropped(path: Path, tail: bytes) -> None:
    path.write_bytes(b"\n".join([*lines_of(session(3)), tail]))
    read = read_metadata(path)
    assert read.row_count == 24
    assert read.notices == ("last line is cut, dropped: line 26",)


# ---- faults ---------------------------------------------------------------------------------


def test_faulty_row_is_named_or_salvaged(path: Path, small_blocks: None) -> None:
    lines = lines_of(session(3))
    want = read_lines(path, lines)
    lines.insert(14, b"1,,0,100,0.5,0")
    lines.insert(20, b"1")
    bad = path.with_name("b.csv")
    with pytest.raises(MetadataError, match=r"b\.csv: line 15: column buffer_count is ''"):
        read_lines(bad, lines)
    read = read_lines(bad, lines, salvage=True)
    assert_same(read, want)
    assert read.notices == (
        "2 rows dropped, first line 15: column buffer_count is '', not an integer",
    )


def test_every_row_too_long(path: Path) -> None:
    lines = lines_of(session(3))
    lines[1:] = [line + b",0" for line in lines[1:]]
    with pytest.raises(MetadataError, match="line 2: 7 cells where the header names 6"):
        read_lines(path, lines)
    with pytest.raises(MetadataError, match="no rows"):
        read_lines(path, lines, salvage=True)


@pytest.mark.parametrize("size", [10, 500])
def test_tail_of_nul_bytes(path: Path, small_blocks: None, size: int) -> None:
    path.write_bytes(b"\n".join([*lines_of(session(3)), b"50" + bytes(size)]))
    with pytest.raises(MetadataError, match="line 26: NUL"):
        read_metadata(path)
    assert read_metadata(path, salvage=True).row_count == 24


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"", "the file is empty"),
        (b"\n", "missing columns"),
        (HEADER + b"\n", "no rows"),
        (HEADER + b"\n1,2,0,100,0.5,0", "no rows"),
        (HEADER + b"\n1,2,0,100,0.5,-1\n", "no row that belongs to a frame"),
        (bytes(100_000), "holds no line"),
    ],
)
def test_files_that_are_no_table(path: Path, text: bytes, what: str) -> None:
    path.write_bytes(text)
    for salvage in (False, True):
        with pytest.raises(MetadataError, match=what) as caught:
            read_metadata(path, salvage=salvage)
        assert str(path) in str(caught.value)


def test_missing_file(path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"a\.csv"):
        read_metadata(path)
    with pytest.raises(MetadataError, match="cannot be read"):
        read_metadata(path.parent)


@LAWS
@given(
    at=st.integers(0, 700),
    junk=st.binary(max_size=9) | st.sampled_from([b"\n", b",", b'"', b"\r", b".0", b"\0", b"0x"]),
    cut=st.integers(0, 9),
    salvage=st.booleans(),
)
@example(at=200, junk=b'"', cut=0, salvage=True)
def test_damaged_text_is_refused_or_read_the_same_by_both_parsers(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes, cut: int, salvage: bool
) -> None:
    path = tmp_path_factory.mktemp("law") / "a.csv"
    text = write(path, session(3)).read_bytes()
    path.write_bytes(text[:at] + junk + text[at + cut :])
    try:
        read = read_metadata(path, salvage=salvage)
    except MiostitchError as error:
        if str(path) in str(error):
            return
        raise
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_parser, "_is_odd", lambda text: True)  # every block is sifted
        metadata._cached_block.cache_clear()
        assert_same(read_metadata(path, salvage=salvage), read)


# ---- buffer layout --------------------------------------------------------------------------


def test_layout_is_the_vote_of_all_recordings(path: Path, tmp_path: Path) -> None:
    table = session(4)
    table.loc[3, ["pixel_count", "frame_buffer_count"]] = 137416912, 3
    table.loc[9, "frame_buffer_count"] = 524289
    table.loc[17, ["pixel_count", "frame_buffer_count"]] = 100, 8  # beyond the last buffer
    read = read_metadata(write(path, table))
    assert buffer_layout([read], 760).tolist() == [*range(0, 800, 100), 760]
    for pixels in (759, 761, 700_000):
        with pytest.raises(MetadataError, match="do not add up"):
            buffer_layout([read], pixels)
    never = read_metadata(write(tmp_path / "b.csv", table[table["frame_buffer_count"] != 2]))
    with pytest.raises(MetadataError, match=r"b\.csv: buffers of \[100, 100\]"):
        buffer_layout([never], 760)
    assert buffer_layout([never, read], 760).tolist() == [*range(0, 800, 100), 760]


@pytest.mark.parametrize("frames", [1, 4, 9])
def test_recordings_whose_frames_are_divided_otherwise_are_named(
    path: Path, tmp_path: Path, frames: int
) -> None:
    """However many rows each has, which would outvote the other."""
    one = session(4)
    other = session(frames, buffers=10)
    other["pixel_count"] = 76
    tables = [
        read_metadata(write(path, one)),
        read_metadata(write(tmp_path / "b.csv", other)),
        read_metadata(write(tmp_path / "c.csv", one)),
    ]
    said = r"\[100, .*, 60\] in .*a\.csv, of \[76, .*\] in .*b\.csv\); are these recordings"
    with pytest.raises(MetadataError, match=said):
        buffer_layout(tables, 760)
    assert len(buffer_layout(tables[::2], 760)) == 9


# ---- real recordings ------------------------------------------------------------------------

FILES = [f"stitch/video{i}" for i in (1, 2)] + [
    f"capture3/{name}" for name in ("receiver1", "receiver2", "receiver3", "truth")
]


@pytest.mark.parametrize("name", FILES)
def test_real_recordings(recordings: Path, tmp_path: Path, name: str) -> None:
    source = recordings / f"{name}.csv"
    # older pandas rounds the last digit
    table = pd.read_csv(source, converters={"buffer_recv_unix_time": float})
    read = read_metadata(source)
    assert read.columns == ALL
    assert read.notices == ()
    assert read.orphan_rows == (1 if name == "capture3/receiver2" else 0)
    assert (table["black_padding_px"].min() < 0) == name.startswith("capture3")
    want = reference(table)
    for column in map(str, want):
        assert vars(read.frames)[column].tolist() == want[column].tolist(), column
    assert read.frames.short.tolist() == short_buffers(table)
    size = 5032 if name.startswith("stitch") else 5072
    assert buffer_layout([read], 40000).tolist() == [*range(0, 8 * size, size), 40000]
    copy = tmp_path / "copy.csv"
    with TableWriter(copy, read.columns) as writer:
        for batch in read.batches():
            writer.append(batch)
    assert copy.read_bytes() == source.read_bytes().replace(b"\r\n", b"\n")


def test_corrupt_headers_of_a_real_recording(recordings: Path) -> None:
    read = read_metadata(recordings / "capture3" / "receiver2.csv")
    assert [5, 137416912, 1] in read.buffer_sizes.tolist()
    assert [524289, 5072, 1] in read.buffer_sizes.tolist()


def test_flipped_headers_of_a_real_recording_are_repaired(recordings: Path) -> None:
    read = read_metadata(recordings / "stitch" / "video1.csv", repair=True)
    cells = read.repairs[["row", "column", "old", "new"]].itertuples(index=False, name=None)
    assert set(cells) >= {
        (63, "buffer_count", 20163, 20175),
        (237, "frame_num", 2535, 2543),
        (261, "buffer_count", 16791, 20375),
    }
    assert read.frames.frame_num[[30, 31]].tolist() == [2543, 2543]
    assert read.rows(np.array([31])).frame_num.tolist() == [2543]
    assert pd.concat(read.batches()).frame_num.iloc[237] == 2543


def test_repair_counts_only_what_is_in_its_place(path: Path) -> None:
    table = session(40)
    table["buffer_count"] = 8 * table["frame_num"] + table["frame_buffer_count"]
    flipped = table.index[table["reconstructed_frame_index"] == 20][3]
    table.loc[flipped, "frame_buffer_count"] = 5  # the receiver put the pixels there
    as_recorded = read_metadata(write(path, table))
    repaired = read_metadata(write(path, table), repair=True)
    assert repaired.repairs["column"].tolist() == ["frame_buffer_count"]
    assert as_recorded.frames.num_buffers[20] == repaired.frames.num_buffers[20]
    assert not repaired.frames.buffers[20] >> np.uint64(3) & np.uint64(1)
    assert repaired.rows(np.array([20])).frame_buffer_count.tolist() == list(range(8))


# ---- benchmarks -----------------------------------------------------------------------------


def test_benchmarks_run_small(tmp_path: Path) -> None:
    bench = importlib.import_module("benchmarks.buffers.bench_table")
    path = tmp_path / "40000.csv"
    bench.write_session(path, 40_000)
    read = read_metadata(path)
    assert (read.row_count, read.notices) == (40_000, ())
    assert len(read._blocks) > 2
    assert bench.visit(read) == 40_000


def test_a_table_can_be_called_by_another_path(path: Path, tmp_path: Path) -> None:
    read = read_metadata(write(path, session(3)))
    moved = read.moved(str(tmp_path / "moved.csv"))
    path.rename(moved.path)
    assert len(moved.rows(np.array([2]))) == 8
    Path(moved.path).unlink()
    with pytest.raises(MetadataError, match=r"moved\.csv: line 2: cannot be read any more"):
        next(moved.batches())
