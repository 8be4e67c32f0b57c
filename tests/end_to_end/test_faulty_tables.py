"""Faulty tables from end to end: refused with file, line and column, or salvaged and counted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import miostitch
from miostitch import cli
from miostitch.errors import AlignmentError, InputError
from miostitch.recording.files import ReadOptions
from miostitch.recording.recording import Recording, open_recordings
from miostitch.session.session import bring_together
from tests.faults import case
from tests.sessions import Made, change_table

Lines = list[bytes]
Edit = Callable[[Lines], Lines]
LINE = 60
"""A line somewhere in the middle, counted from 1."""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    Made(folder, frames=16, receivers=2, header_flips=0, extra_frame=False, seed=4)
    return folder


@pytest.fixture
def video(session: Path, tmp_path: Path) -> Path:
    for name in ("receiver1.avi", "receiver1.csv", "receiver2.avi", "receiver2.csv"):
        shutil.copy(session / name, tmp_path)
    return tmp_path / "receiver1.avi"


def edit(video: Path, change: Edit) -> None:
    table = video.with_suffix(".csv")
    lines = change(table.read_bytes().splitlines(keepends=True))
    table.write_bytes(b"".join(lines))


def on_line(change: Callable[[bytes], bytes]) -> Edit:
    return lambda lines: [*lines[: LINE - 1], change(lines[LINE - 1]), *lines[LINE:]]


def inserted(line: bytes) -> Edit:
    return lambda lines: [*lines[: LINE - 1], line, *lines[LINE - 1 :]]


def cell(column: str, text: bytes) -> Edit:
    def change(lines: Lines) -> Lines:
        place = lines[0].decode().strip().split(",").index(column)
        cells = lines[LINE - 1].split(b",")
        ending = b"\n" * (place == len(cells) - 1)
        cells[place] = text + ending
        return [*lines[: LINE - 1], b",".join(cells), *lines[LINE:]]

    return change


def inspect(video: Path, *options: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(cli.main, ["inspect", str(video), "--json", *options])
    return done.exit_code, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        case(20, "nan in an integer column", "exit 3 with line and column; salvage: row dropped",
             cell("frame_num", b"nan"), "column frame_num is 'nan'"),
        case(20, "empty cell", "exit 3 with line and column; salvage: row dropped",
             cell("pixel_count", b""), "column pixel_count is ''"),
        case(20, "hexadecimal cell", "exit 3 with line and column; salvage: row dropped",
             cell("buffer_count", b"0x10"), "column buffer_count is '0x10'"),
        case(20, "fractional cell", "exit 3 with line and column; salvage: row dropped",
             cell("frame_buffer_count", b"0.5"), "column frame_buffer_count is '0.5'"),
        case(20, "time inf", "exit 3 with line and column; salvage: row dropped",
             cell("buffer_recv_unix_time", b"inf"), "column buffer_recv_unix_time is 'inf'"),
        case(21, "a cell too few", "exit 3 with line; salvage: row dropped",
             on_line(lambda line: line.rpartition(b",")[0] + b"\n"), "14 cells where"),
        case(21, "a cell too many", "exit 3 with line; salvage: row dropped",
             on_line(lambda line: line.strip() + b",7\n"), "16 cells where"),
        case(23, "a block of NUL bytes", "exit 3 with line; salvage: row dropped",
             on_line(lambda line: bytes(4096) + b"\n"), "NUL bytes"),
        case(24, "a Latin-1 line", "exit 3 with line; salvage: row dropped",
             on_line(lambda line: line.replace(b",", b"\xb5,", 1)), "no comma separated UTF-8"),
        case(28, "frame index -2", "exit 3 with line and column; salvage: row dropped",
             cell("reconstructed_frame_index", b"-2"), "column reconstructed_frame_index is -2"),
        case(28, "frame index 2147483647", "exit 3 with line and column; salvage: row dropped",
             cell("reconstructed_frame_index", b"2147483647"), "is 2147483647, neither -1 nor"),
    ],
)  # fmt: skip
def test_a_faulty_row_is_named_or_dropped_and_counted(video: Path, change: Edit, what: str) -> None:
    rows = Recording.open(video).tables[0].row_count
    edit(video, change)
    table = video.with_suffix(".csv")
    code, answer = inspect(video)
    assert code == 3
    assert answer["error"].startswith(f"{table}: line {LINE}: ")
    assert what in answer["error"]
    assert "--salvage" in answer["error"]
    salvaged = Recording.open(video, ReadOptions(salvage=True)).tables[0]
    assert (salvaged.row_count, salvaged.dropped_rows) == (rows - 1, 1)
    ((line, fault),) = salvaged.faults
    assert line == LINE
    assert what in fault


@pytest.mark.fault(20, "three faulty rows, stitched", "summary lists table, line and fault of each")
def test_the_summary_lists_dropped_rows(video: Path, tmp_path: Path) -> None:
    edit(video, cell("frame_num", b"NaN"))
    edit(video, inserted(b"1,2\n"))
    edit(video, lambda lines: [*lines, b"5063,1,2,3"])
    out = str(tmp_path / "out")
    names = [str(video), str(video.with_name("receiver2.avi"))]
    done = CliRunner().invoke(cli.main, ["stitch", *names, "-o", out, "--salvage", "--json"])
    assert done.exit_code == 0
    first, second = json.loads(done.stdout)["recordings"]
    table = str(video.with_suffix(".csv"))
    count = len(Path(table).read_bytes().splitlines())
    assert first["dropped_rows"] == 3
    assert first["dropped_lines"] == [
        {"table": table, "line": LINE, "why": "2 cells where the header names 15 columns"},
        {"table": table, "line": LINE + 1, "why": "column frame_num is 'NaN', not an integer"},
        {"table": table, "line": count, "why": "the line is cut"},
    ]
    assert (second["dropped_rows"], second["dropped_lines"]) == (0, [])


def same_rows(video: Path, sound: Path, options: ReadOptions | None = None) -> tuple[str, ...]:
    """Compare with the sound recording; what the user is told."""
    whole, read = Recording.open(sound / "receiver1.avi"), Recording.open(video, options)
    for name, values in vars(whole.frames).items():
        np.testing.assert_array_equal(vars(read.frames)[name], values)
    frames = np.arange(read.shape[0])
    pd.testing.assert_frame_equal(read.rows(frames), whole.rows(frames)[read.rows(frames).columns])
    return tuple(map(str, read.notices))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        case(20, "every integer as 16.0", "same rows, one warning", lambda lines: [
            lines[0], *(b",".join(c if b"." in c or i in (6, 8) else c.strip() + b".0"
                for i, c in enumerate(line.strip().split(b","))) + b"\n" for line in lines[1:])],
             "integral floats"),
        case(22, "header again in mid-file", "skipped, a warning with its line",
             lambda lines: [*lines[: LINE - 1], lines[0], *lines[LINE - 1 :]],
             f"2nd header at line {LINE}"),
        case(23, "last line cut, no line end", "dropped, a warning with its line",
             lambda lines: [*lines, lines[-1][:-4]], "last line is cut"),
        case(24, "byte order mark", "same rows", lambda lines: [b"\xef\xbb\xbf", *lines], ""),
        case(24, "CRLF", "same rows",
             lambda lines: [line[:-1] + b"\r\n" for line in lines], ""),
        case(32, "columns in another order", "same rows",
             lambda lines: [b",".join(line.strip().split(b",")[::-1]) + b"\n" for line in lines],
             ""),
    ],
)  # fmt: skip
def test_what_leaves_no_doubt_is_read(session: Path, video: Path, change: Edit, told: str) -> None:
    before = [*map(str, Recording.open(video).notices)]
    edit(video, change)
    found = [notice for notice in same_rows(video, session) if notice not in before]
    assert [told in notice for notice in found] == [True] * bool(told)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        case(19, "required column renamed", "exit 3, missing and found columns named",
             lambda lines: [lines[0].replace(b"pixel_count", b"pixels"), *lines[1:]],
             "missing columns pixel_count"),
        case(19, "column named twice", "exit 3",
             lambda lines: [lines[0].replace(b"linked_list", b"pixel_count"), *lines[1:]],
             "pixel_count twice"),
        case(21, "every row a cell too long", "exit 3 with line; nothing to salvage, said so",
             lambda lines: [lines[0], *(line.strip() + b",0\n" for line in lines[1:])],
             "16 cells where the header names 15"),
        case(24, "bars", "exit 3, 'not separated by commas'",
             lambda lines: [line.replace(b",", b"|") for line in lines],
             "not separated by commas"),
        case(24, "Latin-1 header", "exit 3, 'UTF-8'",
             lambda lines: [lines[0].replace(b"\n", b",\xb5\n"), *lines[1:]], "UTF-8"),
        case(25, "empty file", "exit 3, 'the file is empty'", lambda lines: [], "is empty"),
        case(25, "header only", "exit 3, 'no rows'", lambda lines: lines[:1], "no rows"),
        case(25, "rows of no frame only", "exit 3", lambda lines: [lines[0], *(
             line.rpartition(b",")[0] + b",-1\n" for line in lines[1:])], "belongs to a frame"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_even_salvaging(video: Path, change: Edit, what: str) -> None:
    edit(video, change)
    for options in ((), ("--salvage",)):
        code, answer = inspect(video, *options)
        assert code == 3
        assert what in answer["error"]
        assert str(video.with_suffix(".csv")) in answer["error"]


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        case(18, "table removed", "exit 3, expected path named",
             lambda v: v.with_suffix(".csv").unlink(), "receiver1.csv is missing"),
        case(18, "video removed", "exit 3, path named", lambda v: v.unlink(), "receiver1.avi: no"),
    ],
)  # fmt: skip
def test_missing_partner(video: Path, spoil: Callable[[Path], None], what: str) -> None:
    spoil(video)
    done = CliRunner().invoke(cli.main, ["stitch", str(video), "-o", str(video.parent / "out")])
    assert done.exit_code == 3
    assert what in done.stderr


def frames_from(start: int, stop: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        kept: pd.DataFrame = table[table.reconstructed_frame_index.between(start, stop - 1)]
        return kept

    return change


def one_more(table: pd.DataFrame) -> pd.DataFrame:
    last = table[table.reconstructed_frame_index == table.reconstructed_frame_index.max()]
    more = last.assign(
        reconstructed_frame_index=last.reconstructed_frame_index + 1,
        frame_num=last.frame_num + 1,
        buffer_count=last.buffer_count + 8,
    )
    longer: pd.DataFrame = pd.concat([table, more])
    return longer


@pytest.mark.fault(26, "one frame more in the table", "left out, a warning")
def test_one_extra_frame(session: Path, video: Path) -> None:
    change_table(video, one_more)
    recording = Recording.open(video)
    assert any(
        "was not saved as an image, which is usual" in str(notice) for notice in recording.notices
    )
    whole = Recording.open(session / "receiver1.avi")
    np.testing.assert_array_equal(recording.frames.frame_num, whole.frames.frame_num)
    assert recording.losses == ()


@pytest.mark.parametrize(
    ("change", "lost", "why"),
    [
        case(26, "two frames more in the table", "exit 3 with ranges; salvage: listed as lost",
             lambda table: one_more(one_more(table)), (0, 1), "the video ends before them"),
        case(27, "rows of the last 4 frames missing", "exit 3 with ranges; salvage: 4 listed",
             lambda table: frames_from(0, int(table.reconstructed_frame_index.max()) - 3)(table),
             (-4, -1), "no row in the table"),
        case(27, "rows of 3 frames missing in the middle", "exit 3; salvage: 3 listed",
             lambda t: t[~t.reconstructed_frame_index.between(5, 7)], (5, 7),
             "no row in the table"),
    ],
)  # fmt: skip
def test_table_and_video_disagree(
    video: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    lost: tuple[int, int],
    why: str,
) -> None:
    pictures = Recording.open(video).shape[0]
    change_table(video, change)
    code, answer = inspect(video)
    assert code == 3
    assert "--salvage" in answer["error"]
    # so few frames show no place where some are missing: the end is asked for
    recording = Recording.open(video, ReadOptions(salvage=True, lag=0))
    (loss,) = recording.losses
    base = pictures if why.startswith("the video") or lost[0] < 0 else 0
    assert loss.frames == (base + lost[0], base + lost[1])
    assert loss.why == why


@pytest.mark.fault(28, "index -1", "buffer of no frame, counted")
def test_orphans_are_counted(video: Path) -> None:
    before = Recording.open(video).tables[0].orphan_rows
    edit(video, cell("reconstructed_frame_index", b"-1"))
    table = Recording.open(video).tables[0]
    assert table.orphan_rows == before + 1


@pytest.mark.fault(28, "index 500 in a video of 16 frames", "exit 3 with ranges; salvage goes on")
def test_an_index_beyond_the_video(session: Path, video: Path) -> None:
    edit(video, cell("reconstructed_frame_index", b"500"))
    code, answer = inspect(video)
    assert code == 3
    assert "describes frames 0 to 500, but" in answer["error"]
    read = Recording.open(video, ReadOptions(salvage=True, lag=0))
    assert read.shape[0] == Recording.open(session / "receiver1.avi").shape[0]
    assert read.losses[0].frames[1] == 500


@pytest.mark.parametrize(
    ("repair", "bit"),
    [
        case(29, "bit 31 of one frame_num", "outvoted, no frame invented", True, 31),
        case(29, "bit 31 of one frame_num, --no-repair", "outvoted, no frame invented", False, 31),
        case(29, "bit 3 of one frame_num", "outvoted, no frame invented", True, 3),
    ],
)
def test_a_flipped_header_invents_no_frame(
    session: Path, video: Path, repair: bool, bit: int
) -> None:
    def flip(table: pd.DataFrame) -> pd.DataFrame:
        numbers = table.frame_num.to_numpy().copy()
        numbers[LINE] ^= 1 << bit
        return table.assign(frame_num=numbers)

    change_table(video, flip)
    options = ReadOptions(repair=repair)
    names = [video, video.with_name("receiver2.avi")]
    whole = bring_together(open_recordings([session / name.name for name in names], options))
    found = bring_together(open_recordings(names, options))
    np.testing.assert_array_equal(found.alignment.frame_num, whole.alignment.frame_num)


@pytest.mark.fault(30, "bit 20 of all headers of a frame", "frame kept; result no longer than that")
@pytest.mark.parametrize("repair", [True, False])
def test_a_frame_with_a_wrong_number(video: Path, repair: bool) -> None:
    def flip(table: pd.DataFrame) -> pd.DataFrame:
        wrong = (table.reconstructed_frame_index == 6).to_numpy() * (1 << 20)
        return table.assign(
            frame_num=table.frame_num + wrong, buffer_count=table.buffer_count + 8 * wrong
        )

    change_table(video, flip)
    names = [video, video.with_name("receiver2.avi")]
    session = bring_together(open_recordings(names, ReadOptions(repair=repair)))
    assert len(session.alignment) <= 18
    assert (session.alignment.source_frame[0] == 6).sum() == 1


@pytest.mark.fault(31, "all rows of a frame under the number of another", "one output frame, told")
def test_a_frame_recorded_twice(video: Path, tmp_path: Path) -> None:
    def twice(table: pd.DataFrame) -> pd.DataFrame:
        first = table[table.reconstructed_frame_index == 8]
        copied = table.reconstructed_frame_index == 9
        shift = int(first.frame_num.iloc[0]) - table.frame_num[copied]
        return table.assign(
            frame_num=table.frame_num.add(shift, fill_value=0).astype("int64"),
            buffer_count=table.buffer_count.add(8 * shift, fill_value=0).astype("int64"),
        )

    change_table(video, twice)
    summary = miostitch.stitch_files(
        [str(video)], tmp_path / "out", miostitch.StitchOptions(repair=False, report=False)
    )
    store = xr.open_zarr(tmp_path / "out" / "receiver1_stitched.zarr")
    assert len(np.unique(store.frame_num)) == store.sizes["frame"] == summary["frames"]
    assert any("occurs in frames" in note for note in summary["notes"])


@pytest.mark.parametrize(
    "order", [case(32, "receivers the other way round", "same frames", [1, 0])]
)
def test_order_of_receivers(session: Path, order: list[int]) -> None:
    names = [str(session / f"receiver{n}.avi") for n in (1, 2)]
    one, other = (
        miostitch.stitch(given, by="buffer", keep_clocks=True)
        for given in (names, [names[number] for number in order])
    )
    for name in ("video", "frame_num", "missing_pixels", "unrecoverable"):
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.fault(32, "rows shuffled", "same frames and rows")
def test_rows_in_any_order(session: Path, video: Path) -> None:
    change_table(video, lambda table: table.sample(frac=1, random_state=1))
    whole = Recording.open(session / "receiver1.avi", ReadOptions(repair=False))
    read = Recording.open(video, ReadOptions(repair=False))
    for name, values in vars(whole.frames).items():
        np.testing.assert_array_equal(vars(read.frames)[name], values)


@pytest.mark.parametrize(
    "first",
    [
        case(33, "32-bit counter runs over", "linked by time, every frame once", 2**32 - 30),
        case(33, "counter starts at 0 again", "linked by time, every frame once", 5000),
    ],
)
def test_a_counter_that_falls(tmp_path: Path, first: int) -> None:
    made = Made(tmp_path, frames=60, receivers=2, header_flips=0, extra_frame=False, seed=9)
    for path in made.videos:

        def change(table: pd.DataFrame) -> pd.DataFrame:
            start = int(table.frame_num.min())
            number = table.frame_num - start + first
            number = number.where(number < first + 30, number - first - 30)
            return table.assign(
                frame_num=number, buffer_count=8 * number + table.frame_buffer_count
            )

        change_table(path, change)
    session = made.together()
    assert len(session.alignment.boot_starts) == 2
    for recording, row in zip(session.recordings, session.alignment.source_frame, strict=True):
        frames = np.flatnonzero(recording.frames.frame_num >= 0)
        assert np.array_equal(np.sort(row[row >= 0]), frames)
    both = (session.alignment.source_frame >= 0).all(axis=0)
    assert both.sum() > 40


@pytest.mark.fault(34, "half the rows of a frame under another number", "earliest buffer, told")
def test_a_tie(video: Path) -> None:
    def tie(table: pd.DataFrame) -> pd.DataFrame:
        rows = table.index[table.reconstructed_frame_index == 7]
        number = table.frame_num.to_numpy().copy()
        number[rows[len(rows) // 2 :]] += 1000
        if len(rows) % 2:
            table, number = table.drop(rows[-1]), np.delete(number, rows[-1])
        return table.assign(frame_num=number)

    before = int(Recording.open(video).frames.frame_num[7])
    change_table(video, tie)
    read = Recording.open(video, ReadOptions(repair=False))
    assert int(read.frames.frame_num[7]) == before
    assert any("tie in frame 7" in str(notice) for notice in read.notices)


@pytest.mark.parametrize(
    "align",
    [
        case(35, "counters far apart", "exit 3, both ranges named", "frame-num"),
        case(35, "clocks hours apart", "exit 3, both ranges named", "time"),
    ],
)
def test_nothing_in_common(video: Path, tmp_path: Path, align: Any) -> None:
    other = video.with_name("receiver2.avi")
    change_table(
        other,
        lambda table: table.assign(
            frame_num=table.frame_num + 10**6,
            buffer_count=table.buffer_count + 8 * 10**6,
            buffer_recv_unix_time=table.buffer_recv_unix_time + 6 * 3600,
        ),
    )
    options = miostitch.StitchOptions(align=align)
    with pytest.raises(AlignmentError, match="overlap") as refused:
        miostitch.stitch_files([str(video), str(other)], tmp_path / "out", options)
    assert refused.value.exit_code == 3
    assert str(video) in str(refused.value)
    assert str(other) in str(refused.value)


@pytest.mark.parametrize(
    ("times", "told"),
    [
        case(59, "clock set back by 5 s in mid-recording", "told with its line, never sorted",
             lambda t: t - 5.0 * (np.arange(len(t)) >= 50), "go backwards at 1 row,"),
        case(59, "all times equal", "kept as they are", lambda t: t * 0 + t[0], ""),
        case(59, "negative times", "kept as they are", lambda t: t - 2 * t[0], ""),
        case(59, "times that run backwards", "told, never sorted", lambda t: t[::-1], "backwards"),
    ],
)  # fmt: skip
def test_clocks_are_told_never_sorted(
    video: Path, tmp_path: Path, times: Callable[[Any], Any], told: str
) -> None:
    change_table(
        video, lambda t: t.assign(buffer_recv_unix_time=times(t.buffer_recv_unix_time.to_numpy()))
    )
    recorded = pd.read_csv(video.with_suffix(".csv")).buffer_recv_unix_time.to_numpy()
    options = miostitch.StitchOptions(report=False)
    summary = miostitch.stitch_files([str(video)], tmp_path / "out", options)
    assert bool(told) == any("backwards" in warning for warning in summary["warnings"])
    assert told in " ".join(summary["warnings"])
    store = xr.open_zarr(tmp_path / "out" / "receiver1_stitched.zarr")
    first = store.timestamp_first.to_numpy()
    assert set(np.round(first, 6)) <= set(np.round(recorded, 6))
    assert (np.diff(first) < 0).any() == bool(told)


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.fault(36, "rows and pixels of a buffer missing in all", "kept and flagged; or dropped")
def test_a_frame_that_all_have_damaged(tmp_path: Path, drop: bool) -> None:
    made = Made(tmp_path, frames=40, receivers=2, buffer_loss=0.3, seed=3, extra_frame=False)
    options = miostitch.StitchOptions(drop_damaged=drop, report=False)
    summary = miostitch.stitch_files(made.names, tmp_path / "out", options)
    store = xr.open_zarr(next((tmp_path / "out").glob("*.zarr")))
    assert int(store.damaged.sum()) == summary["damaged"]
    if drop:
        assert summary["damaged"] == 0 < len(summary["dropped_frame_num"])
    else:
        assert 0 < summary["damaged"] <= summary["frames"]
        assert (store.missing_pixels.to_numpy()[store.unrecoverable.to_numpy()] > 0).all()


def test_refusals_are_input_errors(video: Path) -> None:
    edit(video, cell("frame_num", b"x"))
    with pytest.raises(InputError):
        Recording.open(video)
