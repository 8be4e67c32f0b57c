"""What we write is what FFmpeg would write, to the byte, whatever the size."""

import filecmp
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from miostitch.video import raw_avi
from miostitch.video.raw_avi import RawAvi
from miostitch.video.source import open_video
from tests.video_files import make_frames

Frames = NDArray[np.uint8]


def mux(path: Path, frames: Frames, fps: Fraction, times: int = 1) -> Path:
    """The same frames by FFmpeg, several times over."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream("rawvideo", rate=fps)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "gray"
        stream.codec_context.time_base = 1 / fps
        container.start_encoding()
        for number, frame in enumerate(frame for _ in range(times) for frame in frames):
            packet = av.Packet(frame.tobytes())
            packet.stream, packet.time_base = stream, 1 / fps
            packet.pts = packet.dts = number
            packet.is_keyframe = True
            container.mux(packet)
    return path


def write(path: Path, frames: Frames, fps: Fraction, cuts: list[int], times: int = 1) -> Path:
    height, width = frames.shape[1:]
    file = RawAvi(str(path), width=width, height=height, fps=fps)
    file.begin()
    count, first = times * len(frames), 0
    parts = []
    for part in (part for _ in range(times) for part in np.split(frames, sorted(cuts))):
        parts.append((first, part))
        first += len(part)
    # the last block first, and the layout when half is written: nothing depends on the order
    for number, (first, part) in enumerate(reversed(parts)):
        if number == len(parts) // 2:
            file.lay_out(count)
        file.write(first, part)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    shape=st.tuples(st.integers(0, 12), st.integers(1, 41), st.integers(1, 41)),
    fps=st.fractions(Fraction(1, 10), 1000, max_denominator=1001),
    cuts=st.lists(st.integers(0, 12), max_size=3),
)
def test_is_what_ffmpeg_writes(
    tmp_path: Path, shape: tuple[int, int, int], fps: Fraction, cuts: list[int]
) -> None:
    frames = make_frames(*shape)
    ours = write(tmp_path / "a.avi", frames, fps, cuts)
    assert ours.read_bytes() == mux(tmp_path / "b.avi", frames, fps).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("times", [107, 108, 220])
def test_is_what_ffmpeg_writes_beyond_a_gibibyte(tmp_path: Path, times: int) -> None:
    frames = make_frames(5, 1000, 2001)
    ours = write(tmp_path / "a.avi", frames, Fraction(20), [2], times)
    theirs = mux(tmp_path / "b.avi", frames, Fraction(20), times)
    assert ours.stat().st_size > times * frames.nbytes
    assert filecmp.cmp(ours, theirs, shallow=False)


@pytest.mark.parametrize("count", [3, 4, 5, 8, 9, 23])
def test_many_lists_are_one_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(raw_avi, "RIFF_BYTES", 4 * 30 * 41 + 5652)
    frames = make_frames(count, 30, 41)
    path = write(tmp_path / "a.avi", frames, Fraction(20), [1, 6])
    assert (path.read_bytes().count(b"AVIX") > 0) == (count > 4)
    source = open_video(path)
    assert source.notices == ()
    assert np.array_equal(source.read(range(count)), frames)
    with av.open(str(path)) as container:
        seen = [picture.to_ndarray() for picture in container.decode(video=0)]
    assert np.array_equal(seen, frames)
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == count
    capture.set(cv2.CAP_PROP_POS_FRAMES, count - 1)
    found, last = capture.read()
    assert found
    assert np.array_equal(last[..., 0], frames[-1])
    capture.release()


def test_an_index_that_is_full_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_avi, "RIFF_BYTES", 1)
    file = RawAvi(str(tmp_path / "a.avi"), width=4, height=4, fps=Fraction(20))
    file.begin()
    with pytest.raises(OSError, match="no AVI holds"):
        file.write(0, make_frames(300, 4, 4))
    with pytest.raises(OSError, match="no AVI holds"):
        file.lay_out(300)


def test_threads_write_side_by_side(tmp_path: Path) -> None:
    frames, fps = make_frames(64, 50, 31), Fraction(25)
    expected = write(tmp_path / "a.avi", frames, fps, []).read_bytes()
    file = RawAvi(str(tmp_path / "b.avi"), width=31, height=50, fps=fps)
    file.begin()
    file.lay_out(len(frames))
    file = pickle.loads(pickle.dumps(file))
    with ThreadPoolExecutor(4) as pool:
        [*pool.map(lambda at: file.write(at, frames[at : at + 3]), range(0, len(frames), 3))]
    file.flush()
    assert (tmp_path / "b.avi").read_bytes() == expected


@pytest.mark.parametrize("most", [1, 7, 5000, None])
def test_systems_may_take_less_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int | None
) -> None:
    frames, fps = make_frames(9, 12, 11), Fraction(20)
    expected = write(tmp_path / "a.avi", frames, fps, [4]).read_bytes()
    if most is None:  # as on Windows
        monkeypatch.delattr(os, "pwritev", raising=False)
    else:

        def short(file: int, parts: list[memoryview], position: int) -> int:
            os.lseek(file, position, os.SEEK_SET)
            return os.write(file, b"".join(parts)[:most])

        monkeypatch.setattr(os, "pwritev", short, raising=False)
    assert write(tmp_path / "b.avi", frames, fps, [4]).read_bytes() == expected
