"""What is learned of a session before it is composed: its pixels, and its receivers' errors."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from miostitch.arrays import F64, I32, I64, Bools
from miostitch.buffers.frame_table import MASK_BITS
from miostitch.composing.composition import Copies, PixelModel, compose_copies
from miostitch.composing.confidence import dark_buffers
from miostitch.kernels import composition as kernels
from miostitch.kernels.confidence import STRETCH, UNIT, count_distances

SAMPLE_STEP = 7  # every seventh pixel teaches as much as all, and is no divisor of usual widths
PRIOR_COUNT = 20  # pixels of the overall distribution that each prediction starts with
TRUST_FRAMES = 64  # frames that are composed to find which recordings err more often
TRUST_ROUNDS = 2  # the second one believes what the first one found
OVERRULED = math.log(3)
"""A recording that errs clearly less than all others is overruled by them only where it is three
times likelier that it errs: few frames are as disappointing as one that it alone has better."""

CLEARLY = 3  # standard errors by which recordings differ that are not equal
MOST_RECORDINGS = 127  # what a source's number can tell
PRIOR_PIXELS = 10_000  # right ones that each recording starts with
UNFORESEEN = 0.02  # share of pixels, cells lighting up and motion, that no neighbour foretells
LAPLACE = 4  # gray values by which pixels differ from their neighbours where nothing is learned
PRIOR_FLIPS = (0.5, 50_000)  # flipped pixels, and pixels, that each recording starts with
PRIOR_BURSTS = (0.5, 5)  # buffers with a burst, and buffers
ALONE = 1  # pixels of a stretch of errors that is a flipped bit and no burst


class Errors(NamedTuple):
    """Errors of each recording in some frames, as composing them shows: int64 (recording,)."""

    begun: I64  # Stretches of wrong pixels
    pixels: I64  # Pixels that were judged
    flips: I64  # Wrong pixels that stand alone
    bursts: I64  # Buffers with a longer stretch
    buffers: I64  # Buffers that were judged


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
    distances = np.zeros(511, np.int64)
    for copies, have in held:
        count_distances(copies.frames, have, copies.bounds, distances)
    nothing = np.zeros(len(held[0][1]) if held else MOST_RECORDINGS, np.int64)
    model = PixelModel(
        weights,
        _surprise(table),
        np.zeros(MOST_RECORDINGS, np.int32),
        _noise_surprise(distances),
        *_error_rates(Errors(*[nothing] * len(Errors._fields))),
        _find_lit([copies for copies, _ in held]),
    )
    frames = sum(copies.frames.shape[1] for copies, _ in held)
    some = held[:: max(1, -(-frames // TRUST_FRAMES))]
    for _ in range(TRUST_ROUNDS if some and len(nothing) > 1 else 0):
        errors = count_errors(some, model)
        flips, bursts = _error_rates(errors)
        model = replace(model, trust=_find_trust(errors), flips=flips, bursts=bursts)
    return model


def _find_lit(samples: Sequence[Copies]) -> Bools:
    """Find the buffers most of whose whole copies have pixels above 0, bool (buffer,)."""
    whole, dark = np.zeros((2, MASK_BITS), np.int64)
    for copies in samples:
        there = copies.given == np.diff(copies.bounds)
        frames, buffers = there.shape[1:]
        for number, each in enumerate(there):
            blank = dark_buffers(copies.frames, np.full(frames, number, np.int8), copies.bounds)
            whole[:buffers] += each.sum(axis=0)
            dark[:buffers] += (each & blank).sum(axis=0)
    return np.asarray(2 * dark < whole)


def count_errors(held: Sequence[tuple[Copies, I32]], model: PixelModel) -> Errors:
    """Compose some frames and count the errors of each recording."""
    errors = Errors(*np.zeros((len(Errors._fields), len(held[0][1])), np.int64))
    for copies, have in held:
        made = compose_copies(copies, have, model)
        size = np.diff(copies.bounds)
        judged = (have == size) & ((have > 0).sum(axis=0) > 1)
        for number, frames in enumerate(copies.frames):
            wrong = (frames != made.frames) & np.repeat(judged[number], size, axis=1)
            at = np.flatnonzero(wrong)
            first = np.diff(at, prepend=-STRETCH) >= STRETCH
            last = np.append(first[1:], np.ones(min(1, len(at)), np.bool_))
            alone = int((at[last] - at[first] < ALONE).sum())
            errors.begun[number] += first.sum()
            errors.pixels[number] += (judged[number] * size).sum()
            errors.flips[number] += alone
            errors.bursts[number] += first.sum() - alone
            errors.buffers[number] += judged[number].sum()
    return errors


def _find_trust(errors: Errors) -> I32:
    """How much more seldom each recording errs than the worst, int32 (recording,)."""
    begun = 1 + errors.begun
    share = begun / (1 + errors.pixels + PRIOR_PIXELS)
    best, second, worst = np.argsort(share, kind="stable")[[0, 1, -1]]
    better = np.log(share[worst] / share)
    clear = better > CLEARLY * np.sqrt(1 / begun + 1 / begun[worst])
    found = np.where(clear, better, 0)
    if better[best] - better[second] > CLEARLY * np.sqrt(1 / begun[best] + 1 / begun[second]):
        found[best] += OVERRULED
    trust = np.zeros(MOST_RECORDINGS, np.int32)
    trust[: len(share)] = np.rint(UNIT * found)
    return trust


def _error_rates(errors: Errors) -> tuple[F64, F64]:
    """Flipped pixels per pixel, and bursts per buffer, float64 (recording,)."""
    (flips, pixels), (bursts, buffers) = PRIOR_FLIPS, PRIOR_BURSTS
    return (
        (errors.flips + flips) / (errors.pixels + pixels),
        (errors.bursts + bursts) / (errors.buffers + buffers),
    )


def _noise_surprise(distances: I64) -> I32:
    """How much more a distance (511) speaks for noise than for an image, in 1/64 nat."""
    prior = np.exp(-np.abs(np.arange(-255, 256)) / LAPLACE)
    image = distances + PRIOR_COUNT * prior / prior.sum()
    image = (1 - UNFORESEEN) * image / image.sum() + UNFORESEEN / len(image)
    noise = 1 / len(image) + np.convolve(np.ones(256), np.ones(256)) / 256**2
    found: I32 = np.rint(UNIT * np.log(noise / 2 / image)).astype(np.int32)
    return found


def _surprise(table: I64) -> I32:
    """Integer cost (prediction, value) of counts (prediction, value).

    The residuals of all predictions together are the prior of each single one, and a Laplace
    distribution is the prior of those.
    """
    value = np.arange(256)
    residual = value - value[:, None]
    laplace = np.exp(-np.abs(np.arange(-255, 256)) / LAPLACE)
    counts = np.bincount((residual + 255).ravel(), table.ravel(), minlength=511)
    overall = counts + PRIOR_COUNT * laplace / laplace.sum()
    prior = overall[residual + 255]
    prior /= prior.sum(axis=1, keepdims=True)
    share = table + PRIOR_COUNT * prior
    share /= share.sum(axis=1, keepdims=True)
    share = (1 - UNFORESEEN) * share + UNFORESEEN / 256
    cost: I32 = np.rint(-UNIT * np.log(share)).astype(np.int32)
    return cost
