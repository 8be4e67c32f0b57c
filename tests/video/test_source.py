import os
import pickle
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from miostitch.errors import MissingInputError, TruncatedVideoError, VideoError
from miostitch.video.source import open_video
from miostitch.video.writer import VideoWriter
from tests.video_files import (
    COUNT,
    FPS,
    HEIGHT,
    WIDTH,
    X264,
    Frames,
    encode,
    patch,
    refusal,
)


def test_what_a_source_says(avi: Path, frames: Frames) -> None:
    source = open_video(avi)
    assert (source.frame_count, source.height, source.width) == frames.shape
    assert (source.fps, source.codec, source.lossy) == (FPS, "rawvideo", False)
    assert len(source.index.keys) == source.frame_count
    assert type(source.fps) is Fraction
    assert (source.notices, source.lost.size) == ((), 0)
    assert source.index_digest == open_video(avi).index_digest


def test_beyond_the_video(avi: Path) -> None:
    source = open_video(avi)
    for frame in (COUNT, -2):
        with pytest.raises(VideoError, match=f"frame {frame} does not exist"):
            source.read([0, frame])


@pytest.mark.parametrize("declared", [0, 99])
def test_header_lies_about_the_count(avi: Path, frames: Frames, declared: int) -> None:
    patch(avi, b"avih", 24, struct.pack("<I", declared))
    source = open_video(patch(avi, b"strh", 40, struct.pack("<I", declared)))
    assert source.frame_count == COUNT
    assert [f"says {declared}" in notice for notice in source.notices] == [True]
    assert np.array_equal(source.read([COUNT - 1])[0], frames[-1])


@pytest.mark.parametrize("size", [(0, 0), (100000, 100000), (WIDTH, 0)])
def test_impossible_size(avi: Path, size: tuple[int, int]) -> None:
    path = patch(avi, b"strf", 12, struct.pack("<II", *size))
    assert "frame size" in refusal(path)


def test_size_limit(avi: Path) -> None:
    assert "--max-frame-pixels" in refusal(avi, max_frame_pixels=HEIGHT * WIDTH - 1)
    assert open_video(avi, max_frame_pixels=HEIGHT * WIDTH).frame_count == COUNT


@pytest.mark.parametrize("pix_fmt", ["bgr24", "pal8"])
def test_dib_is_unsupported(tmp_path: Path, frames: Frames, pix_fmt: str) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w", format="avi") as container:
        stream: Any = container.add_stream("rawvideo", rate=20)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH - 1, pix_fmt
        picture = (
            av.VideoFrame(WIDTH - 1, HEIGHT, "pal8")
            if pix_fmt == "pal8"
            else av.VideoFrame.from_ndarray(frames[0, :, 1:], format="gray").reformat(
                format=pix_fmt
            )
        )
        container.mux(stream.encode(picture))
    assert "unsupported codec rawvideo" in refusal(path)


@pytest.mark.fault(14, "MPEG-4, 16-bit FFV1", "exit 3, 'unsupported codec'")
@pytest.mark.parametrize(("codec", "pix_fmt"), [("mpeg4", "yuv420p"), ("ffv1", "gray16le")])
def test_unsupported_codec(tmp_path: Path, frames: Frames, codec: str, pix_fmt: str) -> None:
    path = tmp_path / "a.avi"
    encode(path, frames, codec, pix_fmt, {})
    assert f"unsupported codec {codec}" in refusal(path)


@pytest.mark.fault(
    15, "playlist; the file it names blocks whoever opens it", "exit 3, nothing opened"
)
@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mp4"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a,b\n1,2\n",
        bytes(range(256)) * 50,
        b"ffconcat version 1.0\nfile other.avi\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.avi\n",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
    ],
)
def test_not_a_video(tmp_path: Path, avi: Path, name: str, content: bytes) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    os.mkfifo(folder / "other.avi")  # opening it would block for ever
    (folder / name).write_bytes(content)
    assert "not an" in refusal(folder / name)


@pytest.mark.fault(15, "MP4 named .avi and others", "exit 3")
@pytest.mark.parametrize(("suffix", "other"), [(".avi", ".mp4"), (".mp4", ".mkv")])
def test_renamed(tmp_path: Path, frames: Frames, suffix: str, other: str) -> None:
    path = tmp_path / f"a{other}"
    encode(path, frames, "libx264", "yuv420p", X264)
    assert "not an" in refusal(path.rename(path.with_suffix(suffix)))


def test_only_a_header(avi: Path) -> None:
    for length in (12, 100, 300):
        avi.write_bytes(avi.read_bytes()[:length])
        refusal(avi)
        avi.write_bytes(avi.read_bytes() + bytes(5000))


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no such file"):
        open_video(tmp_path / "a.avi")
    (tmp_path / "b.avi").mkdir()
    with pytest.raises(MissingInputError, match="not a file"):
        open_video(tmp_path / "b.avi")
    with pytest.raises(VideoError, match=r"\.avi, \.mkv, \.mp4"):
        open_video(tmp_path / "c.mov")


NAMES = [b"\xff\xfe.avi", b"a\nb.avi", b"%d%s{}.avi", b"-i.avi", b"concat:x|y.avi", b"a:b.avi"]


@pytest.mark.fault(56, "videos of any name", "work")
@pytest.mark.parametrize("name", [*NAMES, "\N{MOUSE}.AVI".encode(), b"n" * 251 + b".avi"])
def test_any_name(
    tmp_path: Path, frames: Frames, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    monkeypatch.chdir(tmp_path)  # so that the name begins the path
    with VideoWriter(os.fsdecode(name), width=WIDTH, height=HEIGHT, fps=FPS) as writer:
        writer.write(frames)
    assert os.listdir(os.fsencode(tmp_path)) == [name]
    source = pickle.loads(pickle.dumps(open_video(name)))
    assert np.array_equal(source.read([2, 1]), frames[[2, 1]])


def test_truncated_containers(tmp_path: Path, frames: Frames) -> None:
    path = tmp_path / "a.mkv"
    encode(path, frames, "ffv1", "gray", {"g": "1"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(TruncatedVideoError, match="--salvage"):
        open_video(path)
    source = open_video(path, salvage=True)
    assert 10 < source.frame_count < 20
    assert "truncated" in source.notices[0]
    assert np.array_equal(source.read(range(10)), frames[:10])
