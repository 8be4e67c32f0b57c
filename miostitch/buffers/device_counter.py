"""The device's own frame counter."""

import numpy as np
from numpy.typing import NDArray

CONFIRMING_FRAMES = 6  # before and after a fall of the counter, that must agree on it
LEAST_FRAMES = 3  # fewer decide nothing
DISORDER = 12  # falls of the counter by no more than this are frames in disorder


def counter_resets(frame_num: NDArray[np.int64]) -> NDArray[np.int64]:
    """First frame after each reset of the device's counter: it falls and stays fallen.

    Neither a jump upwards nor an isolated wrong number nor a few frames in disorder is a reset,
    and a boot of less than about 20 frames is not recognised.
    """
    span = np.arange(CONFIRMING_FRAMES)
    falls = np.flatnonzero(frame_num[1:] < frame_num[:-1]) + 1
    falls = falls[(falls >= LEAST_FRAMES) & (falls <= len(frame_num) - LEAST_FRAMES)]
    scores = []
    for fall in falls.tolist():
        before = frame_num[max(fall - len(span), 0) : fall]
        after = frame_num[fall : fall + len(span)]
        share = float((before[:, None] > after).mean())  # of all pairs
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
