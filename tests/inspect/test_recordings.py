"""What a run would meet: each recording, and all of them together."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import miostitch
from miostitch.errors import MissingInputError
from miostitch.inspect.recordings import inspect_recording, inspect_recordings
from miostitch.recording.files import ReadOptions
from tests.commands import run
from tests.sessions import change_table

CONFIG = miostitch.SimulationConfig(frames=80, height=30, width=40, seed=4)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("session")
    config = replace(CONFIG, receivers=3, frames=300, resets=1, frame_loss=0.2)
    return list(miostitch.simulate(folder, config).recordings)


def test_recordings_are_compared(session: list[Path], tmp_path: Path) -> None:
    found = inspect_recordings(session).to_json()
    together = json.loads(json.dumps(found))["session"]
    options = miostitch.StitchOptions(report=False)
    stitched = miostitch.stitch_files([str(path) for path in session], tmp_path, options)
    lost = sum(stop - start + 1 for start, stop in stitched["lost_frame_num"])
    assert together["frames"] == stitched["frames"]
    assert together["lost_frame_num"] == lost > 0
    assert together["boots"] == 2
    assert together["frame_num_runs"] == stitched["frame_num_runs"]
    for key in ("errors", "warnings", "notes"):
        assert {*together[key]} <= {*stitched.get(key, [])}, key
    for mine, theirs in zip(together["recordings"], stitched["recordings"], strict=True):
        assert (mine["path"], mine["frames"], mine["only_here"]) == tuple(
            theirs[name] for name in ("path", "frames", "sole")
        )
    offsets = [recording["offset_s"] for recording in together["recordings"]]
    assert offsets == pytest.approx([0, 0.35, 0.7], abs=0.01)
    assert any("device restarted" in warning for warning in together["warnings"])
    assert 0 < together["seen_by_all"] < together["frames"]
    assert found["recordings"] == [inspect_recording(path) for path in session]


def test_drift_is_told_where_it_can_be(tmp_path: Path) -> None:
    config = replace(CONFIG, clock_drift_ppm=3000.0, frames=400)
    videos = miostitch.simulate(tmp_path, config).recordings
    first, second = inspect_recordings(videos).to_json()["session"]["recordings"]
    assert first["drift_ppm"] is None
    assert second["drift_ppm"] == pytest.approx(3000, rel=0.1)


def test_one_recording_and_videos_alone_are_not_compared(
    session: list[Path], tmp_path: Path
) -> None:
    assert inspect_recordings(session[:1]).to_json()["session"] is None
    shutil.copy(session[1], tmp_path)
    alone = tmp_path / session[1].name
    found = inspect_recordings([session[0], alone]).to_json()
    assert found["session"] is None
    assert found["recordings"][1]["table"] is None
    assert found["recordings"][1]["lag"] is None
    assert "stitching needs one" in found["recordings"][1]["warnings"][-1]
    with pytest.raises(MissingInputError):
        inspect_recordings([alone], ReadOptions())


@pytest.mark.parametrize(
    ("other", "words"),
    [({"height": 40}, "has frames of 40x30"), ({"first_frame_num": 9000}, "no overlap")],
)
def test_why_recordings_do_not_belong_together(
    session: list[Path], tmp_path: Path, other: dict[str, int], words: str
) -> None:
    config = replace(CONFIG, receivers=1, **other)  # type: ignore[arg-type]
    stranger = miostitch.simulate(tmp_path, config).recordings[0]
    found = inspect_recordings([session[0], stranger]).to_json()
    assert len(found["recordings"]) == 2
    assert found["session"].keys() == {"error"}
    assert words in found["session"]["error"]


def test_frames_that_nobody_received_whole(session: list[Path], tmp_path: Path) -> None:
    made = miostitch.stitch_files(
        [str(session[0])], tmp_path, miostitch.StitchOptions(unrecoverable_video=True)
    )
    [video] = [path for path in made["outputs"] if path.endswith("_unrecoverable.avi")]
    whole, table = (inspect_recording(path)["table"] for path in (session[0], video))
    assert table["buffers_per_frame"] == whole["buffers_per_frame"]
    assert 0 < table["incomplete_frames"] <= made["unrecoverable"]
    assert table["buffers_lost"] == whole["buffers_lost"] == made["recordings"][0]["buffers_lost"]


@pytest.mark.parametrize("lag", [0, 1])
def test_the_lag_and_its_evidence(tmp_path: Path, lag: int) -> None:
    video = miostitch.simulate(tmp_path, replace(CONFIG, receivers=1, lag=lag)).recordings[0]
    found = inspect_recording(video)
    evidence = found["lag_evidence"]
    assert found["lag"] == lag
    assert evidence["missing_buffers"] == evidence["black_at_that_lag"] > 5
    assert (evidence["black_at_lag_0"] == evidence["black_at_that_lag"]) == (lag == 0)
    assert any("behind its table" in warning for warning in found["warnings"]) == (lag != 0)


def test_real_recordings(recordings: Path) -> None:
    videos = [recordings / "stitch" / f"video{n}.avi" for n in (1, 2)]
    found = inspect_recordings(videos).to_json()
    first, second = found["recordings"]
    assert (first["frames"], first["fps"], first["codec"]) == (50, "20", "rawvideo")
    assert first["table"]["repeated_frames"] == 2
    assert first["lag"] == 1
    assert first["lag_evidence"] == {
        "missing_buffers": 18,
        "black_at_that_lag": 18,
        "black_at_lag_0": 0,
    }
    assert second["table"]["buffers_lost"] == 0
    assert second["lag"] == 1
    assert second["lag_evidence"] == {
        "compared_with": "video1",
        "shared_buffers": 310,
        "identical_at_that_lag": 310,
        "identical_at_lag_0": 0,
    }
    assert inspect_recording(videos[1])["lag"] is None
    assert found["session"] | {"recordings": 0} == {
        "frames": 52,
        "seen_by_all": 44,
        "lost_frame_num": 0,
        "repeated_frame_num": 2,
        "boots": 1,
        "recordings": 0,
        "frame_num_runs": [[2514, 2565]],
        "errors": [],
        "warnings": [],
        "notes": [
            f"{videos[0]}: frame_num 2529 occurs in frames 16 and 17; 2543 occurs in frames 31 and "
            "32; the frame listed first has most buffers and is used"
        ],
    }
    assert [each["only_here"] for each in found["session"]["recordings"]] == [3, 5]
    coded = inspect_recording(recordings / "noise" / "wireless_corrupted_extended.mp4")
    assert coded["lossy"]
    assert coded["table"] is None


def test_errors_among_the_findings_end_with_an_exit_code(
    session: list[Path], tmp_path: Path
) -> None:
    stranger = miostitch.simulate(
        tmp_path, replace(CONFIG, receivers=1, first_frame_num=9000)
    ).recordings[0]
    good = [str(path) for path in session[:2]]
    run("inspect", *good)
    found = json.loads(run("inspect", good[0], str(stranger), "--json", code=3).stdout)
    assert "no overlap" in found["session"]["error"]
    assert found["recordings"][1]["path"] == str(stranger)
    change_table(stranger, lambda rows: rows.assign(pixel_count=rows.pixel_count - 7))
    said = run("inspect", str(stranger), code=3).stdout
    assert "error: " in said
    assert "do not add up" in said
    found = json.loads(run("inspect", str(stranger), "--json", code=3).stdout)
    assert "do not add up" in found["recordings"][0]["errors"][0]
