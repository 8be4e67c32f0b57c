"""Video boundary: open, index and read.

A frame is read exactly, or an error says which one and where in the file; nothing is ever read
as black. Raw gray frames go from the file straight into the caller's array, coded ones through
FFmpeg. A source holds no open file: it can be pickled, and every read opens the file anew.
"""

import os
import re
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from io import BufferedReader
from itertools import pairwise
from operator import attrgetter
from typing import Any, Literal, TypeAlias, cast, get_args

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from miostitch.errors import (
    MissingInputError,
    TruncatedVideoError,
    UsageError,
    VideoError,
)

# Suffix -> FFmpeg's name of the container, and how such a file begins. FFmpeg is never left to
# guess: a text file named .avi could make it open other files.
FORMATS = {
    ".avi": ("avi", re.compile(rb"RIFF....AVI[ X\x19]", re.DOTALL)),
    ".mkv": ("matroska", re.compile(rb"\x1aE\xdf\xa3")),
    ".mp4": ("mp4", re.compile(rb"....ftyp", re.DOTALL)),
}
Codec: TypeAlias = Literal["rawvideo", "ffv1", "mjpeg", "h264"]
CODECS = get_args(Codec)
LOSSY = ("mjpeg", "h264")

DEFAULT_MAX_FRAME_PIXELS = 2**28

CHUNK = np.dtype([("frame", "i8"), ("position", "i8"), ("size", "i8"), ("key", "?")])
"""One video chunk of an AVI; ``position`` is that of its 8-byte header in the file."""

CHUNK_HEADER = struct.Struct("<4sI")
SCAN_BYTES = 2**22
RUN_BYTES = 2**30  # one call may not ask for 2 GiB
RUN_FRAMES = 512  # two buffers per frame, at most IOV_MAX (1024) per call
Packet: TypeAlias = "av.Packet[Any]"
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
MOVI = re.compile(rb"LIST....movi", re.DOTALL)
SKIPPED = re.compile(rb"ix\d\d|idx1|indx|JUNK|LIST")
H264_IDR = re.compile(rb"\x00\x00\x01[\x05\x25\x45\x65]")


@dataclass(frozen=True, eq=False)
class FrameReader(ABC):
    """A fixed list of frames of one video, small enough to travel with a task."""

    path: str
    height: int
    width: int
    frames: NDArray[np.int64]

    def read(self, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Read the frames.

        Parameters
        ----------
        out
            C-contiguous array (frame, height, width) to read into; a new one by default.

        Returns
        -------
        (frame, height, width) images; zero where ``frames`` is -1.

        Raises
        ------
        TruncatedVideoError
            A frame is lost in a hole, or the file ends before it does.
        VideoError
            A frame cannot be read or decoded.
        UsageError
            ``out`` has another shape or layout.
        """
        shape = (len(self.frames), self.height, self.width)
        if out is None:
            out = np.empty(shape, np.uint8)
        elif out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            msg = f"out must be a C-contiguous uint8 array of shape {shape}"
            raise UsageError(msg)
        out[self.frames < 0] = 0
        if (self.frames >= 0).any():
            with _errors(self.path), open(self.path, "rb") as file:
                self._fill(out, file)
        return out

    @abstractmethod
    def _fill(self, out: NDArray[np.uint8], file: BufferedReader) -> None: ...


@dataclass(frozen=True, eq=False)
class RawReader(FrameReader):
    """Frames that lie in the file as they are: at ``position``, in chunks of ``size`` bytes."""

    stream: int
    position: NDArray[np.int64]
    size: int

    def _fill(self, out: NDArray[np.uint8], file: BufferedReader) -> None:
        rows = np.flatnonzero(self.frames >= 0)
        rows = rows[np.argsort(self.position[rows], kind="stable")]
        stride = _chunk_bytes(self.size)
        breaks = np.flatnonzero(np.diff(self.position[rows]) != stride) + 1
        step = max(1, min(RUN_FRAMES, RUN_BYTES // stride))
        for first, stop in pairwise([0, *breaks.tolist(), len(rows)]):
            for start in range(first, stop, step):
                self._read_run(file, rows[start : min(start + step, stop)], out)

    def _read_run(
        self, file: BufferedReader, rows: NDArray[np.int64], out: NDArray[np.uint8]
    ) -> None:
        """Read chunks that follow each other: images into their rows, the rest aside."""
        plane = self.height * self.width
        gap = _chunk_bytes(self.size) - plane  # tail of one chunk and header of the next
        aside = np.empty((len(rows), gap), np.uint8)
        between, images = aside.data.cast("B"), out.data.cast("B")
        buffers, end = [], 0
        for row in rows.tolist():
            start, end = end, end + (gap if end else CHUNK_HEADER.size)
            buffers += [between[start:end], images[row * plane : (row + 1) * plane]]
        position = self.position[rows]
        wanted = end + len(rows) * plane
        try:
            got = _read_into(file, buffers, int(position[0]))
        except OSError as error:
            where = f"frames {self.frames[rows[0]]} to {self.frames[rows[-1]]} (byte {position[0]})"
            msg = f"{self.path}: {where} cannot be read: {error.strerror}; check the disk"
            raise VideoError(msg) from error
        whole = min(len(rows), max(0, got + gap - CHUNK_HEADER.size) // (gap + plane))
        good = np.isin(
            np.ascontiguousarray(aside[:whole, : CHUNK_HEADER.size]).view("<u8")[:, 0],
            [int.from_bytes(header, "little") for header in _headers(self.stream, self.size)],
        )
        if got < wanted or not good.all():
            bad = whole if good.all() else int(np.argmin(good))
            what = "the file ends inside it" if good.all() else "its chunk header is damaged"
            raise _lost(self.path, int(self.frames[rows[bad]]), int(position[bad]), what)


@dataclass(frozen=True, eq=False)
class CodedReader(FrameReader):
    """Frames that a decoder makes."""

    codec: Codec
    checksummed: bool

    def _fill(self, out: NDArray[np.uint8], file: BufferedReader) -> None:
        frames, order = np.unique(self.frames, return_inverse=True)
        rows = {
            int(frame): np.flatnonzero(order == at) for at, frame in enumerate(frames) if frame >= 0
        }
        gray = VideoReformatter()
        for frame, picture in self._pictures(file):
            if frame not in rows:
                continue
            where = f"{self.path}: frame {frame}"
            if picture.is_corrupt:
                raise VideoError(f"{where} is damaged; repair or leave out this file")
            if (picture.height, picture.width) != (self.height, self.width):
                msg = f"{where} is {picture.width}x{picture.height}, not {self.width}x{self.height}"
                raise VideoError(f"{msg}; only videos of one frame size can be read")
            if picture.format.name != "gray":
                picture = gray.reformat(picture, format="gray")
            plane = picture.planes[0]
            lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            out[rows.pop(frame)] = lines[: self.height, : self.width]
            if not rows:
                return
        raise VideoError(f"{self.path}: frame {min(rows)} cannot be decoded; repair the file")

    @abstractmethod
    def _pictures(self, file: BufferedReader) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode at least the wanted frames, each with its number."""

    def _decode(
        self, decoder: av.VideoCodecContext, packets: Iterable[Packet]
    ) -> Iterator[av.VideoFrame]:
        for packet in packets:
            # FFmpeg would fill a damaged slice from the frame before and say nothing.
            if self.checksummed and packet.size and not _ffv1_is_sound(bytes(packet)):
                msg = f"{self.path}: the checksum of the coded frame at time {packet.pts} is wrong"
                raise VideoError(f"{msg}; copy the file again from its source")
            yield from decoder.decode(packet)
        yield from decoder.decode(None)


@dataclass(frozen=True, eq=False)
class ChunkReader(CodedReader):
    """Coded frames in AVI chunks, each run beginning at a key frame.

    AVI stores no presentation times. Runs consist of closed groups of pictures, so that the n-th
    picture out is the n-th frame of the run, whatever the order of decoding.
    """

    extradata: bytes | None
    runs: tuple[tuple[int, NDArray[np.int64], NDArray[np.int64]], ...]
    """First frame, positions and sizes of the chunks of every run."""
    stream: int

    def _pictures(self, file: BufferedReader) -> Iterator[tuple[int, av.VideoFrame]]:
        decoder = av.CodecContext.create(self.codec, "r")
        decoder.extradata = self.extradata
        decoder.width, decoder.height = self.width, self.height
        _configure(decoder)
        for first, position, size in self.runs:
            packets = self._packets(file, first, position, size)
            yield from enumerate(self._decode(decoder, packets), first)
            decoder.flush_buffers()

    def _packets(
        self, file: BufferedReader, first: int, position: NDArray[np.int64], size: NDArray[np.int64]
    ) -> Iterator[Packet]:
        chunks = zip(position.tolist(), size.tolist(), strict=True)
        for frame, (offset, length) in enumerate(chunks, first):
            file.seek(offset)
            data = file.read(CHUNK_HEADER.size + length)
            if data[: CHUNK_HEADER.size] not in _headers(self.stream, length):
                raise _lost(self.path, frame, offset, "its chunk header is damaged")
            if len(data) < CHUNK_HEADER.size + length:
                raise _lost(self.path, frame, offset, "the file ends inside it")
            packet = av.Packet(data[CHUNK_HEADER.size :])
            packet.pts = frame
            yield packet


@dataclass(frozen=True, eq=False)
class StampReader(CodedReader):
    """Coded frames of a container with presentation times (Matroska, MP4)."""

    stamps: NDArray[np.int64]
    """Presentation time of each of ``frames``, in the stream's time base."""
    seeks: NDArray[np.int64]
    """Presentation time of the key frame at or before each of ``frames``."""
    format: str

    def _pictures(self, file: BufferedReader) -> Iterator[tuple[int, av.VideoFrame]]:
        present = self.frames >= 0
        frames, first = np.unique(self.frames[present], return_index=True)
        targets = np.stack([frames, self.stamps[present][first], self.seeks[present][first]], 1)
        with _open(file, self.format) as container:
            context = container.streams.video[0].codec_context
            _configure(context)
            now: av.VideoFrame | None = None
            before = -1
            for frame, stamp, seek in targets.tolist():
                if now is None or (self._stamp(now) < seek and frame != before + 1):
                    pictures = self._decode(context, _packets_from(container, seek))
                    now = next(pictures, None)
                    if (
                        now is None or self._stamp(now) > stamp
                    ):  # some containers seek by decoding time
                        pictures = self._decode(context, _packets_from(container, 0))
                        now = next(pictures, None)
                while now is not None and self._stamp(now) < stamp:
                    now = next(pictures, None)
                if now is not None and self._stamp(now) == stamp:
                    yield frame, now
                before = frame

    def _stamp(self, picture: av.VideoFrame) -> int:
        if picture.pts is None:
            raise VideoError(f"{self.path}: a picture has no time stamp; repair the file")
        return picture.pts


@dataclass(frozen=True, eq=False)
class ChunkIndex:
    """Where the frames of an AVI are; ``position`` is -1 for lost ones."""

    stream: int
    position: NDArray[np.int64]
    size: NDArray[np.int64]
    keys: NDArray[np.int64]
    """Frames that decoding can start from."""
    extradata: bytes | None

    @property
    def intra_only(self) -> bool:
        """Whether every frame that is there is a key."""
        return bool(np.isin(np.flatnonzero(self.position >= 0), self.keys).all())

    def runs(
        self, frames: NDArray[np.int64], whole_groups: bool
    ) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Stretches of chunks that give the (sorted) frames, from key frames on."""
        group = np.searchsorted(self.keys, frames, side="right")
        starts = self.keys[group - 1]
        stops = np.append(self.keys, len(self.position))[group] if whole_groups else frames + 1
        breaks = np.flatnonzero(starts[1:] > stops[:-1]) + 1
        for first, last in pairwise([0, *breaks.tolist(), len(frames)]):
            run = slice(int(starts[first]), int(stops[last - 1]))
            yield run.start, self.position[run], self.size[run]


@dataclass(frozen=True, eq=False)
class StampIndex:
    """Presentation times of all frames and of the key frames."""

    format: str
    stamps: NDArray[np.int64]
    keys: NDArray[np.int64]

    @property
    def intra_only(self) -> bool:
        """Whether every frame is a key."""
        return len(self.keys) == len(self.stamps)


@dataclass(frozen=True, eq=False)
class VideoSource:
    """A video of which every frame's place is known; holds no open file.

    Attributes
    ----------
    path
        The file.
    height, width
        Size of a frame in pixels.
    fps
        Frames per second, exact.
    codec
        ``rawvideo``, ``ffv1``, ``mjpeg`` or ``h264``.
    frame_count
        Frames, lost ones included.
    checksummed
        Whether coded frames carry checksums, which every read verifies.
    notices
        What a user should be told about the file.
    lost
        Frames that are known to be lost in holes; reading one is an error.
    index
        Places of the frames.
    index_digest
        BLAKE2b of the index: changes when a frame's place changes.
    """

    path: str
    height: int
    width: int
    fps: Fraction
    codec: Codec
    frame_count: int
    checksummed: bool
    notices: tuple[str, ...]
    lost: NDArray[np.int64]
    index: ChunkIndex | StampIndex
    index_digest: str

    @property
    def lossy(self) -> bool:
        """Whether the codec has changed pixels."""
        return self.codec in LOSSY

    @property
    def intra_only(self) -> bool:
        """Whether every frame can be decoded by itself."""
        return self.index.intra_only

    def subset(self, frames: Sequence[int] | NDArray[np.int64]) -> FrameReader:
        """Reader of these frames alone, without the index of the others.

        Parameters
        ----------
        frames
            Frames in any order, repeats allowed; -1 for a zero image.

        Raises
        ------
        VideoError
            A frame is beyond the video.
        TruncatedVideoError
            A frame is lost in a hole of the file.
        """
        chosen = np.asarray(frames, np.int64).reshape(-1)
        wanted = np.unique(chosen[chosen >= 0])
        if chosen.size and (chosen.min() < -1 or chosen.max() >= self.frame_count):
            beyond = int(chosen.min() if chosen.min() < -1 else chosen.max())
            msg = f"{self.path}: frame {beyond} does not exist; it has {self.frame_count} frames"
            raise VideoError(msg)
        gone = np.intersect1d(wanted, self.lost)
        if gone.size:
            msg = f"{self.path}: frame {gone[0]} is lost in a hole of the file; leave it out"
            raise TruncatedVideoError(msg)
        common = (self.path, self.height, self.width, chosen)
        index = self.index
        if isinstance(index, StampIndex):
            stamps = index.stamps[chosen]
            at = np.searchsorted(index.keys, stamps, side="right") - 1
            seeks = index.keys[np.maximum(at, 0)]
            coded = (self.codec, self.checksummed)
            return StampReader(*common, *coded, stamps, seeks, index.format)
        if self.codec == "rawvideo":
            return RawReader(*common, index.stream, index.position[chosen], int(index.size.max()))
        runs = tuple(index.runs(wanted, whole_groups=self.codec == "h264")) if wanted.size else ()
        return ChunkReader(
            *common, self.codec, self.checksummed, index.extradata, runs, index.stream
        )

    def read(
        self,
        frames: Sequence[int] | NDArray[np.int64],
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Read frames in any order.

        Parameters
        ----------
        frames
            Frames, repeats allowed; -1 for a zero image.
        out
            C-contiguous array (frame, height, width) to read into; a new one by default.

        Returns
        -------
        (frame, height, width) images.

        Raises
        ------
        VideoError
            A frame is beyond the video or cannot be decoded.
        TruncatedVideoError
            A frame is lost in a hole, or the file ends before it does.
        UsageError
            ``out`` has another shape or layout.
        """
        return self.subset(frames).read(out)


def open_video(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    max_frame_pixels: int = DEFAULT_MAX_FRAME_PIXELS,
    salvage: bool = False,
) -> VideoSource:
    """Open a video and find the place of every frame, without reading them.

    Parameters
    ----------
    path
        An .avi, .mkv or .mp4 file.
    max_frame_pixels
        Larger declared frames are refused.
    salvage
        Keep the whole frames before a truncation, and look for holes beforehand: check every
        chunk header of an AVI, where an intact index would otherwise be believed until a frame is
        read.

    Raises
    ------
    MissingInputError
        There is no such file.
    TruncatedVideoError
        The file ends inside a frame (without ``salvage``).
    VideoError
        The file is not what its name says, its codec is not supported, or it has no frames.

    Notes
    -----
    The index takes 16 bytes per frame. An intact index is read from the file; without one, an AVI
    is walked from chunk header to chunk header. Matroska and MP4 files are demuxed once.
    """
    name = os.fsdecode(path)
    container_format = _container_format(name)
    with (
        _errors(name),
        open(name, "rb") as file,
        _open(file, container_format) as container,
    ):
        stream, codec = _checked_stream(name, container, max_frame_pixels)
        notices = [f"{name}: {codec} is lossy; pixels are not the camera's"] * (codec in LOSSY)
        if container_format == "avi":
            index: ChunkIndex | StampIndex
            index, lost = _chunk_index(
                _Avi(name, file, stream, len(container.streams), codec, salvage, notices)
            )
            frame_count, places = len(index.position), (index.position, index.size)
            fps = 1 / _fraction(name, stream.time_base)  # the average is rounded in some versions
            checksummed = codec == "ffv1" and _are_checksummed(file, index)
        else:
            index, checksummed = _stamp_index(name, container, stream, salvage, notices)
            lost = np.empty(0, np.int64)
            frame_count, places = len(index.stamps), (index.stamps, index.keys)
            fps = _fraction(name, stream.average_rate)
        counted = stream.frames or container_format == "avi"  # Matroska declares none
        if counted and stream.frames != frame_count:
            notices.append(
                f"{name}: the header says {stream.frames} frames, there are {frame_count}"
            )
        height, width = stream.height, stream.width
    digest = blake2b(digest_size=16)
    for place in places:
        digest.update(place.astype("<i8").tobytes())
    return VideoSource(
        path=name,
        height=height,
        width=width,
        fps=fps,
        codec=codec,
        frame_count=frame_count,
        checksummed=checksummed,
        notices=tuple(notices),
        lost=lost,
        index=index,
        index_digest=digest.hexdigest(),
    )


def _open(file: BufferedReader, container_format: str) -> InputContainer:
    # An open file and a named format: neither the name nor the content can lead elsewhere.
    return cast("InputContainer", av.open(file, format=container_format))


def _container_format(path: str) -> str:
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in FORMATS:
        raise VideoError(f"{path}: not one of {', '.join(FORMATS)}; convert it with ffmpeg")
    if not os.path.isfile(path):
        what = "is not a file" if os.path.exists(path) else "there is no such file"
        raise MissingInputError(f"{path}: {what}; check the name")
    container_format, magic = FORMATS[suffix]
    with _errors(path), open(path, "rb") as file:
        if not magic.match(file.read(16)):
            kind = suffix[1:].upper()
            raise VideoError(f"{path}: not an {kind}, whatever its name; check the file")
    return container_format


def _checked_stream(
    path: str, container: InputContainer, max_frame_pixels: int
) -> tuple[VideoStream, Codec]:
    if not container.streams.video:
        raise VideoError(f"{path}: no video in it; check the file")
    stream = container.streams.video[0]
    context = stream.codec_context
    codec = context.name if context else "unknown"
    pixels = (context and context.pix_fmt) or "unknown"
    if codec not in CODECS or not _is_supported(codec, pixels):
        msg = f"{path}: unsupported codec {codec} ({pixels})"
        remedy = "convert it with `ffmpeg -i IN -pix_fmt gray -c:v ffv1 -g 1 OUT.avi`"
        raise VideoError(f"{msg}; {remedy}")
    if stream.width <= 0 or stream.height <= 0:
        raise VideoError(f"{path}: declares no possible frame size; repair the header")
    if stream.width * stream.height > max_frame_pixels:
        msg = f"{path}: declares {stream.width}x{stream.height} pixels, more than"
        raise VideoError(f"{msg} {max_frame_pixels}; --max-frame-pixels would allow it")
    return stream, cast("Codec", codec)


def _is_supported(codec: str, pixels: str) -> bool:
    if codec == "rawvideo":  # anything else is colour, a palette, padded or upside down
        return pixels in ("gray", "yuv420p")
    try:
        return all(part.bits == 8 for part in av.VideoFormat(pixels).components)
    except ValueError:
        return False


@dataclass(frozen=True)
class _Avi:
    """What indexing needs to know of an open AVI."""

    path: str
    file: BufferedReader
    stream: VideoStream
    streams: int
    codec: Codec
    salvage: bool
    notices: list[str]

    def note(self, what: str) -> None:
        self.notices.append(f"{self.path}: {what}")


def _chunk_index(avi: _Avi) -> tuple[ChunkIndex, NDArray[np.int64]]:
    """Index of an AVI and the frames lost in holes."""
    sizes = _raw_sizes(avi.stream) if avi.codec == "rawvideo" else None
    chunks, walked = _find_chunks(avi, sizes)
    if len(chunks) and sizes:
        chunks = _of_one_size(avi, chunks, sizes)
    if len(chunks) and avi.salvage:
        chunks = chunks[_headers_are_sound(avi, chunks)]
    if not len(chunks):
        raise VideoError(f"{avi.path}: 0 frames; leave it out")
    if avi.codec == "h264" or (walked and avi.codec == "ffv1"):
        chunks["key"] &= _are_keys(avi, chunks)
    count = int(chunks["frame"][-1]) + 1
    position, size, is_key = np.full(count, -1), np.zeros(count, np.int64), np.zeros(count, bool)
    for array, field in ((position, "position"), (size, "size"), (is_key, "key")):
        array[chunks["frame"]] = chunks[field]
    keys = np.flatnonzero(is_key)
    if len(keys) < len(chunks):  # what a hole touches cannot be trusted up to the next key frame
        group = np.searchsorted(keys, np.arange(count), side="right")
        position[np.isin(group, group[position < 0]) | (group == 0)] = -1
    lost = np.flatnonzero(position < 0)
    extradata = avi.stream.codec_context.extradata
    return ChunkIndex(avi.stream.index, position, size, keys, extradata), lost


def _find_chunks(avi: _Avi, sizes: Sequence[int] | None) -> tuple[NDArray[np.void], bool]:
    """Chunks that are whole, and whether the file had to be walked for them."""
    entries, end = avi.stream.index_entries, avi.file.seek(0, os.SEEK_END)
    fields = attrgetter("timestamp", "pos", "size", "is_keyframe")
    chunks = np.fromiter(map(fields, entries), CHUNK, len(entries))
    after = (
        int(chunks[-1]["position"]) + _chunk_bytes(int(chunks[-1]["size"])) if len(chunks) else 0
    )
    avi.file.seek(0)
    movi = MOVI.search(avi.file.read(SCAN_BYTES))
    start = movi.end() if movi else end
    more = _walk(avi, after or start, sizes)
    # FFmpeg moves the whole index to the first chunk it finds: a hole there would shift it.
    first = next(_walk(avi, start, sizes), None)
    walked = (
        first is None
        or not len(chunks)
        or first[:2] != (chunks[0]["frame"], chunks[0]["position"])
        or any(key for *_, key in more)
    )
    if walked:
        chunks = np.fromiter(_walk(avi, start, sizes), CHUNK)
        if len(chunks):
            avi.note("its index is missing or short; rebuilt from the chunks")
    cut = np.flatnonzero(chunks["position"] + CHUNK_HEADER.size + chunks["size"] > end)
    if cut.size:
        frame, position = int(chunks["frame"][cut[0]]), int(chunks["position"][cut[0]])
        if not avi.salvage:
            raise _lost(avi.path, frame, position, "the file ends or is damaged from here on")
        avi.note(f"truncated at frame {frame} (byte {position}); the frames before it are used")
        chunks = chunks[: cut[0]]
    return chunks, walked


def _walk(
    avi: _Avi, position: int, sizes: Sequence[int] | None
) -> Iterator[tuple[int, int, int, bool]]:
    """Rows of ``CHUNK``, from chunk header to chunk header.

    Raw chunks have known ``sizes``: the next one after a hole is searched, and the distance tells
    how many are lost. A hole that cannot be bridged is a last row, not a key, that ends beyond
    the file.
    """
    file, stream = avi.file, avi.stream.index
    end, frame = file.seek(0, os.SEEK_END), 0
    tags = {header[:4] for header in _headers(stream, 0)}
    others = {b"%02d" % other for other in range(avi.streams) if other != stream}
    while position + CHUNK_HEADER.size <= end:
        file.seek(position)
        head = file.read(12)
        tag, size = CHUNK_HEADER.unpack_from(head)
        known = tag[:2] in others or SKIPPED.fullmatch(tag)
        if tag in (b"JUNK", b"LIST") and sizes and size in sizes:  # was a frame
            known = None
        if tag == b"RIFF" or (tag == b"LIST" and head[8:] in (b"movi", b"rec ")):
            position += 12
        elif tag in tags and (sizes is None or size in sizes or not size):
            if size:  # an empty chunk stands for a frame that was dropped
                yield frame, position, size, True
            frame += 1
            position += _chunk_bytes(size)
        elif known and position + size <= end:
            position += _chunk_bytes(size)
        elif found := _search(file, position + 1, stream, sizes or ()):
            frame += round((found[0] - position) / _chunk_bytes(found[1]))
            position = found[0]
        else:
            if not known:  # else a cut index, behind all frames
                yield frame, position, end, False
            return


def _search(
    file: BufferedReader, position: int, stream: int, sizes: Sequence[int]
) -> tuple[int, int] | None:
    """Position and size of the next chunk of one of these sizes."""
    headers = [header for size in sizes for header in _headers(stream, size)]
    pattern = re.compile(b"|".join(map(re.escape, headers)))
    while headers:
        file.seek(position)
        block = file.read(SCAN_BYTES)
        if hit := pattern.search(block):
            return position + hit.start(), CHUNK_HEADER.unpack(hit.group())[1]
        if len(block) < SCAN_BYTES:
            break
        position += len(block) - CHUNK_HEADER.size + 1
    return None


def _raw_sizes(stream: VideoStream) -> tuple[int, ...]:
    """Possible sizes of a raw chunk in bytes: the gray plane alone, or with I420's colours."""
    plane = stream.width * stream.height
    i420 = plane + 2 * ((stream.width + 1) // 2) * ((stream.height + 1) // 2)
    return (plane, i420) if stream.codec_context.pix_fmt == "gray" else (i420,)


def _of_one_size(avi: _Avi, chunks: NDArray[np.void], sizes: Sequence[int]) -> NDArray[np.void]:
    found, counts = np.unique(chunks["size"], return_counts=True)
    size = int(found[np.argmax(counts)])
    frame = f"{avi.stream.width}x{avi.stream.height} frame"
    if size not in sizes:
        msg = f"{avi.path}: a {frame} takes {sizes[0]} bytes, but its chunks hold {size}"
        raise VideoError(f"{msg}; repair the header")
    if size != sizes[0]:
        avi.note(f"tagged Y800 but holds I420: the first {sizes[0]} bytes of a chunk are the image")
    return np.asarray(chunks[chunks["size"] == size])


def _headers_are_sound(avi: _Avi, chunks: NDArray[np.void]) -> list[bool]:
    sound = []
    for position, size in zip(chunks["position"].tolist(), chunks["size"].tolist(), strict=True):
        avi.file.seek(position)
        sound.append(avi.file.read(CHUNK_HEADER.size) in _headers(avi.stream.index, size))
    return sound


def _are_checksummed(file: BufferedReader, index: ChunkIndex) -> bool:
    """Whether FFV1 slices carry checksums; one sound frame of the first few shows it."""
    for position, size in zip(index.position[:8].tolist(), index.size[:8].tolist(), strict=True):
        file.seek(position + CHUNK_HEADER.size)
        if position >= 0 and _ffv1_is_sound(file.read(size)):
            return True
    return False


def _are_keys(avi: _Avi, chunks: NDArray[np.void]) -> list[bool]:
    """Whether decoding can start from a chunk, told from its bytes."""
    keys = []
    for row in chunks:
        avi.file.seek(int(row["position"]) + CHUNK_HEADER.size)
        if avi.codec == "ffv1":  # the first bit of the range coder
            keys.append(int.from_bytes(avi.file.read(2), "big") >= 0x7F80)
        else:  # an open group of pictures does not start with an IDR picture
            keys.append(bool(row["key"] and H264_IDR.search(avi.file.read(int(row["size"])))))
    return keys


def _stamp_index(
    path: str, container: InputContainer, stream: VideoStream, salvage: bool, notices: list[str]
) -> tuple[StampIndex, bool]:
    """Index of a container with presentation times, and whether FFV1's slices have checksums."""
    stamps: list[int] = []
    keys: list[int] = []
    end, cut, checksummed = 0, False, None
    for packet in container.demux(stream):
        if not packet.size or packet.is_discard:
            continue
        if packet.pts is None:
            raise VideoError(f"{path}: frame {len(stamps)} has no time stamp; repair the file")
        if checksummed is None:
            checksummed = stream.codec_context.name == "ffv1" and _ffv1_is_sound(bytes(packet))
        cut |= packet.is_corrupt
        stamps.append(packet.pts)
        end = max(end, packet.pts + (packet.duration or 0))
        if packet.is_keyframe:
            keys.append(packet.pts)
    if not keys:
        raise VideoError(f"{path}: 0 frames; leave it out")
    seconds = float(end * _fraction(path, stream.time_base))
    declared = (container.duration or 0) / av.time_base if len(container.streams) == 1 else 0
    if (
        cut
        or stream.frames > len(stamps)
        or declared > seconds + 1.5 / _fraction(path, stream.average_rate)
    ):
        msg = f"{path}: truncated at frame {len(stamps)} (byte {os.path.getsize(path)})"
        if not salvage:
            raise TruncatedVideoError(f"{msg}; --salvage would use the frames before it")
        notices.append(f"{msg}; the frames before it are used")
    order = np.unique(np.array(stamps, np.int64))
    if len(order) < len(stamps):
        raise VideoError(f"{path}: two frames have the same time stamp; repair the file")
    index = StampIndex(
        container.format.name.split(",")[0], order, np.unique(np.array(keys, np.int64))
    )
    return index, bool(checksummed)


def _packets_from(container: InputContainer, stamp: int) -> Iterator[Packet]:
    stream = container.streams.video[0]
    container.seek(stamp, stream=stream)
    return (packet for packet in container.demux(stream) if packet.size)


def _configure(decoder: av.VideoCodecContext) -> None:
    decoder.thread_count = 1  # tasks run side by side already
    if decoder.name != "h264":  # there the pictures before a seek are missed without harm
        decoder.options = {"err_detect": "explode"}


def _ffv1_is_sound(packet: bytes) -> bool:
    """Check the checksums at the ends of all slices of a coded frame.

    The CRC runs over bits in the other order than zlib's, and over itself to 0.
    """
    end = len(packet)
    while end >= 8:
        start = end - 8 - int.from_bytes(packet[end - 8 : end - 5], "big")
        if start < 0 or ~zlib.crc32(packet[start:end].translate(REVERSED), 0xFFFFFFFF) & 0xFFFFFFFF:
            return False
        end = start
    return end == 0


def _headers(stream: int, size: int) -> tuple[bytes, bytes]:
    """Both forms of the header of a video chunk."""
    number = b"%02d" % stream
    return CHUNK_HEADER.pack(number + b"dc", size), CHUNK_HEADER.pack(number + b"db", size)


def _chunk_bytes(size: int) -> int:
    """Bytes that a chunk takes in the file: header, data, and a byte to make it even."""
    return CHUNK_HEADER.size + size + size % 2


def _read_into(file: BufferedReader, buffers: list[memoryview], offset: int) -> int:
    """Fill buffers from one place of the file; fewer bytes only where the file ends."""
    got = 0
    if hasattr(os, "preadv"):
        size = sum(map(len, buffers))
        while more := os.preadv(file.fileno(), buffers, offset + got):
            got += more
            if got == size:
                break
            while more >= len(buffers[0]):  # a short read is not yet the end of the file
                more -= len(buffers.pop(0))
            buffers[0] = buffers[0][more:]
        return got
    file.seek(offset)
    for buffer in buffers:
        more = file.readinto(buffer)
        got += more
        if more < len(buffer):
            break
    return got


def _lost(path: str, frame: int, offset: int, what: str) -> TruncatedVideoError:
    msg = f"{path}: frame {frame} (byte {offset}): {what}; --salvage would go on without it"
    return TruncatedVideoError(msg)


def _fraction(path: str, rational: Fraction | None) -> Fraction:
    """Older PyAV gives fractions, newer PyAV a type of its own."""
    if rational is None or rational.numerator <= 0:
        raise VideoError(f"{path}: does not say how many frames a second has; repair the header")
    return Fraction(rational.numerator, rational.denominator)


@contextmanager
def _errors(path: str) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        msg = f"{path}: FFmpeg cannot read it ({error.strerror}); repair or convert the file"
        raise VideoError(msg) from error
    except OSError as error:
        raise VideoError(
            f"{path}: cannot be read ({error.strerror}); check disk and rights"
        ) from error
