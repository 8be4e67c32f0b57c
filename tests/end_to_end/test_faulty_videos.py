"""Damaged videos from end to end: refused with their place, or salvaged without a shift."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import miostitch
from miostitch import cli
from miostitch.denoising.noise_table import score_files
from miostitch.errors import InputError
from miostitch.recording.datasets import open_dataset
from miostitch.recording.files import ReadOptions
from miostitch.video.source import open_video
from tests.faults import case, slow
from tests.folders import content
from tests.video_files import (
    COUNT,
    FPS,
    HEIGHT,
    WIDTH,
    Frames,
    cut_index,
    decode,
    encode,
    overwrite,
    patch,
    refusal,
    write,
)

FRAMES, SIDE = 24, (40, 50)
PLANE = SIDE[0] * SIDE[1]
CHUNK = PLANE + 8
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of one receiver, and what is stitched of it."""
    folder = tmp_path_factory.mktemp("sound")
    config = miostitch.SimulationConfig(
        frames=FRAMES,
        receivers=1,
        height=SIDE[0],
        width=SIDE[1],
        buffer_loss=0.05,
        seed=5,
        extra_frame=False,
    )
    made = miostitch.simulate(folder, config)
    options = miostitch.StitchOptions(report=False)
    miostitch.stitch_files([str(made.recordings[0])], folder / "out", options)
    return folder


@pytest.fixture
def video(sound: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    for suffix in (".avi", ".csv"):
        shutil.copy(sound / f"receiver1{suffix}", tmp_path)
    return tmp_path / "receiver1.avi"


def start(path: Path, frame: int) -> int:
    """Byte of a frame's chunk header."""
    head = path.read_bytes()[:20000]
    return head.index(b"00dc", head.index(b"movi")) + frame * CHUNK


def run(video: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Stitch by the command: exit code and its answer."""
    args = ["stitch", str(video), "-o", str(video.parent / "out"), "--json", "--no-report"]
    done = CliRunner().invoke(cli.main, [*args, *options])
    return done.exit_code, json.loads(done.stdout)


def result(folder: Path) -> xr.Dataset:
    found: xr.Dataset = xr.open_zarr(folder / "out" / "receiver1_stitched.zarr").load()
    return found


def cut(at: int, extra: int) -> Damage:
    return lambda path: os.truncate(path, start(path, at) + extra)


def zeros(first: int, into: int, length: int) -> Damage:
    return lambda path: overwrite(path, start(path, first) + into, bytes(length))


def lying_size(frame: int, size: int) -> Damage:
    return lambda path: overwrite(path, start(path, frame) + 4, struct.pack("<I", size))


def without_index(damage: Damage) -> Damage:
    def both(path: Path) -> None:
        damage(path)
        cut_index(path)

    return both


def killed(path: Path) -> None:
    patch(path, b"RIFF", 4, bytes(4))
    for tag, offset in ((b"movi", -4), (b"avih", 24), (b"strh", 40)):
        patch(path, tag, offset, bytes(4))
    cut_index(path)


def declared(count: int) -> Damage:
    def lie(path: Path) -> None:
        patch(path, b"avih", 24, struct.pack("<I", count))
        patch(path, b"strh", 40, struct.pack("<I", count))

    return lie


HALF = 8 + PLANE // 2


@pytest.mark.parametrize(
    ("damage", "place", "lost"),
    [
        case(1, "cut in frame 15", "exit 3; salvage: 0 to 14, rest listed", cut(15, 300), 15,
             [15, FRAMES - 1]),
        slow(case(1, "cut between frames", "exit 3; salvage: 0 to 14, rest listed",
                  cut(15, 0), None, [15, FRAMES - 1])),
        slow(case(7, "3 whole frames zeroed", "exit 3; salvage: just these lost",
                  zeros(9, 0, 3 * CHUNK), 9, [9, 11])),
        case(7, "zeros from mid-frame to mid-frame", "exit 3; salvage: all 4 touched frames lost",
             zeros(9, HALF, 3 * CHUNK), 10, [9, 12]),
        slow(case(7, "zeros from mid-frame, no index", "exit 3; salvage: all 4 touched frames lost",
                  without_index(zeros(9, HALF, 3 * CHUNK)), 10, [9, 12])),
        case(7, "last 2 frames zeroed", "exit 3; salvage: just these lost",
             zeros(FRAMES - 2, 0, 2 * CHUNK), FRAMES - 2, [FRAMES - 2, FRAMES - 1]),
        case(8, "size 0xFFFFFFF0", "exit 3; salvage: that frame lost", lying_size(7, 0xFFFFFFF0),
             7, [7, 7]),
        slow(case(8, "size 0xFFFFFFF0, no index", "exit 3; salvage: that frame lost",
                  without_index(lying_size(7, 0xFFFFFFF0)), 7, [7, 7])),
        case(8, "size too small, no index", "exit 3; salvage: that frame lost",
             without_index(lying_size(7, 16)), 7, [7, 7]),
    ],
)  # fmt: skip
def test_damage_is_refused_with_its_place_or_accounted_for(
    sound: Path, video: Path, damage: Damage, place: int | None, lost: list[int]
) -> None:
    at = start(video, place or 0)
    damage(video)
    before = content(video.parent)
    code, answer = run(video)
    assert code == 3
    assert str(video) in answer["error"]
    assert "--salvage" in answer["error"]
    if place is not None:
        assert f"frame {place} (byte {at})" in answer["error"] or "lost in holes" in answer["error"]
    assert content(video.parent) == before

    code, summary = run(video, "--salvage")
    assert code == 0
    (loss,) = summary["recordings"][0]["lost_frames"]
    assert loss["frames"] == lost
    assert loss["file"] == str(video)
    whole, left = result(sound), result(video.parent)
    gone = np.isin(whole.frame, np.arange(lost[0], lost[1] + 1))
    assert loss["frame_num"][0] == whole.frame_num[lost[0]]
    assert np.array_equal(left.frame_num, whole.frame_num[~gone])
    assert np.array_equal(left.video, whole.video[~gone])
    assert np.array_equal(left.timestamp_first, whole.timestamp_first[~gone])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        case(2, "idx1 cut off", "same result, one warning", cut_index, "rebuilt"),
        slow(case(2, "idx1 zeroed", "same result, one warning",
                  lambda p: overwrite(p, p.read_bytes().rindex(b"idx1"), bytes(100)), "rebuilt")),
        case(3, "RIFF, movi and counts 0, no index", "same result, warnings", killed, "rebuilt"),
        slow(case(9, "header says 99 frames", "same result, one warning", declared(99), "says 99")),
        case(9, "header says 0 frames", "same result, one warning", declared(0), "says 0"),
    ],
)  # fmt: skip
def test_what_can_be_told_from_the_rest_costs_nothing(
    sound: Path, video: Path, damage: Damage, says: str
) -> None:
    damage(video)
    code, summary = run(video)
    assert code == 0
    assert sum(says in warning for warning in summary["warnings"]) == 1
    assert summary["recordings"][0]["lost_frames"] == []
    xr.testing.assert_equal(result(video.parent), result(sound))


GONE = [9, 10, 11]
"""Frames that the tests below lose; a video without a table has nothing else to tell them by."""


def edit(name: str, video: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Run another command: exit code and its answer."""
    args = [*name.split(), str(video), "-o", str(video.parent / "out"), "--json", *options]
    done = CliRunner().invoke(cli.main, args)
    return done.exit_code, json.loads(done.stdout)


@pytest.mark.fault(7, "3 frames zeroed: trim, remove-frames", "exit 3; salvage: just these lost")
@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("trim -s 2 -e 3", np.arange(2, FRAMES - 3)),
        ("remove-frames -f 4,10", np.delete(np.arange(FRAMES), 4)),
    ],
)
def test_edits_leave_out_what_is_lost(
    sound: Path, video: Path, name: str, kept: np.ndarray, table: bool
) -> None:
    zeros(GONE[0], 0, len(GONE) * CHUNK)(video)
    if not table:
        video.with_suffix(".csv").unlink()
    code, answer = edit(name, video)
    assert code == 3
    assert f"{video}: " in answer["error"]
    code, summary = edit(name, video, "--salvage")
    assert code == 0
    kept = np.setdiff1d(kept, GONE)
    [ending] = [Path(path).stem for path in summary["outputs"] if path.endswith(".avi")]
    whole, made = decode(sound / "receiver1.avi"), decode(video.parent / "out" / f"{ending}.avi")
    np.testing.assert_array_equal(made, whole[kept])
    (loss,) = summary["lost_frames"]
    assert loss["frames"] == [GONE[0], GONE[-1]]
    assert (loss["file"], loss["why"]) == (str(video), "hole in the video")
    assert (loss["frame_num"] is not None) == table
    assert sum("they are left out" in each for each in summary["warnings"]) == 1
    assert summary["history"][-1]["step"] == "remove_frames"
    if table:
        rows = pd.read_csv(video.parent / "out" / f"{ending}.csv")
        theirs = pd.read_csv(video.with_suffix(".csv"))
        assert rows.reconstructed_frame_index.max() == len(kept) - 1
        assert {*rows.frame_num} <= {*theirs.frame_num[theirs.reconstructed_frame_index.isin(kept)]}
    found = miostitch.verify_files(video.parent / "out")
    assert (found["differences"], found["not_checked"]) == (0, 0)


@pytest.mark.fault(7, "3 frames zeroed: denoise", "exit 3; salvage: just these lost")
@pytest.mark.parametrize("name", ["denoise_calcium_imaging", "remove_stripe_example"])
def test_denoising_leaves_out_what_is_lost(video: Path, tmp_path: Path, name: str) -> None:
    config = miostitch.load_config(name).model_copy(update={"end_frame": 20})
    whole = miostitch.denoise_files(video, config, tmp_path / "whole")
    zeros(GONE[0], 0, len(GONE) * CHUNK)(video)
    with pytest.raises(InputError, match="--salvage"):
        miostitch.denoise_files(video, config, tmp_path / "out")
    reading = ReadOptions(salvage=True, need_table=False)
    left = miostitch.denoise_files(video, config, tmp_path / "out", reading=reading)
    assert [loss["frames"] for loss in left["lost_frames"]] == [[GONE[0], GONE[-1]]]
    assert left["frames_before"] == whole["frames_before"] - len(GONE) == 18
    # positions of the input, as if nothing were lost
    assert left["dropped_frames"] == [n for n in whole["dropped_frames"] if n not in GONE]
    opened = open_dataset(video, reading)
    assert np.flatnonzero(opened.lost).tolist() == GONE
    numbered = miostitch.denoise(opened, config).dataset.frame.values
    np.testing.assert_array_equal(numbered, np.arange(left["frames"]))
    if name == "remove_stripe_example":  # which changes each frame by itself
        theirs = decode(tmp_path / "whole" / "receiver1_denoised.avi")
        made = decode(tmp_path / "out" / "receiver1_denoised.avi")
        np.testing.assert_array_equal(made, np.delete(theirs, GONE, axis=0))


@pytest.mark.fault(7, "frames zeroed: score", "exit 3; salvage: their lines are empty")
@pytest.mark.parametrize("gone", [GONE, [FRAMES - 1], [0]])
def test_scores_of_lost_frames_are_empty(
    sound: Path, video: Path, tmp_path: Path, gone: list[int]
) -> None:
    whole = score_files([sound / "receiver1.avi"], tmp_path / "whole")["recordings"][0]
    zeros(gone[0], 0, len(gone) * CHUNK)(video)
    assert edit("score", video)[0] == 3
    code, answer = edit("score", video, "--salvage")
    assert code == 0
    (told,) = answer["recordings"]
    assert [loss["frames"] for loss in told["lost_frames"]] == [[gone[0], gone[-1]]]
    expected = pd.read_csv(whole["output"], dtype="Int64")
    expected.loc[gone, ["gradient", "black_area"]] = pd.NA
    pd.testing.assert_frame_equal(pd.read_csv(told["output"], dtype="Int64"), expected)


@pytest.mark.fault(7, "all frames asked for zeroed", "exit 3, also with salvage")
def test_nothing_that_is_left_is_refused(video: Path) -> None:
    zeros(GONE[0], 0, len(GONE) * CHUNK)(video)
    first, last = str(GONE[0]), str(FRAMES - 1 - GONE[-1])
    code, answer = edit("trim", video, "-s", first, "-e", last, "--salvage")
    assert (code, "every frame asked for is lost" in answer["error"]) == (3, True)


def text(content: bytes) -> Damage:
    return lambda path: void(path.write_bytes(content))


def half_height(path: Path) -> None:
    patch(path, b"strf", 16, struct.pack("<I", SIDE[0] // 2))


def void(_: object) -> None: ...


def sized(width: int, height: int) -> Damage:
    return lambda path: void(patch(path, b"strf", 12, struct.pack("<II", width, height)))


def of_format(pix_fmt: str, width: int) -> Damage:
    def write_other(path: Path) -> None:
        frames = np.zeros((3, SIDE[0], width), np.uint8)
        encode(path, frames, "rawvideo", pix_fmt, {})

    return write_other


def bits_per_pixel(path: Path) -> None:
    patch(path, b"strf", 24, bytes(4))  # BI_RGB: eight bits are a palette


CONCAT = b"ffconcat version 1.0\nfile secret.avi\n"
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.avi\n"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        case(5, "header only", "exit 3, '0 frames'", lambda p: os.truncate(p, start(p, 0)),
             "0 frames"),
        case(6, "empty file", "exit 3, 'not an AVI'", text(b""), "not an AVI"),
        case(6, "text", "exit 3, 'not an AVI'", text(b"a,b\n1,2\n"), "not an AVI"),
        case(6, "random bytes", "exit 3, 'not an AVI'", text(bytes(range(256)) * 9), "not an AVI"),
        case(10, "100000 x 100000 declared", "exit 3 before allocation", sized(100000, 100000),
             "frame size|--max-frame-pixels"),
        case(10, "0 x 0 declared", "exit 3", sized(0, 0), "no possible frame size"),
        case(10, "60000 x 4000 declared", "exit 3 before allocation", sized(60000, 4000),
             "takes 240000000 bytes, but its chunks hold"),
        case(11, "height halved in the header", "exit 3, no half frames", half_height,
             "chunks hold 2000; repair"),
        case(13, "8 bits with palette (DIB)", "exit 3, 'unsupported codec'", bits_per_pixel,
             "unsupported codec rawvideo .pal8"),
        case(13, "24 bits with padded rows", "exit 3, 'unsupported codec'", of_format("bgr24", 49),
             "unsupported codec rawvideo .bgr24"),
        case(15, "ffconcat playlist", "exit 3, nothing else opened", text(CONCAT), "not an AVI"),
        case(15, "HLS playlist", "exit 3, nothing else opened", text(PLAYLIST), "not an AVI"),
    ],
)  # fmt: skip
def test_what_is_no_such_video_is_refused(video: Path, damage: Damage, words: str) -> None:
    damage(video)
    for options in ((), ("--salvage",)):
        code, answer = run(video, *options)
        assert code == 3
        assert re.search(words, answer["error"])
        assert str(video) in answer["error"]
    assert not (video.parent / "out").exists()


@pytest.mark.fault(13, "rows padded to 4 bytes, width not a multiple", "exit 3, 'rows are padded'")
def test_padded_rows_are_named(tmp_path: Path, frames: Frames) -> None:
    path = patch(write(tmp_path / "a.avi", frames), b"strf", 12, struct.pack("<i", WIDTH - 2))
    assert "its rows are padded" in refusal(path)


@pytest.mark.fault(13, "negative height (no meaning for Y800)", "read as FFmpeg reads it")
def test_negative_height(avi: Path, frames: Frames) -> None:
    patch(avi, b"strf", 16, struct.pack("<i", -HEIGHT))
    assert np.array_equal(open_video(avi).read(range(COUNT)), frames)
    assert np.array_equal(decode(avi), frames)


@pytest.mark.fault(12, "I420 in Y800, stitched", "first w*h bytes of each chunk; one warning")
def test_i420_in_y800(sound: Path, video: Path) -> None:
    frames = decode(video)
    chroma = np.full((SIDE[0] // 2, SIDE[1]), 128, np.uint8)
    widened = np.stack([np.concatenate([frame, chroma]) for frame in frames])
    write(video, widened, fps=open_video(video).fps)
    patch(video, b"strf", 16, struct.pack("<I", SIDE[0]))
    code, summary = run(video)
    assert code == 0
    assert any("holds I420" in warning for warning in summary["warnings"])
    assert np.array_equal(result(video.parent).video, result(sound).video)


@pytest.mark.parametrize(
    ("codec", "options", "lossy"),
    [
        slow(case(14, "FFV1", "bit for bit", "ffv1", {"g": "1"}, False)),
        case(14, "FFV1, key frames apart", "bit for bit", "ffv1", {"g": "7"}, False),
        case(14, "MJPEG", "decoded, a warning", "mjpeg", {}, True),
        case(14, "H.264", "decoded, a warning", "libx264", {}, True),
    ],
)
def test_coded_video(
    sound: Path, video: Path, codec: str, options: dict[str, str], lossy: bool
) -> None:
    frames = decode(video)
    pixels = {"ffv1": "gray", "mjpeg": "yuvj420p", "libx264": "yuv420p"}[codec]
    encode(video, frames, codec, pixels, options)
    expected = decode(video)
    code, summary = run(video)
    assert code == 0
    assert any("lossy" in warning for warning in summary["warnings"]) == lossy
    assert np.array_equal(result(video.parent).video, expected)
    assert np.array_equal(expected, result(sound).video) == (not lossy)


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
@pytest.mark.fault(14, "byte flipped in a frame of FFV1", "exit 3; salvage: its group lost")
def test_wrong_checksum_in_coded_video(tmp_path: Path, frames: Frames, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    encode(path, frames, "ffv1", "gray", {"g": "5"})
    data = bytearray(path.read_bytes())
    place = len(data) * 12 // COUNT + 200
    data[place] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(InputError, match="checksum"):
        open_video(path).read(range(COUNT))
    source = open_video(path, salvage=True)
    assert len(source.lost) in (1, 2, 3, 4, 5)
    kept = np.setdiff1d(np.arange(COUNT), source.lost)
    assert 25 <= len(kept) < COUNT
    assert np.array_equal(source.read(kept), frames[kept])
    assert source.lost[-1] % 5 == 4


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace here")
@pytest.mark.parametrize(
    "playlist",
    [
        case(15, "ffconcat playlist, system calls watched", "no other file opened", CONCAT),
        case(15, "HLS playlist, system calls watched", "no other file opened", PLAYLIST),
        case(15, "playlist behind an AVI head", "no other file opened",
             b"RIFF\xff\0\0\0AVI " + PLAYLIST + CONCAT),
    ],
)  # fmt: skip
def test_no_other_file_is_touched(tmp_path: Path, frames: Frames, playlist: bytes) -> None:
    write(tmp_path / "secret.avi", frames)
    (tmp_path / "a.avi").write_bytes(playlist)
    code = f"import miostitch.video.source as v; v.open_video({str(tmp_path / 'a.avi')!r})"
    log = tmp_path / "calls"
    command = ["strace", "-f", "-e", "trace=%file,connect", "-o", str(log), sys.executable]
    done = subprocess.run([*command, "-c", code], capture_output=True, text=True, check=False)
    calls = log.read_text()
    if "PTRACE" in done.stderr:
        pytest.skip("strace may not trace here")
    assert "VideoError" in done.stderr
    assert "a.avi" in calls
    assert "secret" not in calls
    assert "connect(" not in calls


@pytest.mark.parametrize(
    ("names", "rates", "message"),
    [
        case(16, "50x40 and 40x50", "exit 3, both files named", (SIDE, SIDE[::-1]), (20, 20),
             "differ|pixels"),
    ],
)  # fmt: skip
def test_frame_sizes_differ(
    tmp_path: Path, names: tuple[tuple[int, int], ...], rates: tuple[int, ...], message: str
) -> None:
    videos = []
    for number, (height, width) in enumerate(names):
        config = miostitch.SimulationConfig(frames=12, receivers=1, height=height, width=width)
        made = miostitch.simulate(tmp_path / str(number), config).recordings[0]
        for suffix in (".avi", ".csv"):
            shutil.move(made.with_suffix(suffix), tmp_path / f"r{number}{suffix}")
        videos.append(tmp_path / f"r{number}.avi")
    with pytest.raises(InputError) as refused:
        miostitch.stitch_files([str(path) for path in videos], tmp_path / "out")
    assert all(str(path) in str(refused.value) for path in videos)


@pytest.mark.fault(17, "20 and 25 frames a second", "a warning, aligned by frame_num")
def test_frame_rates_differ(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=12, height=SIDE[0], width=SIDE[1])
    first, second = miostitch.simulate(tmp_path, config).recordings
    write(second, decode(second), fps=FPS)
    options = miostitch.StitchOptions(report=False)
    summary = miostitch.stitch_files([str(first), str(second)], tmp_path / "out", options)
    assert any("frame rates differ" in warning for warning in summary["warnings"])
    with xr.open_zarr(tmp_path / "out" / "receiver1__receiver2_stitched.zarr") as store:
        assert store.attrs["fps"] == str(open_video(first).fps)
