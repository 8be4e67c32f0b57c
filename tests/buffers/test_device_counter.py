"""The device's counter: what it says of losses, over restarts and disorder."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from miostitch.buffers.device_counter import count_numbers, device_runs, join_fragments, run_spans
from tests.tables import LAWS

RUNS = st.lists(
    st.lists(st.integers(0, 59), min_size=20, max_size=60, unique=True).map(sorted),
    min_size=1,
    max_size=3,
).filter(lambda runs: all(a[-6] > b[5] + 30 for a, b in itertools.pairwise(runs)))


@LAWS
@given(runs=RUNS, twice=st.integers(0, 19))
def test_losses_are_counted_in_each_run_of_the_device(runs: list[list[int]], twice: int) -> None:
    runs[0].insert(twice, runs[0][twice])
    number = np.array([n for run in runs for n in run])
    assert np.diff(device_runs(number)).nonzero()[0].tolist() == [
        end - 1 for end in np.cumsum([len(run) for run in runs]).tolist()[:-1]
    ]
    lost = sum(run[-1] - run[0] + 1 - len(set(run)) for run in runs)
    assert count_numbers(number) == (lost, 1)
    assert run_spans(number, device_runs(number)) == [(run[0], run[-1]) for run in runs]


def test_disorder_is_no_loss() -> None:
    number = np.arange(40)
    number[[10, 12]] = number[[12, 10]]
    assert count_numbers(number) == (0, 0)


def test_no_frame_has_no_loss() -> None:
    assert count_numbers(np.empty(0, np.int64)) == (0, 0)
    assert run_spans(np.empty(0, np.int64), np.empty(0, np.int64)) == []


def test_fragments_of_a_frame_are_joined() -> None:
    number = np.r_[np.arange(30), 30, 30, np.arange(30)]
    have = np.full(len(number), 8, np.uint8)
    have[30:32] = 5, 2
    assert join_fragments(number, have, 8).tolist() == [8] * 30 + [7] + [8] * 30
