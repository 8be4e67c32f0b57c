"""Composition: the truth comes back wherever the copies hold it."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from miostitch.buffers.frame_table import SHORT, FrameTable
from miostitch.composing.composition import (
    EXCLUDED,
    Composition,
    Copies,
    PixelModel,
    compose_block,
    glue_piece,
    shared_buffers,
    shared_counts,
)
from miostitch.composing.learning import learn_model
from miostitch.errors import UsageError
from miostitch.schema import EVIDENCE, Evidence

WIDTH, HEIGHT, FRAMES = 40, 30, 6
BOUNDS = np.array([0, 310, 620, 930, 1200])  # not along the rows
SIZES = np.diff(BOUNDS)

U8 = npt.NDArray[np.uint8]


def scene(seed: int = 0) -> U8:
    """A smooth picture that hardly moves, with a sensor's noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(seed).normal(0, 2, (FRAMES, HEIGHT, WIDTH))
    still = 120 + 50 * np.sin(x / 9) * np.cos(y / 7)
    frames: U8 = np.clip(still + noise, 1, 255).astype(np.uint8).reshape(FRAMES, -1)
    return frames


def copies_of(truth: U8, recordings: int) -> Copies:
    given_ = np.broadcast_to(SIZES, (recordings, len(truth), len(SIZES))).astype(np.int32)
    return Copies(np.stack([truth] * recordings), given_, BOUNDS, WIDTH)


def burst(copies: Copies, recording: int, frame: int, start: int, size: int) -> None:
    random = np.random.default_rng(start)
    noise = random.integers(1, 256, size).astype(np.uint8)  # never 0: every pixel changes
    copies.frames[recording, frame, start : start + size] ^= noise


def lose(copies: Copies, recording: int, frame: int, buffer: int) -> None:
    copies.frames[recording, frame, BOUNDS[buffer] : BOUNDS[buffer + 1]] = 0
    copies.given[recording, frame, buffer] = 0


@pytest.fixture(scope="module")
def model() -> PixelModel:
    return learn_model([copies_of(scene(seed), 2) for seed in range(90, 110)])


def test_identical_copies_prove_each_other(model: PixelModel) -> None:
    truth = scene()
    result = compose_block(copies_of(truth, 2), model)
    np.testing.assert_array_equal(result.frames, truth)
    assert (result.evidence == Evidence.IDENTICAL).all()
    assert not result.recording.any()
    assert not result.missing_pixels.any()


@given(st.integers(0, 999), st.integers(2, 4), st.floats(0, 0.6))
def test_losses_alone_cost_only_what_everybody_lost(seed: int, recordings: int, p: float) -> None:
    truth = scene()
    copies = copies_of(truth, recordings)
    lost = np.random.default_rng(seed).random(copies.given.shape) < p
    for recording, frame, buffer in np.argwhere(lost):
        lose(copies, recording, frame, buffer)
    result = compose_block(copies, learn_model([]))
    nobody = lost.all(axis=0)
    expected = np.where(np.repeat(nobody, SIZES, axis=1), 0, truth)
    np.testing.assert_array_equal(result.frames, expected)
    np.testing.assert_array_equal(result.missing_pixels, nobody @ SIZES)
    np.testing.assert_array_equal(result.recording == -1, nobody)
    np.testing.assert_array_equal(result.evidence == Evidence.NOBODY, nobody)
    alone = lost.sum(axis=0) == recordings - 1
    np.testing.assert_array_equal(result.evidence == Evidence.SINGLE, alone)
    np.testing.assert_array_equal(result.evidence == Evidence.IDENTICAL, ~nobody & ~alone)


@pytest.mark.parametrize("size", [12, 60, 250])
def test_a_burst_in_either_copy_is_left_out(model: PixelModel, size: int) -> None:
    truth = scene()
    for recording, start in [(0, 3), (1, 640), (0, 935)]:
        copies = copies_of(truth, 2)
        burst(copies, recording, 2, start, size)
        result = compose_block(copies, model)
        np.testing.assert_array_equal(result.frames, truth)
        buffer = np.searchsorted(BOUNDS, start) - 1
        assert result.evidence[2, buffer] == Evidence.STRETCHES
        assert result.recording[2, buffer] == 1 - recording
        assert (result.evidence == Evidence.IDENTICAL).sum() == result.evidence.size - 1


def test_bursts_in_both_copies_of_one_buffer_make_it_whole(model: PixelModel) -> None:
    truth = scene()
    copies = copies_of(truth, 2)
    burst(copies, 0, 3, 320, 100)
    burst(copies, 1, 3, 450, 120)
    result = compose_block(copies, model)
    np.testing.assert_array_equal(result.frames, truth)
    assert result.recording[3, 1] == 0  # gave 120 of the pixels in question, the other one 100


def test_a_flipped_high_bit_is_left_out_in_either_copy(model: PixelModel) -> None:
    truth = scene()
    for recording in (0, 1):
        copies = copies_of(truth, 2)
        copies.frames[recording, 2, 700] ^= 64
        np.testing.assert_array_equal(compose_block(copies, model).frames, truth)


def test_majority_of_three_wins_and_overlapping_bursts_are_cut_apart(model: PixelModel) -> None:
    truth = scene()
    copies = copies_of(truth, 3)
    burst(copies, 1, 1, 100, 1)
    burst(copies, 0, 4, 940, 100)
    burst(copies, 1, 4, 1000, 100)
    burst(copies, 2, 4, 1110, 60)
    result = compose_block(copies, model)
    np.testing.assert_array_equal(result.frames, truth)
    assert result.evidence[1, 0] == Evidence.MAJORITY
    assert result.recording[1, 0] == 0
    assert result.evidence[4, 3] == Evidence.STRETCHES


def test_presence_comes_from_pixels_and_rows(model: PixelModel) -> None:
    truth = scene()
    truth[2, BOUNDS[1] : BOUNDS[2]] = 0  # delivered black
    copies = copies_of(truth, 2)
    copies.given[:, 0] = 0  # pixels without a row
    copies.given[0, 3, 2] = EXCLUDED  # a row that says its pixels are another buffer's
    result = compose_block(copies, model)
    np.testing.assert_array_equal(result.frames, truth)
    assert not result.missing_pixels.any()
    assert result.evidence[2, 1] == Evidence.IDENTICAL
    assert result.evidence[3, 2] == Evidence.SINGLE
    assert result.recording[3, 2] == 1


def test_a_short_copy_gives_way_to_a_longer_one(model: PixelModel) -> None:
    truth = scene()
    copies = copies_of(truth, 2)
    for recording, pixels in enumerate((100, 200)):
        copies.frames[recording, 1, pixels:310] = 0
        copies.given[recording, 1, 0] = pixels
    result = compose_block(copies, model)
    np.testing.assert_array_equal(result.frames[1, :200], truth[1, :200])
    assert not result.frames[1, 200:310].any()
    assert result.missing_pixels.tolist() == [0, 110, 0, 0, 0, 0]
    assert result.evidence[1, 0] == Evidence.IDENTICAL
    assert result.recording[1, 0] == 1


def damaged(seed: int, recordings: int) -> Copies:
    random = np.random.default_rng(seed)
    copies = copies_of(scene(), recordings)
    for _ in range(12):
        limits = (recordings, FRAMES, 1100, 99, recordings, FRAMES, 4)
        drawn = [int(value) for value in random.integers(0, limits)]
        burst(copies, *drawn[:4])
        lose(copies, *drawn[4:])
    return copies


@given(st.integers(0, 999), st.integers(2, 4), st.integers(1, FRAMES))
def test_blocks_do_not_matter(seed: int, recordings: int, size: int) -> None:
    copies = damaged(seed, recordings)
    prior = learn_model([])
    whole = compose_block(copies, prior)
    for start in range(0, FRAMES, size):
        stop = min(start + size, FRAMES)
        lo, hi = max(0, start - 1), min(FRAMES, stop + 1)
        part = Copies(copies.frames[:, lo:hi], copies.given[:, lo:hi], BOUNDS, WIDTH)
        result = compose_block(part, prior, before=start - lo, after=hi - stop)
        for name in ("frames", "recording", "evidence", "missing_pixels"):
            np.testing.assert_array_equal(getattr(result, name), getattr(whole, name)[start:stop])


@given(st.integers(0, 999), st.integers(2, 4))
def test_every_pixel_is_somebodys_and_agreement_is_kept(seed: int, recordings: int) -> None:
    copies = damaged(seed, recordings)
    result = compose_block(copies, learn_model([]))
    have = np.repeat(copies.presence() > 0, SIZES, axis=2)
    nobody = ~have.any(axis=0)
    assert ((copies.frames == result.frames) & have | nobody).any(axis=0).all()
    assert not result.frames[nobody].any()
    agreed = (have <= (copies.frames == copies.frames.max(axis=0))).all(axis=0) & ~nobody
    np.testing.assert_array_equal(result.frames[agreed], copies.frames.max(axis=0)[agreed])


def test_order_of_recordings_permutes_the_result(model: PixelModel) -> None:
    copies = damaged(5, 3)
    turned = Copies(copies.frames[[2, 0, 1]], copies.given[[2, 0, 1]], BOUNDS, WIDTH)
    a, b = compose_block(copies, model), compose_block(turned, model)
    alone = a.evidence == Evidence.SINGLE
    assert alone.any()
    np.testing.assert_array_equal(np.array([1, 2, 0])[a.recording[alone]], b.recording[alone])
    np.testing.assert_array_equal(a.evidence, b.evidence)
    np.testing.assert_array_equal(a.missing_pixels, b.missing_pixels)


def test_the_store_names_every_evidence() -> None:
    assert EVIDENCE == ("nobody", "single", "identical", "majority", "stretches")
    assert [*Evidence] == [*range(len(EVIDENCE))]


def test_given_pixels_are_what_the_rows_say() -> None:
    table = FrameTable.blank(3)
    table.buffers[:] = [0b1001, 0b0110, 0b110001]
    table.excluded[1] = 0b0100
    padded = [(0, 3, 70), (1, 1, 10), (1, 2, 5), (2, 0, 999), (2, 5, 1)]
    table = replace(table, short=np.array(padded, SHORT))
    given_ = table.given_pixels(np.array([1, -1, 0, 2]), BOUNDS)
    assert given_.tolist() == [[0, 300, EXCLUDED, 0], [0] * 4, [310, 0, 0, 200], [0] * 4]


@pytest.mark.parametrize("recordings", [2, 3])
def test_shared_buffers_are_counted(recordings: int) -> None:
    copies = copies_of(scene(), recordings)
    burst(copies, 0, 1, 5, 3)
    burst(copies, recordings - 1, 4, 700, 1)
    delivered = np.full((recordings, FRAMES), 0b1111, np.uint64)
    delivered[0, 2] = 0b0011
    delivered[1, 3] = 0b1000
    shared, identical = shared_buffers(list(copies.frames), delivered, BOUNDS).T
    many = recordings > 2
    assert shared.tolist() == [4, 4, 4 if many else 2, 4 if many else 1, 4, 4]
    assert (shared - identical).tolist() == [0, 1, 0, 0, 1, 0]


def test_a_whole_frame_has_its_source() -> None:
    truth = scene()
    copies = copies_of(truth, 2)
    copies.frames[0, 3, 310:620] = 0  # lost by one
    copies.given[0, 3, 1] = 0
    copies.frames[0, 4, 310:620] = copies.frames[1, 4, 620:930] = 0  # by each something else
    copies.given[0, 4, 1] = copies.given[1, 4, 2] = 0
    copies.frames[:, 5], copies.given[:, 5] = 0, 0  # by both everything
    present = np.ones((2, 4), np.bool_)
    part = copies.part(slice(1, 6))
    found = compose_block(part, learn_model([]), before=1, present=present)
    np.testing.assert_array_equal(found.frames[:3], truth[2:5])
    assert found.source.tolist() == [0, 1, -1, 0]
    assert compose_block(part, learn_model([]), before=1).source.tolist() == [0, 1, -1, 0]
    present[:] = [[False, True, True, False], [True, False, True, False]]
    found = compose_block(part, learn_model([]), before=1, present=present)
    assert found.source.tolist() == [1, -1, -1, -1]


def test_pieces_are_glued() -> None:
    truth = scene()[0]
    first, second = truth.copy(), truth.copy()
    first[620:] = 0
    second[:620] = 0
    have, other = SIZES.astype(np.int32), SIZES.astype(np.int32)
    have[2:], other[:2] = 0, 0
    glue_piece(first, have, second, other, BOUNDS)
    np.testing.assert_array_equal(first, truth)
    assert have.tolist() == SIZES.tolist()
    other[:] = SIZES
    glue_piece(first, have, 0 * second, other, BOUNDS)  # nothing is lacking now
    np.testing.assert_array_equal(first, truth)


def test_learning_prefers_near_values_and_good_neighbours() -> None:
    random = np.random.default_rng(3)
    still = scene()[:1].repeat(FRAMES, axis=0)
    flat = np.clip(still + random.integers(-1, 2, still.shape), 1, 255).astype(np.uint8)
    model = learn_model([copies_of(flat, 2)])
    assert model.weights[6:].min() > model.weights[:6].max()  # nothing moves: frames tell most
    assert model.cost[120, 121] < model.cost[120, 140]
    for prior in (learn_model([]), model):
        assert (prior.cost > 0).all()


@pytest.mark.parametrize("shape", [(2, 6, 3), (2, 6, 5), (2, 5, 4), (1, 6, 4), (3, 6, 4)])
def test_copies_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    frames = np.zeros((2, 6, 1200), np.uint8)
    with pytest.raises(UsageError, match="given is"):
        Copies(frames, np.zeros(shape, np.int32), BOUNDS, WIDTH)
    right = np.zeros((2, 6, 4), np.int32)
    with pytest.raises(UsageError, match="no rows of 41"):
        Copies(frames, right, BOUNDS, 41)


@pytest.mark.parametrize("zeros", [1, 2])
def test_zeros_that_another_copy_contradicts_were_not_delivered(
    model: PixelModel, zeros: int
) -> None:
    size, bounds = 200, np.array([0, 200, 400])
    rng = np.random.default_rng(0)
    truth = rng.integers(90, 110, (3, 2 * size)).astype(np.uint8)
    frames = np.stack([truth] * (zeros + 1))
    frames[:zeros, 0, :size] = 0  # a complete buffer
    frames[:zeros, 1, size + 50 :] = 0  # the end of one
    given = np.full((zeros + 1, 3, 2), size, np.int32)
    composed = compose_block(Copies(frames, given, bounds, 20), model)
    np.testing.assert_array_equal(composed.frames, truth)
    assert composed.evidence[0].tolist() == [Evidence.SINGLE, Evidence.IDENTICAL]
    assert not composed.missing_pixels.any()


@pytest.mark.parametrize("zeros", [1, 2])
def test_zeros_at_the_head_that_another_copy_contradicts_were_not_delivered(
    model: PixelModel, zeros: int
) -> None:
    size, bounds = 200, np.array([0, 200, 400])
    truth = np.random.default_rng(0).integers(90, 110, (3, 2 * size)).astype(np.uint8)
    frames = np.stack([truth] * (zeros + 1))
    frames[:zeros, 0, :150] = 0
    frames[:zeros, 1, size : size + 40] = 0
    frames[:zeros, 2, :10] = 0  # so few may be dark pixels
    given = np.full((zeros + 1, 3, 2), size, np.int32)
    composed = compose_block(Copies(frames, given, bounds, 20), model)
    np.testing.assert_array_equal(composed.frames[:2], truth[:2])
    assert composed.evidence[0].tolist() == [Evidence.SINGLE, Evidence.IDENTICAL]
    assert composed.evidence[1].tolist() == [Evidence.IDENTICAL, Evidence.SINGLE]
    # what the other copy lacks is not given away with them
    given[zeros, 0, 0] = 180
    frames[zeros, 0, 180:size] = 0
    composed = compose_block(Copies(frames, given, bounds, 20), model)
    np.testing.assert_array_equal(composed.frames[0, 180:size], truth[0, 180:size])
    # nor where that copy ends with zeros
    given[zeros, 0, 0], frames[zeros, 0, 100:size] = size, 0
    composed = compose_block(Copies(frames, given, bounds, 20), model)
    np.testing.assert_array_equal(composed.frames[0, 150:size], truth[0, 150:size])


def test_dark_buffers_in_which_one_copy_has_errors_stay_dark(model: PixelModel) -> None:
    size, bounds = 200, np.array([0, 200])
    frames = np.zeros((3, 1, size), np.uint8)
    frames[2, 0, ::7] = 128
    composed = compose_block(Copies(frames, np.full((3, 1, 1), size, np.int32), bounds, 20), model)
    assert not composed.frames.any()
    assert composed.evidence.tolist() == [[Evidence.MAJORITY]]


@pytest.mark.parametrize(
    "bounds",
    [
        [1, 310, 620, 930, 1200],
        [0, 310, 620, 930, 1199],
        [0, 310, 620, 930, 1201],
        [0, 310, 310, 930, 1200],
        [0, 620, 310, 930, 1200],
    ],
)
def test_bounds_that_are_no_layout_are_refused(bounds: list[int]) -> None:
    copies = copies_of(scene(), 2)
    with pytest.raises(UsageError, match="bounds must rise from 0 to 1200"):
        replace(copies, bounds=np.array(bounds))


@given(st.integers(1, 4), st.integers(0, 9), st.data())
def test_whole_and_shared_buffers_are_counted_one_by_one(
    recordings: int, frames: int, data: st.DataObject
) -> None:
    lost = data.draw(hnp.arrays(np.int32, (recordings, frames, 4), elements=st.integers(-1, 1)))
    given_ = np.where(lost == 0, SIZES, np.where(lost < 0, EXCLUDED, SIZES - 1)).astype(np.int32)
    copies = Copies(np.zeros((recordings, frames, 1200), np.uint8), given_, BOUNDS, WIDTH)
    whole = copies.whole_buffers()
    for recording, frame in np.ndindex(recordings, frames):
        expected = sum(1 << k for k in range(4) if lost[recording, frame, k] == 0)
        assert whole[recording, frame] == expected
    several = ((lost == 0).sum(axis=0) > 1).sum(axis=1)
    assert shared_counts(whole).tolist() == several.tolist()


@pytest.mark.parametrize("cuts", [[], [2], [1, 2, 5]])
def test_composed_frames_are_put_one_after_the_other(model: PixelModel, cuts: list[int]) -> None:
    copies = copies_of(scene(), 2)
    lose(copies, 0, 1, 2)
    lose(copies, 1, 4, 0)
    burst(copies, 0, 3, 400, 90)
    whole = compose_block(copies, model)
    columns = {name: np.split(array, cuts) for name, array in vars(whole).items()}
    parts = [
        Composition(**{name: arrays[n] for name, arrays in columns.items()})
        for n in range(len(cuts) + 1)
    ]
    for name, array in vars(Composition.concat(parts)).items():
        np.testing.assert_array_equal(array, vars(whole)[name])
