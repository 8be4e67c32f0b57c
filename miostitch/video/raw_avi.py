"""AVI files of raw 8-bit gray frames, written by position.

FFmpeg makes the header. All frames have one size, so that the place of each, and with their number
the indexes too, are known beforehand: any thread and any process can write its frames, in any
order. The bytes are those that FFmpeg would have written.
"""

import errno
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from io import BytesIO
from typing import cast

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream
from numpy.typing import NDArray

BITEXACT = {"fflags": "+bitexact"}
"""Keeps the name of the encoder and the time of day out of a file."""

RIFF_BYTES = 2**30
"""The first frame that begins behind so many bytes of a RIFF list begins the next list."""

PARTS_PER_WRITE = 1000
"""Below the most that a system takes at once, which is 1,024 almost everywhere."""

TAG = b"00dc"
CHUNK_HEADER = struct.Struct("<4sI")
LIST_HEADER = struct.Struct("<4sI4s")
INDEX_HEADER = struct.Struct("<4sIHBBI4sQI")
INDEX_ENTRY = np.dtype([("position", "<u4"), ("size", "<u4")])
OLD_INDEX_ENTRY = np.dtype([("tag", "S4"), ("flags", "<u4"), *INDEX_ENTRY.descr])
MASTER_ENTRY = struct.Struct("<QII")
LIST_HEAD = LIST_HEADER.size * 2
KEY_FRAME = 0x10
LONGS_PER_ENTRY, INDEX_OF_CHUNKS = 2, 1


def add_gray_stream(
    container: OutputContainer, codec: str, width: int, height: int, fps: Fraction
) -> VideoStream:
    """Add a stream of 8-bit gray frames whose bytes depend on nothing else."""
    stream = cast("VideoStream", container.add_stream(codec, rate=fps))
    configure_gray(stream.codec_context, width, height, fps)
    return stream


def configure_gray(context: VideoCodecContext, width: int, height: int, fps: Fraction) -> None:
    """Have an encoder take 8-bit gray frames."""
    context.width, context.height, context.pix_fmt = width, height, "gray"
    context.time_base, context.framerate = 1 / fps, fps
    context.thread_count = 1
    context.flags |= Flags.bitexact


def container_header(width: int, height: int, fps: Fraction) -> bytes:
    """What FFmpeg writes before the first frame of a raw gray AVI."""
    buffer = BytesIO()
    with av.open(buffer, "w", format="avi", options=BITEXACT) as container:
        add_gray_stream(container, "rawvideo", width, height, fps)
        container.start_encoding()
    made = buffer.getvalue()
    return made[: made.rindex(b"movi") + len(b"movi")]


@dataclass(frozen=True)
class RawAvi:
    """An AVI of raw 8-bit gray frames, OpenDML where it grows beyond 1 GiB; small and picklable."""

    path: str
    width: int
    height: int
    fps: Fraction

    def begin(self, *, empty: bool = False) -> None:
        """Make the file, or take one that is there as it is."""
        with open(self.path, "wb" if empty else "ab"):
            pass

    def read(self, first: int, count: int) -> NDArray[np.uint8]:
        """Frames as they were written, zero beyond the end, uint8 (frame, height * width)."""
        frames = np.zeros((count, self._size), np.uint8)
        with open(self.path, "rb") as file:
            for place, frame in enumerate(frames):
                number, at = self._place(first + place)
                file.seek(self._first_frame(number) + at * self.stride + CHUNK_HEADER.size)
                file.readinto(frame.data)
        return frames

    def write(self, first: int, frames: NDArray[np.uint8]) -> None:
        """Write frames at their place, C-contiguous uint8 (frame, height, width)."""
        begin = CHUNK_HEADER.pack(TAG, self._size)
        end = b"\0" * (self._size % 2)
        pixels = frames.reshape(len(frames), self._size)
        done = 0
        with _opened(self.path) as file:
            while done < len(frames):
                number, at = self._place(first + done)
                part = pixels[done : done + self._room(number) - at]
                parts = [p for row in part for p in (begin, row.data, end) if p]
                _write_at(file, self._first_frame(number) + at * self.stride, parts)
                done += len(part)

    def lay_out(self, count: int) -> None:
        """Write everything but the frames: header, lists, indexes and counts of so many frames."""
        header = bytearray(self._header)
        lists = self._lists(count)
        with _opened(self.path) as file:
            for number, frames in enumerate(lists):
                movi = self._first_frame(number) - len(b"movi")
                at = self._first_frame(number) + frames * self.stride
                index = self._index(movi, frames) if len(lists) > 1 else b""
                if index:  # the one at the start tells of it
                    self._require_entry(number)
                    entry = at, len(index), frames
                    MASTER_ENTRY.pack_into(header, self._entry(number), *entry)
                in_movi = at + len(index) - movi
                index += b"" if number else self._old_index(frames)
                in_riff = at + len(index) - self._riff(number) - CHUNK_HEADER.size
                if number:
                    begin = LIST_HEADER.pack(b"RIFF", in_riff, b"AVIX")
                    begin += LIST_HEADER.pack(b"LIST", in_movi, b"movi")
                    _write_at(file, self._riff(number), [begin])
                else:
                    struct.pack_into("<I", header, 4, in_riff)
                    struct.pack_into("<I", header, movi - 4, in_movi)
                _write_at(file, at, [index])
            os.ftruncate(file, at + len(index))  # an earlier file may have been longer
            self._enter_counts(header, lists)
            _write_at(file, 0, [header])

    def flush(self) -> None:
        """Bring what is written to the disk."""
        with _opened(self.path) as file:
            getattr(os, "fdatasync", os.fsync)(file)

    @property
    def stride(self) -> int:
        """Bytes from frame to frame."""
        return CHUNK_HEADER.size + self._size + self._size % 2

    @property
    def _size(self) -> int:
        return self.width * self.height

    @cached_property
    def _header(self) -> bytes:
        return container_header(self.width, self.height, self.fps)

    @cached_property
    def _fields(self) -> dict[str, int]:
        """Where in the header the counts are that are known at the end."""
        found: dict[str, int] = {}
        at = LIST_HEADER.size
        while at < len(self._header) - LIST_HEADER.size:
            tag, size = CHUNK_HEADER.unpack_from(self._header, at)
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

    def _room(self, number: int) -> int:
        """Frames of a full list."""
        head = len(self._header) if number == 0 else LIST_HEAD
        return max(0, CHUNK_HEADER.size + RIFF_BYTES - head) // self.stride + 1

    def _riff(self, number: int) -> int:
        """Where a list begins."""
        if number == 0:
            return 0
        entries = self._room(0) * (INDEX_ENTRY.itemsize + OLD_INDEX_ENTRY.itemsize)
        first = len(self._header) + self._room(0) * self.stride
        first += INDEX_HEADER.size + CHUNK_HEADER.size + entries
        full = LIST_HEAD + INDEX_HEADER.size
        full += self._room(1) * (self.stride + INDEX_ENTRY.itemsize)
        return first + (number - 1) * full

    def _first_frame(self, number: int) -> int:
        return self._riff(number) + (len(self._header) if number == 0 else LIST_HEAD)

    def _place(self, frame: int) -> tuple[int, int]:
        """The list of a frame, and its number there."""
        if frame < self._room(0):
            return 0, frame
        number, at = divmod(frame - self._room(0), self._room(1))
        self._require_entry(number + 1)
        return number + 1, at

    def _lists(self, count: int) -> list[int]:
        """Frames of each list."""
        if count <= self._room(0):
            return [count]
        full, rest = divmod(count - self._room(0), self._room(1))
        return [self._room(0), *[self._room(1)] * full, *([rest] if rest else [])]

    def _entry(self, number: int) -> int:
        """Where the header tells of the index of a list."""
        return self._fields["indexes"] + CHUNK_HEADER.size + 24 + number * MASTER_ENTRY.size

    def _require_entry(self, number: int) -> None:
        if self._entry(number + 1) > self._fields["indexes end"]:
            raise OSError(errno.EFBIG, f"no AVI holds more than {number} GiB")

    def _index(self, movi: int, frames: int) -> bytes:
        """The OpenDML index of a list."""
        entries = np.zeros(frames, INDEX_ENTRY)
        entries["position"], entries["size"] = self._places(frames) + CHUNK_HEADER.size, self._size
        size = INDEX_HEADER.size - CHUNK_HEADER.size + entries.nbytes
        kind = (LONGS_PER_ENTRY, 0, INDEX_OF_CHUNKS)
        return INDEX_HEADER.pack(b"ix00", size, *kind, frames, TAG, movi, 0) + entries.tobytes()

    def _old_index(self, frames: int) -> bytes:
        """The index of the first list that readers from before OpenDML know."""
        entries = np.zeros(frames, OLD_INDEX_ENTRY)
        entries["tag"], entries["flags"] = TAG, KEY_FRAME
        entries["position"], entries["size"] = self._places(frames), self._size
        return CHUNK_HEADER.pack(b"idx1", entries.nbytes) + entries.tobytes()

    def _places(self, frames: int) -> NDArray[np.int64]:
        """Where the frames of a list begin, counted from its ``movi``."""
        return np.arange(frames, dtype=np.int64) * self.stride + len(b"movi")

    def _enter_counts(self, header: bytearray, lists: Sequence[int]) -> None:
        count, fields = sum(lists), self._fields
        counts = {"stream frames": count, "largest": self._size if count else 0, "frames": count}
        if len(lists) > 1:
            # FFmpeg counts the frame that begins the next list
            counts |= {"frames": lists[0] + 1, "all frames": count}
            header[fields["indexes"] : fields["indexes"] + 4] = b"indx"
            struct.pack_into("<I", header, fields["indexes"] + CHUNK_HEADER.size + 4, len(lists))
            header[fields["odml"] : fields["odml"] + 4] = b"LIST"
        for name, value in counts.items():
            struct.pack_into("<I", header, fields[name], value)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """A handle of its own on a file that is there."""
    file = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        yield file
    finally:
        os.close(file)


def _write_at(file: int, position: int, parts: Sequence[bytes | bytearray | memoryview]) -> None:
    """Write parts one behind the other; a system may take less at once than it is given."""
    gather = hasattr(os, "pwritev")  # not on Windows
    left = [memoryview(part) for part in (parts if gather else [b"".join(parts)])]
    while left:
        if gather:
            written = os.pwritev(file, left[:PARTS_PER_WRITE], position)
        else:
            os.lseek(file, position, os.SEEK_SET)
            written = os.write(file, left[0])
        position += written
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]
