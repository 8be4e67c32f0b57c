"""A JSON next to a video that some other program wrote."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import miostitch
from miostitch.execution.results import read_summary
from miostitch.recording.datasets import open_recording, stitch_history
from miostitch.text import printable

KEYS = ["outputs", "history", "config", "recordings", "name", "step", "parameters", "x"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=12,
)
FOUND = VALUES | st.builds(lambda rest: {"outputs": [], **rest}, st.dictionaries(
    st.sampled_from(KEYS[1:]), VALUES, max_size=4
))  # fmt: skip


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = miostitch.SimulationConfig(frames=6, receivers=1, height=20, width=20)
    return miostitch.simulate(tmp_path_factory.mktemp("s"), config).recordings[0]


@pytest.mark.fault(67, "any value", "ignored, or read as a history")
@given(found=FOUND)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_next_to_a_video_is_ours_or_ignored(video: Path, found: Any) -> None:
    video.with_suffix(".json").write_text(json.dumps(found))
    history = stitch_history(read_summary(str(video)))
    assert all(isinstance(step["step"], str) for step in history.get("history", []))


@pytest.mark.fault(67, "what crashed, halves of characters, nesting without end", "ignored")
@pytest.mark.parametrize(
    "text",
    [
        '{"outputs": [], "config": {}}', '{"outputs": [], "history": 3}', "null", "[]", "3",
        '{"outputs": [], "history": [3], "config": []}', '"\\ud800"', "[" * 100_000, "",
        '{"outputs": [], "history": null}', '{"outputs": "\\ud800"}', "1" * 5000,
    ],
)  # fmt: skip
def test_a_recording_next_to_a_foreign_json_is_opened(video: Path, text: str) -> None:
    video.with_suffix(".json").write_text(text)
    assert "history" not in open_recording(video).attrs


@given(st.text(st.characters(), max_size=9))
def test_any_text_can_be_printed(text: str) -> None:
    printable(text).encode()


def test_halves_of_characters_are_escaped() -> None:
    assert printable("\ud800 caf\udce9 \udfff") == "\\ud800 caf\\xe9 \\udfff"
