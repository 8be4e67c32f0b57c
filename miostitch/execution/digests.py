"""What the products of a run contained when they were written: a digest and a size of each.

Made at the end of every run, so it must cost next to nothing: of a video the checksums count that
were made while it was written, of a store those that every chunk carries.
"""

import os
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from miostitch.execution.products import is_of_system
from miostitch.video.source import VideoSource, open_video
from miostitch.video.writer import checksum_path, frame_checksums

Digest = dict[str, str | int]
"""``digest``, hexadecimal, and ``size`` in bytes."""

TAIL_BYTES = 8
"""The end of a chunk, in which its checksum is: 4 bytes, whatever the codec."""

END_BYTES = 2**20
"""Start and end of a video, in which its header and its index are."""

BLOCK_BYTES = 2**24


def product_digest(path: Path) -> Digest:
    """Digest of a product of any kind; of a video that is being written, by its checksum file."""
    if path.is_dir():
        return store_digest(path)
    if path.suffix != ".avi":
        return file_digest(path)
    noted = checksum_path(path)
    checksums = np.fromfile(noted, "<u4") if noted.exists() else _read_checksums(open_video(path))
    noted.unlink(missing_ok=True)
    return video_digest(path, checksums)


def file_digest(path: Path) -> Digest:
    """Digest of the content of a file."""
    with path.open("rb") as file:
        digest, size = blake2b(), 0
        while data := file.read(BLOCK_BYTES):
            digest.update(data)
            size += len(data)
    return {"digest": digest.hexdigest(), "size": size}


def store_digest(path: Path) -> Digest:
    """Digest of a store: path, size and checksum of every chunk, all of the metadata."""
    digest, total = blake2b(), 0
    places = (file.relative_to(path) for file in path.rglob("*"))
    for name in sorted(place.as_posix() for place in places if not is_of_system(place)):
        file = path / name
        if file.is_dir():
            continue
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            if file.suffix != ".json" and not file.name.startswith(".z"):
                opened.seek(max(0, size - TAIL_BYTES))
            end = opened.read()
        digest.update(f"{name}\0{size}\0".encode() + end)
        total += size
    return {"digest": digest.hexdigest(), "size": total}


def video_digest(path: Path, checksums: NDArray[np.uint32]) -> Digest:
    """Digest of a video: CRC-32 of every frame, (frame,), size, header and index of the file."""
    digest = blake2b(checksums.astype("<u4").tobytes())
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(size.to_bytes(8, "little") + file.read(END_BYTES))
        file.seek(max(0, size - END_BYTES))
        digest.update(file.read())
    return {"digest": digest.hexdigest(), "size": size}


def _read_checksums(video: VideoSource) -> NDArray[np.uint32]:
    step = max(1, BLOCK_BYTES // (video.height * video.width))
    spans = (
        np.arange(at, min(at + step, video.frame_count)) for at in range(0, video.frame_count, step)
    )
    return np.concatenate([np.zeros(0, "<u4"), *(frame_checksums(video.read(s)) for s in spans)])
