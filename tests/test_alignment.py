"""The outer join on frame_num, against a plain dictionary."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miostitch.alignment import Alignment, FrameIdentity, align
from miostitch.errors import AlignmentError

Frames = list[tuple[int, int]]
"""(frame_num, num_buffers) of each frame of a video."""


def identity(frames: Frames, name: str = "a") -> FrameIdentity:
    numbers, buffers = zip(*frames, strict=True) if frames else ((), ())
    return FrameIdentity(name, np.array(numbers, np.int64), np.array(buffers, np.int16))


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
