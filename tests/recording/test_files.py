"""Names of files: what lies there under nearly the right name, and what is no recording."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import miostitch
from miostitch.errors import InputError, MissingInputError
from miostitch.recording.files import ReadOptions, find_nearby_tables
from miostitch.recording.recording import Recording
from tests.commands import run


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = miostitch.SimulationConfig(frames=12, receivers=1, height=20, width=20)
    return miostitch.simulate(tmp_path_factory.mktemp("s"), config).recordings[0]


def put(recorded: Path, video: Path, table: str) -> Path:
    shutil.copy(recorded, video)
    shutil.copy(recorded.with_suffix(".csv"), video.with_name(table))
    return video


NAMES = [
    ("rec-002", "rec"),
    ("rec-8-002", "rec-8"),
    ("rec (1)", "rec"),
    ("rec - Copy", "rec"),
    ("rec - Copy (2)", "rec"),
    ("Copy of rec", "rec"),
    ("rec copy 2", "rec"),
    ("rec_1", "rec"),
    ("rec", "rec-002"),
    ("rec", "rec(1)"),
    ("Rec 1", "rec_1"),
    ("rec", "REC"),
    ("my rec", "my_rec"),
]


@pytest.mark.fault(63, "by a copy or a download", "exit 3, the table is named")
@pytest.mark.parametrize(("video", "table"), NAMES)
def test_a_table_under_nearly_the_right_name_is_named(
    recorded: Path, tmp_path: Path, video: str, table: str
) -> None:
    path = put(recorded, tmp_path / f"{video}.avi", f"{table}.csv")
    with pytest.raises(MissingInputError) as refused:
        Recording.open(path)
    assert f"{tmp_path / table}.csv is there; if that is the table, rename" in str(refused.value)
    [notice] = [
        n for n in Recording.open(path, ReadOptions(need_table=False)).notices if "table" in n.text
    ]
    assert f"but {tmp_path / table}.csv is there" in str(notice)


@pytest.mark.parametrize(
    ("video", "table"),
    [("rec_1", "rec_2"), ("rec1", "rec2"), ("rec", "other"), ("rec", "._rec"), ("12", "1")],
)
def test_tables_of_others_are_not_named(
    recorded: Path, tmp_path: Path, video: str, table: str
) -> None:
    path = put(recorded, tmp_path / f"{video}.avi", f"{table}.csv")
    with pytest.raises(MissingInputError, match="is missing; put it next to the video"):
        Recording.open(path)
    assert not Recording.open(path, ReadOptions(need_table=False)).notices


def test_a_table_with_its_own_video_is_named_last(recorded: Path, tmp_path: Path) -> None:
    path = put(recorded, tmp_path / "rec-002.avi", "rec.csv")
    shutil.copy(recorded, tmp_path / "rec.avi")
    assert find_nearby_tables(str(path)) == [str(tmp_path / "rec.csv")]
    shutil.copy(recorded.with_suffix(".csv"), tmp_path / "rec-002 (1).csv")
    assert [Path(name).stem for name in find_nearby_tables(str(path))] == ["rec-002 (1)", "rec"]
    # trimming the copy needs no table, and that one has a video
    (tmp_path / "rec-002 (1).csv").unlink()
    assert not Recording.open(path, ReadOptions(need_table=False)).notices


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=30))
def test_any_name_is_compared(name: str) -> None:
    find_nearby_tables(f"/nowhere/{name}.avi")


@pytest.mark.fault(63, "of the Miniscope DAQ software", "exit 3, told apart from a missing table")
def test_a_recording_of_another_program_is_called_that(recorded: Path, tmp_path: Path) -> None:
    video = tmp_path / "0.avi"
    shutil.copy(recorded, video)
    (tmp_path / "timeStamps.csv").write_text("Frame Number,Time Stamp (ms),Buffer Index\n0,0,1\n")
    with pytest.raises(
        MissingInputError, match=r"0.csv is missing: this is a recording of the Min"
    ):
        Recording.open(video)
    with pytest.raises(MissingInputError, match="is a folder of the Miniscope DAQ software"):
        Recording.open(tmp_path)
    shutil.copy(tmp_path / "timeStamps.csv", tmp_path / "0.csv")
    with pytest.raises(InputError, match=r"0.csv: has the times of frames of the Miniscope DAQ"):
        Recording.open(video)


@pytest.mark.fault(63, "of mio before 0.8.1", "exit 3, the version is named")
def test_a_table_without_the_frame_of_each_buffer_is_of_an_old_mio(
    recorded: Path, tmp_path: Path
) -> None:
    video = put(recorded, tmp_path / "old.avi", "old.csv")
    table = video.with_suffix(".csv")
    lines = [line.split(",") for line in table.read_text().splitlines()]
    gone = {lines[0].index(n) for n in ("black_padding_px", "reconstructed_frame_index")}
    kept = [",".join(c for i, c in enumerate(line) if i not in gone) for line in lines]
    table.write_text("\n".join(kept) + "\n")
    with pytest.raises(InputError, match=r"old.csv: written by mio before 0\.8\.1"):
        Recording.open(video)


@pytest.mark.fault(63, "files of an operating system", "exit 3, not opened")
@pytest.mark.parametrize("name", ["._A.avi", ".DS_Store", "Thumbs.db", "desktop.ini", "~$A.csv"])
def test_files_of_an_operating_system_are_no_recordings(
    recorded: Path, tmp_path: Path, name: str
) -> None:
    video = put(recorded, tmp_path / "A.avi", "A.csv")
    (tmp_path / name).write_bytes(b"\0\5\26\7")
    with pytest.raises(InputError, match="is kept by the operating system") as refused:
        Recording.open(tmp_path / name, ReadOptions(need_table=False))
    assert (f"name {video}" in str(refused.value)) == (name == "._A.avi")
    assert not [n for n in Recording.open(video).notices if name in str(n)]


@pytest.mark.fault(63, "incomplete downloads", "exit 3")
@pytest.mark.parametrize("ending", [".crdownload", ".part"])
def test_incomplete_downloads_are_called_that(recorded: Path, tmp_path: Path, ending: str) -> None:
    shutil.copy(recorded, tmp_path / f"A.avi{ending}")
    with pytest.raises(InputError, match="is not downloaded completely"):
        Recording.open(tmp_path / f"A.avi{ending}", ReadOptions(need_table=False))


def test_a_store_is_called_one_and_what_looks_at_it(tmp_path: Path) -> None:
    store = tmp_path / "S.zarr"
    store.mkdir()
    for path in (str(store), f"{store}/"):
        with pytest.raises(
            InputError, match=r"S\.zarr/?: is a store and no video; .* view .* verify"
        ):
            Recording.open(path)
    told = run("inspect", str(store), code=3).stderr
    assert "is a store and no video" in told
