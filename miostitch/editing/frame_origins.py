"""Which files frames are from, and which of them are made to fill a regular time base."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import I64, Bools
from miostitch.buffers.elapsed_time import ElapsedTime, join_times
from miostitch.editing.regular import WORST_S, Fill, RegularFrames, list_notices
from miostitch.errors import MismatchError, Notice
from miostitch.origins.sidecars import Origin
from miostitch.ranges import join_ranges, run_ends
from miostitch.schema import FILLED, FRAME_VARIABLES, Variable


@dataclass(frozen=True)
class RegularPart:
    """Frames of a regular time base: which they are, and of which frames the base is made."""

    fill: Fill
    frames: RegularFrames  # The whole base
    elapsed: ElapsedTime  # When its frames were made
    origin: I64  # Which of the files each frame that the base is made of is from, (received,)
    origin_frame: I64  # Its position there, (received,)
    chosen: I64  # Positions in the base, (frame,)
    notices: tuple[Notice, ...]  # What a user should know of it

    @classmethod
    def of(
        cls,
        origins: Sequence[Origin],
        taken: tuple[I64, I64],
        chosen: I64,
        facts: Mapping[str, Any],
    ) -> Self:
        """Find them; ``taken``: file of each frame the base is made of, and its position there.

        ``facts``: the parameters of the step that made the base.
        """
        numbers = take(origins, *taken, "frame_num")
        frames = RegularFrames.of(numbers, facts["max_fill"], origins[0].path)
        received = join_times([o.elapsed for o in origins], *taken, numbers, origins[0].fps)
        fitted = frames.fit(received.seconds)
        estimated = received.estimated[frames.previous] | frames.filled
        elapsed = ElapsedTime(fitted.seconds, estimated, received.start + fitted.shift)
        notices = list_notices({**facts, WORST_S: fitted.worst_s}, fitted.seconds)
        return cls(facts["fill"], frames, elapsed, *taken, chosen, notices)

    @property
    def place(self) -> tuple[I64, I64]:
        """File and position of each frame, or of the last one received before it, (frame,)."""
        previous = self.frames.previous[self.chosen]
        return self.origin[previous], self.origin_frame[previous]

    @property
    def filled(self) -> Bools:
        """Which frames are made, (frame,)."""
        return self.frames.filled[self.chosen]

    @property
    def frame_num(self) -> I64:
        """The device's counter, (frame,)."""
        return self.frames.frame_num[self.chosen]

    def require_numbers(self, expected: NDArray[np.int64], path: str) -> None:
        """Refuse files that count otherwise than what the time base was planned by."""
        if not np.array_equal(self.frame_num, expected):
            msg = f"{path}: frame_num of its table is not that of the store next to it"
            raise MismatchError(f"{msg}; name the .zarr instead")


@dataclass(frozen=True)
class FrameOrigins:
    """Where frames are from."""

    origins: tuple[Origin, ...]
    origin: I64  # Which of them each frame is from, (frame,)
    origin_frame: I64  # Its position there, (frame,)
    regular: RegularPart | None = None  # Of a time base that is made regular by this edit

    @cached_property
    def made(self) -> Bools:
        """Which frames this edit makes to fill a gap, (frame,)."""
        if self.regular is None:
            return np.zeros(len(self.origin), np.bool_)
        return self.regular.filled

    @cached_property
    def filled(self) -> Bools | None:
        """Which frames are filled, by this edit or an earlier one; None of no regular time base."""
        roots = [origin.tables.table() for origin in self.origins]
        if self.regular is None and not any(FILLED.name in root for root in roots):
            return None
        filled = self.made.copy()
        for number, root in enumerate(roots):
            if FILLED.name in root:
                mine = self.origin == number
                filled[mine] |= root[FILLED.name].to_numpy()[self.origin_frame[mine]]
        return filled

    @property
    def variables(self) -> tuple[Variable, ...]:
        """What a store says of each frame."""
        return FRAME_VARIABLES if self.filled is None else (*FRAME_VARIABLES, FILLED)

    @property
    def frame_num(self) -> I64:
        """The device's counter, (frame,)."""
        if self.regular is not None:
            return self.regular.frame_num
        return take(self.origins, self.origin, self.origin_frame, "frame_num")

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        height, width = self.origins[0].size
        return height * width

    @property
    def taken(self) -> tuple[I64, I64]:
        """File of each frame that was taken, and its position there; of a base all of them."""
        part = self.regular
        return (
            (self.origin, self.origin_frame) if part is None else (part.origin, part.origin_frame)
        )

    def elapsed(self, frame_num: I64) -> ElapsedTime:
        """When the frames were made."""
        files, fps = [each.elapsed for each in self.origins], self.origins[0].fps
        if self.regular is None:
            return join_times(files, self.origin, self.origin_frame, frame_num, fps)
        chosen = self.regular.chosen
        return join_times([self.regular.elapsed], np.zeros_like(chosen), chosen, frame_num, fps)


def take(origins: Sequence[Origin], origin: I64, frame: I64, name: str) -> NDArray[Any]:
    """A column of the tables of files for some of their frames, (frame,)."""
    columns: Mapping[int, Any] = {
        number: origins[number].tables.table()[name].to_numpy() for number in np.unique(origin)
    }
    taken = np.empty(len(origin), next(iter(columns.values())).dtype)
    for number, column in columns.items():
        mine = origin == number
        taken[mine] = column[frame[mine]]
    return taken


def list_runs(origin: I64, frame: I64) -> list[list[int]]:
    """Origin, first and last frame there of every run of frames, in their order.

    >>> list_runs(np.array([0, 0, 1]), np.array([7, 8, 0]))
    [[0, 7, 8], [1, 0, 0]]
    """
    first, last = run_ends(origin, frame - np.arange(len(frame)))
    columns = (origin[first], frame[first], frame[last])
    return [*map(list, np.stack(columns, axis=1).tolist())]


def read_runs(runs: Sequence[Sequence[int]]) -> tuple[I64, I64]:
    """What :func:`list_runs` listed.

    >>> read_runs([[0, 7, 8], [1, 0, 0]])
    (array([0, 0, 1]), array([7, 8, 0]))
    """
    number, first, last = np.array(runs, np.int64).T
    counts = last + 1 - first
    return np.repeat(number, counts), join_ranges(first, counts)
