"""Blocks are read once and kept within bounds."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from miostitch.viewer.cache import BlockCache


class Reads:
    """Makes blocks and counts how often."""

    def __init__(self) -> None:
        self.of: list[int] = []

    def __call__(self, key: int, size: int = 10) -> NDArray[np.uint8]:
        self.of.append(key)
        return np.full(size, key, np.uint8)


@given(
    asked=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 40)), max_size=60),
    bound=st.integers(1, 100),
)
def test_what_is_kept_is_what_was_used_last(asked: list[tuple[int, int]], bound: int) -> None:
    sizes = dict(asked)
    kept: dict[int, int] = {}
    reads = Reads()
    with BlockCache(bound) as cache:
        for key, _ in asked:
            before = len(reads.of)
            block = cache.get(key, lambda key=key: reads(key, sizes[key]))  # type: ignore[misc]
            assert (block == key).all()
            assert (len(reads.of) == before) == (key in kept)
            kept[key] = kept.pop(key, sizes[key])
            while sum(kept.values()) > bound and len(kept) > 1:
                del kept[next(iter(kept))]
            assert cache.nbytes == sum(kept.values())


def test_a_block_that_many_ask_for_is_read_once() -> None:
    reads, begun, go_on = Reads(), threading.Event(), threading.Event()

    def read() -> NDArray[np.uint8]:
        begun.set()
        assert go_on.wait(10)
        return reads(1)

    with BlockCache(100) as cache, ThreadPoolExecutor(5) as pool:
        first = pool.submit(cache.get, 1, read)
        assert begun.wait(10)
        others = [pool.submit(cache.get, 1, read) for _ in range(4)]
        go_on.set()
        assert all((each.result(10) == 1).all() for each in [first, *others])
    assert reads.of == [1]


def test_an_error_is_told_and_not_kept() -> None:
    def broken() -> NDArray[np.uint8]:
        raise OSError("gone")

    with BlockCache(100) as cache:
        with pytest.raises(OSError, match="gone"):
            cache.get(1, broken)
        assert (cache.get(1, lambda: Reads()(1)) == 1).all()


def test_blocks_are_read_ahead_and_old_wishes_forgotten() -> None:
    reads, begun, go_on = Reads(), threading.Event(), threading.Event()

    def slow() -> NDArray[np.uint8]:
        begun.set()
        assert go_on.wait(10)
        return reads(1)

    with BlockCache(100) as cache:
        cache.prefetch({1: slow, 2: lambda: reads(2)})
        assert begun.wait(10)
        cache.prefetch({3: lambda: reads(3)})
        go_on.set()
        cache.get(3, lambda: reads(3))
        cache.get(1, slow)
        assert 2 not in cache
    assert sorted(reads.of) == [1, 3]
