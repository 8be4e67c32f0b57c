import os
import shutil
import struct
from fractions import Fraction
from mmap import ACCESS_READ, mmap
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miostitch.errors import InputError, TruncatedVideoError
from miostitch.video.source import open_video
from miostitch.video.writer import VideoWriter
from tests.video_files import (
    CHUNK,
    COUNT,
    FPS,
    HEIGHT,
    WIDTH,
    X264,
    Frames,
    chunk_at,
    cut_index,
    decode,
    encode,
    make_frames,
    overwrite,
    patch,
    refusal,
    write,
)


def test_index_cut(avi: Path, frames: Frames) -> None:
    digest = open_video(avi).index_digest
    cut_index(avi)
    source = open_video(avi)
    assert "rebuilt" in source.notices[0]
    assert source.index_digest == digest
    assert np.array_equal(source.read(range(COUNT)), frames)


@pytest.mark.fault(2, "idx1 cut off coded video", "same frames")
@pytest.mark.parametrize("codec", ["ffv1", "mjpeg", "libx264"])
def test_index_cut_of_coded(tmp_path: Path, frames: Frames, codec: str) -> None:
    path = tmp_path / "a.avi"
    options = {"ffv1": {"g": "5"}, "mjpeg": {}, "libx264": X264}[codec]
    pix_fmt = {"ffv1": "gray", "mjpeg": "yuvj420p", "libx264": "yuv420p"}[codec]
    encode(path, frames, codec, pix_fmt, options)
    intact, expected = open_video(path), decode(path)
    cut_index(path)
    source = open_video(path)
    assert np.array_equal(source.read(range(COUNT)), expected)
    assert source.index_digest == intact.index_digest
    assert np.array_equal(source.index.keys, intact.index.keys)
    assert np.array_equal(source.read([17]), expected[17:18])


def test_killed_writer(avi: Path, frames: Frames) -> None:
    path = patch(avi, b"RIFF", 4, bytes(4))
    for tag, offset in ((b"movi", -4), (b"avih", 24), (b"strh", 40)):
        patch(avi, tag, offset, bytes(4))
    cut_index(path)
    assert np.array_equal(open_video(path).read(range(COUNT)), frames)


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
        *((first, tag) for first in (0, 10) for tag in (b"ix00", b"idx1", b"indx")),
        (10, b"00dc" + bytes(4)),
        (0, b"00dc" + bytes(4)),
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


def test_tag_of_another_stream_shifts_nothing(tmp_path: Path, frames: Frames) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w", format="avi") as container:
        for _ in range(2):
            stream = container.add_stream("rawvideo", rate=FPS)
            stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "gray"
        for frame in frames:
            for stream in container.streams.video:
                picture = av.VideoFrame.from_ndarray(frame, format="gray")
                container.mux(stream.encode(picture))
    cut_index(path)
    assert np.array_equal(open_video(path).read(range(COUNT)), frames)
    overwrite(path, int(open_video(path).index.position[10]), b"01wb")  # type: ignore[union-attr]
    source = open_video(path)
    assert source.lost.tolist() == [10]
    assert np.array_equal(source.read([9, 11, 29]), frames[[9, 11, 29]])


@pytest.mark.fault(7, "empty chunks between frames", "their frames lost, others keep places")
@pytest.mark.parametrize("damaged", [False, True])
def test_empty_chunk(avi: Path, frames: Frames, damaged: bool) -> None:
    cut_index(avi)
    content, place = avi.read_bytes(), chunk_at(avi, 10)
    behind = bytes(8 * damaged) + content[place + 8 * damaged :]
    avi.write_bytes(content[:place] + b"00dc" + bytes(4) + behind)
    source = open_video(avi)
    assert source.lost.tolist() == [10, 11][: 1 + damaged]
    assert np.array_equal(source.read([9, 12, 30]), frames[[9, 11, 29]])


def test_hole_over_the_list_of_chunks(avi: Path, frames: Frames) -> None:
    place = chunk_at(avi, 0)
    overwrite(avi, place - 100, bytes(200))
    source = open_video(avi)
    assert source.lost.tolist() == [0]
    assert source.frame_count == COUNT
    assert np.array_equal(source.read(range(1, COUNT)), frames[1:])


@pytest.mark.parametrize("count", [8, None])
def test_index_zeroed(avi: Path, frames: Frames, count: int | None) -> None:
    content = avi.read_bytes()
    place = content.rindex(b"idx1")
    overwrite(avi, place, bytes(count or len(content) - place))
    source = open_video(avi)
    assert "rebuilt" in source.notices[0]
    assert np.array_equal(source.read(range(COUNT)), frames)


def test_hole_in_coded_video_takes_its_group(tmp_path: Path, frames: Frames) -> None:
    path = tmp_path / "a.avi"
    encode(path, frames, "ffv1", "gray", {"g": "5"})
    source = open_video(path)
    overwrite(path, int(source.index.position[12]), bytes(8))  # type: ignore[union-attr]
    salvaged = open_video(path, salvage=True)
    assert salvaged.lost.tolist() == [10, 11, 12, 13, 14]
    assert np.array_equal(salvaged.read([9, 15, 29]), frames[[9, 15, 29]])


def test_damaged_size_of_the_header_list(avi: Path, frames: Frames) -> None:
    assert np.array_equal(open_video(patch(avi, b"LIST", 4, bytes(2))).read(range(COUNT)), frames)


def test_height_halved(avi: Path) -> None:
    path = patch(avi, b"strf", 16, struct.pack("<I", HEIGHT // 2))
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


def test_no_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=FPS):
        pass
    assert "0 frames" in refusal(path)


@pytest.mark.fault(
    8, "bytes of headers changed at random, file cut", "frames as they were, or exit 3"
)
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


@pytest.mark.fault(4, "4.5 GB written, read with and without its indexes", "all frames exact")
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


@pytest.mark.parametrize("side", [41, 42, 64])
@pytest.mark.parametrize("first", [0, 3, 11])
def test_hole_that_begins_within_a_picture_takes_it(tmp_path: Path, side: int, first: int) -> None:
    frames = make_frames(COUNT, side, side)
    path = write(tmp_path / "a.avi", frames)
    header = chunk_at(path, 0) + (first + 1) * (8 + side * side + side % 2)
    begin = header // 512 * 512
    assert 1 < header - begin < side * side  # it takes some pixels
    overwrite(path, begin, bytes(1024))
    source = open_video(path, salvage=True)
    assert source.lost.tolist() == [first, first + 1]
    kept = np.setdiff1d(np.arange(COUNT), source.lost)
    assert np.array_equal(source.read(kept), frames[kept])
