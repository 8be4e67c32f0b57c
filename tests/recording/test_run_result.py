"""What a run returns, as it is shown."""

import json
import os
from pathlib import Path

import pytest

import miostitch
from miostitch.recording.run_result import RunResult
from miostitch.text import describe_reasons


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("session")
    config = miostitch.SimulationConfig(frames=30, seed=5, height=30, width=20, buffer_loss=0.05)
    videos = miostitch.simulate(folder, config).recordings
    return miostitch.stitch_files(videos, folder / "<b>out", report=False)


def test_it_is_the_summary(made: RunResult) -> None:
    [path] = [path for path in made["outputs"] if path.endswith(".json")]
    assert made == json.loads(Path(path).read_text())
    assert json.loads(json.dumps(made)) == made


def test_it_is_short(made: RunResult) -> None:
    lines = repr(made).splitlines()
    assert lines[0] == "result receiver1__receiver2_stitched"
    assert len(lines) < 10
    assert f"{made['unrecoverable']}" in repr(made)


def test_html_has_an_image_and_the_duration(made: RunResult) -> None:
    html = made._repr_html_()
    assert 'src="data:image/png;base64,' in html
    assert "duration" in html
    assert "<b>" not in html


def test_html_says_why_there_is_no_image(made: RunResult) -> None:
    gone = RunResult(made, outputs=[path.replace("out", "gone") for path in made["outputs"]])
    assert "cannot be read: " in gone._repr_html_()


def test_every_run_returns_one(made: RunResult, tmp_path: Path) -> None:
    [store] = [path for path in made["outputs"] if path.endswith(".zarr")]
    recording = miostitch.open_recording(store)
    results = [
        miostitch.write_recording(recording, tmp_path / "copy"),
        miostitch.denoise_files(recording, "denoise_example", tmp_path / "denoised"),
        miostitch.export_recording(recording, tmp_path / "ucla", "ucla"),
        miostitch.score_files([store], tmp_path / "scores"),
        miostitch.workflow_files([store], "denoise_example", tmp_path / "workflow", trim_end=3),
    ]
    for result in results:
        assert isinstance(result, RunResult)
        assert len(repr(result).splitlines()) < 10
        assert str(tmp_path) in repr(result)
        assert "cannot be read" not in result._repr_html_()
        assert all(os.path.exists(path) for path in result.get("outputs", []))


def test_a_denoised_recording_is_shown_short(made: RunResult) -> None:
    [store] = [path for path in made["outputs"] if path.endswith(".zarr")]
    denoised = miostitch.denoise(miostitch.open_recording(store), "denoise_example")
    assert len(repr(denoised)) < 600
    removed = denoised.dropped.sizes["frame"]
    why = describe_reasons(denoised.reasons or {})
    assert why.startswith(" (") == (removed > 0)
    assert f"{removed} of {made['frames']} frames{why}" in repr(denoised)
    assert 'src="data:image/png;base64,' in denoised._repr_html_()
