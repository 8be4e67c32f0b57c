import errno
import os
import pickle
import subprocess
from hashlib import blake2b
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miostitch.errors import TruncatedVideoError, VideoError
from miostitch.video.readers import has_gray_plane
from miostitch.video.source import open_video
from tests.video_files import (
    CHUNK,
    CODED,
    COUNT,
    FPS,
    HEIGHT,
    WIDTH,
    Frames,
    chunk_at,
    decode,
    encode,
    make_frames,
    overwrite,
    write,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.integers(-1, COUNT - 1), max_size=60))
def test_any_frames_in_any_order(avi: Path, frames: Frames, chosen: list[int]) -> None:
    found = open_video(avi).read(chosen)
    expected = [frames[frame] if frame >= 0 else np.zeros_like(frames[0]) for frame in chosen]
    assert found.shape == (len(chosen), HEIGHT, WIDTH)
    assert all(map(np.array_equal, found, expected))


def test_reads_into_the_callers_array(avi: Path, frames: Frames) -> None:
    out = np.full((3, HEIGHT, WIDTH), 7, np.uint8)
    assert open_video(avi).read([4, -1, 5], out) is out
    assert np.array_equal(out[[0, 2]], frames[4:6])
    assert not out[1].any()
    with pytest.raises(ValueError, match="C-contiguous"):
        open_video(avi).read([4, 5], out)
    with pytest.raises(ValueError, match="C-contiguous"):
        open_video(avi).read([4], out[:1, :, ::-1])


def test_more_frames_than_one_call_takes(tmp_path: Path) -> None:
    frames = make_frames(1300, 3, 5)
    path = write(tmp_path / "a.avi", frames)
    assert np.array_equal(open_video(path).read(range(1300)), frames)


@pytest.mark.fault(44, "reads that return less than asked", "read on, frames exact")
@pytest.mark.parametrize("limit", [1, 7, CHUNK, 3 * CHUNK + 9])
def test_short_reads_go_on(
    avi: Path, frames: Frames, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    def preadv(file: int, buffers: list[memoryview], offset: int) -> int:
        data = os.pread(file, min(limit, sum(map(len, buffers))), offset)
        left = data
        for buffer in buffers:
            part, left = left[: len(buffer)], left[len(buffer) :]
            buffer[: len(part)] = part
        return len(data)

    monkeypatch.setattr(os, "preadv", preadv)
    count = 2 if limit < 100 else COUNT
    assert np.array_equal(open_video(avi).read(range(count)), frames[:count])


def test_without_preadv(avi: Path, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "preadv")
    source = open_video(avi)
    assert np.array_equal(source.read(range(COUNT)), frames)
    avi.write_bytes(avi.read_bytes()[: chunk_at(avi, 3) + 100])
    with pytest.raises(TruncatedVideoError, match="frame 3 "):
        source.read([2, 3])


@pytest.mark.fault(44, "EIO on reading a raw video", "exit 3, file, frames and byte")
def test_disk_error_names_file_and_offset(avi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def preadv(*_: Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    source = open_video(avi)
    monkeypatch.setattr(os, "preadv", preadv)
    with pytest.raises(VideoError, match=rf"a\.avi.*\(byte {chunk_at(avi, 4)}\).*Input/output"):
        source.read([4, 5])


@pytest.mark.fault(14, "AVI, Matroska, MP4; frames in any order", "each as FFmpeg decodes it")
@pytest.mark.parametrize(("suffix", "codec", "pix_fmt", "options"), CODED)
def test_coded_frames_at_random(
    tmp_path: Path, frames: Frames, suffix: str, codec: str, pix_fmt: str, options: dict[str, str]
) -> None:
    path = tmp_path / f"a{suffix}"
    frames[:, :16, :16] = np.arange(COUNT, dtype=np.uint8)[:, None, None] * 8
    encode(path, frames // 2 + 40, codec, pix_fmt, options)
    expected = decode(path)
    source = open_video(path)
    assert (source.frame_count, source.fps) == (COUNT, FPS)
    assert source.lossy == (codec in ("mjpeg", "libx264"))
    assert source.lossy == any("lossy" in notice for notice in source.notices)
    assert len(np.unique(expected.reshape(COUNT, -1), axis=0)) == COUNT
    assert np.array_equal(source.read(range(COUNT)), expected)
    for frame in range(COUNT):
        assert np.array_equal(source.read([frame])[0], expected[frame]), frame
    chosen = np.random.default_rng(2).integers(0, COUNT, (10, 5))
    for some in chosen:
        assert np.array_equal(source.read(some), expected[some])


PLANES = ["yuv420p", "yuv422p", "yuv444p", "yuv410p", "yuva420p", "nv12", "nv21", "nv24"]


def encode_colour(path: Path, frames: Frames, codec: str, pix_fmt: str) -> None:
    """Frames whose first plane is as given, and 128 in the others."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=FPS)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = pix_fmt
        for image in frames:
            frame = av.VideoFrame(image.shape[1], image.shape[0], pix_fmt)
            for number, plane in enumerate(frame.planes):
                lines = np.full((plane.buffer_size // plane.line_size, plane.line_size), 128, "u1")
                if number == 0:
                    lines[: image.shape[0], : image.shape[1]] = image
                plane.update(lines.tobytes())
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.fault(14, "FFV1 and raw video in colour", "the plane of gray values, to the bit")
@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [
        *((".avi", "ffv1", each) for each in PLANES if not each.startswith("nv")),
        *((".mkv", "ffv1", each) for each in PLANES[:3]),
    ],
)
def test_luma_is_taken_as_it_is(tmp_path: Path, suffix: str, codec: str, pix_fmt: str) -> None:
    frames = np.arange(3 * 16 * 32, dtype=np.uint8).reshape(3, 16, 32)  # every value
    path = tmp_path / f"a{suffix}"
    encode_colour(path, frames, codec, pix_fmt)
    source = open_video(path)
    assert np.array_equal(source.read([2, 0, 1]), frames[[2, 0, 1]])
    assert (source.lossy, source.notices) == (False, ())


@pytest.mark.parametrize("pix_fmt", PLANES)
def test_gray_plane(pix_fmt: str) -> None:
    assert has_gray_plane(av.VideoFormat(pix_fmt))


@pytest.mark.parametrize("pix_fmt", ["gbrp", "bgr0", "rgb24", "yuyv422", "ya8", "yuv420p10le"])
def test_no_gray_plane(pix_fmt: str) -> None:
    assert not has_gray_plane(av.VideoFormat(pix_fmt))


@pytest.mark.fault(14, "FFV1 in RGB, or with gray and alpha mixed", "a warning, and lossy")
@pytest.mark.parametrize("pix_fmt", ["bgr0", "bgra", "ya8"])
def test_what_is_converted_is_lossy(tmp_path: Path, frames: Frames, pix_fmt: str) -> None:
    path = tmp_path / "a.avi"
    encode(path, frames, "ffv1", pix_fmt, {})
    source = open_video(path)
    assert source.lossy
    assert source.notices == (
        f"pixels are {pix_fmt}, converted to gray; they are not the camera's",
    )
    assert np.array_equal(source.read(range(COUNT)), frames)  # for they have no colour


def test_pickled_subset_is_small(avi: Path, tmp_path: Path, frames: Frames) -> None:
    coded = tmp_path / "b.avi"
    encode(coded, frames, "ffv1", "gray", {"g": "1"})
    for path in (avi, coded):
        source = pickle.loads(pickle.dumps(open_video(path)))
        packed = pickle.dumps(source.subset([3, 4]))
        assert len(packed) < 1500
        assert np.array_equal(pickle.loads(packed).read(), frames[3:5])


@pytest.mark.fault(44, "video shortened while in use", "exit 3, frame and byte")
def test_truncated_after_opening(avi: Path) -> None:
    source = open_video(avi)
    avi.write_bytes(avi.read_bytes()[: chunk_at(avi, 10) + 500])
    with pytest.raises(TruncatedVideoError, match="frame 10 "):
        source.read(range(8, 12))


def test_unseen_hole_is_found_on_reading(avi: Path, frames: Frames) -> None:
    position = chunk_at(avi, 5)
    overwrite(avi, position, bytes(3 * CHUNK))
    source = open_video(avi)
    with pytest.raises(TruncatedVideoError, match=rf"frame 5 \(byte {position}\).*--salvage"):
        source.read(range(COUNT))
    assert np.array_equal(source.read(range(8, COUNT)), frames[8:])


def test_damaged_coded_frame_is_no_picture(tmp_path: Path, frames: Frames) -> None:
    path = tmp_path / "a.avi"
    encode(path, frames, "ffv1", "gray", {"g": "1"})
    source = open_video(path)
    overwrite(path, int(source.index.position[12]) + 500, b"\x55\xaa")  # type: ignore[union-attr]
    assert np.array_equal(source.read([11, 13]), frames[[11, 13]])
    with pytest.raises(VideoError, match=r"checksum of the coded frame at time 12 "):
        source.read([12])


def test_real_recordings(recordings: Path) -> None:
    for path in (recordings / "stitch" / "video1.avi", recordings / "capture3" / "receiver2.avi"):
        source = open_video(path)
        assert source.notices == ()
        found = source.read(range(source.frame_count))
        assert blake2b(found.data).digest() == blake2b(decode(path).data).digest()


def test_real_h264(recordings: Path) -> None:
    path = recordings / "noise" / "wireless_corrupted_extended.mp4"
    source = open_video(path)
    expected = decode(path)
    assert source.frame_count == len(expected)
    chosen = np.random.default_rng(3).integers(0, len(expected), 12)
    assert np.array_equal(source.read(chosen), expected[chosen])


@pytest.mark.peer
@pytest.mark.parametrize(("suffix", "codec", "pix_fmt", "options"), CODED)
def test_same_gray_as_the_command_line(
    tmp_path: Path, frames: Frames, suffix: str, codec: str, pix_fmt: str, options: dict[str, str]
) -> None:
    path = tmp_path / f"a{suffix}"
    encode(path, frames, codec, pix_fmt, options)
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-pix_fmt", "gray", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    expected = np.frombuffer(raw, np.uint8).reshape(frames.shape)
    assert np.array_equal(open_video(path).read(range(COUNT)), expected)
