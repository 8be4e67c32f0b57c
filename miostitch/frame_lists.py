"""Lists of frames as text: ``0,5,10-20``."""

import re

import numpy as np
from numpy.typing import NDArray

from miostitch.errors import UsageError

MAX_FRAMES = 2**24
"""More frames than this in one text are a slip of the pen."""


def parse_frames(text: str) -> NDArray[np.int64]:
    """Read a list of frames.

    Parameters
    ----------
    text
        Positions and ranges of them, both ends included: ``0,5,10-20``.

    Returns
    -------
    numpy.ndarray
        int64 (n,), ascending, each position once.

    Raises
    ------
    UsageError
        The text is no such list.

    Examples
    --------
    >>> parse_frames("5, 0, 10-12")
    array([ 0,  5, 10, 11, 12])
    """
    ranges = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,15})\s*(?:-\s*([0-9]{1,15})\s*)?", part)
        first, last = (int(end) for end in (match[1], match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise UsageError(f"frames {part!r}: positions and ranges are meant, as in 0,5,10-20")
        ranges.append((first, last))
    if sum(last + 1 - first for first, last in ranges) > MAX_FRAMES:
        raise UsageError(f"frames {text!r}: more than {MAX_FRAMES} frames; use trim")
    parts, end = [], 0
    for first, last in sorted(ranges):  # what overlaps counts once
        parts.append(np.arange(max(first, end), last + 1))
        end = max(end, last + 1)
    return np.concatenate(parts)


def format_frames(frames: NDArray[np.int64]) -> str:
    """Write a list of frames as :func:`parse_frames` reads it.

    Examples
    --------
    >>> format_frames(np.array([12, 0, 10, 11]))
    '0,10-12'
    """
    ordered = np.unique(frames)
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1) if len(ordered) else []
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
