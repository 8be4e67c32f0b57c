"""What of a file is lost with its damage: which frames, and where in the file."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Loss(NamedTuple):
    """Frames without a picture, or pictures without a row, that follow each other.

    Parameters
    ----------
    file
        Where they should be.
    first, last
        Their positions in the video, or behind its end.
    frame_num
        Of the first and of the last; -1 where it is not known.
    byte
        Where in the file the loss begins; None where that cannot be told.
    why
        What happened to them.
    """

    file: str
    first: int
    last: int
    frame_num: tuple[int, int]
    byte: int | None
    why: str


def runs(frames: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First and last of every run of ascending frames.

    Examples
    --------
    >>> runs(np.array([3, 4, 5, 9]))
    [(3, 5), (9, 9)]
    """
    if not len(frames):
        return []
    breaks = np.flatnonzero(np.diff(frames) > 1)
    firsts, lasts = frames[[0, *(breaks + 1)]], frames[[*breaks, -1]]
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]
