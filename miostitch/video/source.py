"""Opens videos: finds the position of every frame, and makes readers of frames.

A source holds no open file: it can be pickled, and every read opens the file again.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from hashlib import blake2b
from io import BufferedReader
from operator import attrgetter
from typing import cast, get_args

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from miostitch.arrays import I64, U8
from miostitch.errors import MissingInputError, TruncatedVideoError, VideoError
from miostitch.ranges import distinct, runs
from miostitch.text import amount
from miostitch.video.avi_index import (
    CHUNK,
    CHUNK_HEADER,
    ChunkIndex,
    OpenAvi,
    chunk_bytes,
    index_chunks,
    spoiled,
)
from miostitch.video.readers import (
    ChunkReader,
    Codec,
    FrameReader,
    RawReader,
    StampReader,
    ffv1_is_intact,
    has_gray_plane,
    open_container,
    video_errors,
)

# Suffix -> FFmpeg's name of the container, and how such a file begins. FFmpeg is never left to
# guess: a text file named .avi could make it open other files.
FORMATS = {
    ".avi": ("avi", re.compile(rb"RIFF....AVI[ X\x19]", re.DOTALL)),
    ".mkv": ("matroska", re.compile(rb"\x1aE\xdf\xa3")),
    ".mp4": ("mp4", re.compile(rb"....ftyp", re.DOTALL)),
}
CODECS = get_args(Codec)
LOSSY = ("mjpeg", "h264")

DEFAULT_MAX_FRAME_PIXELS = 2**28
CHECKED = 8
"""First frames of FFV1 among which one with a valid checksum shows that all have checksums."""


@dataclass(frozen=True, eq=False)
class StampIndex:
    """Presentation times of all frames and of the key frames."""

    format: str
    stamps: I64
    keys: I64


@dataclass(frozen=True, eq=False)
class VideoSource:
    """A video with the positions of all its frames."""

    path: str
    height: int
    width: int
    fps: Fraction
    codec: Codec
    frame_count: int  # Frames, lost ones included
    checksummed: bool  # Whether coded frames carry checksums, which every read verifies
    ends_early: bool  # Whether the file shows that its writer or a copy of it was interrupted
    notices: tuple[str, ...]  # Messages for the user about the file
    lost: I64  # Frames that are lost in holes of the file; to read one is an error
    converted: bool  # Whether pixels are not gray, and are converted
    index: ChunkIndex | StampIndex
    index_digest: str  # BLAKE2b of the index: changes when the position of a frame changes

    @property
    def lossy(self) -> bool:
        """Whether pixels are not exactly those that were recorded."""
        return self.codec in LOSSY or self.converted

    @property
    def holes(self) -> list[tuple[int, int, int | None]]:
        """First and last frame of every hole, and the byte where it begins if that is known."""
        found: list[tuple[int, int, int | None]] = []
        for first, last in runs(self.lost).tolist():
            byte = None
            if isinstance(self.index, ChunkIndex) and first:
                before, size = self.index.position[first - 1], self.index.size[first - 1]
                byte = int(before) + chunk_bytes(int(size))
            found.append((first, last, byte))
        return found

    def subset(self, frames: Sequence[int] | I64) -> FrameReader:
        """Make a reader of these frames, which does not carry the index of the others."""
        chosen = np.asarray(frames, np.int64).reshape(-1)
        wanted = distinct(chosen[chosen >= 0])
        if chosen.size and (chosen.min() < -1 or chosen.max() >= self.frame_count):
            beyond = int(chosen.min() if chosen.min() < -1 else chosen.max())
            has = amount(self.frame_count, "frame")
            raise VideoError(f"{self.path}: frame {beyond} does not exist; it has {has}")
        gone = np.intersect1d(wanted, self.lost, assume_unique=True)
        if gone.size:
            msg = f"{self.path}: frame {gone[0]} is lost in a hole of the file; leave it out"
            raise TruncatedVideoError(msg)
        # an absolute path, for any process
        common = (os.path.abspath(self.path), self.height, self.width, chosen)
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

    def read(self, frames: Sequence[int] | I64, out: U8 | None = None) -> U8:
        """Read frames in any order, (frame, height, width), into a C-contiguous or a new array."""
        return self.subset(frames).read(out)


def open_video(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    max_frame_pixels: int = DEFAULT_MAX_FRAME_PIXELS,
    salvage: bool = False,
) -> VideoSource:
    """Open a video and find the position of every frame, without reading them.

    The index takes 16 bytes per frame. An intact one is read from the file; without one, an AVI is
    walked from chunk header to chunk header. Matroska and MP4 files are demuxed once. To salvage
    FFV1 the whole file is read.
    """
    name = os.fsdecode(path)
    container_format = _container_format(name)
    with (
        video_errors(name),
        open(name, "rb") as file,
        open_container(file, container_format) as container,
    ):
        stream, codec = _checked_stream(name, container, max_frame_pixels)
        pixels = stream.codec_context.format
        converted = pixels is None or not has_gray_plane(pixels)
        notices = [f"{codec} is lossy; pixels are not the camera's"] if codec in LOSSY else []
        if converted:
            kind = stream.codec_context.pix_fmt
            notices.append(f"pixels are {kind}, converted to gray; they are not the camera's")
        index: ChunkIndex | StampIndex
        if container_format == "avi":
            index = _chunk_index(name, file, container, salvage, notices)
            indexed = (index.position, index.size.astype(np.int64))
            fps = 1 / _fraction(name, stream.time_base)  # the average is rounded in some versions
            there = np.flatnonzero(index.position >= 0)
            intact = partial(_is_intact, file, index)
            checksummed = codec == "ffv1" and any(map(intact, there[there < CHECKED]))
            if checksummed and salvage:
                index = index.without(there[[not intact(frame) for frame in there]])
            lost = index.lost
            ends_early = stream.frames > len(index.position) or not stream.frames
        else:
            said = len(notices)
            index, checksummed, lost = _stamp_index(name, container, salvage, notices)
            ends_early = len(notices) > said
            indexed = (index.stamps, index.keys)
            fps = _fraction(name, stream.average_rate)
        frame_count = len(indexed[0])
        counted = stream.frames or container_format == "avi"  # Matroska declares none
        if counted and stream.frames != frame_count:
            declared = amount(stream.frames, "frame")
            notices.append(f"the header says {declared}, there are {frame_count}")
        height, width = stream.height, stream.width
    digest = blake2b(b"".join(part.astype("<i8").tobytes() for part in indexed), digest_size=16)
    return VideoSource(
        path=name,
        height=height,
        width=width,
        fps=fps,
        codec=codec,
        frame_count=frame_count,
        checksummed=checksummed,
        ends_early=ends_early,
        notices=tuple(notices),
        lost=lost,
        converted=converted,
        index=index,
        index_digest=digest.hexdigest(),
    )


def _container_format(path: str) -> str:
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in FORMATS:
        raise VideoError(f"{path}: not one of {', '.join(FORMATS)}; convert it with ffmpeg")
    if not os.path.isfile(path):
        what = "is not a file" if os.path.exists(path) else "there is no such file"
        raise MissingInputError(f"{path}: {what}; check the name")
    container_format, magic = FORMATS[suffix]
    with video_errors(path), open(path, "rb") as file:
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


def _chunk_index(
    path: str, file: BufferedReader, container: InputContainer, salvage: bool, notices: list[str]
) -> ChunkIndex:
    stream = container.streams.video[0]
    fields = attrgetter("timestamp", "pos", "size", "is_keyframe")
    entries = np.fromiter(map(fields, stream.index_entries), CHUNK, len(stream.index_entries))
    avi = OpenAvi(path, file, stream, len(container.streams), salvage, notices)
    return index_chunks(avi, entries)


def _is_intact(file: BufferedReader, index: ChunkIndex, frame: np.intp) -> bool:
    """Whether the checksums of a frame of FFV1 are right."""
    file.seek(int(index.position[frame]) + CHUNK_HEADER.size)
    return ffv1_is_intact(file.read(int(index.size[frame])))


def _stamp_index(
    path: str, container: InputContainer, salvage: bool, notices: list[str]
) -> tuple[StampIndex, bool, I64]:
    """Index of a container with presentation times, whether it has checksums, and lost frames."""
    stream = container.streams.video[0]
    coded = stream.codec_context.name
    stamps: list[int] = []
    keys: list[int] = []
    intact: list[bool] = []  # of all frames, or of the first up to one that is
    end, cut = 0, False
    for packet in container.demux(stream):
        if not packet.size or packet.is_discard:
            continue
        if packet.pts is None:
            raise VideoError(f"{path}: frame {len(stamps)} has no time stamp; repair the file")
        if coded == "ffv1" and (salvage or (len(intact) < CHECKED and not any(intact))):
            intact.append(ffv1_is_intact(bytes(packet)))
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
        msg = f"truncated at frame {len(stamps)} (byte {os.path.getsize(path)})"
        if not salvage:
            raise TruncatedVideoError(f"{path}: {msg}; --salvage would use the frames before it")
        notices.append(f"{msg}; the frames before it are used")
    order = distinct(np.array(stamps, np.int64))
    if len(order) < len(stamps):
        raise VideoError(f"{path}: two frames have the same time stamp; repair the file")
    index = StampIndex(
        container.format.name.split(",")[0], order, distinct(np.array(keys, np.int64))
    )
    checksummed = any(intact[:CHECKED])
    lost = np.zeros(len(order), bool)
    if salvage and checksummed:
        lost[np.searchsorted(order, stamps)] = ~np.array(intact)
        lost = spoiled(lost, np.searchsorted(order, index.keys)) if lost.any() else lost
    return index, checksummed, np.flatnonzero(lost)


def _fraction(path: str, rational: Fraction | None) -> Fraction:
    """Convert to a Fraction, as newer PyAV has a type of its own."""
    if rational is None or rational.numerator <= 0:
        raise VideoError(f"{path}: does not say how many frames a second has; repair the header")
    return Fraction(rational.numerator, rational.denominator)
