"""AVI files of raw frames, written a block at a time.

FFmpeg makes the headers. The frames, all of one size, follow them in large writes, and the indexes
can then be told from their number alone. The bytes are those that FFmpeg would have written.
"""

import errno
import os
import struct
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from io import BytesIO
from typing import BinaryIO, cast

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

BITEXACT = {"fflags": "+bitexact"}
"""Keeps the name of the encoder and the time of day out of a file."""

RIFF_BYTES = 2**30
"""The first frame that begins behind so many bytes of a RIFF list begins the next list."""

FLUSH_BYTES = 2**23
"""What is written at least before it is brought to the disk: half of a usual block."""

PARTS_PER_WRITE = 1000
"""Below the most that a system takes at once, which is 1,024 almost everywhere."""

TAG = b"00dc"
CHUNK_HEADER = struct.Struct("<4sI")
LIST_HEADER = struct.Struct("<4sI4s")
INDEX_HEADER = struct.Struct("<4sIHBBI4sQI")
INDEX_ENTRY = np.dtype([("position", "<u4"), ("size", "<u4")])
OLD_INDEX_ENTRY = np.dtype([("tag", "S4"), ("flags", "<u4"), *INDEX_ENTRY.descr])
MASTER_ENTRY = struct.Struct("<QII")
KEY_FRAME = 0x10
LONGS_PER_ENTRY, INDEX_OF_CHUNKS = 2, 1


def add_gray_stream(
    container: OutputContainer, codec: str, width: int, height: int, fps: Fraction
) -> VideoStream:
    """Add a stream of 8-bit gray frames whose bytes depend on nothing else."""
    stream = cast("VideoStream", container.add_stream(codec, rate=fps))
    stream.width, stream.height, stream.pix_fmt = width, height, "gray"
    context = stream.codec_context
    context.time_base = 1 / fps
    context.thread_count = 1
    context.flags |= Flags.bitexact
    return stream


def container_header(width: int, height: int, fps: Fraction) -> bytes:
    """What FFmpeg writes before the first frame of a raw gray AVI."""
    buffer = BytesIO()
    with av.open(buffer, "w", format="avi", options=BITEXACT) as container:
        add_gray_stream(container, "rawvideo", width, height, fps)
        container.start_encoding()
    made = buffer.getvalue()
    return made[: made.rindex(b"movi") + len(b"movi")]


class RawAvi:
    """An AVI of raw 8-bit gray frames, OpenDML where it grows beyond 1 GiB."""

    def __init__(self, path: str, *, width: int, height: int, fps: Fraction) -> None:
        header = container_header(width, height, fps)
        self._fields = _fields(header)
        self._size = width * height
        self._stride = CHUNK_HEADER.size + self._size + self._size % 2
        self._file: BinaryIO = open(path, "wb", buffering=0)  # noqa: SIM115 (closed by close)
        self._riff, self._lists = 0, 0
        self._first = len(header)
        """Where the first frame of the current list is."""
        self._in_list = self._in_all = self._in_first = 0
        self._behind = ThreadPoolExecutor(1, "miostitch-flush")
        self._flush: Future[None] | None = None
        self._unflushed = 0
        try:
            self._append([header])
        except OSError:
            self._file.close()
            raise

    def write(self, frames: NDArray[np.uint8]) -> None:
        """Append frames, C-contiguous uint8 (frame, height, width)."""
        begin = CHUNK_HEADER.pack(TAG, self._size)
        end = b"\0" * (self._size % 2)
        pixels = frames.reshape(len(frames), self._size)
        done = 0
        while done < len(frames):
            if self._in_list >= self._room:
                self._end_list()
                self._begin_list()
            now = min(len(frames) - done, self._room - self._in_list)
            parts = [p for row in pixels[done : done + now] for p in (begin, row.data, end) if p]
            self._append(parts)
            self._in_list += now
            self._in_all += now
            done += now
        self._flush_behind(len(frames) * self._stride)

    def close(self) -> None:
        """Write the indexes and the counts, and close the file."""
        with self._file, self._behind:
            self._end_list(last=True)
            counts = {"stream frames": self._in_all, "largest": self._size if self._in_all else 0}
            if self._lists:
                counts |= {"all frames": self._in_all}
            # FFmpeg counts the frame that begins the next list
            counts["frames"] = self._in_first + 1 if self._lists else self._in_all
            for name, value in counts.items():
                self._patch(self._fields[name], struct.pack("<I", value))
            if self._flush is not None:
                self._flush.result()

    @property
    def _room(self) -> int:
        """Frames of the current list."""
        limit = self._riff + CHUNK_HEADER.size + RIFF_BYTES
        return max(0, limit - self._first) // self._stride + 1

    def _flush_behind(self, written: int) -> None:
        """Bring what is written to the disk while more comes, and not all of it at the end."""
        self._unflushed += written
        if self._unflushed < FLUSH_BYTES or not (self._flush is None or self._flush.done()):
            return
        if self._flush is not None:
            self._flush.result()
        self._unflushed = 0
        self._flush = self._behind.submit(getattr(os, "fdatasync", os.fsync), self._file.fileno())

    def _begin_list(self) -> None:
        self._riff = self._file.tell()
        self._append([LIST_HEADER.pack(b"RIFF", 0, b"AVIX"), LIST_HEADER.pack(b"LIST", 0, b"movi")])
        self._first = self._file.tell()
        self._in_list = 0

    def _end_list(self, *, last: bool = False) -> None:
        """Write the indexes of a list; a file of one list has no OpenDML ones."""
        movi = self._first - len(b"movi")
        places = np.arange(self._in_list, dtype=np.int64) * self._stride + len(b"movi")
        if self._lists or not last:
            self._write_index(movi, places)
        self._patch(movi - 4, struct.pack("<I", self._file.tell() - movi))
        if self._riff == 0:
            entries = np.zeros(self._in_list, OLD_INDEX_ENTRY)
            entries["tag"], entries["flags"] = TAG, KEY_FRAME
            entries["position"], entries["size"] = places, self._size
            self._append([CHUNK_HEADER.pack(b"idx1", entries.nbytes), entries.tobytes()])
            self._in_first = self._in_list
        begin = self._riff + CHUNK_HEADER.size
        self._patch(begin - 4, struct.pack("<I", self._file.tell() - begin))

    def _write_index(self, movi: int, places: NDArray[np.int64]) -> None:
        """Write the OpenDML index of a list, and enter it into the one at the start."""
        entries = np.zeros(len(places), INDEX_ENTRY)
        entries["position"], entries["size"] = places + CHUNK_HEADER.size, self._size
        size = INDEX_HEADER.size - CHUNK_HEADER.size + entries.nbytes
        kind = (LONGS_PER_ENTRY, 0, INDEX_OF_CHUNKS)
        at = self._file.tell()
        head = INDEX_HEADER.pack(b"ix00", size, *kind, len(places), TAG, movi, 0)
        self._append([head, entries.tobytes()])
        master = self._fields["indexes"]
        entry = MASTER_ENTRY.pack(at, size + CHUNK_HEADER.size, len(places))
        where = master + CHUNK_HEADER.size + 24 + self._lists * MASTER_ENTRY.size
        if where + len(entry) > self._fields["indexes end"]:
            raise OSError(errno.EFBIG, f"no AVI holds more than {self._lists} GiB")
        self._lists += 1
        self._patch(where, entry)
        self._patch(master, b"indx")
        self._patch(master + CHUNK_HEADER.size + 4, struct.pack("<I", self._lists))
        self._patch(self._fields["odml"], b"LIST")

    def _append(self, parts: list[bytes | memoryview]) -> None:
        for start in range(0, len(parts), PARTS_PER_WRITE):
            _write_all(self._file, parts[start : start + PARTS_PER_WRITE])

    def _patch(self, position: int, data: bytes) -> None:
        end = self._file.tell()
        self._file.seek(position)
        _write_all(self._file, [data])
        self._file.seek(end)


def _fields(header: bytes) -> dict[str, int]:
    """Where in a header the counts are that are known at the end."""
    found: dict[str, int] = {}
    at = LIST_HEADER.size
    while at < len(header) - LIST_HEADER.size:
        tag, size = CHUNK_HEADER.unpack_from(header, at)
        data = at + CHUNK_HEADER.size
        if tag == b"avih":
            found["frames"] = data + 16
        elif tag == b"strh":
            found |= {"stream frames": data + 32, "largest": data + 36}
        elif tag == b"JUNK" and "indexes" not in found:
            found |= {"indexes": at, "indexes end": data + size}
        elif tag == b"JUNK" and "odml" not in found:
            found |= {"odml": at, "all frames": data + 12}
        at = data + (len(b"hdrl") if tag == b"LIST" else size + size % 2)
    return found


def _write_all(file: BinaryIO, parts: list[bytes | memoryview]) -> None:
    """Write parts one behind the other; a system may take less at once than it is given."""
    gather = hasattr(os, "writev")  # not on Windows
    left = [memoryview(part) for part in (parts if gather else [b"".join(parts)])]
    while left:
        written = os.writev(file.fileno(), left) if gather else file.write(left[0])
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]
