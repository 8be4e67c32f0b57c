"""Videos: small ones of noise made and damaged, any read and told apart."""

from fractions import Fraction
from hashlib import blake2s
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from miostitch.errors import InputError
from miostitch.video.source import open_video
from miostitch.video.writer import Codec, VideoWriter

Frames = NDArray[np.uint8]
HEIGHT, WIDTH, COUNT = 48, 64, 30
CHUNK = HEIGHT * WIDTH + 8
FPS = Fraction(30000, 1001)
X264 = {"x264-params": "bframes=3:b-adapt=0:scenecut=0:keyint=12", "crf": "1"}
CODED = [
    (".avi", "ffv1", "gray", {"g": "1"}),
    (".avi", "ffv1", "gray", {"g": "5"}),
    (".avi", "ffv1", "gray", {"g": "5", "level": "1"}),
    (".avi", "mjpeg", "yuvj420p", {}),
    (".avi", "libx264", "yuv420p", X264),
    (".avi", "libx264", "yuv420p", {"x264-params": X264["x264-params"] + ":open-gop=1"}),
    (".mkv", "ffv1", "gray", {"g": "5"}),
    (".mkv", "rawvideo", "gray", {}),
    (".mkv", "libx264", "yuv420p", X264),
    (".mkv", "libx264", "yuv420p", {"x264-params": X264["x264-params"] + ":open-gop=1"}),
    (".mp4", "libx264", "yuv420p", X264),
    (".mp4", "libx264", "yuv420p", {"x264-params": X264["x264-params"] + ":open-gop=1"}),
]
GOLDEN = "df937c8651cf142b4d8e2a75140729dcacdc1151ebc3767b48d0ca71578007ff"
"""``blake2s_of`` mio's own result for the two recordings in ``stitch``."""


def make_frames(count: int = COUNT, height: int = HEIGHT, width: int = WIDTH) -> Frames:
    return np.random.default_rng(1).integers(0, 256, (count, height, width), dtype=np.uint8)


def write(path: Path, frames: Frames, codec: Codec = "rawvideo", fps: Fraction = FPS) -> Path:
    """An AVI by the writer under test."""
    height, width = frames.shape[1:]
    with VideoWriter(path, width=width, height=height, fps=fps, codec=codec) as writer:
        writer.write(frames)
    return path


def encode(path: Path, frames: Frames, codec: str, pix_fmt: str, options: dict[str, str]) -> None:
    container_format = {".avi": "avi", ".mkv": "matroska", ".mp4": "mp4"}[path.suffix]
    with av.open(str(path), "w", format=container_format) as container:
        stream: Any = container.add_stream(codec, rate=FPS)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt, stream.options = pix_fmt, options
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="gray").reformat(format=pix_fmt)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def decode(path: Path) -> Frames:
    """All frames, one after the other, by FFmpeg alone."""
    with av.open(str(path)) as container:
        pictures = [picture.to_ndarray(format="gray") for picture in container.decode(video=0)]
    return np.stack(pictures)


def blake2s_of(frames: Frames) -> str:
    """Digest over the gray frames, each value three times, as mio shows them."""
    digest = blake2s()
    for frame in frames:
        digest.update(np.repeat(frame[..., None], 3, axis=2).tobytes())
    return digest.hexdigest()


def chunk_at(path: Path, frame: int) -> int:
    return path.read_bytes().index(b"00dc", path.read_bytes().index(b"movi")) + frame * CHUNK


def overwrite(path: Path, position: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        file.write(data)


def patch(path: Path, tag: bytes, offset: int, data: bytes) -> Path:
    """Change bytes at a distance behind the first ``tag``."""
    overwrite(path, path.read_bytes().index(tag) + offset, data)
    return path


def cut_index(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"idx1")])


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as refused:
        open_video(path, **options)
    assert str(path) in str(refused.value)
    return str(refused.value)
