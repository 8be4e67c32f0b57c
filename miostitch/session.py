"""Recordings of one session, checked and brought together."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from miostitch.alignment import Alignment, FrameIdentity, align
from miostitch.clocks import frame_times
from miostitch.errors import InputError, MetadataError
from miostitch.frame_table import MASK_BITS
from miostitch.metadata import buffer_layout
from miostitch.recording import Recording
from miostitch.schema import FRAME, NO_FRAME, RECORDING


@dataclass(frozen=True)
class Session:
    """Recordings of one session, brought together.

    Parameters
    ----------
    recordings
        In the order given; ``source`` counts in it.
    alignment
        Output frames and the candidates for each.
    bounds
        Ranges of the buffers in a flattened frame, int64 (buffer + 1,).
    """

    recordings: tuple[Recording, ...]
    alignment: Alignment
    bounds: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Output frames, height and width."""
        return len(self.alignment), *self.recordings[0].shape[1:]

    @property
    def fps(self) -> Fraction:
        """Frame rate of the first recording, exact."""
        return self.recordings[0].videos[0].fps

    def table(self, name: str, span: slice) -> xr.DataArray:
        """A column of the recordings' frame tables, (recording, frame); 0 where absent."""
        source_frame = self.alignment.source_frame[:, span]
        rows = [
            np.where(frames == NO_FRAME, 0, getattr(recording.frames, name)[frames])
            for recording, frames in zip(self.recordings, source_frame, strict=True)
        ]
        return xr.DataArray(np.stack(rows), dims=(RECORDING, FRAME))


def bring_together(recordings: Sequence[Recording]) -> Session:
    """Align recordings and find their buffer layout.

    Parameters
    ----------
    recordings
        At least one; ``source`` counts in their order.

    Raises
    ------
    InputError
        Frame sizes differ.
    AlignmentError
        Recordings share no frame.
    MetadataError
        The buffer sizes do not add up to a frame.
    """
    first = recordings[0]
    for other in recordings[1:]:
        if other.shape[1:] != first.shape[1:]:
            sizes = " and ".join(
                f"{r.path} has frames of {r.shape[2]}x{r.shape[1]}" for r in (first, other)
            )
            msg = f"{sizes} pixels; only recordings of one session can be stitched"
            raise InputError(msg)
    tables = [table for recording in recordings for table in recording.tables]
    bounds = buffer_layout(tables, first.shape[1] * first.shape[2])
    buffers = len(bounds) - 1
    if buffers > MASK_BITS:
        msg = f"{first.path}: {buffers} buffers per frame; at most {MASK_BITS} are supported"
        raise MetadataError(msg)
    identities = [
        FrameIdentity(
            recording.path,
            frames.frame_num,
            frames.num_buffers,
            frame_times(frames.timestamp_first, frames.timestamp_last, frames.buffers, buffers),
        )
        for recording in recordings
        for frames in (recording.frames,)
    ]
    return Session(tuple(recordings), align(identities), bounds)
