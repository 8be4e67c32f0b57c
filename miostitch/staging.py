"""Products appear whole under their final names, or not at all."""

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from miostitch.errors import OutputExistsError, OutputLockedError, ResourceError, UsageError

LOCK = "lock"
OWNER = "owner.json"
OLD = "old"


class Workspace:
    """A hidden folder inside the output folder in which one run makes its products.

    Parameters
    ----------
    output
        The output folder; made where it is missing.
    stem
        Stem of the products, maybe empty; runs with other stems may share the output folder.
    suffixes
        Endings of the final names a run with this stem can ever publish. What an earlier run left
        under one of them is replaced or, if this run makes no such product, removed.
    """

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

    @contextmanager
    def open(self, inputs: Iterable[str], *, force: bool) -> Iterator["Workspace"]:
        """Claim the stem, and give it back.

        Parameters
        ----------
        inputs
            Files the run reads; no product may be one of them.
        force
            Whether existing products may be replaced when the new ones are whole.

        Raises
        ------
        OutputExistsError
            A product exists and ``force`` is not given.
        OutputLockedError
            Another run is making the same products.
        ResourceError
            The output folder cannot be written.
        UsageError
            A product would replace an input.
        """
        self._check(list(inputs), force=force)
        _probe(self.output)
        with self._lock():
            self._check([], force=force)  # another run may have published while this one waited
            try:
                yield self
            finally:
                self._clear()

    def publish(self) -> list[Path]:
        """Give every staged product its final name, all of them or none.

        Returns
        -------
        list of Path
            The products.

        Raises
        ------
        ResourceError
            A product cannot be moved; what was there before is there again.
        """
        staged = [suffix for suffix in self.suffixes if self.staged(suffix).exists()]
        old = self.folder / OLD
        moved: list[tuple[Path, Path]] = []

        def move(source: Path, target: Path) -> None:
            source.rename(target)
            moved.append((source, target))

        try:
            for suffix in staged:
                _sync(self.staged(suffix))
            old.mkdir()
            # the last product tells of success: it leaves first and comes last
            for suffix in reversed(self.suffixes):
                if self.final(suffix).exists():
                    move(self.final(suffix), old / self.final(suffix).name)
            for suffix in staged:
                move(self.staged(suffix), self.final(suffix))
        except BaseException as error:
            for source, target in reversed(moved):
                target.rename(source)
            if isinstance(error, OSError):
                msg = f"{self.output}: cannot publish {self.stem}: {error}"
                raise ResourceError(msg) from error
            raise
        if os.name == "posix":  # elsewhere a folder cannot be opened
            _fsync(self.output, os.O_RDONLY)
        return [self.final(suffix) for suffix in staged]

    def _check(self, inputs: list[str], *, force: bool) -> None:
        for suffix in self.suffixes:
            final = self.final(suffix)
            for path in inputs:
                if final.exists() and os.path.samefile(final, path):
                    msg = f"{final}: this product would replace an input; choose another folder"
                    raise UsageError(msg)
            if final.exists() and not force:
                msg = f"{final}: exists; choose another folder, or replace it with --force"
                raise OutputExistsError(msg)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        while True:
            self.folder.mkdir(exist_ok=True)
            lock = FileLock(self.folder / LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                msg = f"{self.output}: {self.stem} is being written by {self._owner()}; wait for it"
                raise OutputLockedError(msg) from None
            except FileNotFoundError:
                continue
            # the run before may have removed the folder between our mkdir and our lock
            if (self.folder / LOCK).exists():
                break
            lock.release()
        try:
            self._recover()
            self._clear()
            owner = {"pid": os.getpid(), "host": socket.gethostname()}
            (self.folder / OWNER).write_text(json.dumps(owner))
            yield
        finally:
            if os.name == "posix":
                # while it is ours: a waiting run makes a folder of its own
                shutil.rmtree(self.folder, ignore_errors=True)
                lock.release()
            else:  # what is open cannot be removed
                lock.release()
                shutil.rmtree(self.folder, ignore_errors=True)

    def _recover(self) -> None:
        """Bring back what a run that was killed while it published had moved away."""
        old = self.folder / OLD
        for kept in sorted(old.iterdir()) if old.is_dir() else []:
            final = self.output / kept.name
            if final.is_dir():
                shutil.rmtree(final)
            kept.replace(final)

    def _clear(self) -> None:
        for left in self.folder.iterdir():
            if left.name != LOCK:
                shutil.rmtree(left) if left.is_dir() else left.unlink()

    def _owner(self) -> str:
        try:
            owner = json.loads((self.folder / OWNER).read_text())
            return f"process {owner['pid']} on {owner['host']}"
        except (OSError, ValueError, KeyError):
            return "another process"


def _probe(folder: Path) -> None:
    """Fail before any work if nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
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
