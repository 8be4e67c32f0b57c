"""Blocks that finish in any order reach the encoder in theirs."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miostitch.execution.sinks import VideoSink


def block(start: int) -> np.ndarray:
    return np.full((2, 1, 1), start, np.uint8)


def run(sink: VideoSink, starts: Iterable[int]) -> None:
    with sink:
        sink.start()
        for start in starts:
            sink.feed.keep(start, block(start))
            sink.feed.announce(start)


class Film:
    def __init__(self) -> None:
        self.frames: list[int] = []
        self.closed_whole = False

    def write(self, frames: np.ndarray) -> None:
        self.frames += frames.ravel().tolist()

    @contextmanager
    def open(self) -> Iterator["Film"]:
        yield self
        self.closed_whole = True


@given(st.permutations(range(0, 16, 2)), st.integers(0, 9))
def test_order_is_kept_whatever_waits_in_memory(order: list[int], keep: int) -> None:
    film, fetched = Film(), []

    def fetch(start: int) -> np.ndarray:
        fetched.append(start)
        return block(start)

    run(VideoSink(film.open, range(0, 16, 2), fetch, keep), order)
    assert film.frames == [start for start in range(0, 16, 2) for _ in range(2)]
    assert film.closed_whole
    assert len(fetched) <= max(0, 8 - keep)


def test_a_failing_run_ends_the_encoder() -> None:
    def fails() -> Iterator[int]:
        yield 0
        raise KeyError

    film = Film()
    sink = VideoSink(film.open, range(0, 4, 2), block, 1)
    with pytest.raises(KeyError):
        run(sink, fails())
    assert not film.closed_whole
    assert not [t for t in threading.enumerate() if t.name.startswith("miostitch")]


def test_a_failing_encoder_ends_the_run() -> None:
    class Full(Film):
        def write(self, frames: np.ndarray) -> None:
            raise OSError("full")

    sink = VideoSink(Full().open, [0, 2], block, 1)
    with pytest.raises(OSError, match="full"):
        run(sink, [0, 2])
