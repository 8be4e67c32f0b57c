"""Readers of a fixed list of frames of one video.

A frame is read exactly, or an error says which one and where in the file; nothing is ever read
as black. Raw gray frames go from the file straight into the caller's array, coded ones through
FFmpeg. A reader holds no open file: it can be pickled, and every read opens the file again.
"""

import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from itertools import pairwise
from typing import Any, Literal, TypeAlias, cast

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from miostitch.arrays import I32, I64, U8
from miostitch.errors import UsageError, VideoError
from miostitch.video.avi_index import CHUNK_HEADER, chunk_bytes, chunk_headers, lost_frame

Codec: TypeAlias = Literal["rawvideo", "ffv1", "mjpeg", "h264"]
Packet: TypeAlias = "av.Packet[Any]"

LOSSLESS = ("rawvideo", "ffv1")
RUN_BYTES = 2**30  # one call may not ask for 2 GiB
RUN_FRAMES = 512  # two buffers per frame, at most IOV_MAX (1024) per call
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# titles and the like may be in any encoding; to PyAV that was an error up to 18
ANY_TITLE: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
)


@dataclass(frozen=True, eq=False)
class FrameReader(ABC):
    """A fixed list of frames of one video, small enough to travel with a task."""

    path: str
    height: int
    width: int
    frames: I64

    def read(self, out: U8 | None = None) -> U8:
        """Read the frames, 0 where there is none (-1), into a C-contiguous or a new array."""
        shape = (len(self.frames), self.height, self.width)
        if out is None:
            out = np.empty(shape, np.uint8)
        elif out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            msg = f"out must be a C-contiguous uint8 array of shape {shape}"
            raise UsageError(msg)
        out[self.frames < 0] = 0
        if (self.frames >= 0).any():
            with video_errors(self.path), open(self.path, "rb") as file:
                self._fill(out, file)
        return out

    @abstractmethod
    def _fill(self, out: U8, file: BufferedReader) -> None: ...


@dataclass(frozen=True, eq=False)
class RawReader(FrameReader):
    """Uncompressed frames, at ``position`` in chunks of ``size`` bytes."""

    stream: int
    position: I64
    size: int

    def _fill(self, out: U8, file: BufferedReader) -> None:
        rows = np.flatnonzero(self.frames >= 0)
        rows = rows[np.argsort(self.position[rows], kind="stable")]
        stride = chunk_bytes(self.size)
        breaks = np.flatnonzero(np.diff(self.position[rows]) != stride) + 1
        step = max(1, min(RUN_FRAMES, RUN_BYTES // stride))
        for first, stop in pairwise([0, *breaks.tolist(), len(rows)]):
            for start in range(first, stop, step):
                self._read_run(file, rows[start : min(start + step, stop)], out)

    def _read_run(self, file: BufferedReader, rows: I64, out: U8) -> None:
        """Read adjacent chunks: pixels into their rows of ``out``, headers and padding aside."""
        plane = self.height * self.width
        gap = chunk_bytes(self.size) - plane  # tail of one chunk and header of the next
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
            where = f"frames {self.frames[rows[0]]} to {self.frames[rows[-1]]}"
            raise _unreadable(self.path, where, int(position[0]), error) from error
        whole = min(len(rows), max(0, got + gap - CHUNK_HEADER.size) // (gap + plane))
        good = np.isin(
            np.ascontiguousarray(aside[:whole, : CHUNK_HEADER.size]).view("<u8")[:, 0],
            [int.from_bytes(header, "little") for header in chunk_headers(self.stream, self.size)],
        )
        if got < wanted or not good.all():
            bad = whole if good.all() else int(np.argmin(good))
            what = "the file ends inside it" if good.all() else "its chunk header is damaged"
            raise lost_frame(self.path, int(self.frames[rows[bad]]), int(position[bad]), what)


@dataclass(frozen=True, eq=False)
class CodedReader(FrameReader):
    """Compressed frames."""

    codec: Codec
    checksummed: bool

    def _fill(self, out: U8, file: BufferedReader) -> None:
        frames, order = np.unique(self.frames, return_inverse=True)
        rows = {
            int(frame): np.flatnonzero(order == at) for at, frame in enumerate(frames) if frame >= 0
        }
        gray = VideoReformatter()
        for frame, image in self._decode_frames(file):
            if frame not in rows:
                continue
            where = f"{self.path}: frame {frame}"
            if image.is_corrupt:
                raise VideoError(f"{where} is damaged; repair or leave out this file")
            if (image.height, image.width) != (self.height, self.width):
                msg = f"{where} is {image.width}x{image.height}, not {self.width}x{self.height}"
                raise VideoError(f"{msg}; only videos of one frame size can be read")
            if not self._is_exact(image.format):
                image = gray.reformat(image, format="gray")
            plane = image.planes[0]
            lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            out[rows.pop(frame)] = lines[: self.height, : self.width]
            if not rows:
                return
        raise VideoError(f"{self.path}: frame {min(rows)} cannot be decoded; repair the file")

    def _is_exact(self, pixels: av.VideoFormat) -> bool:
        """Whether the first plane of a frame is the image itself.

        Lossless luma is what was recorded, zeros included, as in a raw I420 video. That of MJPEG
        and H.264 is of a range that the decoder knows, and that is undone.
        """
        return pixels.name == "gray" or (self.codec in LOSSLESS and has_gray_plane(pixels))

    @abstractmethod
    def _decode_frames(self, file: BufferedReader) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode at least the wanted frames, each with its number."""

    def _decode(
        self, decoder: av.VideoCodecContext, packets: Iterable[Packet]
    ) -> Iterator[av.VideoFrame]:
        for packet in packets:
            # FFmpeg would fill a damaged slice from the frame before and say nothing.
            if self.checksummed and packet.size and not ffv1_is_intact(bytes(packet)):
                msg = f"{self.path}: the checksum of the coded frame at time {packet.pts} is wrong"
                raise VideoError(f"{msg}; copy the file again from its source")
            yield from decoder.decode(packet)
        yield from decoder.decode(None)


@dataclass(frozen=True, eq=False)
class ChunkReader(CodedReader):
    """Coded frames in AVI chunks, each run beginning at a key frame.

    AVI stores no presentation times. Runs consist of closed groups of pictures, so that the n-th
    frame out is the n-th of the run, whatever the order of decoding.
    """

    extradata: bytes | None
    # First frame, positions and sizes of the chunks of every run.
    runs: tuple[tuple[int, I64, I32], ...]
    stream: int

    def _decode_frames(self, file: BufferedReader) -> Iterator[tuple[int, av.VideoFrame]]:
        decoder = av.CodecContext.create(self.codec, "r")
        decoder.extradata = self.extradata
        decoder.width, decoder.height = self.width, self.height
        _configure(decoder)
        for first, position, size in self.runs:
            packets = self._packets(file, first, position, size)
            yield from enumerate(self._decode(decoder, packets), first)
            decoder.flush_buffers()

    def _packets(
        self, file: BufferedReader, first: int, position: I64, size: I32
    ) -> Iterator[Packet]:
        chunks = zip(position.tolist(), size.tolist(), strict=True)
        for frame, (offset, length) in enumerate(chunks, first):
            try:
                file.seek(offset)
                data = file.read(CHUNK_HEADER.size + length)
            except OSError as error:
                raise _unreadable(self.path, f"frame {frame}", offset, error) from error
            if data[: CHUNK_HEADER.size] not in chunk_headers(self.stream, length):
                raise lost_frame(self.path, frame, offset, "its chunk header is damaged")
            if len(data) < CHUNK_HEADER.size + length:
                raise lost_frame(self.path, frame, offset, "the file ends inside it")
            packet = av.Packet(data[CHUNK_HEADER.size :])
            packet.pts = frame
            yield packet


@dataclass(frozen=True, eq=False)
class StampReader(CodedReader):
    """Coded frames of a container with presentation times (Matroska, MP4)."""

    stamps: I64  # Presentation time of each of ``frames``, in the stream's time base
    seeks: I64  # Presentation time of the key frame at or before each of ``frames``
    format: str

    def _decode_frames(self, file: BufferedReader) -> Iterator[tuple[int, av.VideoFrame]]:
        present = self.frames >= 0
        frames, first = np.unique(self.frames[present], return_index=True)
        targets = np.stack([frames, self.stamps[present][first], self.seeks[present][first]], 1)
        with open_container(file, self.format) as container:
            context = container.streams.video[0].codec_context
            _configure(context)
            now: av.VideoFrame | None = None
            before = -1
            for frame, stamp, seek in targets.tolist():
                if now is None or (self._stamp(now) < seek and frame != before + 1):
                    decoded = self._decode(context, _packets_from(container, seek))
                    now = next(decoded, None)
                    # Some containers seek by decoding time.
                    if now is None or self._stamp(now) > stamp:
                        decoded = self._decode(context, _packets_from(container, 0))
                        now = next(decoded, None)
                while now is not None and self._stamp(now) < stamp:
                    now = next(decoded, None)
                if now is not None and self._stamp(now) == stamp:
                    yield frame, now
                before = frame

    def _stamp(self, image: av.VideoFrame) -> int:
        if image.pts is None:
            raise VideoError(f"{self.path}: a frame has no timestamp; repair the file")
        return image.pts


def _unreadable(path: str, where: str, offset: int, error: OSError) -> VideoError:
    msg = f"{path}: {where} (byte {offset}) cannot be read: {error.strerror}; check the disk"
    return VideoError(msg)


def _packets_from(container: InputContainer, stamp: int) -> Iterator[Packet]:
    stream = container.streams.video[0]
    container.seek(stamp, stream=stream)
    return (packet for packet in container.demux(stream) if packet.size)


def _configure(decoder: av.VideoCodecContext) -> None:
    decoder.thread_count = 1  # tasks run in parallel already
    if decoder.name != "h264":  # which lacks the frames before a seek, without harm
        decoder.options = {"err_detect": "explode"}


def has_gray_plane(pixels: av.VideoFormat) -> bool:
    """Whether the first plane of frames is gray values of 8 bits; colour is in others, if any."""
    luma = pixels.components[0]
    with_colour = pixels.is_planar and not pixels.is_rgb and (luma.plane, luma.bits) == (0, 8)
    return with_colour or pixels.name == "gray"


def ffv1_is_intact(packet: bytes) -> bool:
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


def _read_into(file: BufferedReader, buffers: list[memoryview], offset: int) -> int:
    """Fill buffers from one position of the file; fewer bytes only where the file ends."""
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


def open_container(file: BufferedReader, container_format: str) -> InputContainer:
    """Open a file in a named format, so that its content cannot make FFmpeg open other files."""
    return cast("InputContainer", av.open(file, format=container_format, **ANY_TITLE))


@contextmanager
def video_errors(path: str) -> Iterator[None]:
    """Turn errors of FFmpeg and of the system into errors that name the file."""
    try:
        yield
    except av.FFmpegError as error:
        msg = f"{path}: FFmpeg cannot read it ({error.strerror}); repair or convert the file"
        raise VideoError(msg) from error
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); check disk and rights"
        raise VideoError(msg) from error
