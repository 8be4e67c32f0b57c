"""How much memory a run takes, known before it starts; and memory that was freed."""

import ctypes
import gc
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import dask.utils
import pyarrow as pa

from miostitch.errors import PlanError, UsageError

PROGRAM_BYTES = 350 * 2**20
"""Python with all libraries loaded, and its small objects."""

FRAME_BYTES = 200
"""Of every frame and recording: its row in the tables, its scores."""

SIZE = re.compile(r"\s*[0-9][0-9.]*\s*[a-z]*\s*", re.ASCII | re.IGNORECASE)
"""A number and a unit."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's ``mallopt``."""

LARGEST_KEPT_BYTES = 2**25
"""glibc takes no larger threshold; a block of the usual size is half as large."""

PASSING_BYTES = 2**17
"""From this size on, memory is taken from the system and returned to it, as glibc begins."""

_freed_is_kept = False


@dataclass(frozen=True)
class MemoryPlan:
    """Memory that a run takes: a fixed part, and that of one block for each thread."""

    fixed_bytes: int
    thread_bytes: int

    def needed_bytes(self, threads: int) -> int:
        """Projected peak with so many threads."""
        return self.fixed_bytes + threads * self.thread_bytes

    def threads(self, most: int, limit_bytes: int | None) -> int:
        """How many threads fit."""
        if limit_bytes is None:
            return most
        if (needed := self.needed_bytes(1)) > limit_bytes:
            msg = (
                f"memory limit {limit_bytes / 1e6:.0f} MB: stitching takes "
                f"{needed / 1e6:.0f} MB at least; allow that much, or give fewer --chunk-frames"
            )
            raise PlanError(msg)
        return max(1, min(most, (limit_bytes - self.fixed_bytes) // self.thread_bytes))


def plan_stitch(
    frames: int, block_bytes: int, recordings: int, *, composed: bool, debug: bool
) -> MemoryPlan:
    """Project the memory of a stitch."""
    # candidates, the result, its packed chunk and the copy that gets the checksum, and what is
    # packed for a file that only one thread writes
    in_flight = recordings + 4
    if composed:  # all copies in one array, with presence and fragments
        in_flight += 2 * recordings + 2
    if debug:
        in_flight += 3 * (recordings + 1)
    fixed = PROGRAM_BYTES + frames * recordings * FRAME_BYTES
    return MemoryPlan(fixed, in_flight * block_bytes)


def parse_bytes(text: str) -> int:
    """Read a size such as ``2GB``, ``1.5 GiB`` or ``800M``.

    >>> parse_bytes("1.5 GiB"), parse_bytes("800M")
    (1610612736, 800000000)
    """
    with suppress(ValueError, OverflowError):
        # dask alone would also take "GB" for one of them, and "2 G B" for two
        if SIZE.fullmatch(text) and 1 <= (size := dask.utils.parse_bytes(text.strip())) < 2**63:
            return size
    raise UsageError(f"{text!r}: give a size such as 2GB or 800MiB")


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
