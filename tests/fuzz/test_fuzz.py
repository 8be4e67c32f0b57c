"""Whatever a reader is fed: an error of ours at most, in bounded time and memory.

A few examples run with the fast suite; ``make fuzz`` goes on for FUZZ seconds per reader. What once
went wrong is kept below.
"""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import miostitch
from miostitch.errors import InputError
from tests.fuzz import targets

SECONDS = float(os.environ.get("FUZZ", "60"))


def feed_table(example: tuple[targets.Edits, bool, bool]) -> None:
    edits, salvage, repair = example
    targets.read_table(targets.edited(targets.TABLE, edits), salvage, repair)


def feed_video(example: tuple[str, targets.Edits, bool, bool]) -> None:
    name, edits, in_place, salvage = example
    targets.read_video(targets.damaged_video(name, edits, in_place), salvage)


def feed_metadata(example: tuple[int, int, int, Any]) -> None:
    zarr_format, *change = example
    with targets.copied(zarr_format) as store:
        targets.changed_json(store, *change)
        targets.open_store(store)


def feed_files(example: tuple[int, int, targets.Edits]) -> None:
    zarr_format, which, edits = example
    with targets.copied(zarr_format) as store:
        targets.changed_bytes(store, which, edits)
        targets.open_store(store)


def test_a_title_in_another_encoding() -> None:
    """FFmpeg's bindings failed on it with UnicodeDecodeError."""
    data = targets.video("rawvideo")
    assert b"Lavf" in data
    targets.read_video(data.replace(b"Lavf", b"L\x80vf"), salvage=False)


@pytest.mark.parametrize("salvage", [False, True])
def test_a_shifted_index(salvage: bool) -> None:
    """Sizes below 0 came of it, and went to read() and struct as they were."""
    data = targets.video("libx264")
    for back in range(4, 80):
        shifted = data[:-back] + b"idx1" + data[-back:]
        targets.read_video(shifted, salvage=salvage)


@pytest.mark.fault(61, "a shape that nothing stored accounts for", "exit 3, no memory taken")
@pytest.mark.parametrize("zarr_format", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_enormous_arrays(zarr_format: int) -> None:
    name = "zarr.json" if zarr_format == 3 else ".zarray"
    with targets.copied(zarr_format) as store:
        path = store / "frame_num" / name
        meta = json.loads(path.read_text())
        path.write_text(json.dumps(meta | {"shape": [2**40]}))
        with pytest.raises(InputError, match=r"frame_num.*nothing that large is stored"):
            miostitch.open_recording(store)


READERS: list[Any] = [
    pytest.param(feed_table, targets.tables, id="table"),
    pytest.param(targets.read_config, targets.configs, id="config"),
    pytest.param(feed_video, targets.videos, id="video"),
    pytest.param(feed_metadata, targets.stores, id="store-metadata"),
    pytest.param(feed_files, targets.store_bytes, id="store-files"),
]


def run(feed: Callable[[Any], None], examples: st.SearchStrategy[Any], number: int) -> None:
    @settings(
        max_examples=number, database=None, deadline=None, suppress_health_check=[*HealthCheck]
    )
    @given(examples)
    def test(example: Any) -> None:
        feed(example)

    test()


@pytest.mark.parametrize(("feed", "examples"), READERS)
def test_a_few_examples(feed: Callable[[Any], None], examples: st.SearchStrategy[Any]) -> None:
    run(feed, examples, 10)


@pytest.mark.fuzz
@pytest.mark.parametrize(("feed", "examples"), READERS)
def test_for_some_time(feed: Callable[[Any], None], examples: st.SearchStrategy[Any]) -> None:
    end, rounds = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:

        @seed(time.time_ns())
        @settings(
            max_examples=200, database=None, deadline=None, suppress_health_check=[*HealthCheck]
        )
        @given(examples)
        def test(example: Any) -> None:
            if time.monotonic() < end:
                feed(example)

        test()
        rounds += 1
    assert rounds
