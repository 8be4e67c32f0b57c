"""What a run has finished, so that the next one can go on where it was cut off."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from miostitch.errors import ResourceError
from miostitch.store.renaming import rename

Values = Mapping[str, NDArray[Any]]

_DIGEST_BYTES = 16


class Journal:
    """Values of finished blocks, each in a file of its own that is whole or not there.

    A block is noted on a thread of the journal, once everything that was written for it is on the
    disk. The note itself is not waited for, which would take longer than all the rest: one that a
    failure of power damages is none, and its block is computed again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, "miostitch-journal")
        self._notes: list[Future[None]] = []
        self._lock = Lock()
        self.recalled = 0

    def recall(self, start: int) -> Values | None:
        """What was noted of the block that begins at a frame; None if nothing was."""
        path = self._path(start)
        try:
            note = path.read_bytes()
        except OSError:
            return None
        if note[:_DIGEST_BYTES] != _digest(path, note[_DIGEST_BYTES:]):
            return None
        try:
            with np.load(BytesIO(note[_DIGEST_BYTES:]), allow_pickle=False) as noted:
                return dict(noted)
        except ValueError:  # objects, which no run of ours notes
            return None

    def note(self, start: int, values: Values, sync: Callable[[], None]) -> None:
        """Note a block."""
        with self._lock:  # blocks may end on several threads
            self._notes = [note for note in self._notes if not note.done() or note.exception()]
            self._notes.append(self._thread.submit(self._note, start, values, sync))

    def check(self) -> None:
        """Raise what went wrong with a note."""
        with self._lock:
            notes = [*self._notes]
        for note in notes:
            if note.done():
                note.result()

    def _note(self, start: int, values: Values, sync: Callable[[], None]) -> None:
        sync()
        path = self._path(start)
        unfinished = path.with_suffix(".partial")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            packed = BytesIO()
            np.savez(packed, **dict[str, Any](values))
            data = packed.getvalue()
            unfinished.write_bytes(_digest(path, data) + data)
            rename(unfinished, path)
        except OSError as error:
            raise ResourceError(f"{path}: cannot be written: {error.strerror}") from error

    def _path(self, start: int) -> Path:
        return self._folder / f"{start}.note"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown(cancel_futures=kind is not None)
        if kind is None:
            self.check()


def _digest(path: Path, data: bytes) -> bytes:
    """Of a note and its place: that of another block is none of this one."""
    place = f"{path.parent.name}/{path.name}/".encode()
    return blake2b(place + data, digest_size=_DIGEST_BYTES).digest()
