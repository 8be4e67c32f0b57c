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
   (:func:`learn_model`): there is no threshold to set.
5. Receivers are not equal: to call a copy wrong costs the more, the more seldom its recording was
   found wrong when some frames were composed before.

Neighbours count only where all copies agree and are read from the recordings, never from earlier
decisions: the result does not depend on how a session is cut into blocks. Choosing between copies,
and voting where there are three, is what best source selection does in telemetry (IRIG 106-22,
chapter 2, appendix G), taking blocks from a clean copy what dvrescue does for DV tapes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from miostitch.errors import UsageError
from miostitch.kernels import composition as kernels

U8 = npt.NDArray[np.uint8]
I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

EXCLUDED = kernels.EXCLUDED
AGREEMENT = ("shared", "identical")
"""What :func:`shared_buffers` counts."""

SAMPLE_STEP = 7  # every seventh pixel teaches as much as all, and is no divisor of usual widths
PRIOR_COUNT = 20  # pixels of the overall distribution that each prediction starts with
TRUST_FRAMES = 64  # frames that are composed to find which recordings err more often
TRUST_ROUNDS = 2  # the second one believes what the first one found
CLEARLY = 3  # standard errors by which recordings differ that are not equal
MOST_RECORDINGS = 127  # what a source's number can tell
PRIOR_PIXELS = 10_000  # right ones that each recording starts with
UNFORESEEN = 0.02  # share of pixels, cells lighting up and motion, that no neighbour foretells


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


@dataclass(frozen=True)
class Composition:
    """Composed frames and how every buffer was decided."""

    frames: U8  # Flattened images, uint8 (frame, pixel); zero where nobody delivered
    # Recording that gave the buffer, or most of the pixels on which the copies differ, int8 (frame,
    # buffer); -1 nobody.
    recording: I8
    evidence: U8  # :class:`miostitch.schema.Evidence`, uint8 (frame, buffer)
    missing_pixels: I32  # Pixels that nobody delivered, int32 (frame,)

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


def whole_sources(
    copies: Copies, own: npt.NDArray[np.intp], present: npt.NDArray[np.bool_], composed: U8
) -> I8:
    """Find the recording that has a composed frame as a whole.

    ``own``: which of them were composed, (frame,); ``present``: which recording has which of the
    composed frames, (recording, frame): a frame may be as black as no frame; ``composed``: the
    composed frames, uint8 (frame, pixel).

    Returns: The first recording whose frame is the composed one bit for bit, int8 (frame,); -1
    none.
    """
    source = np.empty(len(own), np.int8)
    kernels.whole_sources(copies.frames, own.astype(np.int64), present, composed, source)
    return source


def learn_model(samples: Iterable[Copies]) -> PixelModel:
    """Learn what pixels look like next to their neighbours, where two copies agree, and trust.

    Neighbours weigh as the inverse square of their mean difference. Without any such pixel the
    model is the prior: a Laplace distribution around the mean of the neighbours.
    """
    held = [(copies, copies.presence()) for copies in samples]
    sums = np.ones(kernels.NEIGHBOURS, np.int64)
    counts = np.ones(kernels.NEIGHBOURS, np.int64)
    table = np.zeros((256, 256), np.int64)
    where = [(c.frames, have, c.bounds, c.width, SAMPLE_STEP) for c, have in held]
    for known in where:
        kernels.spread(*known, sums, counts)
    precision = (counts / sums) ** 2
    weights = np.maximum(1, np.rint(64 * precision / precision.max())).astype(np.int32)
    for known in where:
        kernels.tally(*known, weights, table)
    model = PixelModel(weights, _surprise(table), np.zeros(MOST_RECORDINGS, np.int32))
    frames = sum(copies.frames.shape[1] for copies, _ in held)
    some = held[:: max(1, -(-frames // TRUST_FRAMES))]
    for _ in range(TRUST_ROUNDS if some and len(some[0][1]) > 1 else 0):
        model = replace(model, trust=_find_trust(some, model))
    return model


def _find_trust(held: Sequence[tuple[Copies, I32]], model: PixelModel) -> I32:
    """Compose some frames and count where errors of each recording begin, int32 (recording,)."""
    recordings = len(held[0][1])
    begun, pixels = np.ones((2, recordings), np.int64)
    for copies, have in held:
        made = _compose(copies, have, model)
        size = np.diff(copies.bounds)
        judged = (have == size) & ((have > 0).sum(axis=0) > 1)
        for number, frames in enumerate(copies.frames):
            wrong = (frames != made.frames) & np.repeat(judged[number], size, axis=1)
            pixels[number] += (judged[number] * size).sum()
            apart = np.diff(np.flatnonzero(wrong), prepend=-kernels.STRETCH)
            begun[number] += (apart >= kernels.STRETCH).sum()
    share = begun / (pixels + PRIOR_PIXELS)
    worst = int(np.argmax(share))
    better = np.log(share[worst] / share)
    clear = better > CLEARLY * np.sqrt(1 / begun + 1 / begun[worst])
    trust = np.zeros(MOST_RECORDINGS, np.int32)
    trust[:recordings] = np.rint(kernels.UNIT * np.where(clear, better, 0))
    return trust


def compose_block(
    copies: Copies, model: PixelModel, before: int = 0, after: int = 0
) -> Composition:
    """Compose the frames of a block."""
    return _compose(copies, copies.presence(), model, before, after)


def _compose(
    copies: Copies, have: I32, model: PixelModel, before: int = 0, after: int = 0
) -> Composition:
    frames = copies.frames.shape[1] - before - after
    buffers = len(copies.bounds) - 1
    composition = Composition(
        np.empty((frames, copies.frames.shape[2]), np.uint8),
        np.empty((frames, buffers), np.int8),
        np.empty((frames, buffers), np.uint8),
        np.empty(frames, np.int32),
    )
    kernels.compose(
        copies.frames,
        have,
        copies.bounds,
        copies.width,
        model.weights,
        model.cost,
        model.trust,
        before,
        composition.frames,
        composition.recording,
        composition.evidence,
        composition.missing_pixels,
    )
    return composition


def _surprise(table: I64) -> I32:
    """Integer cost (prediction, value) of counts (prediction, value).

    The residuals of all predictions together are the prior of each single one, and a Laplace
    distribution is the prior of those.
    """
    value = np.arange(256)
    residual = value - value[:, None]
    laplace = np.exp(-np.abs(np.arange(-255, 256)) / 4)
    counts = np.bincount((residual + 255).ravel(), table.ravel(), minlength=511)
    overall = counts + PRIOR_COUNT * laplace / laplace.sum()
    prior = overall[residual + 255]
    prior /= prior.sum(axis=1, keepdims=True)
    share = table + PRIOR_COUNT * prior
    share /= share.sum(axis=1, keepdims=True)
    share = (1 - UNFORESEEN) * share + UNFORESEEN / 256
    cost: I32 = np.rint(-kernels.UNIT * np.log(share)).astype(np.int32)
    return cost
