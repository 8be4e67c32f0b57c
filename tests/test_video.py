import errno
import os
import pickle
import shutil
import struct
import subprocess
from collections.abc import Callable
from fractions import Fraction
from hashlib import blake2b
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from miostitch.encoding import VideoWriter
from miostitch.errors import InputError, MissingInputError, TruncatedVideoError, VideoError
from miostitch.video import open_video

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


def make_frames(count: int = COUNT, height: int = HEIGHT, width: int = WIDTH) -> Frames:
    return np.random.default_rng(1).integers(0, 256, (count, height, width), dtype=np.uint8)


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


@pytest.fixture
def frames() -> Frames:
    return make_frames()


@pytest.fixture
def avi(tmp_path: Path, frames: Frames) -> Path:
    path = tmp_path / "a.avi"
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=FPS) as writer:
        writer.write(frames)
    return path


@pytest.fixture
def patch(avi: Path) -> Callable[..., Path]:
    """Change bytes of the raw video: ``tag`` and the distance behind it, or a chunk."""

    def change(tag: bytes, offset: int, data: bytes) -> Path:
        content = bytearray(avi.read_bytes())
        at = content.index(tag) + offset
        content[at : at + len(data)] = data
        avi.write_bytes(content)
        return avi

    return change


def chunk_at(path: Path, frame: int) -> int:
    return path.read_bytes().index(b"00dc", path.read_bytes().index(b"movi")) + frame * CHUNK


def overwrite(path: Path, position: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        file.write(data)


def cut_index(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"idx1")])


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as refused:
        open_video(path, **options)
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_what_a_source_says(avi: Path, frames: Frames) -> None:
    source = open_video(avi)
    assert (source.frame_count, source.height, source.width) == frames.shape
    assert (source.fps, source.codec, source.lossy, source.intra_only) == (FPS, "rawvideo", 0, 1)
    assert type(source.fps) is Fraction
    assert (source.notices, source.lost.size) == ((), 0)
    assert source.index_digest == open_video(avi).index_digest


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
    with VideoWriter(tmp_path / "a.avi", width=5, height=3, fps=FPS) as writer:
        writer.write(frames)
    assert np.array_equal(open_video(tmp_path / "a.avi").read(range(1300)), frames)


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


def test_disk_error_names_file_and_offset(avi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def preadv(*_: Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    source = open_video(avi)
    monkeypatch.setattr(os, "preadv", preadv)
    with pytest.raises(VideoError, match=rf"a\.avi.*\(byte {chunk_at(avi, 4)}\).*Input/output"):
        source.read([4, 5])


def test_beyond_the_video(avi: Path) -> None:
    source = open_video(avi)
    for frame in (COUNT, -2):
        with pytest.raises(VideoError, match=f"frame {frame} does not exist"):
            source.read([0, frame])


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


def test_pickled_subset_is_small(avi: Path, tmp_path: Path, frames: Frames) -> None:
    coded = tmp_path / "b.avi"
    encode(coded, frames, "ffv1", "gray", {"g": "1"})
    for path in (avi, coded):
        source = pickle.loads(pickle.dumps(open_video(path)))
        packed = pickle.dumps(source.subset([3, 4]))
        assert len(packed) < 1500
        assert np.array_equal(pickle.loads(packed).read(), frames[3:5])


def test_index_cut(avi: Path, frames: Frames) -> None:
    digest = open_video(avi).index_digest
    cut_index(avi)
    source = open_video(avi)
    assert "rebuilt" in source.notices[0]
    assert source.index_digest == digest
    assert np.array_equal(source.read(range(COUNT)), frames)


@pytest.mark.parametrize("codec", ["ffv1", "mjpeg", "libx264"])
def test_index_cut_of_coded(tmp_path: Path, frames: Frames, codec: str) -> None:
    path = tmp_path / "a.avi"
    options = {"ffv1": {"g": "5"}, "mjpeg": {}, "libx264": X264}[codec]
    encode(path, frames, codec, "yuvj420p" if codec == "mjpeg" else "yuv420p", options)
    intact, expected = open_video(path), decode(path)
    cut_index(path)
    source = open_video(path)
    assert np.array_equal(source.read(range(COUNT)), expected)
    assert source.index_digest == intact.index_digest
    assert source.intra_only == intact.intra_only
    assert np.array_equal(source.read([17]), expected[17:18])


def test_killed_writer(patch: Callable[..., Path], frames: Frames) -> None:
    path = patch(b"RIFF", 4, bytes(4))
    for tag, offset in ((b"movi", -4), (b"avih", 24), (b"strh", 40)):
        patch(tag, offset, bytes(4))
    cut_index(path)
    assert np.array_equal(open_video(path).read(range(COUNT)), frames)


@pytest.mark.parametrize("declared", [0, 99])
def test_header_lies_about_the_count(
    patch: Callable[..., Path], frames: Frames, declared: int
) -> None:
    patch(b"avih", 24, struct.pack("<I", declared))
    source = open_video(patch(b"strh", 40, struct.pack("<I", declared)))
    assert source.frame_count == COUNT
    assert [f"says {declared}" in notice for notice in source.notices] == [True]
    assert np.array_equal(source.read([COUNT - 1])[0], frames[-1])


@pytest.mark.parametrize("extra", [0, 4, 8, 500])
def test_truncated(avi: Path, frames: Frames, extra: int) -> None:
    position = chunk_at(avi, 10)
    avi.write_bytes(avi.read_bytes()[: position + extra])
    if extra < 8:  # no chunk has begun: as if the writer had been killed
        assert open_video(avi).frame_count == 10
    else:
        with pytest.raises(TruncatedVideoError, match=rf"frame 10 \(byte {position}\).*--salvage"):
            open_video(avi)
    source = open_video(avi, salvage=True)
    assert source.frame_count == 10
    assert any(str(COUNT) in n or "truncated" in n for n in source.notices)
    assert np.array_equal(source.read(range(10)), frames[:10])


def test_truncated_after_opening(avi: Path) -> None:
    source = open_video(avi)
    avi.write_bytes(avi.read_bytes()[: chunk_at(avi, 10) + 500])
    with pytest.raises(TruncatedVideoError, match="frame 10 "):
        source.read(range(8, 12))


def test_cut_inside_the_index(avi: Path, frames: Frames) -> None:
    content = avi.read_bytes()
    avi.write_bytes(content[: content.rindex(b"idx1") + 100])
    assert np.array_equal(open_video(avi).read(range(COUNT)), frames)


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize(
    ("first", "data"),
    [
        (5, bytes(3 * CHUNK)),
        (0, bytes(CHUNK)),
        (0, b" "),
        (4, b"01"),
        (0, b"LIST"),
        (4, b"JUNK"),
        (7, b"00dc" + struct.pack("<I", 0xFFFFFFF0)),
    ],
)
def test_hole_shifts_nothing(
    avi: Path, frames: Frames, indexed: bool, first: int, data: bytes
) -> None:
    overwrite(avi, chunk_at(avi, 0) + first * CHUNK, data)
    if not indexed:
        cut_index(avi)
    source = open_video(avi, salvage=True)
    lost = np.arange(first, first + max(1, len(data) // CHUNK))
    assert np.array_equal(source.lost, lost)
    assert source.frame_count == COUNT
    kept = np.setdiff1d(np.arange(COUNT), lost)
    assert np.array_equal(source.read(kept), frames[kept])
    with pytest.raises(TruncatedVideoError, match=f"frame {first} is lost"):
        source.read([0, first])


def test_unseen_hole_is_found_on_reading(avi: Path, frames: Frames) -> None:
    position = chunk_at(avi, 5)
    overwrite(avi, position, bytes(3 * CHUNK))
    source = open_video(avi)
    with pytest.raises(TruncatedVideoError, match=rf"frame 5 \(byte {position}\).*--salvage"):
        source.read(range(COUNT))
    assert np.array_equal(source.read(range(8, COUNT)), frames[8:])


def test_hole_in_coded_video_takes_its_group(tmp_path: Path, frames: Frames) -> None:
    path = tmp_path / "a.avi"
    encode(path, frames, "ffv1", "gray", {"g": "5"})
    source = open_video(path)
    overwrite(path, int(source.index.position[12]), bytes(8))  # type: ignore[union-attr]
    salvaged = open_video(path, salvage=True)
    assert salvaged.lost.tolist() == [10, 11, 12, 13, 14]
    assert np.array_equal(salvaged.read([9, 15, 29]), frames[[9, 15, 29]])


def test_damaged_coded_frame_is_no_picture(tmp_path: Path, frames: Frames) -> None:
    path = tmp_path / "a.avi"
    encode(path, frames, "ffv1", "gray", {"g": "1"})
    source = open_video(path)
    overwrite(path, int(source.index.position[12]) + 500, b"\x55\xaa")  # type: ignore[union-attr]
    assert np.array_equal(source.read([11, 13]), frames[[11, 13]])
    with pytest.raises(VideoError, match=r"checksum of the coded frame at time 12 "):
        source.read([12])


@pytest.mark.parametrize("size", [(0, 0), (100000, 100000), (WIDTH, 0)])
def test_impossible_size(patch: Callable[..., Path], size: tuple[int, int]) -> None:
    path = patch(b"strf", 12, struct.pack("<II", *size))
    assert "frame size" in refusal(path)


def test_damaged_size_of_the_header_list(patch: Callable[..., Path], frames: Frames) -> None:
    assert np.array_equal(open_video(patch(b"LIST", 4, bytes(2))).read(range(COUNT)), frames)


def test_size_limit(avi: Path) -> None:
    assert "--max-frame-pixels" in refusal(avi, max_frame_pixels=HEIGHT * WIDTH - 1)
    assert open_video(avi, max_frame_pixels=HEIGHT * WIDTH).frame_count == COUNT


def test_height_halved(patch: Callable[..., Path]) -> None:
    path = patch(b"strf", 16, struct.pack("<I", HEIGHT // 2))
    assert f"chunks hold {HEIGHT * WIDTH}" in refusal(path)


@pytest.mark.parametrize("tag", [b"Y800", b"I420"])
def test_i420(tmp_path: Path, frames: Frames, tag: bytes) -> None:
    path = tmp_path / "a.avi"
    encode(path, frames, "rawvideo", "yuv420p", {})
    with av.open(str(path)) as container:
        luma = [picture.to_ndarray()[:HEIGHT] for picture in container.decode(video=0)]
    path.write_bytes(path.read_bytes().replace(b"I420", tag, 2))
    source = open_video(path)
    assert ["I420" in notice for notice in source.notices] == [True] * (tag == b"Y800")
    assert np.array_equal(source.read(range(COUNT)), luma)
    assert np.array_equal(source.read([7, 3]), [luma[7], luma[3]])


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


@pytest.mark.parametrize(("codec", "pix_fmt"), [("mpeg4", "yuv420p"), ("ffv1", "gray16le")])
def test_unsupported_codec(tmp_path: Path, frames: Frames, codec: str, pix_fmt: str) -> None:
    path = tmp_path / "a.avi"
    encode(path, frames, codec, pix_fmt, {})
    assert f"unsupported codec {codec}" in refusal(path)


def test_no_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=FPS):
        pass
    assert "0 frames" in refusal(path)


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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(data=st.data())
def test_damage_never_invents_pixels(
    tmp_path: Path, avi: Path, frames: Frames, data: st.DataObject
) -> None:
    damaged = tmp_path / "damaged.avi"
    shutil.copy(avi, damaged)
    size, first = damaged.stat().st_size, chunk_at(avi, 0)
    if data.draw(st.booleans()):
        os.truncate(damaged, data.draw(st.integers(0, size)))
    # A change of pixels cannot be seen; of anything else it must be.
    place = data.draw(
        st.integers(0, first - 1) | st.integers(0, COUNT - 1).map(lambda i: first + i * CHUNK)
    )
    if place + 8 < damaged.stat().st_size:  # else zeros would fill what lies between
        overwrite(damaged, place, data.draw(st.binary(min_size=1, max_size=8)))
    try:
        source = open_video(damaged, salvage=data.draw(st.booleans()), max_frame_pixels=2**20)
        chosen = np.setdiff1d(np.arange(source.frame_count), source.lost)
        found = source.read(chosen)
    except InputError:
        return
    if found.shape[1:] == frames.shape[1:]:
        assert np.array_equal(found, frames[chosen])


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


@pytest.mark.slow
def test_beyond_4_gib(tmp_path: Path) -> None:
    path, side, count = tmp_path / "a.avi", 4096, 272
    frame = np.zeros((1, side, side), np.uint8)
    with VideoWriter(path, width=side, height=side, fps=Fraction(20)) as writer:
        for number in range(count):
            frame[0, 0, :4] = np.frombuffer(struct.pack("<I", number), np.uint8)
            writer.write(frame)
    assert path.stat().st_size > 2**32
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        assert content.find(b"AVIX") > 0
        head = content[:10000]
    digests = set()
    for indexed in (True, False):
        source = open_video(path)
        digests.add(source.index_digest)
        assert source.frame_count == count
        for start in range(0, count, 16):
            found = source.read(range(start, start + 16))[:, 0, :4].copy().view("<u4")[:, 0]
            assert found.tolist() == list(range(start, start + 16))
        if indexed:  # the super index too
            overwrite(path, head.index(b"indx"), b"JUNK")
    assert len(digests) == 1
    path.unlink()
