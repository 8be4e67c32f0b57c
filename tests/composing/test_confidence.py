"""Confidence: as often right as it says, never lower for one more witness, the same everywhere."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import miostitch
from miostitch.arrays import F32, Bools
from miostitch.composing.composition import Composition, Copies, compose_block
from miostitch.composing.confidence import (
    SURE,
    buffer_confidence,
    chosen_confidence,
    frame_confidence,
    single_confidence,
)
from miostitch.composing.learning import learn_model
from miostitch.schema import CERTAIN, Evidence
from miostitch.simulation.receivers import Simulation
from tests.composing.test_trust import BOUNDS, CHANNELS, FRAMES, SIDE, SIZES, Session, session
from tests.video_files import decode

SEEDS = (11, 12, 13)


SIMULATED: list[dict[str, Any]] = [
    {"noise_bursts": 4.0, "noise_bits": 2000},
    {"bit_errors": 5e-6, "buffer_loss": 0.08},
    {"receivers": 3, "noise_bursts": (0.5, 8.0, 60.0), "bit_errors": (1e-7, 1e-5, 1e-4)},
    {"buffer_loss": (0.02, 0.9), "noise_bursts": (3.0, 150.0), "noise_bits": 1000},
    {"failed_headers": 0.05, "noise_bursts": 3.0},
]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> list[Simulation]:
    """Sessions of small frames over channels of several kinds."""
    common = {"frames": 60, "height": 100, "width": 100, "corruption": 0.0}
    return [
        miostitch.simulate(
            tmp_path_factory.mktemp("channel"),
            miostitch.SimulationConfig(seed=seed, **{**common, **channel}),
        )
        for seed, channel in enumerate(SIMULATED)
    ]


def judge(made: Session) -> F32:
    return buffer_confidence(made.result, made.model, BOUNDS)


def exact_buffers(made: Session, frames: np.ndarray) -> Bools:
    right: Bools = np.logical_and.reduceat(frames == made.truth, BOUNDS[:-1], axis=1)
    return right


def choose_first(made: Session) -> tuple[np.ndarray, F32]:
    """By frame: of each frame the first recording with most buffers, and its confidence."""
    frames, have = made.copies.frames, made.copies.given == SIZES
    source = have.sum(axis=2).argmax(axis=0).astype(np.int8)
    first = np.arange(len(frames), dtype=np.int8)
    alike = np.repeat(first[:, None], FRAMES, axis=1)
    for number, earlier in np.ndindex(len(frames), len(frames)):
        if earlier < number:
            same = (frames[number] == frames[earlier]).all(axis=1) & (alike[number] == number)
            alike[number, same] = alike[earlier, same]
    bits = np.uint64(1) << np.arange(len(SIZES), dtype=np.uint64)
    delivered = np.bitwise_or.reduce(np.where(have, bits, np.uint64(0)), axis=2)
    chosen = frames[source, np.arange(FRAMES)]
    found = chosen_confidence(source, frames, alike, delivered, made.model, BOUNDS)
    return chosen, found


def require_calibrated(sure: np.ndarray, right: Bools) -> None:
    certain = sure >= CERTAIN
    assert right[certain].mean() >= 0.97
    assert (right & certain).sum() >= 0.6 * right.sum()
    assert abs(sure.mean() - right.mean()) < 0.04


def require_better_than_base(sure: np.ndarray, right: Bools) -> None:
    base = right.mean() * (1 - right.mean())
    assert ((sure - right) ** 2).mean() <= base / 2


def test_what_is_composed_is_exact_as_often_as_it_says() -> None:
    sessions = [session(name, seed) for name in CHANNELS for seed in SEEDS]
    sure = np.concatenate([frame_confidence(judge(made)) for made in sessions])
    exact = [exact_buffers(made, made.result.frames).all(axis=1) for made in sessions]
    require_calibrated(sure, np.concatenate(exact))


def test_what_is_chosen_is_exact_as_often_as_it_says() -> None:
    sessions = [session(name, seed) for name in CHANNELS for seed in SEEDS]
    judged = [choose_first(made) for made in sessions]
    sure = np.concatenate([found.ravel() for _, found in judged])
    exact = [
        exact_buffers(made, chosen).ravel()
        for made, (chosen, _) in zip(sessions, judged, strict=True)
    ]
    require_calibrated(sure, np.concatenate(exact))


@pytest.mark.parametrize("by", [pytest.param("frame", marks=pytest.mark.slow), "buffer"])
def test_on_simulated_channels_it_is_exact_as_often_as_it_says(
    simulated: list[Simulation], by: Literal["frame", "buffer"]
) -> None:
    sure, exact = [], []
    for made in simulated:
        result = miostitch.stitch(made.recordings, by=by)
        truth = decode(made.truth_video)
        sent = result.frame_num.to_numpy() - made.config.first_frame_num
        exact.append((result.video.to_numpy() == truth[sent]).all(axis=(1, 2)))
        sure.append(result.confidence.to_numpy())
    found, right = np.concatenate(sure), np.concatenate(exact)
    require_calibrated(found, right)
    require_better_than_base(found, right)


@pytest.mark.parametrize("evidence", [Evidence.SINGLE, Evidence.STRETCHES])
def test_each_kind_of_evidence_is_calibrated(evidence: Evidence) -> None:
    sure, right = [], []
    for made in (session(name, seed) for name in CHANNELS for seed in SEEDS):
        of = made.result.evidence == evidence
        sure.append(judge(made)[of])
        right.append(exact_buffers(made, made.result.frames)[of])
    known, exact = np.concatenate(sure), np.concatenate(right)
    assert abs(known.mean() - exact.mean()) < 0.05
    assert exact[known >= 0.9].mean() > 0.9
    assert exact[known < 0.5].mean() < 0.5


@given(st.sampled_from(sorted(CHANNELS)), st.sampled_from(SEEDS), st.integers(0, 9))
def test_one_more_copy_that_agrees_never_lowers_it(name: str, seed: int, which: int) -> None:
    made = session(name, seed)
    frames, given_ = made.copies.frames, made.copies.given
    result = made.result.frames[None]
    whole = made.result.clue >= 0
    more = Copies(
        np.concatenate([frames, result]),
        np.concatenate([given_, np.where(whole, SIZES, 0)[None].astype(np.int32)]),
        BOUNDS,
        SIDE,
    )
    part = slice(6 * which, 6 * which + 6)
    rates = np.append(made.model.flips, 1e-4), np.append(made.model.bursts, 0.1)
    model = type(made.model)(**{**vars(made.model), "flips": rates[0], "bursts": rates[1]})
    again = compose_block(more.part(part), model)
    before, after = judge(made)[part], buffer_confidence(again, model, BOUNDS)
    confirmed = (again.evidence != Evidence.STRETCHES) & (again.evidence != Evidence.SINGLE)
    assert (after[confirmed & whole[part]] >= before[confirmed & whole[part]]).all()


@given(
    st.floats(0, 600),
    st.floats(0, 1, exclude_min=True),
    st.floats(0, 50),
    st.sampled_from(list(Evidence)),
    st.floats(0, 1),
)
def test_it_is_a_probability(
    noise: float, flips: float, bursts: float, evidence: Evidence, share: float
) -> None:
    model = learn_model([])
    rates = {"flips": np.array([flips]), "bursts": np.array([bursts])}
    model = type(model)(**{**vars(model), **rates})
    clue = noise if evidence == Evidence.SINGLE else share
    made = Composition(
        np.zeros((1, SIZES[0]), np.uint8),
        np.zeros((1, 1), np.int8),
        np.full((1, 1), evidence, np.uint8),
        np.full((1, 1), clue, np.float32),
        np.zeros(1, np.int32),
        np.zeros(1, np.int8),
    )
    [[found]] = buffer_confidence(made, model, np.array([0, SIZES[0]]))
    assert 0 <= found <= SURE
    alone = single_confidence(
        np.array([[noise]]), np.zeros((1, 1), np.int8), model, np.diff(BOUNDS)[:1]
    )
    worse = single_confidence(
        np.array([[noise + 1]]), np.zeros((1, 1), np.int8), model, np.diff(BOUNDS)[:1]
    )
    assert worse <= alone  # more noise, less confidence


def test_what_nobody_or_nobody_wholly_delivered_is_not_exact() -> None:
    made = session("equal", 11)
    given_ = made.copies.given.copy()
    given_[:, 3, 1], given_[:, 4, 2] = 0, SIZES[2] - 7
    frames = made.copies.frames.copy()
    frames[:, 3, BOUNDS[1] : BOUNDS[2]] = 0
    frames[:, 4, BOUNDS[3] - 7 : BOUNDS[3]] = 0
    result = compose_block(Copies(frames, given_, BOUNDS, SIDE), made.model)
    found = buffer_confidence(result, made.model, BOUNDS)
    assert found[3, 1] == found[4, 2] == 0
    assert frame_confidence(found)[3] == 0


@pytest.mark.parametrize("name", CHANNELS)
def test_it_is_the_same_for_any_blocks_and_threads(name: str) -> None:
    made = session(name, SEEDS[0])
    expected = judge(made)

    def alone(frame: int) -> F32:
        before, after = min(1, frame), min(1, FRAMES - 1 - frame)
        part = made.copies.part(slice(frame - before, frame + after + 1))
        return buffer_confidence(compose_block(part, made.model, before, after), made.model, BOUNDS)

    with ThreadPoolExecutor(3) as pool:
        found = np.concatenate([*pool.map(alone, range(FRAMES))])
    assert found.tobytes() == expected.tobytes()


def test_by_frame_wrong_buffers_are_told_from_right_ones() -> None:
    made = session("equal", 11)
    chosen, found = choose_first(made)
    right = exact_buffers(made, chosen)
    assert found[right].mean() > 0.9
    assert found[~right].mean() < 0.2
