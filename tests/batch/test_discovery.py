"""What init finds: pairs, receivers, order and sessions, whatever files are called."""

import os
import random
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miostitch.batch.discovery import FoundSession, discover, group_sessions, labels
from miostitch.batch.files import Pair
from miostitch.batch.proposal import find_session_files, propose
from miostitch.config.session_file import load_session
from miostitch.errors import MissingInputError, OutputExistsError, UsageError
from miostitch.recording.segment_order import TableEnds
from miostitch.schema import REQUIRED_COLUMNS
from tests.batch.trees import simulate

NOON = 1_770_000_000.0
FPS = 20
HEADER = ",".join(REQUIRED_COLUMNS)


def record(
    video: Path, first: int, frames: int, *, boot: float = NOON, clock: float = 0.0, table: str = ""
) -> None:
    """Write the table of a recording that begins at a frame of the device, and no frames.

    No two receivers receive at the very same time.
    """
    video.parent.mkdir(parents=True, exist_ok=True)
    video.write_bytes(b"")
    clock += zlib.crc32(bytes(video)) / 2**40
    lines = [HEADER] + [
        f"{n},{n},0,400,{boot + n / FPS + clock:.6f},{n - first}"
        for n in range(first, first + frames)
    ]
    target = video.with_name(table) if table else video.with_suffix(".csv")
    target.write_text("\n".join(lines) + "\n")


def found(*folders: Path) -> list[FoundSession]:
    return discover([*map(str, folders)])[0]


def named(session: FoundSession) -> dict[str, list[str]]:
    """The segments of each receiver."""
    return {
        receiver.name: [os.path.relpath(pair.video, session.folder) for pair in receiver.segments]
        for receiver in session.receivers
    }


SCHEMES = {
    "R{r}_seg{s}.avi": "R1 R2 R3",
    "seg{s}_R{r}.avi": "R1 R2 R3",
    "seg{s}/R{r}.avi": "R1 R2 R3",
    "receiver{r}/rec_{s}.avi": "receiver1 receiver2 receiver3",
    "{w}/2026-03-01T10-{s:02}-00.avi": "left mid right",
    "{w}_2026-03-01_{s}.avi": "left mid right",
    "m1 {w} {s}.avi": "left mid right",
}


@given(
    scheme=st.sampled_from(sorted(SCHEMES)),
    receivers=st.integers(2, 3),
    segments=st.integers(1, 12),
    first=st.integers(0, 10**6),
    clocks=st.lists(st.floats(-2, 2), min_size=3, max_size=3, unique=True),
    missing=st.integers(0, 40),
    shuffled=st.randoms(use_true_random=False),
)
def test_segments_go_to_their_receivers_in_the_order_of_time(
    scheme: str, receivers: int, segments: int, first: int,
    clocks: Sequence[float], missing: int, shuffled: random.Random,
) -> None:  # fmt: skip
    names = SCHEMES[scheme].split()[:receivers]
    expected: dict[str, list[str]] = {name: [] for name in names}
    pairs = []
    for number in range(receivers * segments):
        receiver, segment = number % receivers, number // receivers
        if segments > 2 and number == missing:
            continue
        words = ("left", "mid", "right")
        name = scheme.format(r=receiver + 1, s=segment + 1, w=words[receiver])
        num = first + segment * 400
        begin, end = (NOON + each / FPS + clocks[receiver] for each in (num, num + 399))
        pairs.append(Pair(f"/raw/{name}", "", TableEnds(num, num + 399, begin, end, 400)))
        expected[names[receiver]].append(name)
    shuffled.shuffle(pairs)
    [session] = group_sessions(pairs)
    assert [
        [os.path.relpath(pair.video, "/raw") for pair in receiver.segments]
        for receiver in session.receivers
    ] == [*expected.values()]


def test_sessions_are_told_apart(tmp_path: Path) -> None:
    for day in (0, 1):
        for side in ("left", "right"):
            record(tmp_path / f"{side}_{day}.avi", 0, 100, boot=NOON + day * 86_400)
    # another animal at the same time: its device started a minute later
    record(tmp_path / "m2" / "left.avi", 0, 100, boot=NOON + 60)
    record(tmp_path / "m2" / "right.avi", 0, 100, boot=NOON + 60)
    sessions = found(tmp_path)
    assert [sorted(named(session)) for session in sessions] == [["left", "right"]] * 3
    assert len({session.name for session in sessions}) == 3
    assert [Path(session.folder).name for session in sessions].count("m2") == 1


def test_one_run_of_the_device_may_be_two_sessions(tmp_path: Path) -> None:
    record(tmp_path / "a_1.avi", 0, 400)
    record(tmp_path / "a_2.avi", 400, 400)
    record(tmp_path / "a_3.avi", 40_000, 400)  # half an hour later
    assert [named(session) for session in found(tmp_path)] == [
        {"a": ["a_1.avi", "a_2.avi"]},
        {"a-3": ["a_3.avi"]},
    ]


def test_bids_names_decide(tmp_path: Path) -> None:
    for subject in ("01", "02"):  # two devices that agree by chance
        for side in ("left", "right"):
            record(tmp_path / f"sub-{subject}" / "ses-a" / "func" / f"{side}.avi", 0, 100)
    one, two = sorted(found(tmp_path), key=lambda session: session.name)
    assert (one.name, one.subject) == ("sub-01_ses-a", "01")
    assert (two.name, two.subject) == ("sub-02_ses-a", "02")
    assert labels("sub-01_id-x/ses-02_date-3/rec.avi") == {"sub": "01", "ses": "02"}


@pytest.mark.parametrize(
    ("video", "table"),
    [
        ("rec-002.avi", "rec.csv"),
        ("rec (1).avi", "rec.csv"),
        ("rec - Copy.avi", "rec.csv"),
        ("rec.avi", "rec (1).csv"),
        ("left_recording.avi", "left-recording.csv"),
    ],
)
def test_near_names_are_asked_about(tmp_path: Path, video: str, table: str) -> None:
    record(tmp_path / video, 0, 50, table=table)
    [session] = found(tmp_path)
    [pair] = session.pairs
    assert (os.path.basename(pair.video), os.path.basename(pair.table)) == (video, table)
    assert f"is {table} the table of {video}?" in session.questions[0]
    made = propose([str(tmp_path)])
    text = Path(made["sessions"][0]["path"]).read_text()
    assert f"# question: is {table} the table of {video}?" in text
    [[segment]] = load_session(made["sessions"][0]["path"]).receivers.values()
    assert (segment.video, segment.table) == (str(tmp_path / video), str(tmp_path / table))


def test_frame_counts_are_named_where_names_differ(tmp_path: Path) -> None:
    video, other = simulate(tmp_path, 12)
    video.with_suffix(".csv").rename(tmp_path / "receiver1 (1).csv")
    other.with_suffix(".csv").rename(tmp_path / "receiver2x.csv")
    text = (tmp_path / "receiver2x.csv").read_text().splitlines(keepends=True)
    (tmp_path / "receiver2x.csv").write_text("".join(text[: len(text) // 2]))
    [session] = found(tmp_path)
    agree, differ = (question for question in session.questions if "the table of" in question)
    assert "Their numbers of frames agree" in agree
    assert "But the table counts" in differ


def test_what_systems_and_runs_leave_is_ignored(tmp_path: Path) -> None:
    record(tmp_path / "left.avi", 0, 60)
    record(tmp_path / "right.avi", 0, 60)
    record(tmp_path / "._left.avi", 0, 61)
    record(tmp_path / ".Trash" / "old.avi", 0, 62)
    (tmp_path / "Thumbs.db").write_bytes(b"")
    (tmp_path / "third.avi.part").write_bytes(b"")
    (tmp_path / "cam.csv").write_text("time,x\n1,2\n")
    record(tmp_path / "out" / "S.avi", 0, 58)
    (tmp_path / "out" / "S.json").write_text('{"outputs": ["/elsewhere/out/S.avi", "S.csv"]}')
    record(tmp_path / "out" / "T.avi", 0, 57)
    (tmp_path / "out" / "T.zarr").mkdir()
    copy = tmp_path / "left - Copy.avi"
    copy.write_bytes(b"")
    copy.with_suffix(".csv").write_bytes((tmp_path / "left.csv").read_bytes())
    (tmp_path / "lonely.avi").write_bytes(b"")
    sessions, notes = discover([str(tmp_path)])
    assert [named(session) for session in sessions] == [
        {"left": ["left.avi"], "right": ["right.avi"]}
    ]
    assert notes == [
        f"{tmp_path / 'lonely.avi'}: no table of its name; left out",
        f"{copy}: is a copy of {tmp_path / 'left.avi'}; left out",
    ]


def test_gaps_and_restarts_are_asked_about(tmp_path: Path) -> None:
    for name, first in (("1", 0), ("2", 400), ("4", 1200)):
        record(tmp_path / f"a{name}.avi", first, 400)
    record(tmp_path / "a5.avi", 0, 400, boot=NOON + 82)
    [session] = found(tmp_path)
    [receiver] = session.receivers
    names = [os.path.basename(pair.video) for pair in receiver.segments]
    assert names == ["a1.avi", "a2.avi", "a4.avi", "a5.avi"]
    said = " ".join(session.questions)
    assert (
        "20.1 s are missing between a2.avi and a4.avi" in said or "missing between a2.avi" in said
    )
    assert "the device restarted before a5.avi" in said


def test_flipped_bits_at_the_ends_do_not_matter(tmp_path: Path) -> None:
    for name in ("left", "right"):
        record(tmp_path / f"{name}.avi", 100, 200)
    path = tmp_path / "left.csv"
    rows = pd.read_csv(path)
    rows.loc[[0, 199], "frame_num"] ^= 1 << 30
    rows.to_csv(path, index=False)
    text = path.read_text()
    path.write_text(text + "\0" * 40 + "\n1,2")  # and a power cut
    [session] = found(tmp_path)
    assert sorted(named(session)) == ["left", "right"]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    for name in ("left", "right"):
        record(tmp_path / "m1" / f"{name}.avi", 0, 60)
    assert [s["state"] for s in propose([str(tmp_path)], dry_run=True)["sessions"]] == ["proposed"]
    assert find_session_files(str(tmp_path)) == []
    [made] = propose([str(tmp_path)])["sessions"]
    before = Path(made["path"]).read_bytes()
    assert made["path"] == str(tmp_path / "m1" / "session.yml")
    [again] = propose([str(tmp_path)])["sessions"]
    assert (again["state"], again["path"]) == ("exists", made["path"])
    record(tmp_path / "m1" / "late_left.avi", 0, 60, boot=NOON + 9000)  # another session there
    states = [(s["state"], Path(s["path"]).name) for s in propose([str(tmp_path)])["sessions"]]
    assert states[0] == ("exists", "session.yml")
    assert states[1][0] == "written"
    assert Path(made["path"]).read_bytes() == before
    record(tmp_path / "m3" / "left.avi", 0, 60, boot=NOON + 99_000)
    with pytest.raises(OutputExistsError, match="exists"):
        propose([str(tmp_path / "m3")], made["path"])


def test_where_files_go(tmp_path: Path) -> None:
    for animal, boot in (("m1", NOON), ("m2", NOON + 500)):
        record(tmp_path / animal / "left.avi", 0, 60, boot=boot)
        record(tmp_path / animal / "right.avi", 0, 60, boot=boot)
    with pytest.raises(UsageError, match="2 sessions were found"):
        propose([str(tmp_path)], str(tmp_path / "all.yml"))
    made = propose([str(tmp_path)], str(tmp_path / "files"))["sessions"]
    assert [Path(each["path"]).name for each in made] == ["m1.yml", "m2.yml"]
    session = load_session(made[0]["path"])
    assert session.receivers["left"][0].video == str(tmp_path / "m1" / "left.avi")


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder given"):
        discover([])
    with pytest.raises(MissingInputError, match="no such folder"):
        discover([str(tmp_path / "none")])
    (tmp_path / "a.avi").write_bytes(b"")
    with pytest.raises(MissingInputError, match=r"no video with a table in it; .*: no table"):
        discover([str(tmp_path)])


def test_names_that_yaml_would_misread_are_quoted(tmp_path: Path) -> None:
    for name in ("no", "12:30 #1", "{a}", "- x"):
        record(tmp_path / "yes" / f"{name}.avi", 0, 60, clock=random.Random(name).random())
    [made] = propose([str(tmp_path)])["sessions"]
    session = load_session(made["path"])
    videos = {segment.video for part in session.receivers.values() for segment in part}
    assert videos == {str(path) for path in (tmp_path / "yes").glob("*.avi")}
    assert session.name == "yes"


@pytest.mark.parametrize("frames", [60, 400])
@pytest.mark.parametrize("pause", [0.5, 7, 40, 59])
@pytest.mark.parametrize(
    "names", [("anna", "berta"), ("x/anna", "x/berta"), ("m1_open", "m1_maze"), ("rec", "rec2b")]
)
def test_what_shares_no_time_is_not_proposed_as_receivers(
    tmp_path: Path, names: tuple[str, str], pause: float, frames: int
) -> None:
    """A device that restarts counts through the same numbers again."""
    one, other = (tmp_path / f"{name}.avi" for name in names)
    record(one, 0, frames)
    record(other, 0, frames, boot=NOON + frames / FPS + pause)
    assert [[*named(session).values()] for session in found(tmp_path)] == [
        [[one.name]], [[other.name]],
    ]  # fmt: skip


def test_a_restart_within_receivers_is_one_session_to_be_asked_about(tmp_path: Path) -> None:
    for part, boot in ((1, NOON), (2, NOON + 60)):
        for receiver in ("left", "right"):
            record(tmp_path / f"{receiver}_{part}.avi", 0, 800, boot=boot)
    [session] = found(tmp_path)
    assert named(session) == {
        each: [f"{each}_{part}.avi" for part in (1, 2)] for each in ("left", "right")
    }
    # that of the two whose first time of reception is a few ms earlier, by chance
    asked = r"the device restarted before (left|right)_2\.avi"
    assert any(re.search(asked, question) for question in session.questions)
