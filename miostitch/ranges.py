"""Lists of frames as text (``0,5,10-20``), and runs of consecutive numbers."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import I64
from miostitch.errors import UsageError

MAX_FRAMES = 2**24  # most frames of one text: a longer range is taken for a typo


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
            raise UsageError(f"frames {part!r}: must be positions and ranges, as in 0,5,10-20")
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
    found = runs(distinct(frames)).tolist()
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def runs(numbers: I64) -> I64:
    """Find the first and last number of every run of consecutive numbers, (run, 2).

    >>> runs(np.array([3, 4, 5, 9])).tolist()
    [[3, 5], [9, 9]]
    """
    return np.stack([numbers[ends] for ends in run_ends(numbers - np.arange(len(numbers)))], axis=1)


def rising_runs(numbers: I64) -> list[tuple[int, int]]:
    """First and last position of every run in which each number is the next one.

    >>> rising_runs(np.array([3, 4, 5, 9, 1]))
    [(0, 2), (3, 3), (4, 4)]
    """
    first, last = run_ends(numbers - np.arange(len(numbers)))
    return [*zip(first.tolist(), last.tolist(), strict=True)]


def distinct(numbers: I64) -> I64:
    """Sort numbers, each once.

    NumPy's own hashes them, which takes seconds for a million that all differ.

    >>> distinct(np.array([9, 3, 9, 4])).tolist()
    [3, 4, 9]
    """
    ordered = np.sort(numbers)
    return ordered[run_starts(ordered)]


def run_starts(*keys: NDArray[Any]) -> NDArray[np.intp]:
    """First position of every run of equal keys.

    >>> run_starts(np.array([3, 3, 4, 4]), np.array([1, 1, 1, 2])).tolist()
    [0, 2, 3]
    """
    new = np.zeros(len(keys[0]), np.bool_)
    new[:1] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(new)


def run_ends(*keys: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last position of every run of equal keys.

    >>> run_ends(np.array([3, 3, 4, 4]), np.array([1, 1, 1, 2]))
    (array([0, 2, 3]), array([1, 2, 3]))
    """
    first = run_starts(*keys)
    return first, np.append(first[1:], len(keys[0]))[: len(first)] - 1


def join_ranges(starts: I64, counts: I64) -> I64:
    """Numbers of ranges that begin at `starts`, one range after the other.

    >>> join_ranges(np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]
    """
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


def spans(count: int, step: int) -> list[slice]:
    """Cut the numbers below `count` into spans of `step`; the last one may be shorter.

    >>> spans(5, 3)
    [slice(0, 3, None), slice(3, 5, None)]
    """
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]
