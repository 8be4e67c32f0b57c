"""How much memory a run takes, known before it starts."""

import re
from dataclasses import dataclass

from miostitch.errors import PlanError, UsageError

PROGRAM_BYTES = 350 * 2**20
"""Python with all libraries loaded, and its small objects."""

FRAME_BYTES = 200
"""Of every frame and recording: its row in the tables, its scores."""

SIZE = re.compile(r"\s*(\d+(?:\.\d*)?)\s*((?:[kmg]i?)?)b?\s*", re.ASCII | re.IGNORECASE)
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


@dataclass(frozen=True)
class MemoryPlan:
    """Memory that a run takes."""

    fixed_bytes: int  # Whatever the number of threads
    thread_bytes: int  # For each thread, which holds one block

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
    found = SIZE.fullmatch(text)
    size = float(found[1]) * UNITS[found[2].lower()] if found else 0
    if not 1 <= size < 2**63:
        raise UsageError(f"{text!r}: give a size such as 2GB or 800MiB")
    return int(size)
