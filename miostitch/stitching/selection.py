"""The better candidate of every frame, by what was received and how it looks."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from miostitch.schema import NO_FRAME


class Choice(NamedTuple):
    """The candidates that matter for each frame."""

    source: NDArray[np.int8]  # Recording that gives the frame, int8 (frame,)
    other: NDArray[np.int8]  # Best recording among the rest, int8 (frame,); -1 where there is none
    # Whether only edge energy or the order of the recordings told the two apart, bool (frame,).
    tie: NDArray[np.bool_]


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
