"""Runs of numbers that follow each other."""

import numpy as np
from numpy.typing import NDArray


def runs(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """First and last of every run of ascending numbers that follow each other, (run, 2).

    Examples
    --------
    >>> runs(np.array([3, 4, 5, 9])).tolist()
    [[3, 5], [9, 9]]
    """
    breaks = np.flatnonzero(np.diff(numbers) != 1)
    first = numbers[np.concatenate([[0], breaks + 1])[: len(numbers)]]
    last = numbers[np.concatenate([breaks, [len(numbers) - 1]])[: len(numbers)]]
    return np.stack([first, last], axis=1)


def format_frames(frames: NDArray[np.int64]) -> str:
    """Write a list of frames as :func:`miostitch.editing.parse_frames` reads it.

    Examples
    --------
    >>> format_frames(np.array([12, 0, 10, 11]))
    '0,10-12'
    """
    spans = runs(np.unique(frames)).tolist()
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
