import errno
import os
import pickle
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from miostitch.errors import ResourceError, UsageError
from miostitch.execution.digests import product_digest, video_digest
from miostitch.video.raw_avi import RawAvi
from miostitch.video.source import open_video
from miostitch.video.writer import Codec, VideoFile, VideoWriter, frame_checksums
from tests.video_files import make_frames, write

CODECS: tuple[Codec, ...] = ("rawvideo", "ffv1")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 41), st.integers(1, 41)),
    codec=st.sampled_from(CODECS),
    fps=st.fractions(Fraction(1, 10), 1000, max_denominator=1001),
    data=st.data(),
)
def test_reads_back_what_was_written(
    tmp_path: Path, shape: tuple[int, int, int], codec: Codec, fps: Fraction, data: st.DataObject
) -> None:
    assume(codec == "rawvideo" or shape[2] > 1)  # FFV1 has no slices for one column
    frames, path = make_frames(*shape), tmp_path / "a.avi"
    cut = data.draw(st.integers(0, shape[0]))
    with VideoWriter(path, width=shape[2], height=shape[1], fps=fps, codec=codec) as writer:
        writer.write(frames[:cut])
        writer.write(frames[cut:])
    source = open_video(path)
    assert (source.fps, source.codec, source.notices) == (fps, codec, ())
    assert len(source.index.keys) == source.frame_count
    assert np.array_equal(source.read(range(shape[0])), frames)


@pytest.mark.parametrize("codec", CODECS)
def test_checksums_are_those_of_the_frames(tmp_path: Path, codec: Codec) -> None:
    frames, path = make_frames(7, 20, 31), tmp_path / "a.avi"
    options: Any = {"width": 31, "height": 20, "fps": Fraction(20), "codec": codec}
    for part in (frames[:5], frames):  # the second run begins again
        file = VideoFile(str(path), **options, checksums=True)
        with file.open(len(part)) as append:
            packed = [(first, file.pack(first, part[first:][:3])) for first in (3, 6, 0)]
            for first, packets in sorted(packed):
                append(first, packets)
    noted = product_digest(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.avi"]
    assert noted == product_digest(path) == video_digest(path, frame_checksums(frames))
    assert noted != video_digest(path, frame_checksums(frames[::-1]))


@pytest.mark.parametrize("width", [1, 3, 64, 199, 200])
def test_other_readers_see_gray(tmp_path: Path, width: int) -> None:
    frames = make_frames(6, 33, width)
    path = write(tmp_path / "a.avi", frames)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.codec_tag, context.pix_fmt) == ("rawvideo", "Y800", "gray")
        pictures = [picture.to_ndarray() for picture in container.decode(video=0)]
    assert np.array_equal(pictures, frames)
    capture = cv2.VideoCapture(str(path))
    for frame in frames:
        found, picture = capture.read()
        assert found
        assert np.array_equal(picture, np.repeat(frame[:, :, None], 3, axis=2))
    capture.release()


@pytest.mark.parametrize("shape", [(8, 48, 64), (3, 7, 5)])
def test_muxing_equals_encoding(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    frames, fps = make_frames(*shape), Fraction(30000, 1001)
    with av.open(str(tmp_path / "b.avi"), "w", options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream("rawvideo", rate=fps)
        stream.height, stream.width, stream.pix_fmt = *shape[1:], "gray"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(stream.encode(None))
    path = write(tmp_path / "a.avi", frames, fps=fps)
    assert path.read_bytes() == (tmp_path / "b.avi").read_bytes()


@pytest.fixture(scope="module")
def a_second_old(tmp_path_factory: pytest.TempPathFactory) -> dict[Codec, bytes]:
    """By codec, a file that was written before a time stamp would count on."""
    folder, frames = tmp_path_factory.mktemp("old"), make_frames(5, 20, 30)
    made = {codec: write(folder / f"{codec}.avi", frames, codec).read_bytes() for codec in CODECS}
    time.sleep(1.1)  # a time stamp would count in seconds
    return made


@pytest.mark.parametrize("codec", CODECS)
def test_equal_frames_give_equal_bytes(
    a_second_old: dict[Codec, bytes], tmp_path: Path, codec: Codec
) -> None:
    frames, first = make_frames(5, 20, 30), a_second_old[codec]
    assert write(tmp_path / "b.avi", frames, codec).read_bytes() == first
    assert b"Lavf" not in first
    assert b"Lavc" not in first
    frames[-1, 0, 0] ^= 1
    assert write(tmp_path / "c.avi", frames, codec).read_bytes() != first


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shape", [(12, 30, 41), (9, 7, 5), (0, 8, 9)])
def test_tasks_make_the_file_that_a_writer_makes(
    tmp_path: Path, codec: Codec, shape: tuple[int, int, int]
) -> None:
    frames = make_frames(*shape)
    expected = write(tmp_path / "a.avi", frames, codec, Fraction(20)).read_bytes()
    path = str(tmp_path / "b.avi")
    file = VideoFile(path, width=shape[2], height=shape[1], fps=Fraction(20), codec=codec)
    with file.open(len(frames)) as append:
        there = pickle.loads(pickle.dumps(file))
        starts = range(0, len(frames), 4)
        packed = {start: there.pack(start, frames[start : start + 4]) for start in starts[::-1]}
        for start in starts:
            append(start, packed[start])
    assert Path(path).read_bytes() == expected


def test_the_disk_gets_what_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("miostitch.video.writer.FLUSH_BYTES", 1)
    flushed: list[str] = []

    def fails(file: RawAvi) -> None:
        flushed.append(file.path)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(RawAvi, "flush", fails)
    file = VideoFile(str(tmp_path / "a.avi"), width=3, height=2, fps=Fraction(20))
    with pytest.raises(ResourceError, match="free space"), file.open(9) as append:
        append(4, file.pack(0, make_frames(4, 2, 3)))
    assert flushed == [str(tmp_path / "a.avi")]


def test_strided_frames(tmp_path: Path) -> None:
    frames = make_frames(6, 20, 30)[::2, ::-1, 3:]
    source = open_video(write(tmp_path / "a.avi", frames))
    assert np.array_equal(source.read(range(3)), frames)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((2, 9, 8), "u1"), ((8, 9), "u1"), ((2, 8, 9), "u2"), ((2, 8, 9), "i1")]
)
def test_refuses_other_frames(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    with (
        VideoWriter(tmp_path / "a.avi", width=9, height=8, fps=Fraction(20)) as writer,
        pytest.raises(UsageError, match=r"uint8 \(frame, 8, 9\)"),
    ):
        writer.write(np.zeros(shape, dtype))


@pytest.mark.parametrize(
    ("width", "height", "fps"), [(0, 5, 20), (5, -1, 20), (5, 5, 0), (70000, 5, 20)]
)
def test_refuses_impossible_videos(tmp_path: Path, width: int, height: int, fps: int) -> None:
    with pytest.raises(UsageError, match="frames per second"):
        VideoWriter(tmp_path / "a.avi", width=width, height=height, fps=Fraction(fps))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("codec", CODECS)
def test_closed_after_an_exception(tmp_path: Path, codec: Codec) -> None:
    frames, path = make_frames(3, 8, 9), tmp_path / "a.avi"
    writer = VideoWriter(path, width=9, height=8, fps=Fraction(20), codec=codec)
    writer.write(frames)
    with pytest.raises(KeyError), writer:
        raise KeyError
    assert not [link for link in open_files() if link == str(path)]
    assert np.array_equal(open_video(path).read(range(3)), frames)
    writer.close()
    with pytest.raises(UsageError, match="closed"):
        writer.write(frames)


def open_files() -> list[str]:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("open files are listed in /proc only")
    return [os.readlink(link) for link in folder.iterdir() if link.is_symlink()]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"a\.avi") as refused:
        VideoWriter(tmp_path / "no" / "a.avi", width=9, height=8, fps=Fraction(20))
    assert refused.value.exit_code == 5


DISK_FULL = """
import resource, signal, sys
from fractions import Fraction
import numpy as np
from miostitch.video.writer import VideoWriter
from miostitch.execution.digests import product_digest, video_digest
from miostitch.errors import ResourceError

path, codec, limit, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
frames = np.random.default_rng(1).integers(0, 256, (count, 100, 100), dtype=np.uint8)
writer = VideoWriter(path, width=100, height=100, fps=Fraction(20), codec=codec)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
step = "none"
try:
    step = "write"
    writer.write(frames)
    step = "close"
    writer.close()
    step = "none"
except ResourceError as error:
    assert path in str(error), error
    try:
        writer.close()
    except ResourceError:
        pass
print(step)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("limit", "count", "step"), [(2**20, 500, "write"), (15660, 1, "close"), (2**24, 5, "none")]
)
def test_disk_full(tmp_path: Path, codec: Codec, limit: int, count: int, step: str) -> None:
    arguments = [str(tmp_path / "a.avi"), codec, str(limit), str(count)]
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.stdout.strip()) == ("", step)


def test_other_threads_run_while_muxing(tmp_path: Path) -> None:
    frames = make_frames(60, 700, 700)
    ticks, done = [0], threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks[0] += 1
            time.sleep(0)

    thread = threading.Thread(target=tick)
    before = sys.getswitchinterval()
    sys.setswitchinterval(60)  # nobody is made to give up the lock: turns come of its release
    try:
        thread.start()
        write(tmp_path / "a.avi", frames)
    finally:
        sys.setswitchinterval(before)
        done.set()
        thread.join()
    assert ticks[0] > 10


def test_names_are_no_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("pipe:1"), make_frames(2, 8, 9))
    assert [path.name for path in tmp_path.iterdir()] == ["pipe:1"]
