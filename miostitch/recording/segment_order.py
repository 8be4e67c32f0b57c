"""In which order the segments of one receiver's recording were received.

A shell sorts 1, 10, 2; a file browser as it likes. The clock of reception says what follows what,
and the device's counter bears it out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from miostitch.buffers.frame_table import FrameTable
from miostitch.errors import InputError, Notice
from miostitch.text import tell_apart

FRAMES = 9  # of each end that are believed together: a single one may have flipped bits
OVERLAP_S = 1.0  # of two segments of one receiver at most
OVERLAP = 0.2  # the same, as a share of the shorter one
CONTINUES_S = 10.0  # frames of this time may be lost between segments whose counter goes on
REMEDY = (
    "name the segments of each receiver apart and in their order, joined by commas, or write a "
    "session file with miostitch init"
)


@dataclass(frozen=True)
class TableEnds:
    """What the first and the last rows of a table say."""

    first_num: int
    last_num: int
    first_time: float  # Unix time in s, by the clock of the receiver
    last_time: float
    frames: int  # Frames of its video, as the last row counts them

    @property
    def duration_s(self) -> float:
        """From the first row to the last."""
        return self.last_time - self.first_time

    @property
    def rate(self) -> float:
        """Frames per s."""
        return (self.last_num - self.first_num) / self.duration_s if self.duration_s > 0 else 0.0


def find_ends(frames: FrameTable) -> TableEnds | None:
    """The ends of a table that was read; none where its rows have no times."""
    place = np.flatnonzero(np.isfinite(frames.timestamp_first) & (frames.frame_num >= 0))
    if not len(place):
        return None
    few = max(1, min(FRAMES, len(place) // 4))  # the ends of a short one are short
    first, last = place[:few], place[-few:]
    numbers, times = frames.frame_num, frames.timestamp_first
    return TableEnds(
        int(np.median(numbers[first])),
        int(np.median(numbers[last])),
        float(np.median(times[first])),
        float(np.median(times[last])),
        len(frames),
    )


def sort_by_time(ends: Sequence[TableEnds]) -> list[int]:
    """The places of segments in the order of their reception."""
    return sorted(range(len(ends)), key=lambda each: ends[each].first_time)


def follows(after: TableEnds, before: TableEnds) -> bool:
    """Whether a segment was received after another one, by the receiver's clock."""
    shorter = max(0.0, min(before.duration_s, after.duration_s))
    return after.first_time - before.last_time >= -min(OVERLAP_S, OVERLAP * shorter)


def order_segments(paths: Sequence[str], ends: Sequence[TableEnds | None]) -> list[int]:
    """The places of segments in the order of their reception; as given where no clock tells.

    Segments that the clock contradicts but the counter does not are as given, too: the clock was
    set between them.

    Raises
    ------
    InputError
        They cannot follow each other, or clock and counter contradict each other.
    """
    given, known = list(range(len(paths))), [each for each in ends if each is not None]
    if len(known) < len(paths):
        return given
    wrong = [
        (before, after)
        for before, after in pairwise(given)
        if not (follows(known[after], known[before]) or _continues(known[after], known[before]))
    ]
    if not wrong:
        return given
    order = sort_by_time(known)
    for before, after in pairwise(order):
        if not follows(known[after], known[before]):
            both = f"{paths[before]} and {paths[after]}"
            text = f"{both} were received at the same time, and are no segments of one recording"
            raise InputError(Notice("", text, REMEDY))
    for before, after in wrong:
        if known[after].first_num > known[before].last_num:
            text = f"{paths[after]} is given after {paths[before]} "
            text += "and its frame_num is higher, but it was received earlier"
            raise InputError(Notice("", text, REMEDY))
    return order


def describe_order(paths: Sequence[str]) -> str:
    """Say in which order segments are taken, by the shortest names that tell them apart."""
    return f"segments are taken in the order of their reception: {', '.join(tell_apart(paths))}"


def _continues(after: TableEnds, before: TableEnds) -> bool:
    """Whether the device's counter goes on from one segment to the next."""
    step = after.first_num - before.last_num
    return 0 < step <= CONTINUES_S * max(before.rate, after.rate) + FRAMES
