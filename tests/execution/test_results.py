"""Results are read back as they were written."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from miostitch.errors import InputError, ResourceError
from miostitch.execution.results import (
    FailedSession,
    HistoryStep,
    InspectedSession,
    InspectSummary,
    LostFrames,
    NoiseSummary,
    Result,
    ScoreSummary,
    SessionMember,
    is_as_written,
    load_summary,
    read_summary,
    write_summary,
)

LOST = LostFrames("a.avi", (3, 5), (103, 105), None, "zeroed")
NOISE = NoiseSummary("a.avi", 9, 1, 0, [LOST, replace(LOST, frame_num=None, byte=7)], "a_noise.csv")
MEMBER = SessionMember("a.avi", 9, 0, 0.5, None)
SESSION = InspectedSession(9, 8, 0, 0, 1, [(3, 11)], [MEMBER], [], ["odd"], [])


@pytest.mark.parametrize(
    "result",
    [
        LOST,
        ScoreSummary([NOISE], {"gradient_config": {"threshold": 20.0}}),
        InspectSummary([], SESSION),
        InspectSummary([], None),
        HistoryStep("stitch", {"by": "frame"}, ["a", "b"]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_results_are_read_back(result: Result) -> None:
    told = json.loads(json.dumps(result.to_json()))
    assert told == result.to_json()
    again = type(result).from_json(told)
    assert again.to_json() == told
    assert type(result).from_json(told | {"unknown": 1}) == again


def test_nested_results_get_their_types() -> None:
    again = ScoreSummary.from_json(ScoreSummary([NOISE], {}).to_json())
    assert [loss.why for loss in again.recordings[0].lost_frames] == ["zeroed", "zeroed"]
    assert isinstance(InspectSummary.from_json({"recordings": [], "session": None}), InspectSummary)


def test_what_has_a_default_is_left_out_where_it_has_it() -> None:
    assert HistoryStep("lag", {"lag": 0}, frames_before=0, frames_after=4).to_json() == {
        "step": "lag",
        "parameters": {"lag": 0},
        "frames_before": 0,
        "frames_after": 4,
    }
    assert LOST.to_json()["byte"] is None  # without a default null is a value
    assert FailedSession("why").to_json() == {"error": "why"}


def test_what_lacks_a_field_is_refused() -> None:
    with pytest.raises(InputError, match=r"no LostFrames: .*'why'"):
        LostFrames.from_json({"file": "a.avi", "frames": [0, 1], "frame_num": None, "byte": None})


def test_a_summary_is_found_next_to_its_products(tmp_path: Path) -> None:
    path = tmp_path / "S.json"
    assert (load_summary(path), read_summary(str(tmp_path / "S.avi"))) == ({}, {})
    write_summary(path, FailedSession("none"))
    assert {*load_summary(path)} == {"error", "digest"}
    assert read_summary(str(tmp_path / "S.avi")) == {}  # of another program: it lists no outputs
    path.write_text('{"outputs": []}')
    assert read_summary(str(tmp_path / "S.zarr")) == load_summary(path) == {"outputs": []}


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[1]"])
def test_a_damaged_summary_is_named_or_passed_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "S.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match="restore or remove it"):
        load_summary(path)
    assert read_summary(str(path)) == {}


def test_a_summary_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot be written"):
        write_summary(tmp_path / "no" / "S.json", FailedSession("why"))


def test_a_summary_knows_its_own_text(tmp_path: Path) -> None:
    path = tmp_path / "S.json"
    write_summary(path, FailedSession('of "digest": ""'))
    text, found = path.read_bytes(), json.loads(path.read_text())
    assert is_as_written(text, found)
    for at in range(len(text)):
        changed = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
        assert not is_as_written(changed, found), at
    assert not is_as_written(text + b" ", found)
    for wrong in (None, "", 3, "x", found["digest"][:-1]):
        assert not is_as_written(text, {"digest": wrong})


def test_a_summary_of_before_has_no_digest_and_no_unknown_field() -> None:
    assert is_as_written(b"", {"frames": 3})
    assert not is_as_written(b"", {"frames": 3, "digesu": "12"})
