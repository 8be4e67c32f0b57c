"""The store: what is written is what xarray reads, and nothing can be lost unseen."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from miostitch import schema
from miostitch.errors import InputError, MiostitchError, ResourceError
from miostitch.store import layout as store
from miostitch.store.chunks import read_block, write_block
from miostitch.store.datasets import open_table
from miostitch.store.reader import Store
from tests.folders import content


def make(path: Path, video: np.ndarray, *, chunk_frames: int = 4, zarr_format: int = 3) -> str:
    name = str(path / "x.zarr")
    store.create_store(
        name,
        shape=video.shape,
        chunk_frames=chunk_frames,
        attrs={"fps": "20"},
        zarr_format=zarr_format,
    )
    for start in range(0, len(video), chunk_frames):
        write_block(name, start, video[start : start + chunk_frames])
    frames = {v.name: np.arange(len(video)).astype(v.dtype) for v in schema.FRAME_VARIABLES}
    scores = {v.name: np.full((2, len(video)), 3).astype(v.dtype) for v in schema.SCORE_VARIABLES}
    store.write_frame_tables(name, frames)
    attrs = {"recordings": ["a", "b"]}
    store.write_group(name, "scores", schema.SCORE_VARIABLES, scores.__getitem__, attrs)
    store.consolidate(name)
    return name


@pytest.fixture
def video() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (10, 6, 5), np.uint8)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_xarray_reads_it_back(tmp_path: Path, video: np.ndarray, zarr_format: int) -> None:
    path = make(tmp_path, video, zarr_format=zarr_format)
    dataset = xr.open_zarr(path)
    assert list(dataset.data_vars) == ["video"]
    assert dataset.video.dtype == np.uint8
    assert dataset.video.chunksizes == {"frame": (4, 4, 2), "height": (6,), "width": (5,)}
    np.testing.assert_array_equal(dataset.video, video)
    for variable in schema.FRAME_VARIABLES:
        assert dataset[variable.name].dtype == np.dtype(variable.dtype)
        np.testing.assert_array_equal(dataset[variable.name], np.arange(10).astype(variable.dtype))
    assert dataset.timestamp_first.attrs["units"] == "s"
    scores = xr.open_zarr(path, group="scores")
    assert scores.edge_energy.dims == ("recording", "frame")
    assert (scores.edge_energy == 3).all()


@pytest.mark.parametrize(
    ("frames", "block", "per_file"),
    [(10, 4, 12), (3, 4, 4), (1, 1, 1), (24, 8, 24), (45, 7, 28), (28, 7, 28), (29, 7, 28)],
)
def test_a_file_of_a_table_has_room_for_its_frames_and_no_more(
    frames: int, block: int, per_file: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "TABLE_CHUNK", 30)  # of the last three cases the longest file
    path = make(tmp_path, np.zeros((frames, 4, 4), np.uint8), chunk_frames=block)
    for variable in schema.FRAME_VARIABLES:
        table = zarr.open_array(f"{path}/{variable.name}", mode="r")
        assert (table.chunks, table.shards) == ((block,), (per_file,))
        np.testing.assert_array_equal(table, np.arange(frames).astype(variable.dtype))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zero_chunks_are_written(tmp_path: Path, zarr_format: int) -> None:
    path = make(tmp_path, np.zeros((9, 4, 4), np.uint8), zarr_format=zarr_format)
    array = zarr.open_array(f"{path}/video", mode="r")
    assert array.nchunks_initialized == array.nchunks == 3


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_every_flipped_bit_is_noticed(tmp_path: Path, video: np.ndarray, zarr_format: int) -> None:
    path = make(tmp_path, video, zarr_format=zarr_format)
    chunk = Path(path, "video", "c/1/0/0" if zarr_format == 3 else "1.0.0")
    sound = chunk.read_bytes()
    rng = np.random.default_rng(1)
    noticed = 0
    for bit in rng.integers(0, 8 * len(sound), 60):
        broken = bytearray(sound)
        broken[bit // 8] ^= 1 << (bit % 8)
        chunk.write_bytes(broken)
        try:
            found = read_block(path, 4, 8)
        except (RuntimeError, ValueError):
            noticed += 1
        else:
            # Zstandard ignores one bit of its header
            np.testing.assert_array_equal(found, video[4:8])
    assert noticed >= 58
    chunk.write_bytes(sound)
    np.testing.assert_array_equal(read_block(path, 4, 8), video[4:8])


def test_same_content_same_bytes(tmp_path: Path, video: np.ndarray) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        make(folder, video)
    assert content(one) == content(two)


def test_buffers_are_appended_in_any_pieces(
    tmp_path: Path, video: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BUFFER_CHUNK", 7)
    path = make(tmp_path, video)
    columns = store.BufferColumns(path, {"frame_num": "int64", "note": "str"}, {})
    for start, stop in ((0, 3), (3, 3), (3, 20), (20, 24)):
        pieces: dict[str, Any] = {
            "frame_num": np.arange(start, stop),
            "note": np.array([f"n{i}" for i in range(start, stop)], object),
        }
        columns.append(pieces)
    columns.close()
    table = zarr.open_group(f"{path}/buffers", mode="r")
    assert np.asarray(table["frame_num"]).tolist() == list(range(24))
    assert np.asarray(table["note"]).tolist() == [f"n{i}" for i in range(24)]
    assert zarr.open_array(f"{path}/buffers/frame_num", mode="r").chunks == (7,)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_damaged_or_missing_chunk_is_never_black(
    tmp_path: Path, video: np.ndarray, zarr_format: int
) -> None:
    path = str(tmp_path / "x.zarr")
    count = len(video)
    store.create_store(path, shape=video.shape, chunk_frames=3, attrs={}, zarr_format=zarr_format)
    write_block(path, 0, video)
    [second] = Path(path, "video").glob({2: "1.0.0", 3: "c/1/0/0"}[zarr_format])
    data = bytearray(second.read_bytes())
    data[-9] ^= 1
    second.write_bytes(data)
    with pytest.raises(InputError, match="frames 3 to 3 cannot be read"):
        read_block(path, 3, 4)
    second.unlink()
    with pytest.raises(InputError, match="frames 0 to 9 cannot be read"):
        read_block(path, 0, count)
    np.testing.assert_array_equal(read_block(path, 6, count), video[6:])


def test_a_wrong_dtype_is_refused(tmp_path: Path, video: np.ndarray) -> None:
    path = make(tmp_path, video)
    frames = {v.name: np.zeros(10, "float32") for v in schema.FRAME_VARIABLES}
    with pytest.raises(MiostitchError, match="the schema says int64"):
        store.write_frame_tables(path, frames)


def test_an_unwritable_place_is_a_resource_error(tmp_path: Path, video: np.ndarray) -> None:
    path = make(tmp_path, video)
    Path(path, "buffers").write_text("")
    with pytest.raises(ResourceError, match="cannot create the buffers"):
        store.BufferColumns(path, {"frame_num": "int64"}, {})
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot create the store"):
        store.create_store(
            str(tmp_path / "file" / "x.zarr"), shape=(1, 2, 2), chunk_frames=1, attrs={}
        )


def test_only_stores_of_this_format_are_opened(tmp_path: Path, video: np.ndarray) -> None:
    assert Store.open(make(tmp_path, video)).frames == len(video)
    with pytest.raises(InputError, match="not a Zarr store"):
        Store.open(str(tmp_path))
    other = make(tmp_path / "other", video)
    zarr.open_group(other, mode="r+").attrs["format_version"] = "0"
    with pytest.raises(InputError, match="format version '0'"):
        Store.open(other)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_damaged_array_is_named(tmp_path: Path, video: np.ndarray, zarr_format: int) -> None:
    path = make(tmp_path, video, zarr_format=zarr_format)
    opened = open_table(Store.open(path), "scores")
    assert (opened.edge_energy[1, [7, 2]] == 3).all()
    chunk = next(p for p in Path(path, "scores", "edge_energy").rglob("[0-9]*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-5])
    for read in (
        lambda: opened.edge_energy.isel(frame=[3]).to_numpy(),
        lambda: Store.open(path).arrays("scores", ["edge_energy"]),
    ):
        with pytest.raises(InputError, match=r"x\.zarr: scores/edge_energy: cannot be read"):
            read()
    assert (opened.num_buffers == 3).all()


def test_ome_axes_name_every_dimension(tmp_path: Path, video: np.ndarray) -> None:
    ome: Any = zarr.open_group(make(tmp_path, video), mode="r").attrs["ome"]
    (scale,) = ome["multiscales"]
    assert [axis["name"] for axis in scale["axes"]] == ["frame", "height", "width"]
    assert [axis["type"] for axis in scale["axes"]] == ["time", "space", "space"]
    assert scale["datasets"][0]["path"] == "video"


def test_stores_are_consolidated_by_threads_at_once(tmp_path: Path) -> None:
    """Filters of warnings are those of the whole process; here every warning is an error."""
    stores = [str(tmp_path / f"{n}.zarr") for n in range(8)]
    for name in stores:
        store.create_store(name, shape=(3, 4, 5), chunk_frames=2, attrs={})
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            [*pool.map(store.consolidate, stores)]
