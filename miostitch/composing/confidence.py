"""How likely a buffer, and a frame, of the result is exactly what the device sent.

Copies that agree confirm each other: that two receivers have the same error is next to impossible.
Where copies differ, it is the share of the likelihood that the chosen pixels have of all that may
have been sent, under the same costs that chose them. A single copy is judged by how often its
receiver errs where another one can be compared with it, and by how much its pixels look like noise.
The constants were fitted to simulated channels; ``benchmarks/quality/captures.py`` shows how well
they hold.
"""

import numpy as np

from miostitch.arrays import F32, F64, I8, I64, U8, U64, Bools
from miostitch.composing.composition import Composition, PixelModel
from miostitch.kernels.composition import MISSING
from miostitch.kernels.confidence import find_dark, judge_chosen
from miostitch.schema import Evidence

SURE = 0.9995  # of copies that agree: a repaired header may have put both into the wrong place
DECIDED = 0.995  # of copies that differ, where the costs leave no doubt: they are not all there is
NOISE = 7.0  # nats that speak for noise in one exact buffer of many
STEEP = 3.0  # how much a nat more says, as the likeliest of many places counts
FLIPS = 0.6  # share of the flips found that are none of a burst's edges
MOST_BURSTS = 0.99  # of a receiver's buffers
DECIMALS = 6  # that are kept: none of them depends on how a machine rounds


def buffer_confidence(made: Composition, model: PixelModel, bounds: I64) -> F32:
    """Tell how likely each composed buffer is exact, float32 (frame, buffer)."""
    clue = made.clue.astype(np.float64)
    alone = SURE * single_confidence(clue, made.recording, model, np.diff(bounds))
    by_evidence = np.zeros((len(Evidence), *clue.shape))
    by_evidence[Evidence.SINGLE] = alone
    by_evidence[Evidence.IDENTICAL] = by_evidence[Evidence.MAJORITY] = SURE
    by_evidence[Evidence.STRETCHES] = DECIDED * clue
    found = np.take_along_axis(by_evidence, made.evidence[np.newaxis].astype(np.intp), axis=0)[0]
    first = np.zeros(len(made.frames), np.int8)
    lost = (made.clue == MISSING) | _blank(made.frames[np.newaxis], first, model, bounds)
    return _rounded(np.where(lost, 0, found))


def frame_confidence(buffers: F32) -> F32:
    """Tell how likely all buffers of a frame (frame, buffer) are exact, float32 (frame,)."""
    return _rounded(np.prod(buffers, axis=1, dtype=np.float64))


def single_confidence(noise: F64, recording: I8, model: PixelModel, sizes: I64) -> F64:
    """Tell how likely a buffer is exact that nothing can be compared with, (frame, buffer).

    ``noise``: how much speaks for noise, in nats; ``recording``: whose it is; ``sizes``: of the
    buffers, in pixels.
    """
    flipped = FLIPS * model.flips[recording] * sizes
    return np.asarray(np.exp(-flipped) / (1 + _noise_odds(noise, recording, model)))


def _noise_odds(noise: F64, recording: I8, model: PixelModel) -> F64:
    """Odds that there is a burst of noise in a copy of a buffer, (frame, buffer)."""
    burst = np.minimum(model.bursts, MOST_BURSTS)[recording]
    likelihood = np.exp(np.clip(STEEP * (noise - NOISE), -50, 50))
    return np.asarray(burst / (1 - burst) * likelihood)


def chosen_confidence(
    source: I8,
    candidates: U8,
    alike: I8,
    delivered: U64,
    model: PixelModel,
    bounds: I64,
) -> F32:
    """Tell how likely each buffer of chosen candidates is exact, float32 (frame, buffer).

    ``source``: which recording was chosen, (frame,); ``candidates``: uint8 (recording,
    frame, pixel); ``alike``: the first recording with the same pixels, (recording, frame);
    ``delivered``: bit k set: buffer k is complete, (recording, frame).
    """
    places = np.arange(len(source))
    own, same = delivered[source, places], alike == alike[source, places]
    other = np.arange(len(alike))[:, np.newaxis] != source
    alike_too = np.where(same & other, delivered, np.uint64(0))
    open_ = np.flatnonzero(own & ~np.bitwise_or.reduce(alike_too, axis=0))
    against = np.full((len(source), len(bounds) - 1), -1.0)  # where copies are equal
    noise = np.zeros_like(against)
    judge_chosen(
        candidates, open_, source, delivered, bounds, model.surprise, model.trust, against, noise
    )
    whose = np.broadcast_to(source[:, np.newaxis], noise.shape)
    alone = single_confidence(noise, whose, model, np.diff(bounds))
    compared = 1 / (1 + np.maximum(against, 0)) / (1 + _noise_odds(noise, whose, model))
    found = SURE * np.select([against < 0, against > 0], [np.ones_like(alone), compared], alone)
    there = _buffers(own, bounds) & ~_blank(candidates, source, model, bounds)
    return _rounded(np.where(there, found, 0))


def dark_buffers(frames: U8, source: I8, bounds: I64) -> Bools:
    """Find the buffers of which every pixel is 0, bool (frame, buffer).

    ``frames``: uint8 (recording, frame, pixel); ``source``: of which recording, (frame,).
    """
    dark = np.empty((len(source), len(bounds) - 1), np.bool_)
    find_dark(frames, source, bounds, dark)
    return dark


def _blank(frames: U8, source: I8, model: PixelModel, bounds: I64) -> Bools:
    """Which buffers have no pixels, though usually they have: rows may claim what was not sent."""
    return dark_buffers(frames, source, bounds) & model.lit[: len(bounds) - 1]


def _rounded(probability: F64) -> F32:
    return np.asarray(np.round(probability, DECIMALS)).astype(np.float32)


def _buffers(masks: U64, bounds: I64) -> Bools:
    """Which buffers are set in masks (frame,), bool (frame, buffer)."""
    numbers = np.arange(len(bounds) - 1, dtype=np.uint64)
    return np.asarray((masks[:, np.newaxis] >> numbers & np.uint64(1)) > 0)
