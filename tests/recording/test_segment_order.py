"""Segments in any order: taken by the time of their reception where that is certain."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from random import Random

import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import miostitch
from miostitch.errors import InputError, Severity
from miostitch.recording.recording import Recording
from miostitch.recording.segment_order import TableEnds, order_segments
from tests.batch.trees import cut, simulate
from tests.commands import run

FPS = 20


@st.composite
def segments(draw: st.DrawFn) -> list[TableEnds]:
    """Segments of one run of the device, with pauses between them."""
    lengths = draw(st.lists(st.tuples(st.integers(2, 500), st.integers(0, 400)), min_size=1))
    place, found = 0, []
    for frames, pause in lengths:
        begin, end = place / FPS, (place + frames - 1) / FPS
        found.append(TableEnds(place, place + frames - 1, begin, end, frames))
        place += frames + pause
    return found


@given(segments(), st.randoms())
def test_any_order_becomes_that_of_reception(ends: list[TableEnds], random: Random) -> None:
    mixed = random.sample(range(len(ends)), len(ends))
    order = order_segments([f"{n}.avi" for n in mixed], [ends[n] for n in mixed])
    assert [mixed[place] for place in order] == [*range(len(ends))]


@given(segments(), st.randoms(), st.data())
def test_nothing_is_claimed_where_a_time_is_unknown(
    ends: list[TableEnds], random: Random, data: st.DataObject
) -> None:
    known: list[TableEnds | None] = [*random.sample(ends, len(ends))]
    known[data.draw(st.integers(0, len(known) - 1))] = None
    assert order_segments(["a.avi"] * len(known), known) == [*range(len(known))]


FIRST = TableEnds(5000, 5999, 100.0, 150.0, 1000)


@pytest.mark.parametrize("number", [0, 3000, 9000])
def test_after_a_restart_the_clock_decides(number: int) -> None:
    later = TableEnds(number, number + 999, 200.0, 250.0, 1000)
    assert order_segments(["a", "b"], [FIRST, later]) == [0, 1]
    if number < FIRST.first_num:  # else counter and clock contradict each other
        with pytest.raises(InputError, match=r"a is given after b.* but it was received earlier"):
            order_segments(["b", "a"], [later, FIRST])
    else:
        assert order_segments(["b", "a"], [later, FIRST]) == [1, 0]


@pytest.mark.parametrize("seconds", [-3600.0, -60.0, -20.0])
def test_a_clock_that_was_set_between_segments_changes_nothing(seconds: float) -> None:
    later = TableEnds(6003, 7002, 150.2 + seconds, 200.2 + seconds, 1000)
    assert order_segments(["a", "b"], [FIRST, later]) == [0, 1]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> list[list[Path]]:
    """Eleven segments of each of two receivers, of equal names, in their order."""
    folder = tmp_path_factory.mktemp("segments")
    names = "left/rec_{}.avi", "right/rec_{}.avi"
    pairs = zip(simulate(folder, 66), names, strict=True)
    return [cut(video, 11, name.format) for video, name in pairs]


def spec(segments: Iterable[Path]) -> str:
    return ",".join(map(str, segments))


def as_sorted(segments: Sequence[Path]) -> list[Path]:
    return sorted(segments, key=lambda path: path.name)


def contents(folder: Path) -> dict[str, str]:
    """The pixels and tables of a result, by their kind."""
    found = [*folder.glob("*_stitched.avi"), *folder.glob("*_stitched*.csv")]
    return {
        path.name.split("_stitched")[1]: blake2b(path.read_bytes()).hexdigest() for path in found
    }


@pytest.fixture(scope="module")
def known(session: list[list[Path]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the right order gives."""
    folder = tmp_path_factory.mktemp("right")
    run("stitch", *map(spec, session), "-o", str(folder), "--no-report")
    return contents(folder)


def all_but_the_first_reversed(segments: Sequence[Path]) -> list[Path]:
    return [segments[0], *segments[:0:-1]]


@pytest.mark.fault(32, "segments named in another order", "taken by time, a note")
@pytest.mark.parametrize(
    "mix", [as_sorted, pytest.param(all_but_the_first_reversed, marks=pytest.mark.slow)]
)
def test_the_result_is_that_of_the_right_order(
    session: list[list[Path]],
    known: dict[str, str],
    tmp_path: Path,
    mix: Callable[[Sequence[Path]], list[Path]],
) -> None:
    left, right = session
    given_ = spec(mix(left)), spec(as_sorted(right))
    done = run("stitch", *given_, "-o", str(tmp_path), "-v", "--no-report")
    [said] = [line for line in done.stderr.splitlines() if "order of their" in line]
    assert said.startswith("note: ")
    assert said.endswith(f": {', '.join(path.name for path in left)}")
    assert contents(tmp_path) == known
    run("verify", str(tmp_path))
    run("verify", str(tmp_path), "-i", spec(as_sorted(left)), "-i", spec(right[::-1]))


def test_whatever_opens_segments_orders_them(session: list[list[Path]], tmp_path: Path) -> None:
    right, wrong = spec(session[0]), spec(as_sorted(session[0]))
    opened = miostitch.open_recording(wrong)
    assert opened.equals(miostitch.open_recording(right))
    assert opened.attrs["origins"] == [*map(str, session[0])]
    assert "rec_2.avi, rec_3.avi" in run("inspect", wrong, "-v").stdout
    [pair, other] = [tmp_path / name for name in ("right", "wrong")]
    for given_, out in ((right, pair), (wrong, other)):
        run("export", given_, "--to", "zarr2", "-o", str(out))
        run("trim", given_, "-s", "1", "-o", str(out.with_suffix(".avi")))
        run("score", given_, "-o", str(out.with_suffix(".scores")))
    for suffix in (".avi", ".csv"):
        paths = pair.with_suffix(suffix), other.with_suffix(suffix)
        assert paths[0].read_bytes() == paths[1].read_bytes()
    scored = [[*out.with_suffix(".scores").glob("*.csv")] for out in (pair, other)]
    assert [path.read_bytes() for path in scored[0]] == [path.read_bytes() for path in scored[1]]
    stores = [xr.open_zarr(path / "rec_1.zarr") for path in (pair, other)]
    assert stores[0].equals(stores[1])


@pytest.mark.fault(32, "segment of another receiver among a receiver's", "exit 3, names both")
def test_segments_of_two_receivers_are_refused(session: list[list[Path]], tmp_path: Path) -> None:
    left, right = session
    mixed = spec([*left[:3], right[1], *left[3:]])
    done = run("stitch", mixed, spec(right[2:]), "-o", str(tmp_path / "o"), code=3)
    assert f"{left[2]} and {right[1]} were received at the same time" in done.stderr
    assert not (tmp_path / "o").exists()
    run("inspect", mixed, code=3)


def test_equal_names_are_told_apart_by_folders(session: list[list[Path]], tmp_path: Path) -> None:
    made = []
    for number, video in enumerate(session[0][:3]):
        folder = tmp_path / str(number)
        folder.mkdir()
        for path in (video, video.with_suffix(".csv")):
            shutil.copy(path, (folder / "rec").with_suffix(path.suffix))
        made.append(folder / "rec.avi")
    notices = Recording.open(spec(made[::-1])).notices
    [said] = [notice for notice in notices if "order of their" in notice.text]
    assert said.severity == Severity.NOTE
    assert said.text.endswith(", ".join(map(str, made)))
    # a table that changed is named so that it is found
    out = tmp_path / "out"
    run("stitch", spec(made), spec(session[1][:3]), "-o", str(out))
    rows = pd.read_csv(made[1].with_suffix(".csv"))
    rows["battery_voltage_raw"] += 1
    rows.to_csv(made[1].with_suffix(".csv"), index=False)
    assert f"{made[1].with_suffix('.csv')}: " in run("verify", str(out), code=1).stdout


def test_rounded_times_put_nothing_in_order(tmp_path: Path) -> None:
    made = cut(simulate(tmp_path, 90, receivers=1)[0], 2, "part_{}.avi".format)
    for video in made:
        rows = pd.read_csv(video.with_suffix(".csv"))
        rows["buffer_recv_unix_time"] = rows["buffer_recv_unix_time"].round()
        rows.to_csv(video.with_suffix(".csv"), index=False)
    found = Recording.open(spec(made[::-1]))
    assert [video.path for video in found.videos] == [*map(str, made[::-1])]
    assert not [notice for notice in found.notices if "order of their" in notice.text]
