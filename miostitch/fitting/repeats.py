"""Frames that a recording holds a second time: its program wrote the same buffers again.

Their numbers fall back as if the device had restarted. But no two images of a sensor have the same
noise, so images with the same pixels are of one frame.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from miostitch.arrays import I64, U8, Bools
from miostitch.buffers.device_counter import counter_resets
from miostitch.buffers.frame_table import FrameTable, mask_bits
from miostitch.schema import NO_FRAME
from miostitch.text import amount

LEAST_SAME = 3  # images behind a fall that must be the same: one or two may be in the dark
_NAMED = 3  # stretches in one message
_BLOCK = 16  # pairs that are compared at a time


def find_repeats(frames: FrameTable, read: Callable[[I64], U8], bounds: I64) -> I64:
    """Find frames with the number and the pixels of earlier ones, behind a fall of the counter.

    A fall that is too short for a restart needs none of this: its frames meet by their number.

    ``read``: gives the images of some frames. Returns: Such a frame, and the one that it repeats,
    (pair, 2), ascending.
    """
    images = _Images(frames, read, bounds)
    every = np.arange(len(frames))
    repeated = every.copy()  # the frame that each repeats, itself if none
    looked: set[int] = set()
    while resets := _find_resets(frames.frame_num, repeated == every) - looked:
        looked |= resets
        for reset in sorted(resets):
            for one, other in images.find_stretch(reset, repeated == every):
                repeated[one] = repeated[other]
    found = np.flatnonzero(repeated != every)
    return np.stack([found, repeated[found]], axis=1)


def _find_resets(number: I64, original: Bools) -> set[int]:
    known = np.flatnonzero((number != NO_FRAME) & original)
    return {*known[counter_resets(number[known])].tolist()}


@dataclass(frozen=True)
class _Images:
    """The images of a recording, and what its table says of them."""

    frames: FrameTable
    read: Callable[[I64], U8]
    bounds: I64

    def find_stretch(self, reset: int, original: Bools) -> list[tuple[int, int]]:
        """Frames from a fall of the counter on, and those that they repeat, in their order."""
        pairs = self._pair_up(reset, original)
        same, _ = self._compare(pairs)
        if not same.any():
            return []
        one, other = pairs[same.argmax()].tolist()
        ahead = self._follow(one, other, 1, len(self.frames) - one)
        behind = self._follow(one, other, -1, min(one - reset, other) + 1)
        if ahead[1] + behind[1] - 1 < LEAST_SAME:
            return []
        return [(one + step, other + step) for step in range(1 - behind[0], ahead[0])]

    def _pair_up(self, reset: int, original: Bools) -> I64:
        """The first frames from a fall on whose numbers came before, and where, (pair, 2)."""
        number = self.frames.frame_num
        before = np.flatnonzero(original[:reset])[::-1]
        numbers, latest = np.unique(number[before], return_index=True)
        behind = reset + np.flatnonzero(original[reset:] & (number[reset:] != NO_FRAME))[:_BLOCK]
        at = np.searchsorted(numbers, number[behind]).clip(max=len(numbers) - 1)
        came = numbers[at] == number[behind]
        return np.stack([behind[came], before[latest[at[came]]]], axis=1)

    def _follow(self, one: int, other: int, step: int, room: int) -> tuple[int, int]:
        """How many pairs from this one on, in a direction, follow each other in the same way.

        Returns: As many, and how many of them pixels show to be the same.
        """
        number, steps = self.frames.frame_num, np.arange(room) * step
        unlike = number[one + steps] != number[other + steps]
        room = int(unlike.argmax()) if unlike.any() else room
        last, count = 0, 0
        for start in range(0, room, _BLOCK):
            some = steps[start : min(start + _BLOCK, room)]
            same, differs = self._compare(np.stack([one + some, other + some], axis=1))
            stop = int(differs.argmax()) if differs.any() else len(differs)
            alike = int(same[:stop].sum())
            if alike:
                last, count = start + stop, count + alike
            if stop < len(differs) or not alike:
                break
        return last, count

    def _compare(self, pairs: I64) -> tuple[Bools, Bools]:
        """Whether both of each pair have the same pixels, and whether others, (pair,).

        Only buffers that both received are compared; those that are also like the image after the
        first one, as of a sensor in the dark, do not show that the two are of one frame.
        """
        here, there, after = (
            self.read(some).reshape(len(pairs), self.bounds[-1])
            for some in (pairs[:, 0], pairs[:, 1], pairs[:, 1] + 1)
        )
        received = self.frames.column("delivered", pairs)
        compared = mask_bits(received[:, 0] & received[:, 1], len(self.bounds) - 1)
        alike, still = (
            np.logical_and.reduceat(there == other, self.bounds[:-1], axis=1)
            for other in (here, after)
        )
        differs = np.any(compared & ~alike, axis=1)
        same = np.any(compared & alike & ~still, axis=1) & ~differs
        return np.asarray(same), np.asarray(differs)


def describe_repeats(pairs: I64, frame_num: I64) -> str:
    """Name the frames that repeat others; `frame_num` is that of all frames, (frame,)."""
    starts = np.flatnonzero((np.diff(pairs, axis=0) != 1).any(axis=1)) + 1
    said = []
    for part in np.split(pairs, starts):
        (first, original), (last, _) = part[[0, -1]].tolist()
        known = frame_num[part[:, 1]]
        known = known[known != NO_FRAME]
        numbers = f"{known.min()} to {known.max()}"
        said.append(f"{first} to {last} (frame_num {numbers}, first in frame {original})")
    if len(said) > _NAMED:
        said[_NAMED:] = [f"and in {amount(len(said) - _NAMED, 'more place')}"]
    return f"frames {', '.join(said)} repeat earlier ones, pixel by pixel"
