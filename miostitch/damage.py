"""What is missing from a frame, counted in pixels."""

import numpy as np
from numpy.typing import NDArray

from miostitch.clocks import counter_resets


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


def lost_buffers(
    frame_num: NDArray[np.int64], buffers: NDArray[np.uint64], buffers_per_frame: int
) -> int:
    """Count the buffers that a recording lacks of the frames it has, split pieces together.

    Parameters
    ----------
    frame_num
        Device counter of each frame of the video, (frame,); negative: unknown.
    buffers
        Bit k set: buffer k was received, (frame,).
    buffers_per_frame
        Buffers the device sends of a frame.
    """
    known = frame_num >= 0
    number, have = frame_num[known], buffers[known]
    boot = np.zeros(len(number), np.int64)
    boot[counter_resets(number)] = 1
    _, frame = np.unique(np.stack([boot.cumsum(), number]), axis=1, return_inverse=True)
    together = np.zeros(frame.max(initial=-1) + 1, np.uint64)
    np.bitwise_or.at(together, frame, have)
    whole = np.uint64((1 << buffers_per_frame) - 1)
    received = np.bitwise_count(together & whole).sum(dtype=np.int64)
    return int(len(together) * buffers_per_frame - received)


def _has(buffers: NDArray[np.uint64], number: int) -> NDArray[np.bool_]:
    return np.asarray(buffers >> np.uint64(number) & np.uint64(1), bool)
