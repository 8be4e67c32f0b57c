"""The better candidate of every frame, by what was received and how it looks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from miostitch.config.thresholds import ScoreConfig
from miostitch.kernels.composition import identical_buffers
from miostitch.kernels.scores import score_frames
from miostitch.ranges import runs
from miostitch.schema import NO_FRAME, PIXEL_SCORES

Frames = NDArray[np.uint8]
Candidates = Sequence[Frames] | Frames
"""The frames of each recording, (recording,) of (frame, height, width)."""


class Choice(NamedTuple):
    """The candidates that matter for each frame."""

    source: NDArray[np.int8]  # Recording that gives the frame, int8 (frame,)
    other: NDArray[np.int8]  # Best recording among the rest, int8 (frame,); -1 where there is none
    # Whether only edge energy or the order of the recordings told the two apart, bool (frame,).
    tie: NDArray[np.bool_]


def score_pixels(frames: Frames, config: ScoreConfig) -> NDArray[np.int64]:
    """Score frames, int64 (frame, score) in the order of ``miostitch.schema.PIXEL_SCORES``."""
    out = np.empty((len(PIXEL_SCORES), len(frames)), np.int64)
    score_frames(
        frames,
        config.value_threshold,
        config.consecutive_threshold,
        config.gradient_threshold,
        out,
    )
    return out.T


def find_alike(candidates: Candidates) -> NDArray[np.int8]:
    """Find candidates with the very same pixels.

    Most are: what a radio delivers it delivers exactly. Nothing need be measured of them twice.

    Returns: int8 (recording, frame): the first recording whose candidate has these pixels.
    """
    count = len(candidates[0])
    first = np.repeat(np.arange(len(candidates), dtype=np.int8)[:, np.newaxis], count, axis=1)
    for number, block in enumerate(candidates):
        for earlier in reversed(range(number)):
            same = find_equal(block, candidates[earlier])
            first[number, same] = first[earlier, same]
    return first


def find_equal(frames: Frames, others: Frames) -> NDArray[np.bool_]:
    """Find the frames that equal the others' pixel by pixel, (frame,)."""
    count = len(frames)
    flat, other = (block.reshape(count, -1) for block in (frames, others))
    as_one_buffer = np.array([0, flat.shape[1]])
    same, all_frames = np.empty(count, np.uint64), np.ones(count, np.uint64)
    identical_buffers(flat, other, all_frames, as_one_buffer, same)
    return same > 0


def score_candidates(
    candidates: Candidates, alike: NDArray[np.int8], config: ScoreConfig
) -> NDArray[np.int64]:
    """Score each of the different pictures once, int64 (frame, recording, score)."""
    scores = np.empty((*alike.T.shape, len(PIXEL_SCORES)), np.int64)
    for number, block in enumerate(candidates):
        for first, last in runs(np.flatnonzero(alike[number] == number)).tolist():
            scores[first : last + 1, number] = score_pixels(block[first : last + 1], config)
    return scores[np.arange(len(scores))[:, np.newaxis], alike.T]


def select(
    present: NDArray[np.bool_],
    num_buffers: NDArray[np.integer],
    flaws: NDArray[np.integer],
    edge_energy: NDArray[np.integer],
) -> Choice:
    """Choose per frame: most buffers, least flaws, least edge energy, first recording.

    ``present``: whether the recording has the frame, (recording, frame); ``num_buffers``: distinct
    buffers received, (recording, frame); ``flaws``: padding, black and noisy pixels together,
    (recording, frame); ``edge_energy``: sum of absolute Sobel gradients, (recording, frame).

    The criteria are those of mio 0.12.1, applied to any number of recordings. A frame that no
    recording has gets source -1.
    """
    source = _best(present, num_buffers, flaws, edge_energy)
    rest = present & (np.arange(len(present))[:, None] != source)
    other = _best(rest, num_buffers, flaws, edge_energy)
    columns = np.arange(present.shape[1])
    tie = (
        (other != NO_FRAME)
        & (num_buffers[source, columns] == num_buffers[other, columns])
        & (flaws[source, columns] == flaws[other, columns])
    )
    return Choice(source, other, tie)


def prefer_likely(rule: Choice, likely: NDArray[np.floating]) -> Choice:
    """Choose the candidate that is exact with the highest probability.

    Where none has a higher one than the choice of the rule, that stands.

    ``likely``: probability that the frame is exact, -1 where absent, (recording, frame).
    """
    columns = np.arange(likely.shape[1])
    best = likely.argmax(axis=0).astype(np.int8)
    overruled = likely[best, columns] > likely[rule.source, columns]
    source = np.where(overruled, best, rule.source)
    other = np.where(overruled, rule.source, rule.other)
    return Choice(source, other, rule.tie & (~overruled | (rule.other == best)))


def _best(
    present: NDArray[np.bool_],
    num_buffers: NDArray[np.integer],
    flaws: NDArray[np.integer],
    edge_energy: NDArray[np.integer],
) -> NDArray[np.int8]:
    """Best recording per frame among those present, -1 where none is."""
    remaining = present.copy()
    for criterion in (-num_buffers.astype(np.int64), flaws, edge_energy):
        masked = np.where(remaining, criterion, np.iinfo(np.int64).max)
        remaining &= masked == masked.min(axis=0)
    return np.where(remaining.any(axis=0), remaining.argmax(axis=0), NO_FRAME).astype(np.int8)
