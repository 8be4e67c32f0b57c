"""Compressed chunks of HDF5, made by tasks and appended by the coordinator."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from miostitch.ranges import spans
from miostitch.video.writer import Append, Packed

CHUNK_BYTES = 2**20  # HDF5 keeps a chunk of this size in its cache
LEVEL = 2  # Of ISA-L's deflate: four times as fast as zlib's level 1 or more, and some 5 % larger


def frames_per_chunk(count: int, height: int, width: int) -> int:
    """Frames of a chunk."""
    return min(count, max(1, CHUNK_BYTES // (height * width)))


def compress_chunks(
    chunks: tuple[int, int, int],
    first: int,
    frames: NDArray[np.uint8],
    *,
    axes: tuple[int, int, int] = (0, 1, 2),
) -> list[bytes]:
    """Chunks of frames, as HDF5's own filter would have made them, whose zlib takes far longer.

    ``axes``: those of the frames in the order of the dataset's; ``frames``: whole chunks, but at
    the end.
    """
    packed = []
    for span in spans(len(frames), chunks[0]):
        part = frames[span]
        chunk = np.zeros(chunks, np.uint8)  # the last one reaches beyond the end
        chunk[: len(part)] = part.transpose(axes)
        packed.append(isal_zlib.compress(chunk, LEVEL))
    return packed


@contextmanager
def chunk_writer(data: Any, count: int) -> Iterator[Append]:
    """Take compressed chunks into a dataset whose first axis is the frames."""

    def append(first: int, packed: Packed) -> None:
        for number, chunk in enumerate(packed):
            data.id.write_direct_chunk((first + number * data.chunks[0], 0, 0), chunk)

    yield append
