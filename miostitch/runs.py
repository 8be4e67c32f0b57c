"""Runs of numbers that follow each other, and numbers each once."""

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


def distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each number once, ascending.

    By sorting: NumPy's own hashes them, which takes seconds for a million that all differ.

    Examples
    --------
    >>> distinct(np.array([9, 3, 9, 4])).tolist()
    [3, 4, 9]
    """
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]
