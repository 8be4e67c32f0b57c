"""Positions of the video chunks of an AVI file, by its index or without one.

The index that FFmpeg reads is used if it agrees with the first chunk and covers the file; otherwise
the file is walked from chunk header to chunk header.
"""

import os
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BufferedReader
from itertools import pairwise
from typing import Any

import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from miostitch.arrays import I32, I64, Bools
from miostitch.errors import TruncatedVideoError, VideoError

CHUNK = np.dtype([("frame", "i8"), ("position", "i8"), ("size", "i8"), ("key", "?")])
"""One video chunk; ``position`` is that of its 8-byte header in the file."""

CHUNK_HEADER = struct.Struct("<4sI")
SCAN_BYTES = 2**22
FIRST_SCAN_BYTES = 2**12
SECTOR = 512  # Bytes of which the ends of a hole that a disk leaves are multiples
MOVI = re.compile(rb"LIST....movi", re.DOTALL)
SKIPPED = re.compile(rb"ix\d\d|idx1|indx|JUNK|LIST")
CHUNK_TAG = re.compile(rb"\d\d[a-z]{2}|RIFF|$|" + SKIPPED.pattern)
"""What may follow a chunk; nothing at the end of the file."""
VIDEO = (b"dc", b"db")
H264_IDR = re.compile(rb"\x00\x00\x01[\x05\x25\x45\x65]")


def chunk_headers(stream: int, size: int) -> tuple[bytes, bytes]:
    """Headers that a video chunk of this size may have."""
    number = b"%02d" % stream
    return CHUNK_HEADER.pack(number + b"dc", size), CHUNK_HEADER.pack(number + b"db", size)


def chunk_bytes(size: int) -> int:
    """Bytes of a chunk in the file: header, data, and a byte to make it even."""
    return CHUNK_HEADER.size + size + size % 2


def lost_frame(path: str, frame: int, offset: int, what: str) -> TruncatedVideoError:
    """Error for a frame that is not complete."""
    msg = f"{path}: frame {frame} (byte {offset}): {what}; --salvage leaves it out"
    return TruncatedVideoError(msg)


@dataclass(frozen=True)
class OpenAvi:
    """An open AVI and its video stream, as the headers declare it."""

    path: str
    file: BufferedReader
    stream: VideoStream
    stream_count: int
    salvage: bool  # Check every chunk header; keep the frames before a truncation
    notices: list[str]  # Takes messages for the user

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec."""
        return self.stream.codec_context.name

    @property
    def raw_sizes(self) -> tuple[int, ...]:
        """Sizes in bytes that a raw chunk may have, the declared one first; none if coded."""
        if self.codec != "rawvideo":
            return ()
        width, height = self.stream.width, self.stream.height
        plane = width * height
        i420 = plane + 2 * ((width + 1) // 2) * ((height + 1) // 2)
        return (plane, i420) if self.stream.codec_context.pix_fmt == "gray" else (i420,)


@dataclass(frozen=True, eq=False)
class ChunkIndex:
    """Positions of the frames of an AVI, -1 for lost ones."""

    stream: int
    position: I64
    size: I32
    is_key: Bools  # Whether decoding can start from a frame
    extradata: bytes | None

    @property
    def keys(self) -> I64:
        """Frames that decoding can start from."""
        return np.flatnonzero(self.is_key)

    @property
    def lost(self) -> I64:
        """Frames lost in holes."""
        return np.flatnonzero(self.position < 0)

    def without(self, frames: I64) -> "ChunkIndex":
        """Mark these frames as lost, and those that cannot be decoded without lost ones."""
        position = self.position.copy()
        position[frames] = -1
        position[spoiled(position < 0, self.keys)] = -1
        return replace(self, position=position)

    def runs(self, frames: I64, whole_groups: bool) -> Iterator[tuple[int, I64, I32]]:
        """First frame, positions and sizes of the runs of chunks that decode to sorted frames."""
        keys = self.keys
        group = np.searchsorted(keys, frames, side="right")
        starts = keys[group - 1]
        stops = np.append(keys, len(self.position))[group] if whole_groups else frames + 1
        breaks = np.flatnonzero(starts[1:] > stops[:-1]) + 1
        for first, last in pairwise([0, *breaks.tolist(), len(frames)]):
            run = slice(int(starts[first]), int(stops[last - 1]))
            yield run.start, self.position[run], self.size[run]


def spoiled(lost: Bools, keys: I64) -> Bools:
    """Find the frames that cannot be decoded if some are lost, bool (frame,).

    These are the lost ones, and the others of their groups of pictures or before the first key.

    >>> spoiled(np.array([0, 0, 1, 0, 0, 0], bool), np.array([0, 4])).astype(int).tolist()
    [1, 1, 1, 1, 0, 0]
    """
    alone = lost.copy()
    alone[keys] = True
    if alone.all():
        return lost
    group = np.searchsorted(keys, np.arange(len(lost)), side="right")
    return np.asarray(np.isin(group, group[lost]) | (group == 0), np.bool_)


def index_chunks(avi: OpenAvi, entries: NDArray[np.void]) -> ChunkIndex:
    """Find the position of every frame."""
    chunks, walked = _find_chunks(avi, entries)
    if len(chunks) and avi.raw_sizes:
        chunks = _of_one_size(avi, chunks)
    count = int(chunks["frame"].max(initial=-1)) + 1
    if len(chunks) and avi.salvage:
        chunks = chunks[_headers_are_valid(avi, chunks)]
    if len(chunks) and avi.salvage and avi.raw_sizes:
        chunks = chunks[_ends_are_valid(avi, chunks)]
    if not len(chunks):
        raise VideoError(f"{avi.path}: 0 frames; leave it out")
    frames, key = chunks["frame"], chunks["key"]
    if avi.codec == "h264" or (walked and avi.codec == "ffv1"):
        key = key & _are_keys(avi, chunks)
    position, size, is_key = np.full(count, -1), np.zeros(count, np.int32), np.zeros(count, bool)
    position[frames], size[frames], is_key[frames] = chunks["position"], chunks["size"], key
    index = ChunkIndex(
        avi.stream.index,
        position,
        _shrink(size),
        _shrink(is_key),
        avi.stream.codec_context.extradata,
    )
    return index.without(np.empty(0, np.int64))


def _shrink(values: NDArray[Any]) -> NDArray[Any]:
    """Keep equal values, as of hours of raw video, in the memory of one."""
    return np.broadcast_to(values[:1], values.shape) if (values == values[0]).all() else values


def _find_chunks(avi: OpenAvi, entries: NDArray[np.void]) -> tuple[NDArray[np.void], bool]:
    """Find the complete chunks, and whether the file had to be walked for them."""
    chunks, end = entries, avi.file.seek(0, os.SEEK_END)
    avi.file.seek(0)
    movi = MOVI.search(avi.file.read(SCAN_BYTES))
    start = movi.start() if movi else _start_by_index(avi.file)
    walked = True
    if len(chunks) and _is_possible(chunks, end):
        # FFmpeg moves the whole index to the first chunk it finds: a hole there would shift it.
        first = next(_walk(avi, start), (-1, -1))
        after = int(chunks[-1]["position"]) + chunk_bytes(int(chunks[-1]["size"]))
        shifted = first[:2] != (chunks[0]["frame"], chunks[0]["position"])
        walked = shifted or any(key for *_, key in _walk(avi, after))
    if walked:
        chunks = np.fromiter(_walk(avi, start), CHUNK)
        if len(chunks):
            avi.notices.append("its index is missing or short; rebuilt from the chunks")
    cut = np.flatnonzero(chunks["position"] + CHUNK_HEADER.size + chunks["size"] > end)
    if cut.size:
        frame, position = int(chunks["frame"][cut[0]]), int(chunks["position"][cut[0]])
        if not avi.salvage:
            raise lost_frame(avi.path, frame, position, "the file ends or is damaged from here on")
        avi.notices.append(
            f"truncated at frame {frame} (byte {position}); the frames before it are used"
        )
        chunks = chunks[: cut[0]]
    return chunks, walked


def _is_possible(chunks: NDArray[np.void], end: int) -> bool:
    """Whether a file of `end` bytes may have such an index, which could name endless frames."""
    limit = end // CHUNK_HEADER.size
    least = min(int(chunks[name].min()) for name in ("frame", "position", "size"))
    return least >= 0 and int(chunks["frame"].max()) < limit


def _walk(avi: OpenAvi, position: int) -> Iterator[tuple[int, int, int, bool]]:
    """Rows of ``CHUNK``, from chunk header to chunk header.

    Raw chunks have known sizes: the next one after a hole is searched, and the distance tells
    how many are lost. A hole that cannot be bridged is a last row, not a key, that ends beyond
    the file.
    """
    file, stream, sizes = avi.file, avi.stream.index, avi.raw_sizes
    end, frame, stop = file.seek(0, os.SEEK_END), 0, -1
    tags = {header[:4] for header in chunk_headers(stream, 0)}
    others = {b"%02d" % other for other in range(avi.stream_count) if other != stream}
    while position + CHUNK_HEADER.size <= end:
        file.seek(position)
        head = file.read(16)
        tag, size = CHUNK_HEADER.unpack_from(head)
        known = bool(tag[:2] in others or SKIPPED.fullmatch(tag))
        if size in sizes and position != stop and not (tag[:2] in others and tag[2:] in VIDEO):
            known = False  # was a frame
        if tag == b"RIFF" or (tag == b"LIST" and head[8:12] in (b"movi", b"rec ")):
            if head[8:12] == b"movi":
                stop = position + CHUNK_HEADER.size + size
            position += 12
        elif tag in tags and (
            size in sizes if sizes and size else size or CHUNK_TAG.match(head[8:])
        ):
            if size:  # an empty chunk stands for a frame that was dropped
                yield frame, position, size, True
            frame += 1
            position += chunk_bytes(size)
        elif known and position + size <= end:
            position += chunk_bytes(size)
        elif found := _search(file, position + 1, stream, sizes):
            file.seek(position + chunk_bytes(size))
            if size in sizes and CHUNK_TAG.match(file.read(4)):  # only the tag is damaged
                found = position + chunk_bytes(size), size
            whole, rest = divmod(found[0] - position, chunk_bytes(found[1]))
            # Eight bytes too many are an empty chunk.
            frame += whole + (rest == CHUNK_HEADER.size or round(rest / chunk_bytes(found[1])))
            position = found[0]
        else:
            # Behind all frames there may be a cut or damaged index.
            if not known and not (position == stop and end - position <= 8 + 16 * frame):
                yield frame, position, end, False
            return


def _start_by_index(file: BufferedReader) -> int:
    """Position of the first chunk by an ``idx1`` right after the last; else the end of the file."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - SCAN_BYTES))
    tail = file.read()
    place = tail.rfind(b"idx1")
    if place < 0 or place + CHUNK_HEADER.size > len(tail):
        return end
    _, size = CHUNK_HEADER.unpack_from(tail, place)
    entries = tail[place + CHUNK_HEADER.size :][:size]
    if not size or size % 16 or len(entries) != size:
        return end
    (first,) = struct.unpack_from("<8xI", entries)
    offset, last = struct.unpack_from("<8xII", entries, size - 16)
    start = end - len(tail) + place - (offset - first + chunk_bytes(last))
    return start if start > 0 else end


def _search(
    file: BufferedReader, position: int, stream: int, sizes: Sequence[int]
) -> tuple[int, int] | None:
    """Find the next chunk of one of these sizes: its position and size."""
    headers = [header for size in sizes for header in chunk_headers(stream, size)]
    pattern = re.compile(b"|".join(map(re.escape, headers)))
    scan = FIRST_SCAN_BYTES  # most damage is small; a file full of it must not be read many times
    while headers:
        file.seek(position)
        block = file.read(scan)
        if hit := pattern.search(block):
            return position + hit.start(), CHUNK_HEADER.unpack(hit.group())[1]
        if len(block) < scan:
            break
        position += len(block) - CHUNK_HEADER.size + 1
        scan = min(4 * scan, SCAN_BYTES)
    return None


def _of_one_size(avi: OpenAvi, chunks: NDArray[np.void]) -> NDArray[np.void]:
    """Keep the chunks of the size that most have; others are no frames."""
    sizes = avi.raw_sizes
    found, counts = np.unique(chunks["size"], return_counts=True)
    size = int(found[np.argmax(counts)])
    frame = f"{avi.stream.width}x{avi.stream.height} frame"
    if size not in sizes:
        msg = f"{avi.path}: a {frame} takes {sizes[0]} bytes, but its chunks hold {size}"
        padded = size == (avi.stream.width + 3) // 4 * 4 * avi.stream.height
        remedy = (
            "its rows are padded; write it again without padding" if padded else "repair the header"
        )
        raise VideoError(f"{msg}; {remedy}")
    if size != sizes[0]:
        avi.notices.append(
            f"tagged Y800 but holds I420: the first {sizes[0]} bytes of a chunk are the image"
        )
    return np.asarray(chunks[chunks["size"] == size])


def _headers_are_valid(avi: OpenAvi, chunks: NDArray[np.void]) -> list[bool]:
    valid, places = [], zip(chunks["position"].tolist(), chunks["size"].tolist(), strict=True)
    with open(avi.path, "rb", buffering=0) as file:  # a buffer would be filled for each header
        for position, size in places:
            file.seek(position)
            valid.append(file.read(CHUNK_HEADER.size) in chunk_headers(avi.stream.index, size))
    return valid


def _ends_are_valid(avi: OpenAvi, chunks: NDArray[np.void]) -> Bools:
    """Whether no hole of zeros begins in a chunk and goes on over the header after it.

    A hole inside a frame cannot be told from black.
    """
    valid = np.ones(len(chunks), bool)
    followed = np.append(np.diff(chunks["frame"]) == 1, [False])
    for place in np.flatnonzero(~followed).tolist():
        position, size = int(chunks[place]["position"]), int(chunks[place]["size"])
        end = position + CHUNK_HEADER.size + size
        # the hole begins with the sector of the header after it, or before that
        tail = min(size, end % SECTOR or SECTOR)
        avi.file.seek(end - tail)
        hole = bytes(tail + size % 2 + CHUNK_HEADER.size)
        valid[place] = avi.file.read(len(hole)) != hole
    return valid


def _are_keys(avi: OpenAvi, chunks: NDArray[np.void]) -> list[bool]:
    """Whether decoding can start from a chunk, by its bytes."""
    keys = []
    for row in chunks:
        avi.file.seek(int(row["position"]) + CHUNK_HEADER.size)
        if avi.codec == "ffv1":  # the first bit of the range coder
            keys.append(int.from_bytes(avi.file.read(2), "big") >= 0x7F80)
        else:  # an open group of pictures does not start with an IDR picture
            keys.append(bool(row["key"] and H264_IDR.search(avi.file.read(int(row["size"])))))
    return keys
