"""A frame rate that the times of the table contradict is said by whatever hands it on."""

import json
import logging
import shutil
import struct
from pathlib import Path

import pytest

import miostitch
from miostitch.editing.operations import trim
from miostitch.editing.run import edit_files
from miostitch.recording.datasets import open_sources
from miostitch.recording.files import ReadOptions
from miostitch.recording.recording import Recording
from miostitch.stitching.run import stitch_files
from tests.commands import run

SAID = "the file says 30 frames/s, the timestamps say 20"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = miostitch.SimulationConfig(frames=60, receivers=1, height=20, width=20)
    video = miostitch.simulate(tmp_path_factory.mktemp("s"), config).recordings[0]
    data = bytearray(video.read_bytes())
    struct.pack_into("<II", data, data.find(b"strh") + 28, 1, 30)
    video.write_bytes(data)
    return video


@pytest.mark.fault(17, "the file says another rate than the times", "warning, once")
def test_the_rate_is_contradicted_once(video: Path) -> None:
    notices = [str(n) for n in Recording.open(video).notices if SAID in str(n)]
    assert len(notices) == 1


def test_commands_that_hand_the_rate_on_say_so(
    video: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = stitch_files([video], tmp_path / "o", report=False)
    assert sum(SAID in warning for warning in made["warnings"]) == 1
    cut = edit_files([video], tmp_path / "t", lambda parts: trim(parts[0], 2, 0), "_trimmed")
    assert sum(SAID in warning for warning in cut.warnings) == 1
    caplog.clear()
    [store] = (tmp_path / "o").glob("*.zarr")
    with caplog.at_level(logging.WARNING):
        open_sources([store], ReadOptions())
    assert SAID in caplog.text


def test_what_is_said_of_several_recordings_is_one_line_in_the_report(
    video: Path, tmp_path: Path
) -> None:
    for suffix in (".avi", ".csv"):
        shutil.copy(video.with_suffix(suffix), tmp_path / f"other{suffix}")
    made = stitch_files([video, tmp_path / "other.avi"], tmp_path / "o")
    for kind, text in (("warnings", SAID), ("notes", "not saved as an image")):
        assert len([said for said in made[kind] if text in said]) == 2
    [report] = (tmp_path / "o").glob("*.html")
    page = report.read_text("utf-8")
    assert page.count("the timestamps say 20") == page.count("not saved as an image") == 1
    assert page.count("(and 1 more like it)") >= 2


def test_inspect_says_it_as_the_warning_that_it_is(video: Path) -> None:
    found = json.loads(run("inspect", str(video), "--json").stdout)["recordings"][0]
    assert [SAID in text for text in found["warnings"]].count(True) == 1
    assert not [text for text in found["errors"] + found["notes"] if SAID in text]
    lines = run("inspect", str(video)).stdout.splitlines()
    words = [line.split(":")[0].strip() for line in lines if line.startswith("  ") and ": " in line]
    assert words == sorted(words, key=["error", "warning", "note"].index)
    assert words.count("note") == len(found["notes"]) > 0
    assert any(line.startswith("  warning: ") and SAID in line for line in lines)


def test_a_right_rate_is_not_contradicted(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=60, receivers=1, height=20, width=20)
    video = miostitch.simulate(tmp_path, config).recordings[0]
    assert not [n for n in Recording.open(video).notices if "the timestamps say" in str(n)]
