"""Write gray video as AVI: raw frames muxed as they are, or FFV1.

Nothing but the pixels and the frame rate decides the bytes: no encoder's name, no time of day.
"""

import errno
import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import av
import google_crc32c
import numpy as np
from numpy.typing import NDArray

from miostitch.errors import ResourceError, UsageError, VideoError
from miostitch.video.raw_avi import BITEXACT, RawAvi, add_gray_stream

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

Codec = Literal["rawvideo", "ffv1"]


def checksum_path(path: str | os.PathLike[str]) -> Path:
    """Hidden file next to a video that is being written: a CRC32C of every frame, uint32."""
    return Path(path).with_name(f".{Path(path).name}.crc32c")


def frame_checksums(frames: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """CRC32C of the pixels of every frame, little-endian uint32 (frame,)."""
    return np.array([google_crc32c.value(np.ascontiguousarray(each)) for each in frames], "<u4")


class _CodedAvi:
    """An AVI of FFV1 frames, lossless and every frame by itself."""

    def __init__(self, path: str, *, width: int, height: int, fps: Fraction) -> None:
        # The prefix keeps a name like `a:b.avi` from being read as a protocol.
        self._container = av.open(f"file:{path}", "w", format="avi", options=BITEXACT)
        self._stream = add_gray_stream(self._container, "ffv1", width, height, fps)
        self._stream.options = {"g": "1", "level": "3", "slicecrc": "1"}
        self._container.start_encoding()
        self._count = 0

    def write(self, frames: NDArray[np.uint8]) -> None:
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="gray")
            picture.pts = self._count
            self._count += 1
            self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        if self._count:
            self._container.mux(self._stream.encode(None))
        self._container.close()


class VideoWriter:
    """An AVI of 8-bit gray frames, OpenDML where it grows large."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        width: int,
        height: int,
        fps: Fraction,
        codec: Codec = "rawvideo",
        checksums: bool = False,
    ) -> None:
        if min(width, height) < 1 or max(width, height) > 65535 or fps <= 0:
            raise UsageError(f"no AVI can have {width}x{height} pixels at {fps} frames per second")
        self.path = os.fspath(path)
        self.frame_count = 0
        self._shape = (height, width)
        self._closed = self._failed = False
        make = RawAvi if codec == "rawvideo" else _CodedAvi
        try:
            self._file = make(self.path, width=width, height=height, fps=fps)
            self._checksums = checksum_path(path).open("wb") if checksums else None
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def write(self, frames: NDArray[np.uint8]) -> None:
        """Append frames.

        ``frames``: (frame, height, width) images, uint8.
        """
        if self._closed or self._failed:  # FFmpeg would crash, or frames shift
            what = "is closed already" if self._closed else "has failed"
            raise UsageError(f"{self.path}: {what}; open another writer")
        if frames.dtype != np.uint8 or frames.ndim != 3 or frames.shape[1:] != self._shape:
            msg = f"frames must be uint8 (frame, {self._shape[0]}, {self._shape[1]})"
            raise UsageError(f"{msg}, not {frames.dtype} {frames.shape}")
        try:
            self._file.write(np.ascontiguousarray(frames))
            if self._checksums:
                self._checksums.write(frame_checksums(frames).tobytes())
        except (av.FFmpegError, OSError) as error:
            self._failed = True
            raise self._failure(error) from error
        self.frame_count += len(frames)

    def close(self) -> None:
        """Write what is left and close the file; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._checksums:
                self._checksums.close()
            self._file.close()
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(*[ResourceError, VideoError] if error else []):  # the first error tells more
            self.close()

    def _failure(self, error: Exception) -> Exception:
        if isinstance(error, OSError) and error.errno:
            remedy = "free space" if error.errno in NO_SPACE else "check folder and rights"
            if error.errno == errno.EFBIG:
                remedy = "leave the video out, or choose a disk that takes files so large"
            return ResourceError(f"{self.path}: cannot be written ({error.strerror}); {remedy}")
        return VideoError(f"{self.path}: FFmpeg cannot write it ({error})")
