"""Lists of frames as text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miostitch.errors import UsageError
from miostitch.frame_lists import format_frames, parse_frames


@given(st.lists(st.integers(0, 200), min_size=1))
def test_frames_as_text_and_back(frames: list[int]) -> None:
    text = format_frames(np.array(frames))
    assert parse_frames(text).tolist() == sorted({*frames})


@pytest.mark.parametrize("text", ["", "a", "1,,2", "-1", "5-3", "1.5", "1-", "0-99999999999"])
def test_what_is_no_list_of_frames(text: str) -> None:
    with pytest.raises(UsageError, match="frames"):
        parse_frames(text)
