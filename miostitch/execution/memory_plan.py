"""How much memory a run takes, known before it starts."""

import re
from contextlib import suppress
from dataclasses import dataclass

import dask.utils

from miostitch.errors import PlanError, UsageError

PROGRAM_BYTES = 350 * 2**20
"""Python with all libraries loaded, and its small objects."""

FRAME_BYTES = 200
"""Of every frame and recording: its row in the tables, its scores."""

SIZE = re.compile(r"\s*[0-9][0-9.]*\s*[a-z]*\s*", re.ASCII | re.IGNORECASE)
"""A number and a unit."""


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
