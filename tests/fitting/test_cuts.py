"""Videos and tables that lack frames in the middle: no image is taken for another frame's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from miostitch.arrays import I64, U8, Bools
from miostitch.buffers.frame_table import FrameTable
from miostitch.fitting.cuts import Placement, place_pictures
from miostitch.fitting.evidence import PictureBuffers, Reference, Witnesses, make_reference
from miostitch.kernels.placement import describe_buffers
from miostitch.schema import NO_FRAME

BOUNDS = np.arange(0, 401, 100)
BUFFERS = len(BOUNDS) - 1


@dataclass(frozen=True)
class Receiver:
    table: FrameTable
    images: U8  # (frame, pixel)


def receivers(count: int, seed: int, loss: float, noise: float = 0.0) -> list[Receiver]:
    """What two receivers got of a device: lost buffers are black, flipped bits are noise."""
    rng = np.random.default_rng(seed)
    scene = rng.normal(120, 4, (count, int(BOUNDS[-1]))).clip(1, 255).astype(np.uint8)
    found = []
    for _ in range(2):
        lost = rng.random((count, BUFFERS)) < loss
        images = scene.copy().reshape(count, BUFFERS, -1)
        flips = rng.random((*images.shape, 8)) < noise
        images ^= np.packbits(flips, axis=-1)[..., 0]
        images[lost] = 0
        masks = (~lost << np.arange(BUFFERS)).sum(axis=1).astype(np.uint64)
        table = replace(
            FrameTable.blank(count),
            frame_num=np.arange(count) + 700,
            num_rows=(~lost).sum(axis=1).astype(np.int32),
            buffers=masks,
            whole_buffers=masks,
        )
        found.append(Receiver(table, images.reshape(count, -1)))
    return found


def seen(images: U8) -> PictureBuffers:
    zeros = np.empty((len(images), BUFFERS), np.int32)
    digests = np.empty((len(images), BUFFERS), np.uint64)
    describe_buffers(images, BOUNDS, zeros, digests)
    return PictureBuffers(zeros, digests, np.ones(len(images), np.bool_))


def kept(count: int, cuts: Sequence[tuple[float, int]]) -> Bools:
    """Which frames are left, if so many are cut out at these places."""
    left = np.ones(count, np.bool_)
    for place, length in cuts:
        at = int(place * count)
        left[at : at + length] = False
    return left


def rows_of(table: FrameTable, left: Bools) -> FrameTable:
    return table.shown(np.flatnonzero(left))


def place(
    one: Receiver,
    images: Bools,
    rows: Bools,
    partner: Receiver | None,
    *,
    to_the_ends: bool = False,
) -> tuple[Placement, I64]:
    """Place what is left of a recording; and the frame that each picture has in truth, or -1."""
    parts = [(partner.table, seen(partner.images))] if partner else []
    reference = make_reference(parts, BUFFERS)
    table = rows_of(one.table, rows)
    witnesses = Witnesses(table, seen(one.images[images]), BOUNDS, reference)
    number = np.where(rows, np.cumsum(rows) - 1, NO_FRAME)
    return place_pictures(witnesses, to_the_ends=to_the_ends), number[images]


CUTS = st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 40)), max_size=4)


@settings(max_examples=60, deadline=None)
@given(CUTS, CUTS, st.booleans(), st.integers(0, 9), st.sampled_from([0.0, 0.02, 0.1]),
       st.sampled_from([0.0, 1e-3]))  # fmt: skip
def test_no_picture_is_placed_at_another_frame(
    video_cuts: list[tuple[float, int]],
    table_cuts: list[tuple[float, int]],
    alone: bool,
    seed: int,
    loss: float,
    noise: float,
) -> None:
    # images that take the place of others, where nothing is lost and nobody else has them
    assume(not (alone and video_cuts and table_cuts))
    one, other = receivers(300, seed, loss, noise)
    images, rows = kept(300, video_cuts), kept(300, table_cuts)
    if not images.any() or not rows.any():
        return
    found, truth = place(one, images, rows, None if alone else other)
    certain = found.frame != NO_FRAME
    np.testing.assert_array_equal(found.frame[certain], truth[certain])
    assert (np.diff(found.frame[certain]) > 0).all()


@settings(max_examples=30, deadline=None)
@given(CUTS, st.booleans(), st.integers(0, 9))
def test_what_is_certain_is_kept_but_for_a_few_pictures(
    cuts: list[tuple[float, int]], alone: bool, seed: int
) -> None:
    one, other = receivers(300, seed, 0.1)
    images = kept(300, cuts)
    found, truth = place(one, images, np.ones(300, np.bool_), None if alone else other)
    stretches = 2 + np.count_nonzero(np.diff(truth) != 1)
    margin = 40 if alone else 8  # pictures around each place; without a partner of a few losses
    assert np.count_nonzero(found.frame == NO_FRAME) <= margin * stretches


@pytest.mark.parametrize("to_the_ends", [False, True])
def test_the_end_counts_where_the_file_says_that_it_is_cut_there(to_the_ends: bool) -> None:
    one, _ = receivers(100, 1, 0.05)
    one.images[60:] = np.where(one.images[60:] == 0, 1, one.images[60:])
    everything = 2**BUFFERS - 1
    for name in ("buffers", "whole_buffers"):
        vars(one.table)[name][60:] = everything
    images = np.arange(100) < 80
    found, truth = place(one, images, np.ones(100, np.bool_), None, to_the_ends=to_the_ends)
    certain = found.frame != NO_FRAME
    np.testing.assert_array_equal(found.frame[certain], truth[certain])
    assert certain[60:].all() == to_the_ends
    assert found.is_shift == to_the_ends


def test_nothing_is_certain_without_evidence() -> None:
    one, _ = receivers(100, 1, 0.0)
    images = kept(100, [(0.5, 5)])
    found, _ = place(one, images, np.ones(100, np.bool_), None)
    assert not found.proven


def test_breaks_and_missing_frames() -> None:
    frame = np.array([0, 1, -1, 5, 6, -1, -1, -1, 7, 8])
    found = Placement(frame, 10)
    assert (found.lag, found.breaks) == (0, [(1, 5, 2), (6, 7, -3)])
    assert found.missing.tolist() == [2, 3, 4]
    assert Placement(frame, 11).missing.tolist() == [2, 3, 4, 9, 10]


def test_pixels_of_several_frames_are_no_reference() -> None:
    one, other = receivers(20, 3, 0.0)
    other.images[4, :100] = other.images[7, :100]
    reference: Reference = make_reference([(other.table, seen(other.images))], BUFFERS)
    found = reference.find(seen(one.images).digests)
    assert found[4].tolist() == [NO_FRAME, 704, 704, 704]
    assert found[7].tolist() == [NO_FRAME, 707, 707, 707]
    assert found[9].tolist() == [709] * BUFFERS
