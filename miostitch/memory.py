"""Memory that was freed and that the process still holds."""

import ctypes
import sys
from contextlib import suppress

import pyarrow as pa


def give_back() -> None:
    """Return freed memory to the system.

    Folding a table into frames takes several times what stays. Without this the rest would be held
    for nothing as long as the process lives, because blocks are allocated by other threads.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        with suppress(AttributeError):  # musl has no such call, and holds nothing back
            ctypes.CDLL(None).malloc_trim(0)
