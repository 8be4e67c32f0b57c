"""Products appear whole or not at all."""

import errno
import os
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from miostitch.errors import OutputExistsError, OutputLockedError, ResourceError, UsageError
from miostitch.execution import workspace
from miostitch.execution.workspace import Workspace, require_run, run_of
from miostitch.store import renaming
from tests.folders import content

SUFFIXES = (".zarr", ".avi", "_debug.avi")


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "out", "s", SUFFIXES)


def make(space: Workspace, text: str, *, debug: bool = False) -> None:
    space.staged(".zarr").mkdir()
    (space.staged(".zarr") / "chunk").write_text(text)
    space.staged(".avi").write_text(text)
    if debug:
        space.staged("_debug.avi").write_text(text)


def fail(space: Workspace, *, force: bool) -> None:
    with space.open([], force=force):
        make(space, "broken")
        raise KeyError


def test_products_are_published_and_nothing_else(space: Workspace) -> None:
    with space.open([], force=False):
        make(space, "new")
        assert not space.final(".avi").exists()
        assert space.publish() == [space.final(".zarr"), space.final(".avi")]
    assert content(space.output) == {"s.zarr/chunk": b"new", "s.avi": b"new"}


def test_a_failure_publishes_nothing(space: Workspace) -> None:
    with pytest.raises(KeyError):
        fail(space, force=False)
    assert content(space.output) == {}


@pytest.mark.fault(39, "products there", "exit 4, untouched")
def test_without_force_the_old_result_is_untouched(space: Workspace) -> None:
    with space.open([], force=False):
        make(space, "old")
        space.publish()
    with pytest.raises(OutputExistsError, match=r"s\.zarr: exists"), space.open([], force=False):
        pytest.fail("must not be entered")
    assert content(space.output) == {"s.zarr/chunk": b"old", "s.avi": b"old"}


def test_force_replaces_and_removes_what_is_stale(space: Workspace) -> None:
    with space.open([], force=False):
        make(space, "old", debug=True)
        space.publish()
    with pytest.raises(KeyError):
        fail(space, force=True)
    assert content(space.output)["s.avi"] == b"old"
    with space.open([], force=True):
        make(space, "new")
        space.publish()
    assert content(space.output) == {"s.zarr/chunk": b"new", "s.avi": b"new"}


def test_one_folder_takes_several_stems_at_once(space: Workspace) -> None:
    other = Workspace(space.output, "t", SUFFIXES)
    with space.open([], force=False), other.open([], force=False):
        make(space, "s")
        make(other, "t")
        space.publish()
        other.publish()
    assert sorted(content(space.output)) == ["s.avi", "s.zarr/chunk", "t.avi", "t.zarr/chunk"]


@pytest.mark.fault(41, "two processes", "exit 4 names the first; its lock dies with it")
def test_a_second_run_is_refused_and_names_the_first(space: Workspace) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from miostitch.execution.workspace import Workspace\n"
        f"with Workspace(Path({str(space.output)!r}), 's', {SUFFIXES!r}).open([], force=False):\n"
        "    print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "in\n"
        refused = pytest.raises(OutputLockedError, match=f"process {first.pid} on ")
        with refused, space.open([], force=True):
            pytest.fail("must not be entered")
        first.kill()
    # the lock of a dead process binds nobody
    with space.open([], force=False):
        make(space, "new")
        space.publish()
    assert content(space.output)["s.avi"] == b"new"


@pytest.mark.fault(53, "file system without locks: ENOSYS, ENOLCK", "exit 5, says so")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks by another call")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_refused(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A lock of another kind would outlive a killed run, and it could not go on."""

    def refuses(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuses)
    with pytest.raises(ResourceError, match=r"out: cannot be locked .*choose a folder"):
        space.open([], force=False).__enter__()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks by another call")
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_what_else_keeps_from_locking_is_told_as_it_is(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", fails)
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        space.open([], force=False).__enter__()
    assert not isinstance(raised.value, ResourceError)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_told_before_anything_is_written(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = partial(open, "/dev/full", "wb", buffering=0)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: full())
    with pytest.raises(ResourceError, match=r"out: cannot be written: No space left"):
        space.open([], force=False).__enter__()
    assert not space.folder.exists()


@pytest.mark.parametrize("text", ["", "[]", "{", "\0\0\0"])
def test_a_damaged_fingerprint_is_none(space: Workspace, text: str) -> None:
    with space.open([], force=False, resumable=True):
        space.resume({"a": 1})
        (space.journal("") / "fingerprint.json").write_text(text)
        assert not space.resume({"a": 1})
        assert space.resume({"a": 1})


def test_what_a_killed_run_left_is_cleared(space: Workspace) -> None:
    space.folder.mkdir(parents=True)
    (space.folder / "lock").touch()
    (space.folder / "s.avi").write_text("half")
    (space.folder / "s.zarr").mkdir()
    with space.open([], force=False):
        assert not space.staged(".avi").exists()
        assert not space.staged(".zarr").exists()


@pytest.mark.parametrize("link", [False, True])
def test_a_product_that_is_an_input_is_refused(space: Workspace, link: bool) -> None:
    space.output.mkdir()
    source = space.final(".avi")
    source.write_text("input")
    given = space.output / "link.avi" if link else source
    if link:
        given.symlink_to(source)
    with pytest.raises(UsageError, match="replace an input"):
        space.open([os.fspath(given)], force=True).__enter__()
    assert source.read_text() == "input"


@pytest.mark.parametrize("output", ["file", "file/out", "link"])
def test_an_output_that_is_a_file(tmp_path: Path, output: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere/at/all")
    space = Workspace(tmp_path / output, "s", SUFFIXES)
    named = output.partition("/")[0]
    with pytest.raises(ResourceError, match=f"{named}: is a file, not a folder; name a folder"):
        space.open([], force=False).__enter__()


def test_a_failing_publish_changes_nothing(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with space.open([], force=False):
        make(space, "old", debug=True)
        space.publish()
    before = content(space.output)
    rename = os.replace

    def fails_at_the_video(source: Path, target: Path) -> None:
        if source == space.staged(".avi"):
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(os, "replace", fails_at_the_video)
    with space.open([], force=True):
        make(space, "new")
        with pytest.raises(ResourceError, match="cannot publish s: no"):
            space.publish()
    assert content(space.output) == before


@pytest.mark.fault(62, "each rename twice, then allowed", "tried again, result complete")
def test_renames_that_are_refused_for_a_moment_are_tried_again(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = refuse_renames(monkeypatch, 2)
    for text in ("old", "new"):
        with space.open([], force=True):
            make(space, text)
            space.publish()
    assert content(space.output) == {"s.zarr/chunk": b"new", "s.avi": b"new"}
    assert min(refused.values()) >= 3


@pytest.mark.fault(
    62, "renames from some moment on", "exit 5, the next run restores the old result"
)
@pytest.mark.parametrize("allowed", range(6))
def test_renames_that_are_refused_to_the_end_lose_nothing(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    def publish() -> None:
        with space.open([], force=True):
            make(space, "new")
            space.publish()

    with space.open([], force=False):
        make(space, "old", debug=True)
        space.publish()
    before = content(space.output)
    with monkeypatch.context() as patched:
        refuse_renames(patched, 10**9, after=allowed)
        with pytest.raises(ResourceError, match=r"cannot (publish|restore).*again"):
            publish()
    with pytest.raises(OutputExistsError), space.open([], force=False):
        pytest.fail("the old result was lost")
    assert content(space.output) == before
    publish()
    assert content(space.output) == {"s.zarr/chunk": b"new", "s.avi": b"new"}


def refuse_renames(
    monkeypatch: pytest.MonkeyPatch, times: int, after: int = 0
) -> Counter[tuple[str, str]]:
    """Refuse each rename so often, as Windows does where a virus scanner has the file open."""
    attempts: Counter[tuple[str, str]] = Counter()
    really, left = os.replace, after

    def refused(source: Path, target: Path) -> None:
        nonlocal left
        attempts[str(source), str(target)] += 1
        left -= 1
        if left < 0 and attempts[str(source), str(target)] <= times:
            raise PermissionError(errno.EACCES, "Access is denied", str(source))
        really(source, target)

    monkeypatch.setattr(os, "replace", refused)
    monkeypatch.setattr(renaming, "DELAYS_S", (0.001,) * 3)
    return attempts


@pytest.mark.fault(40, "killed at each rename", "the old result comes back")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
@pytest.mark.filterwarnings("ignore:.* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("old", [False, True])
def test_a_run_killed_while_it_published_is_undone(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    if old:
        with space.open([], force=False):
            make(space, "old", debug=True)
            space.publish()
    before = content(space.output) if old else {}
    rename, left = os.replace, 0

    def killed(source: Path, target: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os._exit(9)
        rename(source, target)

    for moves in range(7):
        if (child := os.fork()) == 0:
            left = moves
            monkeypatch.setattr(os, "replace", killed)
            with space.open([], force=True):
                make(space, "new")
                space.publish()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            break
        if old:
            with pytest.raises(OutputExistsError):
                space.open([], force=False).__enter__()
            assert content(space.output) == before
        else:
            with space.open([], force=False):
                assert not any(map(os.path.lexists, map(space.final, SUFFIXES)))
    assert status == 0
    assert content(space.output) == {"s.zarr/chunk": b"new", "s.avi": b"new"}


@pytest.mark.fault(45, "killed at each rename, started again", "goes on, publishes all")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
@pytest.mark.filterwarnings("ignore:.* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("moves", range(6))
def test_a_run_killed_while_it_published_goes_on(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    def publish(text: str) -> bool:
        with space.open([], force=True, resumable=True):
            went_on = space.resume({"text": text})
            if not went_on:
                make(space, text)
                space.journal("video").mkdir()
                (space.journal("video") / "0.note").touch()
            space.publish()
        return went_on

    publish("old")
    rename, left = os.replace, moves

    def killed(source: Path, target: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os._exit(9)
        rename(source, target)
        if target == space.folder / "done":
            os._exit(9)

    if (child := os.fork()) == 0:
        monkeypatch.setattr(os, "replace", killed)
        publish("new")
    os.waitpid(child, 0)
    done = (space.folder / "done").exists()
    assert done == (moves == 5)
    assert publish("new") != done  # with all that the first one had staged
    assert content(space.output) == {"s.zarr/chunk": b"new", "s.avi": b"new"}


def test_a_foreign_work_directory_is_left_alone(space: Workspace, tmp_path: Path) -> None:
    space.output.mkdir()
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").write_text("")
    space.folder.symlink_to(other)
    for _ in range(2):
        with pytest.raises(ResourceError, match="in the way"):
            space.open([], force=True).__enter__()
        space.folder.unlink()
        space.folder.touch()
    assert os.listdir(other) == ["precious"]


def test_a_dangling_link_is_an_existing_product(space: Workspace) -> None:
    space.output.mkdir()
    space.final(".avi").symlink_to("nowhere")
    with pytest.raises(OutputExistsError):
        space.open([], force=False).__enter__()
    assert space.final(".avi").is_symlink()


@pytest.mark.parametrize("there", [False, True])
def test_a_failed_run_leaves_no_folder_of_its_own(tmp_path: Path, there: bool) -> None:
    output = tmp_path / "out"
    if there:
        output.mkdir()
    workspace = Workspace(output, "S", (".json",))
    with pytest.raises(ValueError, match="no luck"), workspace.open([], force=False):
        raise ValueError("no luck")
    assert output.exists() == there


@pytest.mark.parametrize("place", ["S.zarr", "S.zarr/out", "S.zarr/a/b"])
def test_a_result_inside_of_an_input_is_refused(tmp_path: Path, place: str) -> None:
    store = tmp_path / "S.zarr"
    store.mkdir()
    inside = Workspace(tmp_path / place, "s", SUFFIXES)
    with (
        pytest.raises(UsageError, match="lies inside the input"),
        inside.open([str(store)], force=False),
    ):
        pytest.fail("must not be entered")
    with Workspace(tmp_path / "out", "s", SUFFIXES).open([str(store)], force=False):
        pass  # beside it


def test_folders_are_made_as_deep_as_they_are_named(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "a" / "b" / "c", "s", SUFFIXES)
    with space.open([], force=False):
        make(space, "new")
        space.publish()
    assert content(tmp_path / "a" / "b" / "c") == {"s.zarr/chunk": b"new", "s.avi": b"new"}


def test_what_is_published_is_on_the_disk_before(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = workspace._fsync

    def noted(path: Path, flags: int) -> None:
        flushed.append(path.name)
        fsync(path, flags)

    monkeypatch.setattr(workspace, "_fsync", noted)
    with space.open([], force=False):
        make(space, "new")
        space.publish()
    assert {"chunk", "s.avi"} <= {*flushed}


def test_what_was_laid_out_counts_by_the_room_that_it_takes(space: Workspace) -> None:
    with space.open([], force=False):
        with space.staged(".avi").open("wb") as video:
            video.write(b"head" * 1024)
            video.truncate(2**26)
        assert 4096 <= space.left_bytes < 2**20


def test_a_run_that_is_not_resumed_says_what_changed(
    space: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    first = {"inputs": ["a"], "by": "frame", "lag": 0}
    with suppress(KeyError), space.open([], force=False, resumable=True):
        space.resume(first)
        note = space.journal("video") / "0.note"
        note.parent.mkdir()
        note.write_text("done")
        raise KeyError
    with space.open([], force=False, resumable=True):
        assert not space.resume({**first, "by": "buffer", "lag": 1})
    assert "an interrupted run is not resumed: by, lag changed" in caplog.text


def test_a_late_worker_is_told_from_the_run_that_there_is_now(space: Workspace) -> None:
    with space.open([], force=False):
        space.resume({"by": "frame"})
        begun = run_of(space.folder)
        require_run(space.folder, begun)
    with space.open([], force=False):
        with pytest.raises(ResourceError, match="is written by another run by now"):
            require_run(space.folder, begun)
        space.resume({"by": "frame"})
        with pytest.raises(ResourceError, match="is written by another run by now"):
            require_run(space.folder, begun)  # the same result, of another process
    with pytest.raises(ResourceError, match="is written by another run by now"):
        require_run(space.folder, begun)  # none is at work
