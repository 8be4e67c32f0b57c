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
