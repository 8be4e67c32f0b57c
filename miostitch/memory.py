"""Memory that was freed: kept for the next block, or given back to the system."""

import ctypes
import sys
from contextlib import suppress

import pyarrow as pa

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's ``mallopt``."""

LARGEST_KEPT_BYTES = 2**25
"""glibc takes no larger threshold; a block of the usual size is half as large."""


def keep_freed() -> None:
    """Let this process keep the memory of freed blocks for the blocks that follow.

    Otherwise every block is fresh memory, and half of the time goes into the system's clearing its
    pages. One arena for all threads lets each use what another one freed.
    """
    with suppress(AttributeError, OSError):  # elsewhere than with glibc there is no such call
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_ARENA_MAX, 1)
        pa.set_memory_pool(pa.system_memory_pool())  # another one would keep as much for itself


def give_back() -> None:
    """Return freed memory to the system.

    Folding a table into frames takes several times what stays. Without this the rest would be held
    for nothing as long as the process lives, because blocks are allocated by other threads.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        with suppress(AttributeError):  # musl has no such call, and holds nothing back
            ctypes.CDLL(None).malloc_trim(0)
