"""The device's own frame counter."""

import numpy as np
from numpy.typing import NDArray

from miostitch.ranges import runs

CONFIRMING_FRAMES = 6  # before and after a fall of the counter, that must agree on it
LEAST_FRAMES = 3  # fewer decide nothing
NEAR = 64  # frames lost in a row at most, as a rule: a number counts if another one is this near,
NEIGHBOURS = 8  # of so many frames before and after it
LEAST_NOISE = 8  # numbers in a row that do not count, from which on they are noise
FALLS = 0.25  # of the steps between random numbers half are falls; of those of a bad link few
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


def find_noise(frame_num: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find stretches whose numbers do not count: a receiver makes frames of noise, too.

    While the device is off its radio noise now and then looks like the start of a frame, whose
    header is random. Numbers of frames that were received are near those of the frames around them,
    or at least they rise.

    ``frame_num``: of frames in their order, negative where unknown, (frame,).
    Returns: First and last frame of each stretch, int64 (stretch, 2).
    """
    found = []
    known = np.flatnonzero(frame_num >= 0)
    numbers = frame_num[known]
    counting = np.zeros(len(known), np.bool_)
    for step in range(1, min(NEIGHBOURS, len(known) - 1) + 1):
        near = np.abs(numbers[step:] - numbers[:-step]) <= NEAR
        counting[step:] |= near
        counting[:-step] |= near
    alone = np.flatnonzero(~counting)
    limits = np.concatenate([[-1], known, [len(frame_num)]])  # what is unknown belongs to noise
    for first, last in runs(alone).tolist() if counting.any() else ():
        steps = np.diff(numbers[first : last + 1])
        if len(steps) + 1 >= LEAST_NOISE and (steps <= 0).mean() >= FALLS:
            found.append((limits[first] + 1, limits[last + 2] - 1))
    return np.array(found, np.int64).reshape(-1, 2)


def device_runs(frame_num: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the runs of the device between resets of its counter, (frame,), from 0."""
    run = np.zeros(len(frame_num), np.int64)
    run[counter_resets(frame_num)] = 1
    return run.cumsum()


def run_spans(frame_num: NDArray[np.int64], run: NDArray[np.integer]) -> list[tuple[int, int]]:
    """The lowest and the highest number of each run of the device that has frames.

    ``frame_num``: of frames in their order, each known; ``run``: which run they are of, (frame,).
    """
    parts = np.split(frame_num, np.flatnonzero(np.diff(run)) + 1) if len(frame_num) else []
    return [(int(part.min()), int(part.max())) for part in parts]


def count_numbers(frame_num: NDArray[np.int64]) -> tuple[int, int]:
    """Count the numbers that are lost and those that are repeated, in each run of the device.

    ``frame_num``: of frames in their order, (frame,), each known.
    """
    run = device_runs(frame_num)
    pairs = np.unique(np.stack([run, frame_num], axis=1), axis=0)
    steps, same = np.diff(pairs[:, 1]), np.diff(pairs[:, 0]) == 0
    return int((steps[same] - 1).sum()), len(frame_num) - len(pairs)


def join_fragments(
    frame_num: NDArray[np.int64], num_buffers: NDArray[np.integer], most: int
) -> NDArray[np.int64]:
    """Buffers of each frame, of which fragments with the same number in one run are parts."""
    run = device_runs(frame_num)
    _, frame = np.unique(np.stack([run, frame_num], axis=1), axis=0, return_inverse=True)
    return np.bincount(frame.ravel(), num_buffers).clip(max=most).astype(np.int64)
