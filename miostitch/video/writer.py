"""Write gray video as AVI: raw frames by position, from any thread or process, or FFV1.

Nothing but the pixels and the frame rate decides the bytes: no encoder's name, no time of day.
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import av
import numpy as np
from av.codec.context import CodecContext
from isal import isal_zlib
from numpy.typing import NDArray

from miostitch.errors import ResourceError, UsageError, VideoError
from miostitch.video.raw_avi import BITEXACT, RawAvi, add_gray_stream, configure_gray

CLOSED = "is closed already"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

FFV1_OPTIONS = {"g": "1", "level": "3", "slicecrc": "1"}
"""Lossless, every frame by itself, a checksum for each slice."""

FLUSH_BYTES = 2**23
"""What is written at least before it is brought to the disk: half of a usual block."""

Codec = Literal["rawvideo", "ffv1"]
Frames = NDArray[np.uint8]
Packed = Sequence[bytes]
Append = Callable[[int, Packed], None]
"""Takes what was packed of the frames from one on; block after block."""


def checksum_path(path: str | os.PathLike[str]) -> Path:
    """Hidden file next to a video that is being written: a CRC-32 of every frame, uint32."""
    return Path(path).with_name(f".{Path(path).name}.crc32")


def frame_checksums(frames: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """CRC-32 of the pixels of every frame, as zlib has it, little-endian uint32 (frame,)."""
    return np.array([isal_zlib.crc32(np.ascontiguousarray(each)) for each in frames], "<u4")


@dataclass(frozen=True)
class VideoFile:
    """An AVI of 8-bit gray frames that many tasks make together; small and picklable."""

    path: str
    width: int
    height: int
    fps: Fraction
    codec: Codec = "rawvideo"
    checksums: bool = False  # Whether those of the frames are kept in ``checksum_path``

    def __post_init__(self) -> None:
        sides = self.width, self.height
        if min(sides) < 1 or max(sides) > 65535 or self.fps <= 0:
            msg = f"no AVI can have {sides[0]}x{sides[1]} pixels at {self.fps} frames per second"
            raise UsageError(msg)

    @property
    def by_position(self) -> bool:
        """Whether a task writes the frames itself."""
        return self.codec == "rawvideo"

    @cached_property
    def raw(self) -> RawAvi:
        """The file of raw frames; a task may have another working directory."""
        return RawAvi(os.path.abspath(self.path), self.width, self.height, self.fps)

    @cached_property
    def checksum_file(self) -> Path:
        """Where the checksums go; found by the coordinator, as ``raw`` is."""
        return checksum_path(os.path.abspath(self.path))

    def recall(self, first: int, count: int) -> bool:
        """Whether an earlier run wrote so many frames from the ``first`` on, and all are there."""
        if not (self.by_position and self.checksums):
            return False
        with failing(self.path):
            with self.checksum_file.open("rb") as file:
                file.seek(first * 4)
                noted = file.read(count * 4)
            return noted == frame_checksums(self.raw.read(first, count)).tobytes()

    def pack(self, first: int, frames: Frames) -> Packed:
        """Write raw frames at their place, or give the packets that are to be appended.

        ``frames``: those from the ``first`` on, uint8 (frame, height, width).
        """
        with failing(self.path):
            if self.checksums:
                with self.checksum_file.open("r+b") as file:
                    file.seek(first * 4)
                    file.write(frame_checksums(frames).tobytes())
            if self.by_position:
                self.raw.write(first, np.ascontiguousarray(frames))
                return ()
            return _encode(frames, self.fps)

    @contextmanager
    def open(self, count: int) -> Iterator[Append]:
        """Begin a file of so many frames, or one that an earlier run began, and complete it."""
        with failing(self.path):
            if self.checksums:
                self.checksum_file.touch()
            if self.by_position:
                self.raw.begin()
                self.raw.lay_out(count)
            file = _Flusher(self) if self.by_position else _Muxer(self)
        with closing(file):
            yield file.append


class _Flusher:
    """Brings what tasks write to the disk while more comes, and not all of it at the end."""

    def __init__(self, file: VideoFile) -> None:
        self._path, self._file, self._flushed = file.path, file.raw, 0
        self._pool = ThreadPoolExecutor(1, "miostitch-flush")
        self._last: Future[None] | None = None

    def append(self, first: int, packed: Packed) -> None:
        waiting = (first - self._flushed) * self._file.stride
        if waiting < FLUSH_BYTES or not (self._last is None or self._last.done()):
            return
        with failing(self._path):
            if self._last is not None:
                self._last.result()
            self._flushed, self._last = first, self._pool.submit(self._file.flush)

    def close(self) -> None:
        self._pool.shutdown()
        with failing(self._path):
            if self._last is not None:
                self._last.result()


class _Muxer:
    """An AVI of FFV1 packets."""

    def __init__(self, file: VideoFile) -> None:
        self._path, self._count = file.path, 0
        # The prefix keeps a name like `a:b.avi` from being read as a protocol.
        path = f"file:{file.path}"
        self._container = av.open(path, "w", format="avi", options=BITEXACT)
        self._stream = add_gray_stream(
            self._container, file.codec, file.width, file.height, file.fps
        )
        self._stream.options = {**FFV1_OPTIONS}
        self._container.start_encoding()

    def append(self, first: int, packed: Packed) -> None:
        with failing(self._path):
            for data in packed:
                packet = av.Packet(data)
                packet.stream = self._stream
                packet.time_base = self._stream.codec_context.time_base
                packet.pts = packet.dts = self._count
                packet.duration = 1
                packet.is_keyframe = True
                self._container.mux(packet)
                self._count += 1

    def close(self) -> None:
        with failing(self._path):
            self._container.close()


class VideoWriter:
    """An AVI of 8-bit gray frames that come in order and whose number is known at the end."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        width: int,
        height: int,
        fps: Fraction,
        codec: Codec = "rawvideo",
    ) -> None:
        self.path = os.fspath(path)
        self.frame_count = 0
        self._file = VideoFile(self.path, width, height, fps, codec)
        self._ended = ""  # Why nothing more can be written
        self._muxer: _Muxer | None = None
        with failing(self.path):
            if self._file.by_position:
                self._file.raw.begin(empty=True)
            else:
                self._muxer = _Muxer(self._file)

    def write(self, frames: Frames) -> None:
        """Append frames, uint8 (frame, height, width)."""
        if self._ended:  # FFmpeg would crash, or frames shift
            raise UsageError(f"{self.path}: {self._ended}; open another writer")
        shape = self._file.height, self._file.width
        if frames.dtype != np.uint8 or frames.ndim != 3 or frames.shape[1:] != shape:
            msg = f"frames must be uint8 (frame, {shape[0]}, {shape[1]})"
            raise UsageError(f"{msg}, not {frames.dtype} {frames.shape}")
        self._ended = "has failed"
        packed = self._file.pack(self.frame_count, frames)
        if self._muxer:
            self._muxer.append(self.frame_count, packed)
        self._ended = ""
        self.frame_count += len(frames)

    def close(self) -> None:
        """Write what is left and close the file; a second call does nothing."""
        if self._ended == CLOSED:
            return
        self._ended = CLOSED
        if self._muxer:
            self._muxer.close()
            return
        with failing(self.path):
            self._file.raw.lay_out(self.frame_count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        with suppress(*[ResourceError, VideoError] if failure[0] else []):  # the first tells more
            self.close()


def _encode(frames: Frames, fps: Fraction) -> list[bytes]:
    """FFV1 packets of frames, as one encoder would make them of the whole video."""
    encoder = CodecContext.create("ffv1", "w")
    configure_gray(encoder, frames.shape[2], frames.shape[1], fps)
    encoder.options = FFV1_OPTIONS
    packets = []
    for number, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="gray")
        picture.pts = number
        packets += [bytes(packet) for packet in encoder.encode(picture)]
    return packets


@contextmanager
def failing(path: str) -> Iterator[None]:
    """Tell of a failure by the name of the file."""
    try:
        yield
    except (ResourceError, VideoError):  # some are an OSError, too
        raise
    except (av.FFmpegError, OSError) as error:
        if not (isinstance(error, OSError) and error.errno):
            raise VideoError(f"{path}: FFmpeg cannot write it ({error})") from error
        remedy = "free space" if error.errno in NO_SPACE else "check folder and rights"
        if error.errno == errno.EFBIG:
            remedy = "leave the video out, or choose a disk that takes files so large"
        msg = f"{path}: cannot be written ({error.strerror}); {remedy}"
        raise ResourceError(msg) from error
