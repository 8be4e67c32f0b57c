"""What is missing from a frame, counted in pixels."""

import numpy as np
from numpy.typing import NDArray


def missing_pixels(
    buffers: NDArray[np.uint64], black_padding: NDArray[np.int64], bounds: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Pixels of each frame that its buffers did not deliver.

    Parameters
    ----------
    buffers
        Bit k set: buffer k was received; any shape.
    black_padding
        Zeros appended to short buffers, in pixels, in the shape of ``buffers``.
    bounds
        Buffer k is ``frame.ravel()[bounds[k]:bounds[k + 1]]``.

    Returns
    -------
    numpy.ndarray
        int32 in the shape of ``buffers``, at most the pixels of a frame.
    """
    missing = black_padding.astype(np.int64)
    for number, size in enumerate(np.diff(bounds)):
        missing = missing + np.where(_has(buffers, number), 0, size)
    return np.asarray(np.minimum(missing, bounds[-1]), np.int32)


def complete(buffers: NDArray[np.uint64], bounds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether every buffer of the frame was received, in the shape of ``buffers``."""
    whole = np.uint64((1 << (len(bounds) - 1)) - 1)
    return np.asarray((buffers & whole) == whole)


def _has(buffers: NDArray[np.uint64], number: int) -> NDArray[np.bool_]:
    return np.asarray(buffers >> np.uint64(number) & np.uint64(1), bool)
