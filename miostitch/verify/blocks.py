"""Reads some frames of a result together with everything they could have been made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miostitch.errors import VideoError
from miostitch.schema import NO_FRAME
from miostitch.verify.findings import Kind
from miostitch.verify.inputs import InputRecording
from miostitch.verify.result import Result

U8 = NDArray[np.uint8]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass
class Block:
    """Some frames of a result, and the candidates for them."""

    number: int
    start: int
    made: U8  # The frames, uint8 (frame, pixel)
    # Pictures of each recording (frame, pixel), None for one that is not there.
    raw: list[U8 | None]
    copies: list[U8 | None]
    given: NDArray[np.int64]
    whole: Bools
    # Which buffers some recording has whole by its rows, in one piece or another (frame, buffer).
    anywhere: Bools
    present: Bools  # Which recording has the frame, (recording, frame)
    unread: bool = False  # Whether a picture could not be read, which is noted

    @property
    def span(self) -> slice:
        """The frames."""
        return slice(self.start, self.start + len(self.made))


def read_block(result: Result, number: int, made: U8) -> Block:
    """Read all candidates for a block, and put split pieces back.

    ``made``: the frames, uint8 (frame, pixel).
    """
    count, start = len(made), number * result.store.block
    wanted = result.source_frame[:, start : start + count]
    buffers = len(result.bounds) - 1
    part = Block(
        number=number,
        start=start,
        made=made,
        raw=[None] * len(wanted),
        copies=[None] * len(wanted),
        given=np.zeros((len(wanted), count, buffers), np.int64),
        whole=np.zeros((len(wanted), count, buffers), bool),
        anywhere=np.zeros((count, buffers), bool),
        present=wanted != NO_FRAME,
    )
    for at, (recording, frames) in enumerate(zip(result.recordings, wanted, strict=True)):
        if recording is None:
            continue
        there = frames != NO_FRAME
        part.given[at, there] = recording.facts.given[frames[there]]
        part.whole[at, there] = recording.facts.whole[frames[there]]
        part.anywhere |= part.whole[at]
        try:
            out = result.store.scratch.take(f"recording {at}", (count, *result.store.shape[1:]))
            part.raw[at] = part.copies[at] = recording.pictures(frames, out).reshape(count, -1)
            _add_pieces(result, part, at, recording)
        except VideoError as error:
            part.raw[at] = part.copies[at] = None
            part.unread = True
            result.findings.add(Kind.INPUT, recording.videos[0].path, str(error), frame=start)
    return part


def _add_pieces(result: Result, part: Block, at: int, recording: InputRecording) -> None:
    """Count what split pieces hold, and, where frames are composed, put it into a copy."""
    picture = part.raw[at]
    pieces, frames = result.pieces[at]
    low, high = np.searchsorted(frames, (part.span.start, part.span.stop))
    pieces, places = pieces[low:high], frames[low:high] - part.start
    for piece, place in zip(pieces, places, strict=True):
        part.anywhere[place] |= recording.facts.whole[piece]
    if picture is None or not len(pieces) or not result.composed:
        return
    joined = picture.copy()
    extra = recording.pictures(pieces).reshape(len(pieces), -1)
    for piece, pixels, place in zip(pieces, extra, places, strict=True):
        own = recording.facts.given[piece]
        for k in np.flatnonzero(own > part.given[at, place]):
            lo, hi = result.bounds[k : k + 2]
            joined[place, lo:hi] = pixels[lo:hi]
            part.given[at, place, k] = own[k]
    part.copies[at] = joined
