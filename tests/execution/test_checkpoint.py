"""Notes of finished blocks: whole or not there, and only after what they tell of."""

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from miostitch.errors import ResourceError
from miostitch.execution.checkpoint import Journal

VALUES = {
    "count": np.arange(5),
    "time": np.array([[1.5, np.nan]]),
    "tie": np.array([True, False]),
}


def noted(folder: Path) -> Path:
    with Journal(folder) as journal:
        journal.note(40, VALUES, lambda: None)
    return folder / "40.note"


def test_what_is_noted_is_recalled_by_another_run(tmp_path: Path) -> None:
    noted(tmp_path / "video")
    with Journal(tmp_path / "video") as journal:
        found = journal.recall(40)
        assert journal.recall(0) is None
    assert found is not None
    assert found.keys() == VALUES.keys()
    for name, expected in VALUES.items():
        assert found[name].dtype == expected.dtype
        np.testing.assert_array_equal(found[name], expected)


def test_a_block_is_noted_after_its_chunks_are_on_the_disk(tmp_path: Path) -> None:
    seen = []
    with Journal(tmp_path) as journal:
        journal.note(0, VALUES, lambda: seen.append((tmp_path / "0.note").exists()))
    assert seen == [False]
    assert (tmp_path / "0.note").exists()


@pytest.mark.parametrize("kept", [0, 10, 300, -1])
def test_a_note_that_is_cut_is_none(tmp_path: Path, kept: int) -> None:
    path = noted(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with Journal(tmp_path) as journal:
        assert journal.recall(40) is None


@pytest.mark.parametrize("size", [1, 512])
def test_a_note_that_lost_some_bytes_is_none(tmp_path: Path, size: int) -> None:
    path = noted(tmp_path)
    whole = path.read_bytes()
    for start in range(len(whole)):
        damaged = whole[:start] + bytes(len(whole[start : start + size])) + whole[start + size :]
        path.write_bytes(damaged)
        with Journal(tmp_path) as journal:
            assert (journal.recall(40) is None) == (damaged != whole)


@pytest.mark.parametrize("place", ["video/80.note", "noise/40.note"])
def test_a_note_of_another_block_is_none(tmp_path: Path, place: str) -> None:
    path = noted(tmp_path / "video")
    other = tmp_path / place
    other.parent.mkdir(exist_ok=True)
    path.rename(other)
    with Journal(other.parent) as journal:
        assert journal.recall(int(other.stem)) is None


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.note(40, {"x": np.array([print], object)}, lambda: None)
    with Journal(tmp_path) as journal:
        assert (tmp_path / "40.note").exists()
        assert journal.recall(40) is None


def test_a_block_that_cannot_be_brought_to_the_disk_is_not_noted(tmp_path: Path) -> None:
    def full() -> None:
        raise ResourceError("no space")

    with pytest.raises(ResourceError, match="no space"), Journal(tmp_path) as journal:
        journal.note(0, VALUES, full)
    assert not (tmp_path / "0.note").exists()
    assert not [t for t in threading.enumerate() if t.name.startswith("miostitch")]


def test_no_failed_note_is_forgotten_whatever_the_threads(tmp_path: Path) -> None:
    def full() -> None:
        raise ResourceError("no space")

    journal, each = Journal(tmp_path), 300

    def note(first: int) -> None:
        for start in range(first, first + each):
            journal.note(start, VALUES, full)

    threads = [threading.Thread(target=note, args=(each * n,)) for n in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns as often as they can
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    journal._thread.shutdown()
    assert len(journal._notes) == 4 * each
    with pytest.raises(ResourceError, match="no space"):
        journal.check()


def test_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="cannot be written"), Journal(tmp_path / "file") as j:
        j.note(0, VALUES, lambda: None)
