"""What is fed to which reader, and what must hold whatever is fed."""

import json
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
from hypothesis import strategies as st

import miostitch
from miostitch.buffers.table import read_metadata
from miostitch.config.files import config_text, parse_config
from miostitch.errors import MiostitchError
from miostitch.origins.sidecars import find_origin
from miostitch.recording.files import ReadOptions
from miostitch.video.source import open_video
from tests.config.test_models import AS_MIO_WRITES, WORDS
from tests.tables import lines_of, session
from tests.video_files import X264, encode, make_frames

CPU_SECONDS = 5
MEMORY = 2**30
"""Beyond what the process has when it begins."""

Edits = list[tuple[float, int, bytes]]
"""Where, as a share of the whole; how many bytes go; what comes instead."""


@contextmanager
def bounded() -> Iterator[None]:
    """Errors of ours only, within bounds of time and memory."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    began = time.process_time()
    try:
        yield
    except MiostitchError:
        pass
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert time.process_time() - began < CPU_SECONDS


def edited(data: bytes, edits: Edits) -> bytes:
    for where, gone, new in edits:
        place = int(where * len(data))
        data = data[:place] + new + data[place + gone :]
    return data


def edits_of(tokens: list[bytes]) -> st.SearchStrategy[Edits]:
    new = st.sampled_from([b"", *tokens]) | st.binary(max_size=8)
    gone = st.integers(0, 16) | st.sampled_from([0, 4, 2**20])
    return st.lists(st.tuples(st.floats(0, 1), gone, new), min_size=1, max_size=4)


# tables

TABLE = b"\n".join([*lines_of(session(3)), b""])
CELLS = [b"\n", b",", b'"', b"\r", b".0", b"\0", b"0x", b"nan", b"-1", b"9" * 19, b"1e400", b";"]
tables = st.tuples(edits_of(CELLS), st.booleans(), st.booleans())


def read_table(data: bytes, salvage: bool, repair: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        path.write_bytes(data)
        with bounded():
            read = read_metadata(path, salvage=salvage, repair=repair)
            rows = read.rows(np.arange(len(read.frames)))
            assert len(rows) == int(read.frames.num_rows.sum())


# configurations

YAML_TOKENS = [word.encode() for word in WORDS.split()] + [b"\n", b"\n  ", b"\t", b": ", b"- "]
configs = st.binary(max_size=200) | edits_of(YAML_TOKENS).map(
    lambda edits: edited(AS_MIO_WRITES.encode(), edits)
)


def read_config(data: bytes) -> None:
    with bounded():
        config = parse_config(data, "f.yml")
        assert parse_config(config_text(config).encode(), "f.yml") == config


# videos

VIDEOS: dict[str, tuple[str, dict[str, str]]] = {
    "rawvideo": ("gray", {}),
    "i420": ("yuv420p", {}),
    "ffv1": ("gray", {"g": "3"}),
    "mjpeg": ("yuvj420p", {}),
    "libx264": ("yuv420p", X264),
}
TAGS = [b"RIFF", b"LIST", b"movi", b"00dc", b"00db", b"01wb", b"idx1", b"ix00", b"indx", b"JUNK"]
TAGS += [b"strf", b"strh", b"avih", b"Y800", b"I420", b"FFV1", b"H264", b"AVIX", b"rec "]
NUMBERS = [n.to_bytes(4, "little") for n in (0, 1, 16, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 16)]
videos = st.tuples(
    st.sampled_from([*VIDEOS]), edits_of(TAGS + NUMBERS), st.booleans(), st.booleans()
)


@cache
def video(name: str) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.avi")
        pixels, options = VIDEOS[name]
        codec = "rawvideo" if name == "i420" else name
        encode(path, make_frames(6, 24, 32), codec, pixels, options)
        return path.read_bytes()


def damaged_video(name: str, edits: Edits, in_place: bool) -> bytes:
    """Bytes gone and come, or only changed."""
    if in_place:
        edits = [(where, len(new), new) for where, _, new in edits]
    return edited(video(name), edits)


def read_video(data: bytes, salvage: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.avi")
        path.write_bytes(data)
        av.logging.set_level(av.logging.PANIC)
        with bounded():
            source = open_video(path, salvage=salvage, max_frame_pixels=2**16)
            assert source.frame_count <= len(data)
            kept = np.setdiff1d(np.arange(source.frame_count), source.lost)
            for start in range(0, min(len(kept), 64), 16):
                source.read(kept[start : start + 16])


# stores

ODD: list[Any] = [None, True, -1, 0, 2**40, 2**63, 1.5, "", "|O", "pickle", "numcodecs.pickle"]
ODD += [[], {}, [2**40], [0], "nan", "../..", "bool", "string", "float64"]
stores = st.tuples(
    st.sampled_from([2, 3]), st.integers(0, 2**16), st.integers(0, 2**16), st.sampled_from(ODD)
)
store_bytes = st.tuples(
    st.sampled_from([2, 3]), st.integers(0, 2**16), edits_of([b"{", b"}", b"0"])
)


@cache
def whole_store(zarr_format: int) -> TemporaryDirectory[str]:
    folder = TemporaryDirectory()
    config = miostitch.SimulationConfig(frames=8, receivers=1, height=10, width=12)
    made = miostitch.simulate(folder.name, config).recordings[0]
    options = miostitch.StitchOptions(zarr_format=zarr_format, codec=None)
    miostitch.stitch_files([str(made)], Path(folder.name, "out"), options)
    return folder


@contextmanager
def copied(zarr_format: int) -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        source = Path(whole_store(zarr_format).name, "out", "receiver1_stitched.zarr")
        yield Path(shutil.copytree(source, Path(folder, "a.zarr")))


def leaves(value: Any, replace: Callable[[Any], None]) -> Iterator[Callable[[Any], None]]:
    """Everything in a value of JSON, as what replaces it."""
    yield replace
    if isinstance(value, dict | list):
        for key in [*value] if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], partial(value.__setitem__, key))


def changed_json(store: Path, which: int, leaf: int, new: Any) -> None:
    """Replace one value somewhere in the metadata."""
    files = sorted(p for p in store.rglob("*") if p.name.startswith((".z", "zarr.json")))
    path = files[which % len(files)]
    top = [json.loads(path.read_text())]
    found = [*leaves(top[0], lambda value: top.__setitem__(0, value))]
    found[leaf % len(found)](new)
    path.write_text(json.dumps(top[0]))


def changed_bytes(store: Path, which: int, edits: Edits) -> None:
    """Edit one file, metadata or chunk."""
    files = sorted(p for p in store.rglob("*") if p.is_file())
    path = files[which % len(files)]
    path.write_bytes(edited(path.read_bytes(), edits))


def open_store(store: Path) -> None:
    with bounded():
        dataset = miostitch.open_recording(store)
        assert dataset.sizes["frame"] >= 0
    with bounded():
        find_origin(str(store), ReadOptions())
