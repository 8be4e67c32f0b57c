"""How far a video's pictures lag behind its table, told by where lost buffers left zeros."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miostitch.frame_table import MASK_BITS, FrameTable

LAGS = np.arange(-3, 4)
"""The lags that are tried."""

MOST_PICTURES = 256
"""Pictures read of a recording at most."""

_FEWEST = 3
_ODDS = 4
_BLOCK_BYTES = 2**24

Read = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Lag:
    """A measured lag and its evidence.

    Parameters
    ----------
    lag
        Picture ``i + lag`` belongs to frame ``i`` of the table; None: cannot be told.
    missing
        Missing buffers that were looked at.
    matches
        Of those, all black at ``lag``; at 0 where it cannot be told.
    matches_unshifted
        Of those, all black at lag 0.
    """

    lag: int | None = None
    missing: int = 0
    matches: int = 0
    matches_unshifted: int = 0

    def __str__(self) -> str:
        if not self.missing:
            return "no missing buffer was there to tell it by"
        if self.lag is None:
            return f"{self.missing} missing buffers do not tell it, {self.matches} black at lag 0"
        found = f"{self.matches} of {self.missing} missing buffers are black at lag {self.lag}"
        return f"{found}, {self.matches_unshifted} at lag 0" if self.lag else found


def measure_lag(
    frames: FrameTable,
    bounds: NDArray[np.int64],
    first_frames: Sequence[int],
    read: Read,
    lost: NDArray[np.int64],
) -> Lag:
    """Find the lag at which missing buffers are black.

    Parameters
    ----------
    frames
        One row per picture over all segments of the recording, as if the lag were 0.
    bounds
        Buffer k is ``picture.ravel()[bounds[k]:bounds[k + 1]]``.
    first_frames
        Position of each segment's first picture, and of the end.
    read
        Gives pictures, uint8 (frame, height, width), by their distinct positions.
    lost
        Pictures that cannot be read.

    Raises
    ------
    MiostitchError
        Whatever ``read`` raises.

    Notes
    -----
    Looked at are frames of the table whose pictures at all lags from -3 to 3 are there and that
    lack a buffer which a frame around them has: only such a buffer tells one lag from another. A
    recording of at most 256 pictures is read whole, of a longer one 36 frames all over it.

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
    have = frames.buffers
    around = np.zeros_like(have)
    for step in range(1, LAGS[-1] + 1):
        around[step:] |= have[:-step]
        around[:-step] |= have[step:]
    telling = np.where(frames.num_rows > 0, ~have & around, np.uint64(0))
    telling &= np.uint64((1 << buffers) - 1)
    sites = _sites(telling > 0, first_frames, lost)
    if not len(sites):
        return Lag()
    wanted = sites[:, None] + LAGS
    pictures = np.unique(wanted)
    black = _black(pictures, bounds, read)[np.searchsorted(pictures, wanted)]
    return _judged(_bits(telling[sites], buffers), _bits(have[sites], buffers), black)


def _sites(
    telling: Bools, first_frames: Sequence[int], lost: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Frames to look at, int64 (site,): few enough that their pictures may be read."""
    usable = telling.copy()
    for edge in first_frames:  # neither across a seam nor beyond an end
        usable[max(0, edge - LAGS[-1]) : max(0, edge - LAGS[0])] = False
    beside = (lost[:, None] + LAGS).clip(0, len(usable) - 1)
    usable[beside] = False
    sites = np.flatnonzero(usable)
    most = MOST_PICTURES // len(LAGS)
    if len(telling) <= MOST_PICTURES or len(sites) <= most:
        return sites
    return sites[np.linspace(0, len(sites) - 1, most).astype(np.int64)]


def _black(pictures: NDArray[np.int64], bounds: NDArray[np.int64], read: Read) -> Bools:
    """Which ranges are all zero, (picture, buffer)."""
    step = max(1, _BLOCK_BYTES // int(bounds[-1]))
    return np.concatenate(
        [
            np.maximum.reduceat(read(some).reshape(len(some), -1), bounds[:-1], axis=1) == 0
            for some in np.split(pictures, range(step, len(pictures), step))
        ]
    )


def _judged(missing: Bools, have: Bools, black: Bools) -> Lag:
    """Claim the lag that stands out; missing and have (site, buffer), black (site, lag, buffer)."""
    hits = (black & missing[:, None]).sum(axis=2)
    score = hits - (black & have[:, None]).sum(axis=2)
    matches = hits.sum(axis=0)
    best = int(matches.argmax())
    ahead = (score[:, [best]] > score).sum(axis=0)
    against = int((hits[:, best] < missing.sum(axis=1)).sum())
    clear = np.delete(ahead, best).min() >= max(_FEWEST, _ODDS * against)
    looked_at, unshifted = int(missing.sum()), int(matches[LAGS == 0][0])
    if not clear:
        return Lag(None, looked_at, unshifted, unshifted)
    return Lag(int(LAGS[best]), looked_at, int(matches[best]), unshifted)


def _bits(masks: NDArray[np.uint64], count: int) -> Bools:
    """Bit k of each mask in column k."""
    return (masks[:, None] >> np.arange(count, dtype=np.uint64) & np.uint64(1)).astype(bool)
