"""Lists of frames as text (``0,5,10-20``), and runs of consecutive numbers."""

import re

import numpy as np

from miostitch.arrays import I64
from miostitch.errors import UsageError

MAX_FRAMES = 2**24
"""Most frames of one text: a longer range is taken for a typo."""


def parse_frames(text: str) -> I64:
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


def format_frames(frames: I64) -> str:
    """Write a list of frames as :func:`parse_frames` reads it.

    >>> format_frames(np.array([12, 0, 10, 11]))
    '0,10-12'
    """
    ordered = np.unique(frames)
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1) if len(ordered) else []
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def runs(numbers: I64) -> I64:
    """Find the first and last number of every run of consecutive numbers, (run, 2).

    >>> runs(np.array([3, 4, 5, 9])).tolist()
    [[3, 5], [9, 9]]
    """
    breaks = np.flatnonzero(np.diff(numbers) != 1)
    first = numbers[np.concatenate([[0], breaks + 1])[: len(numbers)]]
    last = numbers[np.concatenate([breaks, [len(numbers) - 1]])[: len(numbers)]]
    return np.stack([first, last], axis=1)


def distinct(numbers: I64) -> I64:
    """Sort numbers, each once.

    NumPy's own hashes them, which takes seconds for a million that all differ.

    >>> distinct(np.array([9, 3, 9, 4])).tolist()
    [3, 4, 9]
    """
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]
