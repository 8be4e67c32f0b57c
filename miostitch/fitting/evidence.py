"""What shows which frame of its table a picture is: lost buffers, and pixels of other receivers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from miostitch.arrays import F64, I32, I64, U64, Bools
from miostitch.buffers.frame_table import FrameTable
from miostitch.kernels.composition import EXCLUDED
from miostitch.kernels.placement import describe_buffers
from miostitch.schema import NO_FRAME
from miostitch.video.source import VideoSource

_BLOCK_BYTES = 2**24  # pictures held at a time
_ERROR = 0.02  # how often a buffer is not what its row says: flipped headers, noise
_ELSEWHERE = -2  # pixels of a frame that the table does not have
_SHARED = 6.0  # logarithm of the odds that pixels of another receiver give


@dataclass(frozen=True)
class PictureBuffers:
    """What is seen of every buffer of every picture of a video."""

    zeros: I32  # Pixels at its end that are zero, (picture, buffer)
    digests: U64  # Of its pixels, 0 where they tell nothing, (picture, buffer)
    readable: Bools  # Whether the picture is there, (picture,)


@dataclass(frozen=True)
class Reference:
    """Pixels whose device number is known, by other recordings."""

    digests: tuple[U64, ...]  # Of each buffer, ascending
    numbers: tuple[I64, ...]  # The device's number of the frame of each of them

    def find(self, digests: U64) -> I64:
        """Device's numbers of the frames that have these pixels, -1 for none, (picture, buffer)."""
        found = np.full(digests.shape, NO_FRAME, np.int64)
        for buffer, (known, numbers) in enumerate(zip(self.digests, self.numbers, strict=True)):
            if len(known):
                at = np.searchsorted(known, digests[:, buffer]).clip(max=len(known) - 1)
                same = (known[at] == digests[:, buffer]) & (digests[:, buffer] != 0)
                found[same, buffer] = numbers[at[same]]
        return found


def survey_pictures(video: VideoSource, bounds: I64) -> PictureBuffers:
    """Look at all pictures of a video, once."""
    shape = video.frame_count, len(bounds) - 1
    seen = PictureBuffers(
        np.zeros(shape, np.int32), np.zeros(shape, np.uint64), np.ones(shape[0], np.bool_)
    )
    seen.readable[video.lost] = False
    step = max(1, _BLOCK_BYTES // int(bounds[-1]))
    wanted = np.flatnonzero(seen.readable)
    for some in np.split(wanted, range(step, len(wanted), step)):
        flat = np.ascontiguousarray(video.read(some)).reshape(len(some), -1)
        zeros, digests = (
            np.empty((len(some), shape[1]), np.int32),
            np.empty_like(seen.digests[some]),
        )
        describe_buffers(flat, bounds, zeros, digests)
        seen.zeros[some], seen.digests[some] = zeros, digests
    return seen


def make_reference(parts: Sequence[tuple[FrameTable, PictureBuffers]], buffers: int) -> Reference:
    """Gather what other recordings have; pixels of several frames tell nothing.

    ``parts``: of each, one row of the table and one line of what is seen per picture.
    """
    digests, numbers = [], []
    for buffer in range(buffers):
        pairs = []
        for frames, seen in parts:
            whole = (frames.delivered >> np.uint64(buffer) & np.uint64(1)).astype(bool)
            usable = whole & (frames.frame_num != NO_FRAME) & (seen.digests[:, buffer] != 0)
            pairs.append((seen.digests[usable, buffer], frames.frame_num[usable]))
        digest = np.concatenate([np.zeros(0, np.uint64), *(pair[0] for pair in pairs)])
        number = np.concatenate([np.zeros(0, np.int64), *(pair[1] for pair in pairs)])
        order = np.lexsort((number, digest))
        digest, number = digest[order], number[order]
        known, first, count = np.unique(digest, return_index=True, return_counts=True)
        same = number[first] == number[first + count - 1]
        digests.append(known[same])
        numbers.append(number[first[same]])
    return Reference(tuple(digests), tuple(numbers))


class Witnesses:
    """Tells how well pictures agree with the rows of a table, shifted by any number of frames."""

    def __init__(
        self, table: FrameTable, seen: PictureBuffers, bounds: I64, reference: Reference
    ) -> None:
        sizes = np.diff(bounds)
        given = table.given_pixels(np.arange(len(table)), bounds)
        self._excluded = given == EXCLUDED
        self._lost = np.where(self._excluded, 0, sizes - given)  # pixels, (frame, buffer)
        self._zeros, self._sizes = seen.zeros, sizes
        self._readable, self._has_rows = seen.readable, table.num_rows > 0
        self._log_odds(seen)
        self._shared = _frames_of(table, reference.find(seen.digests))
        self.pictures, self.frames = len(seen.zeros), len(table)

    def _log_odds(self, seen: PictureBuffers) -> None:
        """Odds that a row that fits gives, compared with a row of any frame."""
        black = seen.zeros[seen.readable] >= self._sizes
        rate = (black.sum(axis=0) + 0.5) / (len(black) + 1)  # (buffer,)
        lost = (self._lost >= self._sizes).mean(axis=0)
        dark = ((rate - lost) / (1 - lost).clip(min=_ERROR)).clip(_ERROR, 1 - _ERROR)
        ordered = np.sort(seen.zeros[seen.readable], axis=0)
        padded = np.empty(self._lost.shape)
        for buffer in range(len(self._sizes)):
            below = np.searchsorted(ordered[:, buffer], self._lost[:, buffer])
            padded[:, buffer] = (len(ordered) - below + 0.5) / (len(ordered) + 1)
        padded = padded.clip(_ERROR / 4, 1 - _ERROR / 4)
        rate = rate.clip(_ERROR / 4, 1 - _ERROR / 4)
        is_lost = self._lost > 0
        self._if_zero = np.where(is_lost, np.log((1 - _ERROR) / padded), np.log(dark / rate))
        self._if_not = np.where(
            is_lost, np.log(_ERROR / (1 - padded)), np.log((1 - dark) / (1 - rate))
        )
        self._if_zero[self._excluded] = self._if_not[self._excluded] = 0
        self._need = np.where(is_lost, self._lost, self._sizes)

    def score(self, pictures: I64, shift: int) -> F64:
        """Log odds that pictures show the frames `shift` before them in the table, (picture,)."""
        frame = pictures - shift
        at = frame.clip(0, self.frames - 1)
        zero = self._zeros[pictures] >= self._need[at]
        odds = np.where(zero, self._if_zero[at], self._if_not[at])
        shared = self._shared[pictures]
        odds += np.where(shared == NO_FRAME, 0.0, np.where(shared == at[:, None], 1, -1) * _SHARED)
        total: F64 = odds.sum(axis=1) * (self._readable[pictures] & self._has_rows[at])
        return np.where(frame == at, total, -np.inf)

    @property
    def telling(self) -> I64:
        """Pictures by which shifts differ, ascending."""
        black = (self._zeros >= self._sizes).any(axis=1)
        return np.flatnonzero((black | (self._shared != NO_FRAME).any(axis=1)) & self._readable)

    @property
    def shared_shifts(self) -> I64:
        """Shifts that pixels of other receivers show in three buffers or more."""
        picture, buffer = np.nonzero(self._shared >= 0)
        shifts, counts = np.unique(picture - self._shared[picture, buffer], return_counts=True)
        return np.asarray(shifts[counts >= 3])


def _frames_of(table: FrameTable, numbers: I64) -> I64:
    """Frames of a table that alone have a device's number, in the shape of ``numbers``.

    -1 without a number, or where several have it; -2 where none has it.
    """
    order = np.argsort(table.frame_num, kind="stable")
    ordered = table.frame_num[order]
    first = np.searchsorted(ordered, numbers, "left")
    count = np.searchsorted(ordered, numbers, "right") - first
    found = order[first.clip(max=len(order) - 1)]
    named = np.where(count == 1, found, np.where(count == 0, _ELSEWHERE, NO_FRAME))
    return np.where(numbers == NO_FRAME, NO_FRAME, named)
