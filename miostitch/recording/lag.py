"""How far a video's pictures lag behind its table, told by one of two witnesses.

Lost buffers left zeros in its pictures, and buffers that it shares with another recording are the
same in both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.buffers.frame_table import MASK_BITS, FrameTable, mask_bits
from miostitch.schema import NO_FRAME
from miostitch.text import amount

LAGS = np.arange(-3, 4)
"""The lags that are tried."""

MOST_PICTURES = 256
"""Pictures read of a recording at most; half of them for each witness if it has more."""

_FEWEST = 3  # frames that must speak for a lag: two may agree by accident
_ODDS = 4  # frames for a lag to each one against it
_MOST_SITES = MOST_PICTURES // 2 // len(LAGS)  # frames of the table looked at by one witness
_BLOCK_BYTES = 2**24  # pictures held at a time
_ONE_VALUE = np.uint64(0)  # instead of a digest, where all pixels of a buffer are equal

Read = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
Bools = NDArray[np.bool_]
Look = Callable[[NDArray[np.uint8], NDArray[np.int64]], NDArray[Any]]


@dataclass(frozen=True)
class Lag:
    """A measured lag and its evidence."""

    # Picture ``i + lag`` belongs to frame ``i`` of the table; None: cannot be told.
    lag: int | None = None
    # Buffers that were looked at: missing ones, or those shared with another recording.
    looked_at: int = 0
    matches: int = 0  # Of those, black or identical at ``lag``; at 0 where it cannot be told
    matches_unshifted: int = 0  # Of those, black or identical at lag 0
    # The recording that it was compared with; None: told by missing buffers.
    shared_with: str | None = None

    def __str__(self) -> str:
        if not self.looked_at:
            return "no missing buffer was there to tell it by"
        what, state = "missing buffers", "black"
        if self.shared_with is not None:
            what, state = f"buffers shared with {self.shared_with}", "identical"
        if self.lag is None:
            return f"{self.looked_at} {what} do not tell it, {self.matches} {state} at lag 0"
        found = f"{self.matches} of {self.looked_at} {what} are {state} at lag {self.lag}"
        return f"{found}, {self.matches_unshifted} at lag 0" if self.lag else found

    def advise(self, applied: int) -> str:
        """Say that the pictures are not where they are taken to be, and what to do."""
        lag = self.lag or 0
        count = amount(abs(lag), "frame")
        where = "are level with"
        if lag:
            where = f"lag {count} behind" if lag > 0 else f"run {count} ahead of"
        but = f", not at lag {applied}" if applied else ""
        return f"pictures {where} the table{but} ({self}); --lag auto puts that right"


@dataclass(frozen=True)
class Pictures:
    """A recording's pictures, and what its table says of them."""

    # One row per picture over all segments of the recording, as if the lag were 0.
    frames: FrameTable
    first_frames: Sequence[int]  # Position of each segment's first picture, and of the end
    # Gives pictures, uint8 (frame, height, width), by their ascending positions, int64 (frame,).
    read: Read
    lost: NDArray[np.int64]  # Positions of pictures that cannot be read, int64 (picture,)

    def reach(self, first: int, last: int) -> Bools:
        """Which frames have a picture at each lag from `first` <= 0 to `last` >= 0, (frame,)."""
        there = np.ones(len(self.frames), bool)
        for edge in self.first_frames:  # neither across a seam nor beyond an end
            there[max(0, edge - last) : max(0, edge - first)] = False
        beside = self.lost[:, None] - np.arange(first, last + 1)
        there[beside[(beside >= 0) & (beside < len(there))]] = False
        return there


def measure_lag(pictures: Pictures, bounds: NDArray[np.int64]) -> Lag:
    """Find the lag at which missing buffers are black.

    Looked at are frames of the table whose pictures at all lags from -3 to 3 are there and that
    lack a buffer which a frame around them has: only such a buffer tells one lag from another. A
    recording of at most 256 pictures is read whole, of a longer one 18 frames all over it.

    Frames are counted, not buffers, for one event can take several buffers of a frame. At each lag
    a frame scores its missing buffers that are black, less its delivered buffers that are black.
    The lag of most black missing buffers is claimed if, against every other lag, at least 3
    frames score higher there, and 4 times as many as have a missing buffer that is not black
    there.

    - Where a scene is dark, all lags score alike, and no frame speaks for any. A single dark
      picture near a lost buffer scores low, since its other buffers were delivered.
    - A burst that takes the same buffer from frame after frame speaks only where it begins and
      ends. If the lag is beyond those tried, the nearest one has most matches, but at the end of
      each burst also as many frames against it as for it.
    - Buffers whose pixels are there without a row (swallowed ones, misread headers) count against
      every lag. A few are outvoted; if there are many, nothing is claimed. The same holds for
      lossy video, where zeros do not stay zeros.
    - Padded buffers are not all black and not missing; pieces of a split frame have rows and
      pictures of their own, and tell the lag like any other frame.
    """
    buffers = len(bounds) - 1
    if buffers > MASK_BITS:
        return Lag()
    frames = pictures.frames
    have = frames.buffers
    around = np.zeros_like(have)
    for step in range(1, LAGS[-1] + 1):
        around[step:] |= have[:-step]
        around[:-step] |= have[step:]
    telling = np.where(frames.num_rows > 0, ~have & around, np.uint64(0))
    telling &= np.uint64((1 << buffers) - 1)
    sites = np.flatnonzero((telling > 0) & pictures.reach(LAGS[0], LAGS[-1]))
    if len(telling) > MOST_PICTURES:
        sites = sites[_spread(len(sites), _MOST_SITES)]
    if not len(sites):
        return Lag()
    black = _seen(pictures.read, sites[:, None] + LAGS, bounds, _black)
    return _judged(mask_bits(telling[sites], buffers), mask_bits(have[sites], buffers), black)


def measure_shared_lag(
    mine: Pictures,
    other: Pictures,
    other_lag: int,
    bounds: NDArray[np.int64],
    *,
    name: str,
    partners: int = 1,
) -> Lag:
    """Find the lag at which buffers shared with another recording are identical.

    Looked at are frames whose ``frame_num`` both recordings have just once, and of them the
    buffers that both received whole. If both recordings have at most 256 pictures, all such frames
    are compared, else 18 spread over them.

    A buffer counts if it differs from picture to picture, from 3 before to 3 behind, and is not of
    one single value: so neither a scene that stands still, nor one that is dark or overexposed,
    nor what both receivers lost takes part. The lag with most identical buffers is claimed if,
    against every other lag, at least 3 frames have more of them there, 4 times as many as have
    fewer, and as many as have none there. Bit errors, which differ from receiver to receiver,
    speak neither for nor against a lag.
    """
    if len(bounds) - 1 > MASK_BITS:
        return Lag()
    sites, places = shared_frames(mine, other)
    shared = _received(mine.frames, sites) & _received(other.frames, places)
    reached = other.reach(min(other_lag, 0), max(other_lag, 0))[places]
    usable = np.flatnonzero((shared > 0) & mine.reach(LAGS[0], LAGS[-1])[sites] & reached)
    if max(len(mine.frames), len(other.frames)) > MOST_PICTURES:
        usable = usable[_spread(len(usable), min(_MOST_SITES, MOST_PICTURES // 2 // partners))]
    if not len(usable):
        return Lag()
    here = _seen(mine.read, sites[usable, None] + LAGS, bounds, _digests)
    there = _seen(other.read, places[usable, None] + other_lag, bounds, _digests)
    telling = mask_bits(shared[usable], len(bounds) - 1) & (there[:, 0] != _ONE_VALUE)
    telling &= (here[:, 1:] != here[:, :-1]).all(axis=1)
    return _judged_shared(telling, telling[:, None] & (here == there), name)


def shared_frames(mine: Pictures, other: Pictures) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames whose number both recordings have just once, in each of them, (frame,)."""
    (numbers, at), (others, there) = _single(mine.frames), _single(other.frames)
    _, first, second = np.intersect1d(numbers, others, assume_unique=True, return_indices=True)
    return at[first], there[second]


def _single(frames: FrameTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers that one frame has, and that frame."""
    known = np.flatnonzero(frames.frame_num != NO_FRAME)
    numbers, first, count = np.unique(
        frames.frame_num[known], return_index=True, return_counts=True
    )
    return numbers[count == 1], known[first[count == 1]]


def _received(frames: FrameTable, sites: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Buffers of these frames that were received whole, a bit each."""
    return frames.delivered[sites]


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """Positions all over `count` things, at most `most` of them."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def _seen(
    read: Read, wanted: NDArray[np.int64], bounds: NDArray[np.int64], look: Look
) -> NDArray[Any]:
    """What `look` says of each buffer of the wanted pictures, (*wanted, buffer)."""
    pictures = np.unique(wanted)
    step = max(1, _BLOCK_BYTES // int(bounds[-1]))
    blocks = np.split(pictures, range(step, len(pictures), step))
    seen = [look(read(some).reshape(len(some), -1), bounds) for some in blocks]
    return np.concatenate(seen)[np.searchsorted(pictures, wanted)]


def _black(pixels: NDArray[np.uint8], bounds: NDArray[np.int64]) -> Bools:
    """Which buffers are all zero, (picture, buffer)."""
    black: Bools = np.maximum.reduceat(pixels, bounds[:-1], axis=1) == 0
    return black


def _digests(pixels: NDArray[np.uint8], bounds: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A digest of each buffer, of one value for all whose pixels are equal, (picture, buffer)."""
    ranges = [*pairwise(bounds.tolist())]
    rows = np.ascontiguousarray(pixels)
    digests = [blake2b(row[a:b], digest_size=8).digest() for row in rows for a, b in ranges]
    found = np.frombuffer(b"".join(digests), np.uint64).reshape(len(rows), len(ranges))
    least, most = (f.reduceat(rows, bounds[:-1], axis=1) for f in (np.minimum, np.maximum))
    return np.where(least == most, _ONE_VALUE, found)


def _judged(missing: Bools, have: Bools, black: Bools) -> Lag:
    """Claim the lag that stands out; missing and have (site, buffer), black (site, lag, buffer)."""
    hits = (black & missing[:, None]).sum(axis=2)
    score = hits - (black & have[:, None]).sum(axis=2)
    matches = hits.sum(axis=0)
    best = int(matches.argmax())
    ahead = (score[:, [best]] > score).sum(axis=0)
    against = int((hits[:, best] < missing.sum(axis=1)).sum())
    clear = np.delete(ahead, best).min() >= max(_FEWEST, _ODDS * against)
    return _claimed(best if clear else None, missing, matches)


def _judged_shared(telling: Bools, hits: Bools, name: str) -> Lag:
    """Claim the lag that stands out; telling (site, buffer), hits (site, lag, buffer)."""
    score = hits.sum(axis=2)
    matches = score.sum(axis=0)
    best = int(matches.argmax())
    ahead = (score[:, [best]] > score).sum(axis=0)
    behind = (score[:, [best]] < score).sum(axis=0)
    silent = int((telling.any(axis=1) & (score[:, best] == 0)).sum())
    clear = np.delete(ahead >= np.maximum(max(_FEWEST, silent), _ODDS * behind), best).all()
    return _claimed(best if clear else None, telling, matches, name)


def _claimed(
    best: int | None, looked_at: Bools, matches: NDArray[np.int64], name: str | None = None
) -> Lag:
    """Claim the lag at this place of `LAGS`, or none; matches (lag,)."""
    lag = None if best is None else int(LAGS[best])
    unshifted = int(matches[LAGS == 0][0])
    found = unshifted if best is None else int(matches[best])
    return Lag(lag, int(looked_at.sum()), found, unshifted, name)
