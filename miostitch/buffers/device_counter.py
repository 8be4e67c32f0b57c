"""The device's own frame counter."""

import numpy as np
from numpy.typing import NDArray

CONFIRMING_FRAMES = 6
"""Frames before and after a fall of the counter that must agree on it."""

LEAST_FRAMES = 3
"""Fewer frames decide nothing."""

DISORDER = 12
"""Falls of the counter by no more than this are frames in disorder."""


def counter_resets(frame_num: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find where the device's counter starts anew: it falls and stays fallen.

    Up to six frames before and after a fall are compared, three at least on each side: in three
    quarters of all pairs the earlier frame must have the higher number, and the medians must lie
    at least :data:`DISORDER` apart. So neither a jump upwards nor an isolated wrong number nor a
    few frames in disorder is a reset, and a boot of less than about 20 frames is not recognised.

    ``frame_num``: known numbers in the order of the video, int64 (frame,).

    Returns: Ascending positions of the first frame after each reset.
    """
    span = np.arange(CONFIRMING_FRAMES)
    falls = np.flatnonzero(frame_num[1:] < frame_num[:-1]) + 1
    falls = falls[(falls >= LEAST_FRAMES) & (falls <= len(frame_num) - LEAST_FRAMES)]
    scores = []
    for fall in falls.tolist():
        before = frame_num[max(fall - len(span), 0) : fall]
        after = frame_num[fall : fall + len(span)]
        share = float((before[:, None] > after).mean())
        lasting = share >= 0.75 and np.median(before) - np.median(after) >= DISORDER
        scores.append(share if lasting else 0.0)
    resets: list[int] = []
    best = 0.0
    for fall, score in zip(falls.tolist(), scores, strict=True):
        if score and (not resets or fall - resets[-1] >= len(span)):
            resets.append(fall)
            best = score
        elif score > best:  # wrong numbers beside a reset make several falls of it
            resets[-1], best = fall, score
    return np.array(resets, np.int64)
