"""Which frame of which recording shows the same moment: the outer join on ``frame_num``."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miostitch.errors import AlignmentError
from miostitch.schema import NO_FRAME


@dataclass(frozen=True)
class FrameIdentity:
    """What alignment needs to know of one recording.

    Parameters
    ----------
    name
        The recording, for messages.
    frame_num
        Device counter of each frame of the video, int64 (source frame,); negative: unknown.
    num_buffers
        Distinct buffers received of each frame, (source frame,).
    """

    name: str
    frame_num: NDArray[np.int64]
    num_buffers: NDArray[np.int16]


@dataclass(frozen=True)
class Duplicate:
    """A ``frame_num`` that one recording holds in several frames of its video."""

    recording: int
    frame_num: int
    kept: int
    dropped: tuple[int, ...]


@dataclass(frozen=True)
class Alignment:
    """Output frames and the frame of each recording that could fill them.

    Parameters
    ----------
    frame_num
        Device counter of each output frame, int64 (frame,), ascending.
    source_frame
        Frame of each recording's video, int64 (recording, frame); -1 where it has none.
    duplicates
        Frames of the recordings that gave way to a better piece of the same frame.
    """

    frame_num: NDArray[np.int64]
    source_frame: NDArray[np.int64]
    duplicates: tuple[Duplicate, ...] = ()

    def __len__(self) -> int:
        return len(self.frame_num)

    @property
    def lost_frame_num(self) -> list[tuple[int, int]]:
        """First and last of every run of ``frame_num`` that no recording saw."""
        before, after = self.frame_num[:-1], self.frame_num[1:]
        holes = np.flatnonzero(after - before > 1)
        return [(int(before[i]) + 1, int(after[i]) - 1) for i in holes]


def align(recordings: Sequence[FrameIdentity]) -> Alignment:
    """Join recordings on ``frame_num``, keeping every frame that any of them saw.

    A jump of ``frame_num`` is radio loss: the frames nobody saw are no frames of the result.
    Of several frames with one ``frame_num`` in a recording, the one with most distinct buffers
    is the candidate; among equals, the first.

    Parameters
    ----------
    recordings
        One identity per recording; their order is the order of the result's rows.

    Returns
    -------
    Alignment
        Frames in ascending ``frame_num``.

    Raises
    ------
    AlignmentError
        A recording has no frame, or shares none with the others.
    """
    keys, positions, duplicates = [], [], []
    for number, recording in enumerate(recordings):
        key, position, repeated = _best_pieces(number, recording)
        if not len(key):
            msg = f"{recording.name}: no frame of the video has a row with a frame_num"
            raise AlignmentError(msg)
        keys.append(key)
        positions.append(position)
        duplicates += repeated
    _require_overlap([recording.name for recording in recordings], keys)
    frame_num = np.unique(np.concatenate(keys))
    source_frame = np.full((len(recordings), len(frame_num)), NO_FRAME, np.int64)
    for row, key, position in zip(source_frame, keys, positions, strict=True):
        row[np.searchsorted(frame_num, key)] = position
    return Alignment(frame_num, source_frame, tuple(duplicates))


def _best_pieces(
    number: int, recording: FrameIdentity
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[Duplicate]]:
    """Distinct ``frame_num`` of a recording, the frame that stands for each, and the others."""
    known = np.flatnonzero(recording.frame_num >= 0)
    frame_num = recording.frame_num[known]
    # lexsort is stable: equal frame_num and num_buffers stay in the order of the video
    order = np.lexsort((-recording.num_buffers[known].astype(np.int64), frame_num))
    frame_num, position = frame_num[order], known[order]
    first = np.ones(len(order), bool)
    first[1:] = frame_num[1:] != frame_num[:-1]
    starts = np.flatnonzero(first)
    sizes = np.diff(starts, append=len(order))
    duplicates = [
        Duplicate(
            number,
            int(frame_num[start]),
            int(position[start]),
            tuple(int(p) for p in position[start + 1 : start + size]),
        )
        for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True)
    ]
    return frame_num[starts], position[starts], duplicates


def _require_overlap(names: list[str], keys: list[NDArray[np.int64]]) -> None:
    """Check that a chain of shared frames links all recordings."""
    seen, linked, waiting = keys[0], [0], list(range(1, len(keys)))
    while waiting:
        found = [i for i in waiting if np.isin(keys[i], seen, assume_unique=True).any()]
        if not found:
            ranges = "; ".join(
                f"{names[i]} has frame_num {keys[i][0]} to {keys[i][-1]}"
                for i in (*linked, *waiting)
            )
            msg = (
                f"no overlap: {', '.join(names[i] for i in waiting)} shares no frame_num with "
                f"{', '.join(names[i] for i in linked)} ({ranges}); "
                "are these recordings of the same session?"
            )
            raise AlignmentError(msg)
        seen = np.unique(np.concatenate([seen, *(keys[i] for i in found)]))
        linked += found
        waiting = [i for i in waiting if i not in found]
