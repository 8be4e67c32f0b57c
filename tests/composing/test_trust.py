"""Receivers are not equal: by buffer finds which errs more often, and believes it less."""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from miostitch.composing.composition import (
    Composition,
    Copies,
    PixelModel,
    compose_block,
)
from miostitch.composing.learning import OVERRULED, learn_model
from miostitch.kernels.confidence import UNIT

SIDE, FRAMES = 40, 60
BOUNDS = np.array([0, 410, 820, 1230, 1600])  # not along the rows
SIZES = np.diff(BOUNDS).astype(np.int32)
U8 = npt.NDArray[np.uint8]
CHANNELS = {  # share of flipped bits, bursts per frame, and share of lost buffers of each receiver
    "equal": [(1e-4, 0.3, 0.02), (1e-4, 0.3, 0.02)],
    "unequal": [(0.0, 0.02, 0.02), (1e-3, 0.1, 0.02), (1e-2, 0.5, 0.02)],
    "bad first": [(3e-3, 0.5, 0.02), (1e-6, 0.02, 0.02)],
    "nearly dead": [(1e-5, 0.1, 0.02), (3e-3, 2.0, 0.9)],
    "six": [(1e-4, 0.5, 0.05)] * 6,
}


class Session(NamedTuple):
    """What was sent, what arrived, and what was made of it."""

    truth: U8
    copies: Copies
    model: PixelModel
    result: Composition


@cache
def session(name: str, seed: int) -> Session:
    random = np.random.default_rng([seed, *name.encode()])
    y, x = np.mgrid[:SIDE, :SIDE]
    still = 100 + 50 * np.sin(x / 9) * np.cos(y / 7)
    noise = random.normal(0, 2, (FRAMES, SIDE, SIDE))
    truth = (still + noise).clip(1, 255).astype(np.uint8).reshape(FRAMES, -1)
    channels = CHANNELS[name]
    frames = np.stack([receive(truth, random, flips, bursts) for flips, bursts, _ in channels])
    shape = len(channels), FRAMES, len(SIZES)
    lost = random.random(shape) < np.array([loss for *_, loss in channels])[:, None, None]
    frames[np.repeat(lost, SIZES, axis=2)] = 0
    copies = Copies(frames, np.where(lost, 0, SIZES).astype(np.int32), BOUNDS, SIDE)
    model = learn_model([copies])
    return Session(truth, copies, model, compose_block(copies, model))


def receive(truth: U8, random: np.random.Generator, flips: float, bursts: float) -> U8:
    arrived = truth.copy()
    for bit in range(8):
        arrived ^= (random.random(truth.shape) < flips).astype(np.uint8) << bit
    flat = arrived.reshape(-1)
    for start in random.integers(0, flat.size, random.poisson(bursts * FRAMES)):
        burst = flat[start : start + random.integers(1, 300)]
        burst ^= random.integers(0, 256, burst.size).astype(np.uint8)
    return arrived


def count_exact(made: Session, frames: U8) -> int:
    right = np.logical_and.reduceat(frames == made.truth, BOUNDS[:-1], axis=1)
    return int(right.sum())


def test_who_errs_less_often_is_trusted_more() -> None:
    for seed in (1, 2):
        trust = session("unequal", seed).model.trust
        assert trust[0] > trust[1] > trust[2] == 0
        assert not trust[3:].any()


@pytest.mark.parametrize("name", ["equal", "six"])
@pytest.mark.parametrize("seed", [1, 2])
def test_equal_receivers_are_trusted_alike(name: str, seed: int) -> None:
    assert not session(name, seed).model.trust.any()


@pytest.mark.parametrize("name", ["equal", "unequal", "bad first", "six"])
@pytest.mark.parametrize("seed", [1, 2])
def test_by_buffer_has_more_right_pixels_than_any_receiver(name: str, seed: int) -> None:
    made = session(name, seed)
    wrong = (made.result.frames != made.truth).sum()
    assert wrong < (made.copies.frames != made.truth).sum(axis=(1, 2)).min()


@pytest.mark.parametrize("name", ["equal", "six"])
@pytest.mark.parametrize("seed", [1, 2])
def test_of_equal_receivers_by_buffer_has_more_exact_buffers(name: str, seed: int) -> None:
    made = session(name, seed)
    most = max(count_exact(made, frames) for frames in made.copies.frames)
    assert count_exact(made, made.result.frames) > most


@pytest.mark.parametrize("name", ["unequal", "bad first", "nearly dead"])
@pytest.mark.parametrize("seed", [1, 2])
def test_trust_tells_which_of_two_likely_values_is_right(name: str, seed: int) -> None:
    made = session(name, seed)
    equal = replace(made.model, trust=np.zeros_like(made.model.trust))
    without = compose_block(made.copies, equal)
    assert count_exact(made, made.result.frames) > count_exact(made, without.frames)


def test_pixels_teach_where_no_buffer_is_whole() -> None:
    made = session("equal", 1)
    frames = made.copies.frames.copy()
    frames[1, :, BOUNDS[:-1] + 200] ^= 255  # every buffer has an error
    copies = Copies(frames, made.copies.given, BOUNDS, SIDE)
    learned = learn_model([copies])
    assert (learned.weights != learn_model([]).weights).any()


def test_trust_goes_with_the_receiver_whatever_their_order() -> None:
    made = session("unequal", 1)
    order = [2, 0, 1]
    turned = Copies(made.copies.frames[order], made.copies.given[order], BOUNDS, SIDE)
    model = learn_model([turned])
    np.testing.assert_array_equal(model.cost, made.model.cost)
    np.testing.assert_allclose(model.trust[:3], made.model.trust[order], atol=6)


def exact_per_frame(made: Session, frames: U8) -> npt.NDArray[np.int64]:
    right = np.logical_and.reduceat(frames == made.truth, BOUNDS[:-1], axis=1)
    return np.asarray(right.sum(axis=1))


def count_worse(made: Session, frames: U8) -> int:
    """Frames with fewer exact buffers than the receiver has that has most of all."""
    each = [exact_per_frame(made, own) for own in made.copies.frames]
    best = max(each, key=lambda counts: int(counts.sum()))
    return int((exact_per_frame(made, frames) < best).sum())


def test_the_best_receiver_is_seldom_overruled_where_it_is_right() -> None:
    worse = evenly = 0
    for name in ("unequal", "bad first", "nearly dead"):
        for seed in range(1, 7):
            made = session(name, seed)
            trust = made.model.trust.copy()
            trust[np.argmax(trust)] -= round(UNIT * OVERRULED)
            plain = compose_block(made.copies, replace(made.model, trust=trust)).frames
            worse += count_worse(made, made.result.frames)
            evenly += count_worse(made, plain)
            assert count_worse(made, made.result.frames) <= count_worse(made, plain)
            assert count_exact(made, made.result.frames) >= count_exact(made, plain)
    assert worse < evenly
