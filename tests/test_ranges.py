"""Lists of frames as text, runs of numbers, and numbers each once."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miostitch.errors import UsageError
from miostitch.ranges import distinct, format_frames, parse_frames, runs


@given(st.lists(st.integers(0, 200), min_size=1))
def test_frames_as_text_and_back(frames: list[int]) -> None:
    text = format_frames(np.array(frames))
    assert parse_frames(text).tolist() == sorted({*frames})


@pytest.mark.parametrize("text", ["", "a", "1,,2", "-1", "5-3", "1.5", "1-", "0-99999999999"])
def test_what_is_no_list_of_frames(text: str) -> None:
    with pytest.raises(UsageError, match="frames"):
        parse_frames(text)


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
