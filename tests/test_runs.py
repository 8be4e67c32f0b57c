"""Runs of numbers, and numbers each once."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from miostitch.runs import distinct, runs

numbers = st.lists(st.integers(-50, 50))


@given(numbers)
def test_distinct_numbers_are_a_set_in_order(given_: list[int]) -> None:
    assert distinct(np.array(given_, np.int64)).tolist() == sorted({*given_})


@given(numbers)
def test_runs_cover_the_numbers_and_are_apart(given_: list[int]) -> None:
    ascending = sorted({*given_})
    found = runs(np.array(ascending, np.int64)).tolist()
    assert [n for first, last in found for n in range(first, last + 1)] == ascending
    assert all(before[1] + 1 < after[0] for before, after in pairwise(found))
