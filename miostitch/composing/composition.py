"""One frame out of several flawed copies of it, buffer by buffer and, where copies differ, below.

The rules, in the order in which they decide one buffer:

1. Copies: a recording delivered a buffer if it has a row for it or pixels that are not all zero.
2. One copy is taken as it is; copies that are identical prove each other.
3. Of three copies or more, an identical majority wins.
4. Otherwise the copies differ in bursts (tens to thousands of pixels of noise) and single flipped
   bits. Every differing pixel has a price per copy: how surprising its value is next to the
   neighbours in the image and in the frames before and after, and how many copies contradict it.
   The cheapest path through the differing pixels wins, where changing the copy inside a stretch
   costs too. How surprising a value is was learned from the pixels on which two copies agree
   (:mod:`miostitch.composing.learning`): there is no threshold to set.
5. Receivers are not equal: to call a copy wrong costs the more, the more seldom its recording was
   found wrong when some frames were composed before.

Neighbours count only where all copies agree and are read from the recordings, never from earlier
decisions: the result does not depend on how a session is cut into blocks. Choosing between copies,
and voting where there are three, is what best source selection does in telemetry (IRIG 106-22,
chapter 2, appendix G), taking blocks from a clean copy what dvrescue does for DV tapes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from miostitch.arrays import F32, F64, I8, I32, I64, U8, Bools
from miostitch.errors import UsageError
from miostitch.kernels import composition as kernels

EXCLUDED = kernels.EXCLUDED
AGREEMENT = ("shared", "identical")
"""What :func:`shared_buffers` counts."""


@dataclass(frozen=True)
class Copies:
    """Consecutive output frames as each recording has them."""

    # Flattened images, uint8 (recording, frame, pixel); zero where a recording lacks the frame.
    frames: U8
    # Pixels delivered by the rows, int32 (recording, frame, buffer), see :func:`given_pixels`.
    given: I32
    bounds: I64  # Limits of the buffers in the flattened frame, int64 (buffer + 1,)
    width: int  # Width of a frame in pixels

    def __post_init__(self) -> None:
        # One layout, one compilation. Nothing is copied where the block was gathered as a whole.
        object.__setattr__(self, "frames", np.ascontiguousarray(self.frames))
        object.__setattr__(self, "given", np.ascontiguousarray(self.given))
        recordings, frames, pixels = self.frames.shape
        buffers = len(self.bounds) - 1
        if self.given.shape != (recordings, frames, buffers):
            msg = f"given is {self.given.shape}, expected {(recordings, frames, buffers)}"
            raise UsageError(msg)
        if self.bounds[0] != 0 or self.bounds[-1] != pixels or (np.diff(self.bounds) <= 0).any():
            msg = f"bounds must rise from 0 to {pixels}, not {self.bounds.tolist()}"
            raise UsageError(msg)
        if pixels % self.width:
            msg = f"{pixels} pixels are no rows of {self.width}"
            raise UsageError(msg)

    def part(self, frames: slice) -> "Copies":
        """Take some of the frames."""
        return Copies(self.frames[:, frames], self.given[:, frames], self.bounds, self.width)

    def whole_buffers(self) -> npt.NDArray[np.uint64]:
        """Bit k set: the rows say that buffer k was delivered whole, uint64 (recording, frame)."""
        bits = np.uint64(1) << np.arange(self.given.shape[2], dtype=np.uint64)
        whole = self.given == np.diff(self.bounds)
        return np.asarray(np.bitwise_or.reduce(np.where(whole, bits, np.uint64(0)), axis=2))

    def presence(self) -> I32:
        """Pixels that each copy delivered by rows and pixels, int32 (recording, frame, buffer)."""
        have = np.empty(self.given.shape, np.int32)
        kernels.presence(self.frames, self.given, self.bounds, have)
        return have


@dataclass(frozen=True)
class PixelModel:
    """What the pixels of a session look like, and which recordings are right more often."""

    weights: I32  # Weight of each neighbour in a prediction, int32 (neighbour,)
    cost: I32  # Surprise in 1/64 nat, int32 (prediction, value)
    # How much more seldom each errs than the worst, in 1/64 nat, 0 if not known: int32 (recording,)
    trust: I32
    # How much more the distance of a pixel from the mean of the pixels next to it, + 255, speaks
    # for noise than for an image, in 1/64 nat: int32 (distance,)
    surprise: I32
    flips: F64  # Flipped pixels that stand alone, per pixel: float64 (recording,)
    bursts: F64  # Bursts of errors, per buffer: float64 (recording,)
    lit: Bools  # Buffers most of whose copies have pixels above 0: bool (buffer,)


@dataclass(frozen=True)
class Composition:
    """Composed frames and how every buffer was decided."""

    frames: U8  # Flattened images, uint8 (frame, pixel); zero where nobody delivered
    # Recording that gave the buffer, or most of the pixels on which the copies differ, int8 (frame,
    # buffer); -1 nobody.
    recording: I8
    evidence: U8  # :class:`miostitch.schema.Evidence`, uint8 (frame, buffer)
    # What else is known of the buffer, float32 (frame, buffer). Where the copies differ: the share
    # of the likelihood that the chosen pixels have; of a single copy: how much speaks for noise,
    # in nats.
    clue: F32
    missing_pixels: I32  # Pixels that nobody delivered, int32 (frame,)
    # The first recording whose frame is the composed one bit for bit, int8 (frame,); -1: none.
    source: I8

    @classmethod
    def concat(cls, parts: "Sequence[Composition]") -> "Composition":
        """Put composed frames one after the other."""
        if len(parts) == 1:
            return parts[0]
        columns = {name: [vars(part)[name] for part in parts] for name in vars(parts[0])}
        return cls(**{name: np.concatenate(arrays) for name, arrays in columns.items()})


def glue_piece(frame: U8, given: I32, piece: U8, piece_given: I32, bounds: I64) -> None:
    """Move the buffers that a split-off piece of a frame has, and the frame lacks, into the frame.

    ``frame, given``: pixels (pixel,) and delivered pixels (buffer,) of the frame; changed in place;
    ``bounds``: limits of the buffers in the flattened frame, int64 (buffer + 1,).
    """
    for buffer in np.flatnonzero(piece_given > given):
        lo, hi = bounds[buffer], bounds[buffer + 1]
        frame[lo:hi] = piece[lo:hi]
        given[buffer] = piece_given[buffer]


def shared_buffers(
    frames: Sequence[U8] | U8, delivered: npt.NDArray[np.uint64], bounds: I64
) -> npt.NDArray[np.int16]:
    """Count the buffers that several receivers got complete, and those that are all alike.

    ``frames``: flattened images of each recording, uint8 (frame, pixel); ``delivered``: bit k set:
    the recording delivered the whole buffer k, uint64 (recording, frame); ``bounds``: limits of the
    buffers in the flattened frame, int64 (buffer + 1,).

    Returns: Shared and identical buffers, int16 (frame, agreement) in the order of
    :data:`AGREEMENT`.
    """
    shared, unlike, alike = (np.zeros(delivered.shape[1], np.uint64) for _ in range(3))
    for one, other in combinations(range(len(frames)), 2):
        both = delivered[one] & delivered[other]
        shared |= both
        kernels.identical_buffers(frames[one], frames[other], both, bounds, alike)
        unlike |= both & ~alike
    return np.bitwise_count(np.stack([shared, shared & ~unlike], axis=1)).astype(np.int16)


def shared_counts(delivered: npt.NDArray[np.uint64]) -> npt.NDArray[np.int16]:
    """Count the buffers that several receivers got complete.

    ``delivered``: bit k set: the recording delivered the whole buffer k, uint64 (recording, frame).

    Returns: int16 (frame,).
    """
    once, shared = np.zeros((2, delivered.shape[1]), np.uint64)
    for masks in delivered:
        shared |= once & masks
        once |= masks
    return np.bitwise_count(shared).astype(np.int16)


def compose_block(
    copies: Copies,
    model: PixelModel,
    before: int = 0,
    after: int = 0,
    present: Bools | None = None,
) -> Composition:
    """Compose the frames of a block, but for some before and after them, which help to decide.

    ``present``: which recording has which of the frames, (recording, frame), by default all: a
    frame may be as black as no frame.
    """
    return compose_copies(copies, copies.presence(), model, before, after, present)


def compose_copies(
    copies: Copies,
    have: I32,
    model: PixelModel,
    before: int = 0,
    after: int = 0,
    present: Bools | None = None,
) -> Composition:
    """Compose the frames of a block, of whose buffers it is known how much each copy delivered."""
    recordings, frames, pixels = copies.frames.shape
    frames -= before + after
    buffers = len(copies.bounds) - 1
    composition = Composition(
        np.empty((frames, pixels), np.uint8),
        np.empty((frames, buffers), np.int8),
        np.empty((frames, buffers), np.uint8),
        np.empty((frames, buffers), np.float32),
        np.empty(frames, np.int32),
        np.empty(frames, np.int8),
    )
    kernels.compose(
        copies.frames,
        have,
        copies.bounds,
        np.ones((recordings, frames), np.bool_) if present is None else present,
        copies.width,
        model.weights,
        model.cost,
        model.trust,
        model.surprise,
        before,
        composition.frames,
        composition.recording,
        composition.evidence,
        composition.clue,
        composition.missing_pixels,
        composition.source,
    )
    return composition
