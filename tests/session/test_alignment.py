"""The outer join, against a plain dictionary and against receivers whose frames are known."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from miostitch.errors import AlignmentError, UsageError
from miostitch.session.alignment import Alignment, FrameIdentity, align

Frames = list[tuple[int, int]]
"""(frame_num, num_buffers) of each frame of a video."""


def identity(frames: Frames, name: str = "a") -> FrameIdentity:
    numbers, buffers = zip(*frames, strict=True) if frames else ((), ())
    unknown = np.full(len(numbers), np.nan)
    return FrameIdentity(name, np.array(numbers, np.int64), np.array(buffers, np.int16), unknown)


def reference(recordings: list[Frames]) -> dict[int, list[int]]:
    """Row by row, with dictionaries."""
    joined: dict[int, list[int]] = {}
    for number, frames in enumerate(recordings):
        best: dict[int, int] = {}
        for position, (frame_num, buffers) in enumerate(frames):
            if frame_num >= 0 and (frame_num not in best or buffers > frames[best[frame_num]][1]):
                best[frame_num] = position
        for frame_num, position in best.items():
            joined.setdefault(frame_num, [-1] * len(recordings))[number] = position
    return dict(sorted(joined.items()))


# every recording has frame 3, so that all overlap
frames = st.lists(st.tuples(st.integers(-1, 12), st.integers(0, 8)), max_size=12)
sessions = st.lists(frames.map(lambda found: [*found, (3, 4)]), min_size=1, max_size=4)


@given(sessions)
def test_equals_a_dictionary(session: list[Frames]) -> None:
    found = align([identity(frames) for frames in session])
    expected = reference(session)
    assert found.frame_num.tolist() == list(expected)
    assert found.source_frame.T.tolist() == list(expected.values())


@pytest.mark.fault(32, "recordings permuted", "rows permuted likewise")
@given(sessions, st.randoms())
def test_order_of_recordings_only_permutes_rows(session: list[Frames], random: object) -> None:
    order = list(range(len(session)))
    random.shuffle(order)  # type: ignore[attr-defined]
    given_order = align([identity(frames) for frames in session])
    permuted = align([identity(session[i]) for i in order])
    assert permuted.frame_num.tolist() == given_order.frame_num.tolist()
    assert permuted.source_frame.tolist() == given_order.source_frame[order].tolist()


@given(sessions)
def test_every_known_frame_is_kept_once_or_reported(session: list[Frames]) -> None:
    found = align([identity(frames) for frames in session])
    for number, frames in enumerate(session):
        used = set(found.source_frame[number]) - {-1}
        dropped = [p for d in found.duplicates if d.recording == number for p in d.dropped]
        known = [p for p, (frame_num, _) in enumerate(frames) if frame_num >= 0]
        assert sorted([*used, *dropped]) == known


def test_a_jump_is_a_loss_not_a_reset() -> None:
    a = identity([(1, 8), (2, 8), (7, 8)])
    b = identity([(2, 8), (3, 8)])
    found = align([a, b])
    assert found.frame_num.tolist() == [1, 2, 3, 7]
    assert found.lost_frame_num == [(4, 6)]


def test_duplicates_name_what_gave_way() -> None:
    found = align([identity([(5, 7), (5, 8), (5, 8)])])
    (duplicate,) = found.duplicates
    assert (duplicate.frame_num, duplicate.kept, duplicate.dropped) == (5, 1, (2, 0))


def test_no_overlap_names_both_ranges() -> None:
    a, b = identity([(1, 8), (4, 8)], "a.avi"), identity([(10, 8), (12, 8)], "b.avi")
    with pytest.raises(AlignmentError, match=r"a\.avi has frame_num 1 to 4; b\.avi .* 10 to 12"):
        align([a, b])


def test_a_chain_of_overlaps_is_enough() -> None:
    a, b, c = identity([(1, 8), (2, 8)]), identity([(3, 8), (4, 8)]), identity([(2, 8), (3, 8)])
    assert align([a, b, c]).frame_num.tolist() == [1, 2, 3, 4]


def test_a_recording_without_known_frames_is_refused() -> None:
    with pytest.raises(AlignmentError, match=r"b\.avi: no frame"):
        align([identity([(1, 8)]), identity([(-1, 0)], "b.avi")])


def test_length() -> None:
    assert len(Alignment(np.arange(3), np.zeros((1, 3), np.int64))) == 3


EPOCH = 1.7e9


@dataclass(frozen=True)
class Receivers:
    """What several receivers got of one device, and which of its frames that was."""

    identities: list[FrameIdentity]
    truth: list[NDArray[np.int64]]

    def wrong(self, found: Alignment) -> int:
        """Output frames that pair frames of different moments."""
        true = np.stack(
            [
                np.where(source < 0, -1, truth[source])
                for source, truth in zip(found.source_frame, self.truth, strict=True)
            ]
        )
        return int(((true != true.max(axis=0)) & (true >= 0)).any(axis=0).sum())

    def unused(self, found: Alignment) -> int:
        """Frames that are neither used nor reported; -1 if one is used twice."""
        missing = 0
        for number, truth in enumerate(self.truth):
            used = found.source_frame[number][found.source_frame[number] >= 0]
            dropped = [p for d in found.duplicates if d.recording == number for p in d.dropped]
            every = [*used.tolist(), *dropped]
            if len(set(every)) < len(every):
                return -1
            missing += len(truth) - len(every)
        return missing


def receive(
    seed: int,
    *,
    boots: Sequence[int] = (300,),
    pause_s: float = 5.0,
    windows: Sequence[tuple[int, int | None]] = ((0, None), (7, -5), (3, -9)),
    offset_s: float = 0.03,
    drift_ppm: float = 100.0,
    step_s: float = 0.0,
    flips: float = 0.0,
    jitter_s: float = 0.0,
    shift: int = 0,
    start: int = 0,
) -> Receivers:
    """Receivers 1 and 2 have other clocks, which step, and counters that began elsewhere."""
    random = np.random.default_rng(seed)
    boot = np.repeat(np.arange(len(boots)), boots)
    number = np.concatenate([np.arange(n) for n in boots]) + np.where(boot == 0, start, 0)
    sent = EPOCH + 0.05 * np.arange(len(number)) + pause_s * boot
    sent += random.normal(0, jitter_s, len(sent)) if jitter_s else 0.0
    identities, truth = [], []
    for receiver, (first, last) in enumerate(windows):
        frame = np.arange(len(number))[first:last]
        frame = frame[random.random(len(frame)) > 0.1]
        time = sent[frame] + random.uniform(0, 0.004, len(frame))
        ahead = offset_s + drift_ppm * 1e-6 * (time - EPOCH) + step_s * (frame > len(number) // 2)
        seen = number[frame] + receiver * shift
        flipped = random.random(len(frame)) < flips
        seen ^= np.where(flipped, 1 << random.integers(0, 20, len(frame)), 0)
        buffers = random.integers(1, 9, len(frame)).astype(np.int16)
        identities.append(
            FrameIdentity(f"{receiver}.avi", seen, buffers, time + (receiver > 0) * ahead)
        )
        truth.append(frame)
    return Receivers(identities, truth)


seeds = st.integers(0, 2**32)
offsets = st.sampled_from([-0.5, 0.03, 3.0])
steps = st.sampled_from([-1.0, 0.0, 0.7])


@pytest.mark.fault(33, "resets with drifting and stepping clocks", "linked by time, nothing mixed")
@given(
    seed=seeds,
    boots=st.lists(st.integers(200, 400), min_size=2, max_size=4),
    start=st.sampled_from([0, 2500, 2**32 - 200]),
    offset_s=offsets,
    step_s=steps,
)
def test_resets_are_linked(
    seed: int, boots: list[int], start: int, offset_s: float, step_s: float
) -> None:
    session = receive(seed, boots=boots, start=start, offset_s=offset_s, step_s=step_s)
    found = align(session.identities)
    assert session.wrong(found) == session.unused(found) == 0
    assert len(found) == len(np.unique(np.concatenate(session.truth)))
    assert found.segment.max() + 1 == len(found.boot_starts) == len(boots)
    for boot in range(len(boots)):
        assert (np.diff(found.frame_num[found.segment == boot]) > 0).all()
    assert sum("device restarted" in str(notice) for notice in found.notices) == 3 * (
        len(boots) - 1
    )
    if not step_s:
        assert found.clocks[1].offset_s == pytest.approx(offset_s, abs=0.02)
    rotated = align([session.identities[i] for i in (1, 2, 0)])
    assert rotated.source_frame.tolist() == found.source_frame[[1, 2, 0]].tolist()


@given(seed=seeds, offset_s=offsets, step_s=steps)
def test_without_resets_times_change_nothing(seed: int, offset_s: float, step_s: float) -> None:
    identities = receive(seed, offset_s=offset_s, step_s=step_s, flips=0.02).identities
    found = align(identities)
    expected = reference(
        [[*zip(i.frame_num.tolist(), i.num_buffers.tolist(), strict=True)] for i in identities]
    )
    assert found.frame_num.tolist() == list(expected)
    assert found.source_frame.T.tolist() == list(expected.values())


@given(seed=seeds, offset_s=offsets, step_s=steps, boots=st.sampled_from([(600,), (300, 400)]))
def test_by_time(seed: int, offset_s: float, step_s: float, boots: tuple[int, ...]) -> None:
    session = receive(seed, boots=boots, offset_s=offset_s, step_s=step_s)
    found = align(session.identities, method="time")
    assert session.wrong(found) == session.unused(found) == 0
    assert len(found) == len(np.unique(np.concatenate(session.truth)))


@given(seed=seeds, shift=st.integers(-40, 40), offset_s=offsets)
def test_counters_that_started_apart(seed: int, shift: int, offset_s: float) -> None:
    session = receive(seed, boots=(900,), shift=shift, start=500, offset_s=offset_s, jitter_s=0.003)
    found = align(session.identities, method="time")
    assert session.wrong(found) == session.unused(found) == 0
    assert len(found) == len(np.unique(np.concatenate(session.truth)))


def test_wrong_numbers_pair_fewer_by_time() -> None:
    by_number = by_time = 0
    for seed in range(20):
        session = receive(seed, flips=0.02)
        by_number += session.wrong(align(session.identities))
        found = align(session.identities, method="time")
        assert session.unused(found) == 0
        by_time += session.wrong(found)
    assert by_number > 40
    assert by_time < 3


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_boots_that_share_no_receiver(order: tuple[int, ...]) -> None:
    session = receive(1, boots=(300, 300), windows=((0, 300), (300, None), (0, None)))
    session = Receivers(*([part[i] for i in order] for part in vars(session).values()))
    found = align(session.identities)
    assert session.wrong(found) == session.unused(found) == 0
    assert found.boot_starts[1] < 300 < len(found)


def test_boots_that_cannot_be_told_apart_are_refused() -> None:
    session = receive(1, boots=(100, 100), pause_s=1.0, offset_s=3.2)
    with pytest.raises(
        AlignmentError, match=r"do not show which run.*; else trim each recording to one run"
    ):
        align(session.identities)
    found = align(session.identities, method="frame-num")
    assert found.boot_starts == (0,)
    assert "all the same" in str(found.notices[0])


@pytest.mark.parametrize("boots", [(100, 100), (100, 100, 100), (90, 100, 90, 100)])
@pytest.mark.parametrize("offset_s", [3.2, -6.3])
def test_boots_are_told_apart_by_identical_buffers(boots: tuple[int, ...], offset_s: float) -> None:
    session = receive(3, boots=boots, pause_s=1.0, offset_s=offset_s)
    sizes: list[int] = []

    def count_alike(one: int, frames: Any, other: int, others: Any) -> int:
        sizes.append(len(frames))
        return int((session.truth[one][frames] == session.truth[other][others]).sum())

    found = align(session.identities, count_alike=count_alike)
    assert session.wrong(found) == session.unused(found) == 0
    assert len(found.boot_starts) == len(boots)
    assert max(sizes, default=0) <= 8


@pytest.mark.parametrize("alike", [0, 2, 64])
def test_images_that_differ_or_are_all_alike_prove_nothing(alike: int) -> None:
    session = receive(3, boots=(100, 100, 100), pause_s=1.0, offset_s=3.2)
    with pytest.raises(AlignmentError, match="do not show which run"):
        align(session.identities, count_alike=lambda *_: alike)


def test_no_overlap_names_the_times() -> None:
    session = receive(1, windows=((0, 100), (150, None)))
    with pytest.raises(
        AlignmentError, match=r"0\.avi has frame_num 0 to \d+, received from 20.* to 20.* UTC; "
    ):
        align(session.identities)
    with pytest.raises(AlignmentError, match="no overlap"):
        align(session.identities, method="time")


def test_times_that_do_not_follow_the_counter_are_refused() -> None:
    (first, second, _) = receive(1).identities
    slow = replace(second, time=second.time * 2)
    with pytest.raises(AlignmentError, match="do not rise together"):
        align([first, slow], method="time")
    with pytest.raises(AlignmentError, match="a frame_num and a time"):
        align([first, replace(second, time=np.full_like(second.time, np.nan))], method="time")


def test_frames_without_partner_are_kept_in_time_order() -> None:
    session = receive(3)
    found = align(session.identities, method="time", max_gap=1e-6)
    assert session.unused(found) == 0
    assert sum(found.unlinked) > 0.9 * len(found)
    assert (np.diff(found.frame_num) >= 0).all()


def test_clocks_and_notices() -> None:
    session = receive(2, boots=(3000,), offset_s=3.0, drift_ppm=100)
    first, second, third = align(session.identities).clocks
    assert (first.offset_s, first.drift_ppm) == (0, None)
    assert second.drift_ppm == pytest.approx(100, abs=10)
    assert third.frames > 2000
    stepped = align(receive(2, step_s=-1.0, offset_s=3600).identities)
    said = [str(notice) for notice in stepped.notices if "its clock was set" in str(notice)]
    assert [text[:5] for text in said] == ["1.avi", "2.avi"]
    assert re.search(r"its clock was set 1 time .* at frame_num \d+ by -(1\.0|0\.9)\d\d s", said[0])
    assert not [notice for notice in stepped.notices if "backwards" in str(notice)]
    swapped = receive(1).identities[0]
    swapped.time[[50, 51]] = swapped.time[[51, 50]]
    assert any("backwards 1 time," in str(notice) for notice in align([swapped]).notices)
    assert any("1.avi: its clock is 3600 s ahead" in str(notice) for notice in stepped.notices)


def test_one_recording_is_ordered_by_boots() -> None:
    (first, *_) = receive(1, boots=(100, 100), start=2500).identities
    found = align([first])
    assert found.source_frame[0].tolist() == list(range(len(first.frame_num)))
    assert all(start >= 0 for start, _ in found.lost_frame_num)
    assert (200, 2499) not in found.lost_frame_num


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"method": "clock"}, "give auto"),
        ({"max_gap": 0.0}, "give a time"),
        ({"max_gap": np.nan}, "give a time"),
        ({"max_gap": 1.0}, "method='time'"),
    ],
)
def test_options_are_checked(options: dict[str, Any], remedy: str) -> None:
    with pytest.raises(UsageError, match=remedy):
        align([identity([(1, 8)])], **options)


def test_restarts_without_times_share_numbers_but_nothing_says_which_are_which() -> None:
    session = receive(1, boots=(60, 60, 60))
    unknown = [replace(one, time=np.full(len(one.time), np.nan)) for one in session.identities]
    with pytest.raises(AlignmentError, match="do not show which run"):
        align(unknown)


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0)])
def test_a_clock_is_measured_through_a_recording_that_shares_frames_with_both(
    order: tuple[int, ...],
) -> None:
    # the first and the last of these have no frame in common, the one between them has of both
    ranges, ahead = [(0, 300), (200, 600), (500, 900)], [0.0, 0.25, -0.5]
    made = []
    for number in order:
        frames = np.arange(*ranges[number])
        buffers = np.full(len(frames), 8, np.int16)
        made.append(FrameIdentity(str(number), frames, buffers, frames / 20 + ahead[number]))
    found = align(made)
    expected = [ahead[number] - ahead[order[0]] for number in order]
    assert [clock.offset_s for clock in found.clocks] == pytest.approx(expected, abs=1e-6)
    alone = {0: 200, 1: 200, 2: 300}
    assert found.unlinked == tuple(alone[number] for number in order)
