"""Chunks of a store: written, read, recalled if sound, taken over by a store begun again."""

import errno
from pathlib import Path

import numpy as np
import pytest
import zarr

from miostitch.errors import InputError, ResourceError
from miostitch.store.chunks import (
    damaged_blocks,
    read_block,
    read_frames,
    recall_block,
    set_aside,
    sync_block,
    take_over,
    write_block,
)
from miostitch.store.layout import create_store

SHAPE = (10, 6, 5)


@pytest.fixture(params=[2, 3])
def zarr_format(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def video() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)


def begin(path: Path, zarr_format: int) -> str:
    create_store(str(path), shape=SHAPE, chunk_frames=4, attrs={}, zarr_format=zarr_format)
    return str(path)


def chunk(path: str, number: int) -> Path:
    names = f"c/{number}/0/0", f"{number}.0.0"
    return next(file for name in names if (file := Path(path, "video", name)).exists())


def test_a_sound_block_is_recalled(tmp_path: Path, video: np.ndarray, zarr_format: int) -> None:
    path = begin(tmp_path / "x.zarr", zarr_format)
    assert recall_block(path, 4, 8) is None  # a missing chunk is no black one
    write_block(path, 4, video[4:8])
    write_block(path, 8, video[8:])
    sync_block(path, 8)
    for start, stop in ((4, 8), (8, 10)):
        np.testing.assert_array_equal(recall_block(path, start, stop), video[start:stop])


def damage_chunk(file: Path, damage: str) -> None:
    sound = file.read_bytes()
    middle = len(sound) // 2
    flipped = sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :]
    file.write_bytes({"flip": flipped, "cut": sound[:middle], "empty": b""}[damage])


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_block_is_not_recalled(
    tmp_path: Path, video: np.ndarray, zarr_format: int, damage: str
) -> None:
    path = begin(tmp_path / "x.zarr", zarr_format)
    write_block(path, 0, video[:4])
    damage_chunk(chunk(path, 0), damage)
    assert recall_block(path, 0, 4) is None


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damaged_blocks_are_told(
    tmp_path: Path, video: np.ndarray, zarr_format: int, damage: str
) -> None:
    path = begin(tmp_path / "x.zarr", zarr_format)
    write_block(path, 0, video[:4])
    write_block(path, 8, video[8:])
    missing, damaged = damaged_blocks(path), chunk(path, 8 // 4)
    assert [found[:2] for found in missing] == [(4, 7)]
    assert missing[0].why == "the chunk is missing"
    write_block(path, 4, video[4:8])
    assert damaged_blocks(path) == ()
    sound = damaged.read_bytes()
    damage_chunk(damaged, damage)
    assert damaged_blocks(path) == ((8, 9, str(damaged), "the chunk is damaged"),)
    damaged.write_bytes(sound)
    assert damaged_blocks(path) == ()


def test_what_cannot_be_reached_is_not_damaged(
    tmp_path: Path, video: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = begin(tmp_path / "x.zarr", 3)
    for start in (0, 4, 8):
        write_block(path, start, video[start : start + 4])

    def away(*_: object, **__: object) -> None:
        raise OSError(errno.ETIMEDOUT, "timed out")

    with monkeypatch.context() as patched:
        patched.setattr(zarr.AsyncArray, "getitem", away)
        with pytest.raises(OSError, match="timed out"):
            damaged_blocks(path)
    assert damaged_blocks(path) == ()


def test_frames_in_any_order(tmp_path: Path, video: np.ndarray, zarr_format: int) -> None:
    path = begin(tmp_path / "x.zarr", zarr_format)
    for start in (0, 4, 8):
        write_block(path, start, video[start : start + 4])
    frames = np.array([9, 0, 5, 5, 3, 8])
    np.testing.assert_array_equal(read_frames(path, frames), video[frames])
    chunk(path, 1).unlink()
    with pytest.raises(InputError, match="--salvage"):
        read_frames(path, frames)
    Path(path).rename(tmp_path / "moved.zarr")
    with pytest.raises(InputError, match="open it again"):
        read_frames(path, frames)


def test_a_store_begun_anew_is_opened_anew(tmp_path: Path, video: np.ndarray) -> None:
    path = begin(tmp_path / "x.zarr", 3)
    write_block(path, 0, video[:4])
    Path(path).rename(tmp_path / "old.zarr")
    create_store(path, shape=(6, *SHAPE[1:]), chunk_frames=2, attrs={}, zarr_format=2)
    write_block(path, 4, video[4:6])
    np.testing.assert_array_equal(read_block(path, 4, 6), video[4:6])
    assert chunk(path, 2).name == "2.0.0"


def test_what_is_not_there_cannot_be_synced(tmp_path: Path, zarr_format: int) -> None:
    with pytest.raises(ResourceError, match="cannot be written"):
        sync_block(begin(tmp_path / "x.zarr", zarr_format), 0)


@pytest.mark.parametrize("cut_off", ["not", "before", "between"])
def test_a_store_begun_anew_takes_chunks_over(
    tmp_path: Path, video: np.ndarray, zarr_format: int, cut_off: str
) -> None:
    path = begin(tmp_path / "x.zarr", zarr_format)
    write_block(path, 0, video[:4])
    write_block(path, 8, video[8:])
    Path(path, "junk").touch()
    unfinished = chunk(path, 0).with_name("half.partial")
    unfinished.write_bytes(b"half")
    set_aside(path)
    if cut_off != "not":  # the run dies, and so does the one that follows it
        begin(tmp_path / "x.zarr", zarr_format)
        if cut_off == "between":
            moved = chunk(path + ".before", 0)
            target = Path(path) / moved.relative_to(path + ".before")
            target.parent.mkdir(parents=True, exist_ok=True)
            moved.rename(target)
        set_aside(path)
    assert not Path(path).exists()
    begin(tmp_path / "x.zarr", zarr_format)
    take_over(path)
    np.testing.assert_array_equal(read_block(path, 0, 4), video[:4])
    np.testing.assert_array_equal(recall_block(path, 8, 10), video[8:])
    assert recall_block(path, 4, 8) is None
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
    assert not [*Path(path).rglob("*.partial"), *Path(path).rglob("junk")]


def test_nothing_to_take_over(tmp_path: Path, zarr_format: int) -> None:
    set_aside(str(tmp_path / "x.zarr"))
    path = begin(tmp_path / "x.zarr", zarr_format)
    take_over(path)
    assert recall_block(path, 0, 4) is None
