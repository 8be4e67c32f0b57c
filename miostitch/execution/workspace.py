"""Products appear complete under their final names, or not at all."""

import errno
import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from miostitch.errors import (
    InputError,
    OutputExistsError,
    OutputLockedError,
    ResourceError,
    UsageError,
)
from miostitch.store.renaming import rename

LOCK = "lock"
OWNER = "owner.json"
OLD = "old"
DONE = "done"
MANIFEST = "publish.json"
JOURNAL = "journal"
FINGERPRINT = "fingerprint.json"

NAME_BYTES = 255
"""Most that a file system takes."""

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""What a file system without locks answers."""

logger = logging.getLogger(__name__)


class Workspace:
    """A hidden folder inside the output folder in which one run makes its products."""

    def __init__(self, output: Path, stem: str, suffixes: Iterable[str]) -> None:
        self.output = output
        self.stem = stem
        self.suffixes = tuple(suffixes)
        self.folder = output / f".{stem or 'session'}.miostitch"

    def final(self, suffix: str) -> Path:
        """Final path of a product."""
        return self.output / (self.stem + suffix)

    def staged(self, suffix: str) -> Path:
        """Path of a product while it is being made."""
        return self.folder / (self.stem + suffix)

    def check(self, inputs: Iterable[str], *, force: bool) -> None:
        """Refuse what :meth:`open` would refuse of the files that are there now."""
        self._require_name()
        self._refuse_inputs(list(inputs))
        self._refuse_existing(force=force)

    @property
    def made(self) -> list[str]:
        """Final paths of the products that are staged."""
        return [str(self.final(s)) for s in self.suffixes if self.staged(s).exists()]

    @property
    def left_bytes(self) -> int:
        """Room of the files that an earlier run left, and this one makes again in their place."""
        files = [file.stat() for file in self.folder.iterdir() if file.is_file()]
        # a video that is laid out takes no room yet where no frame has been written
        return sum(min(s.st_size, 512 * getattr(s, "st_blocks", s.st_size)) for s in files)

    def journal(self, name: str) -> Path:
        """Folder of the checkpoints of one pass of the run."""
        return self.folder / JOURNAL / name

    def resume(self, fingerprint: Mapping[str, Any], *, restart: bool = False) -> bool:
        """Keep what an interrupted run of the same fingerprint left, or begin with an empty folder.

        Returns: Whether something was kept. The log tells of it, and why if not.
        """
        path = self.folder / JOURNAL / FINGERPRINT
        # a copy of a folder is not the folder: it may have been made while a run was writing
        place = [os.path.realpath(self.folder), self.folder.stat().st_ino]
        wanted = json.loads(json.dumps({**fingerprint, "folder": place}))
        try:
            left = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            left = None
        left = left if isinstance(left, dict) else None
        if left == wanted and not restart:
            logger.warning("%s: resuming an interrupted run", self.folder)
            return True
        if left is not None:
            changed = [name for name in wanted if left.get(name) != wanted[name]]
            why = "as asked for" if restart else f"{', '.join(changed)} changed"
            logger.warning("%s: an interrupted run is not resumed: %s", self.folder, why)
        self._clear(OWNER)
        path.parent.mkdir()
        path.write_text(json.dumps(wanted), "utf-8")
        _sync(path)  # without it, all that was noted would be lost
        return False

    @contextmanager
    def open(
        self, inputs: Iterable[str], *, force: bool, resumable: bool = False
    ) -> Iterator["Workspace"]:
        """Claim the stem, and give it back."""
        self._require_name()
        self._refuse_inputs(list(inputs))
        made = not self.output.exists()
        _probe(self.output)
        try:
            with self._lock(resumable=resumable):
                self._refuse_existing(force=force)  # after an interrupted publish was undone
                yield self
        finally:
            if made:
                with suppress(OSError):  # it is empty only where nothing came of the run
                    self.output.rmdir()

    def publish(self) -> list[Path]:
        """Give every staged product its final name, all of them or none."""
        staged = [suffix for suffix in self.suffixes if self.staged(suffix).exists()]
        old = self.folder / OLD
        moved: list[tuple[Path, Path]] = []

        def move(source: Path, target: Path) -> None:
            rename(source, target)
            moved.append((source, target))

        try:
            for suffix in staged:
                _sync(self.staged(suffix))
            # from here until `old` goes, a run that is killed is undone by the next one
            (self.folder / MANIFEST).write_text(json.dumps(staged))
            old.mkdir()
            # the last product tells of success: it leaves first and comes last
            for suffix in reversed(self.suffixes):
                if os.path.lexists(self.final(suffix)):
                    move(self.final(suffix), old / self.final(suffix).name)
            for suffix in staged:
                move(self.staged(suffix), self.final(suffix))
            rename(old, self.folder / DONE)
        except BaseException as error:
            self._take_back(moved)
            if isinstance(error, OSError):
                msg = f"{self.output}: cannot publish {self.stem}: {error}; run the same command"
                raise ResourceError(f"{msg} again") from error
            raise
        if os.name == "posix":  # elsewhere a folder cannot be opened
            _fsync(self.output, os.O_RDONLY)
        return [self.final(suffix) for suffix in staged]

    def _take_back(self, moved: list[tuple[Path, Path]]) -> None:
        """Undo renames; what cannot be undone now is undone by the next run."""
        try:
            for source, target in reversed(moved):
                rename(target, source)
            with suppress(OSError):
                (self.folder / OLD).rmdir()
        except OSError as error:
            msg = f"{self.output}: cannot restore the earlier {self.stem}: {error}; run the same"
            raise ResourceError(f"{msg} command again, which restores it first") from error

    def _require_name(self) -> None:
        """Refuse a stem whose products no file system could name."""
        longest = max(len(os.fsencode(f".{self.stem}{s}")) for s in (*self.suffixes, ".miostitch"))
        if longest > NAME_BYTES:
            raise UsageError(f"{self.stem}: too long for a file name; give a shorter --name")

    def _refuse_inputs(self, inputs: list[str]) -> None:
        output = Path(os.path.realpath(self.output))
        for path in filter(os.path.isdir, inputs):
            if Path(os.path.realpath(path)) in (output, *output.parents):
                msg = f"{self.output}: lies inside the input {path}; choose another folder"
                raise UsageError(msg)
        for final in map(self.final, self.suffixes):
            for path in inputs:
                if final.exists() and os.path.exists(path) and os.path.samefile(final, path):
                    msg = f"{final}: this product would replace an input; choose another folder"
                    raise UsageError(msg)

    def _refuse_existing(self, *, force: bool) -> None:
        for final in map(self.final, self.suffixes):
            if os.path.lexists(final) and not force:
                msg = f"{final}: exists; choose another folder, or replace it with --force"
                raise OutputExistsError(msg)

    @contextmanager
    def _lock(self, *, resumable: bool) -> Iterator[None]:
        while True:
            # a lock of another kind would be left behind by a killed run
            lock = FileLock(self.folder / LOCK, fallback_to_soft=False)
            try:
                self._make_folder()
                self._acquire(lock)
            except Timeout:
                msg = f"{self.output}: {self.stem} is being written by {self._owner()}; wait for it"
                raise OutputLockedError(msg) from None
            except FileNotFoundError:  # another run has just ended, without products perhaps
                _probe(self.output)
                continue
            # the run before may have removed the folder between our mkdir and our lock
            if (self.folder / LOCK).exists():
                break
            lock.release()
        try:
            # first of all, for the message to whoever comes next
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "run": uuid4().hex}
            (self.folder / OWNER).write_text(json.dumps(owner))
            self._recover()
            unfinished = (self.folder / JOURNAL).is_dir() and not (self.folder / DONE).exists()
            if not (resumable and unfinished):
                self._clear(OWNER)
            yield
        except BaseException as error:
            again = resumable and not isinstance(error, InputError | UsageError)
            noted = again and any(self.journal("").glob("*/*.note"))
            if noted or (self.folder / OLD).is_dir():  # earlier results that must be restored
                lock.release()
            else:
                self._leave(lock)
            raise
        self._leave(lock)

    def _acquire(self, lock: FileLock) -> None:
        try:
            lock.acquire(timeout=0)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise  # locked, or no rights or space: reported as it is
            with suppress(OSError):  # it stays where it holds more than the file to be locked
                (self.folder / LOCK).unlink()
                self.folder.rmdir()
            msg = f"{self.output}: cannot be locked ({error}); choose a folder on a file system"
            raise ResourceError(f"{msg} with locks, or mount this one with them") from error

    def _leave(self, lock: FileLock) -> None:
        """Remove the work directory and release the lock."""
        with suppress(OSError):
            self._clear()  # the lock goes last: a folder without one is not ours
        if os.name == "posix":
            # while it is ours: a waiting run makes a folder of its own
            shutil.rmtree(self.folder, ignore_errors=True)
            lock.release()
        else:  # what is open cannot be removed
            lock.release()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _make_folder(self) -> None:
        """Make the work directory, or take over one that a run of ours left."""
        try:
            self.folder.mkdir()
            (self.folder / LOCK).touch()
        except FileExistsError:
            # listed once: the run that it was of may be removing it, and then we begin again
            is_file = self.folder.is_file() or self.folder.is_symlink()
            found = [] if is_file else os.listdir(self.folder)
            if is_file or (found and LOCK not in found):
                msg = f"{self.folder}: is in the way and no work directory of ours; remove it"
                raise ResourceError(msg) from None

    def _recover(self) -> None:
        """Undo an interrupted publish: take back what is new, bring back what was there."""
        old = self.folder / OLD
        if not old.is_dir():
            return
        for suffix in json.loads((self.folder / MANIFEST).read_text()):
            # what still waits in the work directory was not published
            if not self.staged(suffix).exists() and os.path.lexists(self.final(suffix)):
                rename(self.final(suffix), self.staged(suffix))
        for kept in old.iterdir():
            rename(kept, self.output / kept.name)
        old.rmdir()  # else the next one would undo it again, and the next publish fail

    def _clear(self, *kept: str) -> None:
        for left in self.folder.iterdir():
            if left.name not in (LOCK, *kept):
                _remove(left)

    def _owner(self) -> str:
        try:
            owner = json.loads((self.folder / OWNER).read_text())
            return f"process {owner['pid']} on {owner['host']}"
        except (OSError, ValueError, KeyError):
            return "another process"


def run_of(folder: str | os.PathLike[str]) -> str:
    """Tell runs apart that write into the same work directory, one after the other.

    Returns: A digest of whose it is, and of all that decides the result, see
    :meth:`Workspace.resume`.
    """
    digest = blake2b()
    for path in (Path(folder) / OWNER, Path(folder) / JOURNAL / FINGERPRINT):
        try:
            digest.update(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            digest.update(b"none")
        except OSError as error:
            msg = f"{path}: cannot be read: {error.strerror}; start again"
            raise ResourceError(msg) from error
    return digest.hexdigest()


def require_run(folder: str | os.PathLike[str], run: str) -> None:
    """Refuse to write into what another run has begun to make by now.

    A worker may still be at a block of a run that was killed.
    """
    if run_of(folder) != run:
        msg = f"{os.fspath(folder)}: is written by another run by now; start this one again"
        raise ResourceError(msg)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _probe(folder: Path) -> None:
    """Fail before any work if nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")  # an empty file fits on a full disk
    except (FileExistsError, NotADirectoryError) as error:
        file = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        raise ResourceError(f"{file}: is a file, not a folder; name a folder") from error
    except OSError as error:
        raise ResourceError(f"{folder}: cannot be written: {error.strerror}") from error


def _sync(path: Path) -> None:
    """Bring a file, or every file below a folder, to the disk."""
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    for file in files:
        _fsync(file, os.O_RDWR)  # Windows syncs only what may be written


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
