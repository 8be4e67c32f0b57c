"""What is missing from frames and recordings, counted in buffers."""

import numpy as np
from numpy.typing import NDArray

from miostitch.buffers.device_counter import counter_resets
from miostitch.buffers.frame_table import FrameTable, folded, mask_bits
from miostitch.kernels.composition import EXCLUDED


def complete(buffers: NDArray[np.uint64], bounds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether every buffer of the frame was received, in the shape of ``buffers``."""
    whole = np.uint64((1 << (len(bounds) - 1)) - 1)
    return np.asarray((buffers & whole) == whole)


def received_buffers(
    frame_num: NDArray[np.int64], buffers: NDArray[np.uint64], buffers_per_frame: int
) -> NDArray[np.uint8]:
    """Count the buffers that a recording has of each of its frames, split pieces together.

    ``frame_num``: device counter of each frame of the video, (frame,); negative: unknown;
    ``buffers``: bit k set: buffer k was received, (frame,).
    """
    known = frame_num >= 0
    number, have = frame_num[known], buffers[known]
    boot = np.zeros(len(number), np.int64)
    boot[counter_resets(number)] = 1
    pieces = {"boot": boot.cumsum(), "number": number, "have": have}
    frames = folded(pieces, ("boot", "number"), {"have": np.bitwise_or})
    whole = np.uint64((1 << buffers_per_frame) - 1)
    received: NDArray[np.uint8] = np.bitwise_count(frames["have"] & whole)
    return received


def lost_buffers(
    frame_num: NDArray[np.int64], buffers: NDArray[np.uint64], buffers_per_frame: int
) -> int:
    """Count the buffers that a recording lacks of the frames it has; see received_buffers."""
    received = received_buffers(frame_num, buffers, buffers_per_frame)
    return int(len(received) * buffers_per_frame - received.sum(dtype=np.int64))


def given_pixels(
    table: FrameTable, frames: NDArray[np.int64], bounds: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Pixels that the rows of one recording say were delivered, at the place where they stand.

    ``frames``: frames of the recording's video, int64 (frame,); -1 for none; ``bounds``: limits of
    the buffers in the flattened frame, int64 (buffer + 1,).

    Returns: ``given``, int32 (frame, buffer): 0 without a row, :data:`EXCLUDED` where the pixels
    that stand there belong elsewhere.
    """
    sizes = np.diff(bounds)
    present = (frames >= 0)[:, None]

    def has(masks: NDArray[np.uint64]) -> NDArray[np.bool_]:
        return mask_bits(masks[frames], len(sizes)) & present

    given = np.where(has(table.buffers), sizes, 0)
    first, stop = (np.searchsorted(table.short["frame"], frames, s) for s in ("left", "right"))
    for place in np.flatnonzero(first < stop):
        for _, buffer, pixels in table.short[first[place] : stop[place]].tolist():
            if buffer < len(sizes):
                given[place, buffer] = max(given[place, buffer] - pixels, 0)
    given[has(table.excluded)] = EXCLUDED
    return given.astype(np.int32)
