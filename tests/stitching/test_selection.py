"""The choice among candidates, against sorting by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from miostitch.stitching.selection import select

SMALL = st.integers(0, 2)


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    shape = (draw(st.integers(1, 4)), draw(st.integers(0, 6)))
    present = draw(hnp.arrays(bool, shape))
    return present, *(draw(hnp.arrays(np.int64, shape, elements=SMALL)) for _ in range(3))


@given(tables())
def test_best_score_wins_and_ties_go_to_the_first(scores: tuple[np.ndarray, ...]) -> None:
    present, num_buffers, flaws, edges = scores
    choice = select(present, num_buffers, flaws, edges)
    for frame in range(present.shape[1]):
        ranked = sorted(
            (-num_buffers[r, frame], flaws[r, frame], edges[r, frame], r)
            for r in range(len(present))
            if present[r, frame]
        )
        assert choice.source[frame] == (ranked[0][-1] if ranked else -1)
        assert choice.other[frame] == (ranked[1][-1] if len(ranked) > 1 else -1)
        assert choice.tie[frame] == (len(ranked) > 1 and ranked[0][:2] == ranked[1][:2])


def test_criteria_come_in_order() -> None:
    present = np.ones((2, 3), bool)
    num_buffers = np.array([[8, 8, 8], [7, 8, 8]])
    flaws = np.array([[900, 5, 5], [0, 4, 5]])
    edges = np.array([[900, 1, 6], [0, 9, 5]])
    choice = select(present, num_buffers, flaws, edges)
    assert choice.source.tolist() == [0, 1, 1]
    assert choice.tie.tolist() == [False, False, True]
