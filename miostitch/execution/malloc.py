"""Memory that was freed: kept for the next block, or given back to the system."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pyarrow as pa

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's ``mallopt``."""

LARGEST_KEPT_BYTES = 2**25
"""glibc takes no larger threshold; a block of the usual size is half as large."""

PASSING_BYTES = 2**17
"""From this size on, memory is taken from the system and returned to it, as glibc begins."""

_freed_is_kept = False


def keep_freed() -> None:
    """Let this process keep the memory of freed blocks for the blocks that follow.

    Otherwise every block is fresh memory, and half of the time goes into the system's clearing its
    pages. One arena for all threads lets each use what another one freed.
    """
    global _freed_is_kept
    with suppress(AttributeError, OSError):  # elsewhere than with glibc there is no such call
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_ARENA_MAX, 1)
        pa.set_memory_pool(pa.system_memory_pool())  # another one would keep as much for itself
        _freed_is_kept = True


@contextmanager
def passing() -> Iterator[None]:
    """Work in memory of which, when this ends, nothing is kept but what is still in use.

    Folding a table into frames takes several times what stays. Among it, in a heap that is kept,
    what stays would lie scattered, and blocks of pictures would not fit between.
    """
    kept = _freed_is_kept  # else glibc finds a threshold of its own as it goes
    if kept:
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, PASSING_BYTES)
    try:
        yield
    finally:
        if kept:
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        give_back()


def give_back() -> None:
    """Return freed memory to the system: what one step needed and the next one does not."""
    gc.collect(1)  # dask leaves cycles for every block that it computes
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        with suppress(AttributeError):  # musl has no such call, and holds nothing back
            ctypes.CDLL(None).malloc_trim(0)
