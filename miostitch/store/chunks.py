"""The blocks of a store's ``video``: one chunk each, one file each."""

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from miostitch.errors import InputError, ResourceError
from miostitch.schema import VIDEO
from miostitch.store.nodes import Array, Mode, open_array, read, write
from miostitch.store.renaming import rename
from miostitch.store.validation import CHUNK_NAME

BEFORE = ".before"  # Ending of a store that is being begun anew
CHECKERS = 4  # Threads that look for damage: enough for a disk, and few blocks in memory
OPEN_VIDEOS = 8  # Arrays that are kept open: the stores of a run, to be read and to be written


def write_block(path: str, start: int, frames: npt.NDArray[np.uint8]) -> None:
    """Write frames that cover whole chunks of ``video``, uint8 (frame, height, width)."""
    try:
        video = _open_video(path, "r+")
        write(video, slice(start, start + len(frames)), frames)
    except OSError as error:
        raise ResourceError(f"{path}: cannot write frame {start} and on: {error}") from error


def read_block(path: str, start: int, stop: int) -> npt.NDArray[np.uint8]:
    """Read frames of ``video`` back, uint8 (frame, height, width)."""
    try:
        video = _open_video(path, "r")
        for chunk in range(start // video.chunks[0], -(-stop // video.chunks[0])):
            os.stat(_chunk_file(path, video, chunk))
        return read(video, slice(start, stop))
    except (OSError, RuntimeError, ValueError) as error:
        what = f"{path}: frames {start} to {stop - 1} cannot be read: {error}"
        raise InputError(f"{what}; make the store again") from error


def read_frames(path: str, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Read frames of ``video`` in any order, uint8 (frame, height, width)."""
    try:
        video = _open_video(path, "r")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read any more: {error}; open it again") from error
    out = np.empty((len(frames), *video.shape[1:]), np.uint8)
    chunk = frames // video.chunks[0]
    for number in np.unique(chunk):
        here = np.flatnonzero(chunk == number)
        first, last = int(frames[here].min()), int(frames[here].max())
        try:
            out[here] = read_block(path, first, last + 1)[frames[here] - first]
        except InputError as error:
            raise InputError(f"{error}, or --salvage leaves them out") from error
    return out


def recall_block(path: str, start: int, stop: int) -> npt.NDArray[np.uint8] | None:
    """Read frames that an earlier run wrote; None if a chunk is missing or damaged."""
    try:
        return read_block(path, start, stop)
    except InputError:
        return None


class DamagedBlock(NamedTuple):
    """Frames of a chunk that is missing, or is not what was written."""

    first: int
    last: int
    file: str  # The chunk
    why: str  # What is wrong with it


def damaged_blocks(path: str) -> tuple[DamagedBlock, ...]:
    """Find the damaged chunks of ``video``; those that did not change since are not read again."""
    video = _open_video(path, "r")
    files = [_chunk_file(path, video, n) for n in range(-(-video.shape[0] // video.chunks[0]))]
    return _damaged_blocks(path, tuple(zip(map(str, files), map(_state, files), strict=True)))


@lru_cache(OPEN_VIDEOS)
def _damaged_blocks(
    path: str, chunks: tuple[tuple[str, tuple[int, ...]], ...]
) -> tuple[DamagedBlock, ...]:
    video = _open_video(path, "r")
    count, block = video.shape[0], video.chunks[0]

    def check(number: int) -> DamagedBlock | None:
        first, last = number * block, min((number + 1) * block, count) - 1
        file, state = chunks[number]
        if not state:
            return DamagedBlock(first, last, file, "the chunk is missing")
        try:
            read(video, slice(first, last + 1))
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.EIO):
                raise  # no rights, or a network that is away: the chunk is not to blame
            return DamagedBlock(first, last, file, "the chunk is damaged")
        return None

    with ThreadPoolExecutor(CHECKERS, "miostitch-check") as pool:
        return tuple(filter(None, pool.map(check, range(len(chunks)))))


def _state(file: Path) -> tuple[int, ...]:
    """What changes when a file is written anew; nothing where there is none."""
    try:
        with open(file, "rb") as opened:  # a network may tell old news of what is not open
            found = os.fstat(opened.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def sync_block(path: str, start: int) -> None:
    """Bring the chunk that begins at a frame to the disk."""
    file: str | Path = path
    try:
        video = _open_video(path, "r")
        file = _chunk_file(path, video, start // video.chunks[0])
        descriptor = os.open(file, os.O_RDWR)  # Windows syncs only what may be written
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ResourceError(f"{file}: cannot be written: {error.strerror}") from error


def set_aside(path: str) -> None:
    """Move a store that an earlier run began out of the way, with all its chunks."""
    store, before = Path(path), Path(path + BEFORE)
    try:
        if before.exists() and store.exists():  # taking chunks over was cut off
            _move_chunks(store, before)
            shutil.rmtree(store)
        elif store.exists():
            rename(store, before)
    except OSError as error:
        raise ResourceError(f"{path}: cannot be moved: {error}") from error


def take_over(path: str) -> None:
    """Move the chunks of the store that was set aside into the new one."""
    before = Path(path + BEFORE)
    try:
        if before.exists():
            _move_chunks(before, Path(path))
            shutil.rmtree(before)
    except OSError as error:
        raise ResourceError(f"{path}: chunks cannot be moved: {error}") from error


def _move_chunks(source: Path, target: Path) -> None:
    """Move whole chunks; what was cut off while it was written is left behind."""
    old, new = source / VIDEO.name, target / VIDEO.name
    for file in [*old.rglob("*")]:
        if file.is_file() and CHUNK_NAME.fullmatch(file.name):
            moved = new / file.relative_to(old)
            moved.parent.mkdir(parents=True, exist_ok=True)
            rename(file, moved)


def _open_video(path: str, mode: Mode) -> Array:
    """Open ``video``, or take what was opened before if it still stands there unchanged."""
    folder = Path(path) / VIDEO.name
    written = _state(folder / "zarr.json") or _state(folder / ".zarray")
    if not written:  # tells what is missing
        return _opened.__wrapped__(folder, mode, ())
    return _opened(folder, mode, written)


@lru_cache(OPEN_VIDEOS)
def _opened(folder: Path, mode: Mode, written: tuple[int, ...]) -> Array:
    # costs some milliseconds, which add up where every block is opened twice
    return open_array(folder, mode)


def _chunk_file(path: str, video: Array, chunk: int) -> Path:
    return Path(path, VIDEO.name, video.metadata.encode_chunk_key((chunk, 0, 0)))
