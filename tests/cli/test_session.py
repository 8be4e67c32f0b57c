"""Commands take a session file in place of recordings."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import miostitch
from miostitch.stitching.options import StitchOptions
from tests.commands import run, run_installed
from tests.folders import content

SMALL = miostitch.SimulationConfig(frames=24, height=20, width=20, seed=2)
SESSION = """
miostitch: 1
name: day1
receivers:
  left: receiver1.avi
  right: [{video: receiver2.avi, table: tables/right.csv}]
output: out
options: {by: buffer, zarr_format: 2}
subject: {subject_id: m1}
recording: {start: "2025-11-01T00:00:00Z", experimenter: "Doe, J", indicator: GCaMP6f}
"""


@pytest.fixture(scope="module")
def stitched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    miostitch.simulate(folder, SMALL)
    (folder / "tables").mkdir()
    (folder / "receiver2.csv").rename(folder / "tables" / "right.csv")
    (folder / "session.yml").write_text(SESSION)
    run("stitch", str(folder / "session.yml"))
    return folder


def test_products_are_those_of_the_long_command(stitched: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"receiver{number}.avi").symlink_to(stitched / f"receiver{number}.avi")
    (tmp_path / "receiver1.csv").symlink_to(stitched / "receiver1.csv")
    (tmp_path / "receiver2.csv").symlink_to(stitched / "tables" / "right.csv")
    names = [str(tmp_path / f"receiver{number}.avi") for number in (1, 2)]
    run("stitch", *names, "-o", str(tmp_path / "o"), "--by", "buffer", "--zarr-format", "2",
        "--name", "day1")  # fmt: skip
    ours, theirs = content(stitched / "out"), content(tmp_path / "o")
    for old, new in ((b"receiver1", b"left"), (b"receiver2", b"right")):
        theirs = {name: each.replace(old, new) for name, each in theirs.items()}
    differ = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    attributes = {"day1.zarr/.zattrs", "day1.zarr/.zmetadata"}  # which tell of the session
    assert differ == {"day1.json", "day1_report.html"} | attributes


def test_the_result_knows_receivers_and_session(stitched: Path) -> None:
    attrs = zarr.open_group(stitched / "out" / "day1.zarr", mode="r").attrs
    assert attrs["recordings"] == ["left", "right"]
    assert attrs["session"] == {
        "name": "day1",
        "subject": {"subject_id": "m1"},
        "recording": {
            "start": "2025-11-01T00:00:00Z",
            "indicator": "GCaMP6f",
            "experimenter": "Doe, J",
        },
    }
    summary = json.loads((stitched / "out" / "day1.json").read_text())
    left, right = summary["recordings"]
    assert "tables" not in left
    assert [each["path"] for each in right["tables"]] == [str(stitched / "tables" / "right.csv")]


def test_verify_finds_a_table_that_is_elsewhere(stitched: Path, tmp_path: Path) -> None:
    run("verify", str(stitched / "out"))
    run("verify", str(stitched / "session.yml"))
    (stitched / "tables" / "right.csv").rename(tmp_path / "gone.csv")
    try:
        run("verify", str(stitched / "out"), code=7)
    finally:
        (tmp_path / "gone.csv").rename(stitched / "tables" / "right.csv")


def test_inspect_and_score(stitched: Path, tmp_path: Path) -> None:
    found = json.loads(run("inspect", str(stitched / "session.yml"), "--json").stdout)
    assert [each["table"] is None for each in found["recordings"]] == [False, False]
    run("score", str(stitched / "session.yml"), "-o", str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"left_noise.csv", "right_noise.csv"}


def test_options_of_the_command_line_win(stitched: Path, tmp_path: Path) -> None:
    session = str(stitched / "session.yml")
    run("stitch", session, "-o", str(tmp_path), "--by", "frame", "--name", "other", "--no-avi")
    config = json.loads((tmp_path / "other.json").read_text())["config"]
    assert config["by"] == "frame"
    assert config["zarr_format"] == 2  # which only the file says
    assert not (tmp_path / "other.avi").exists()


def test_nwb_has_what_the_file_says(stitched: Path, tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    run("export", str(stitched / "session.yml"), "--to", "nwb", "-o", str(tmp_path / "a.nwb"))
    store = str(stitched / "out" / "day1.zarr")  # the store knows, too; an option wins
    run("export", store, "--to", "nwb", "-o", str(tmp_path / "b.nwb"), "--subject-id", "m2")
    for name, animal in (("a", "m1"), ("b", "m2")):
        with pynwb.NWBHDF5IO(tmp_path / f"{name}.nwb", "r") as io:
            file = io.read()
            assert file.subject.subject_id == animal
            assert file.experimenter == ("Doe, J",)
            assert file.session_start_time.isoformat() == "2025-11-01T00:00:00+00:00"
            assert file.imaging_planes["ImagingPlane"].indicator == "GCaMP6f"
    run("export", store, "--to", "ucla", "-o", str(tmp_path / "ucla"))  # which knows no animal


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("stitch", "session.yml", "other.yml"), "a session file comes alone; miostitch batch"),
        (("stitch", "session.yml", "receiver1.avi"), "a session file comes alone"),
        (("trim", "session.yml", "-s", "1"), "is a session file; name the result"),
        (("stitch", "none.yml"), "no such session file"),
        (("export", "later.yml", "--to", "nwb", "-o", "x.nwb"), "run miostitch batch later.yml"),
        (("verify", "later.yml"), "run miostitch batch later.yml"),
    ],
)
def test_refusals(
    stitched: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], problem: str
) -> None:
    monkeypatch.chdir(stitched)
    (stitched / "later.yml").write_text(SESSION.replace("output: out", "output: later"))
    code = 3 if "none.yml" in args or "later.yml" in args else 2
    assert problem in run(*args, code=code).stderr


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "a\0b"])
def test_a_name_must_be_one(name: str) -> None:
    with pytest.raises(ValueError, match="must be a file name without folder and ending"):
        StitchOptions(name=name)


def test_workflow_takes_all_options_of_the_file(stitched: Path, tmp_path: Path) -> None:
    text = SESSION.replace(
        "zarr_format: 2", "denoise: denoise_example, no_avi: true, trim: {end: 2}"
    )
    (stitched / "denoised.yml").write_text(text.replace("output: out", f"output: {tmp_path}"))
    made = json.loads(run("workflow", str(stitched / "denoised.yml"), "--json").stdout)
    assert [step["step"] for step in made["steps"]] == ["stitch", "trim", "denoise"]
    assert (tmp_path / "day1.zarr").exists()
    assert not (tmp_path / "day1.avi").exists()
    found = run(
        "export", str(stitched / "denoised.yml"), "--to", "zarr2", "-o", str(tmp_path / "z")
    )
    assert "day1_trimmed_denoised" in found.stdout
    assert "no configuration given" in run("workflow", str(stitched / "session.yml"), code=2).stderr


def test_one_receiver_alone(stitched: Path, tmp_path: Path) -> None:
    text = f"""
miostitch: 1
name: alone
receivers: {{right: [{{video: receiver2.avi, table: tables/right.csv}}]}}
output: {tmp_path}
options: {{denoise: denoise_example}}
subject: {{subject_id: m1}}
"""
    (stitched / "alone.yml").write_text(text)
    run("workflow", str(stitched / "alone.yml"))
    session: Any = zarr.open_group(tmp_path / "alone_denoised.zarr", mode="r").attrs["session"]
    assert session["subject"] == {"subject_id": "m1"}
    assert (tmp_path / "alone_denoised.csv").exists()
    # by a program of its own: here the recording may still be open
    found = json.loads(run_installed("verify", str(tmp_path), "--json").stdout)
    assert (found["differences"], found["not_checked"]) == (0, 0)


def test_nwb_has_the_times_of_behaviour_cameras(stitched: Path, tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    store = miostitch.open_recording(stitched / "out" / "day1.zarr")
    start = datetime.fromisoformat(store.attrs["start_time"]).timestamp()
    unix = start + store.time.to_numpy()
    times = {"cam": np.arange(unix[0] - 0.2, unix[-1] + 0.1, 0.03)}
    times["side"] = np.arange(0.0, 2.0, 0.04)  # on a clock of its own, 5 s ahead
    events = np.array([[0.3, 5.3], [0.9, 5.9]])
    folder = tmp_path / "in"
    folder.mkdir()
    np.savetxt(folder / "cam.csv", 1000 * times["cam"], header="ms", comments="")
    np.savetxt(folder / "side.csv", times["side"] + 5, header="time", comments="")
    np.savetxt(folder / "events.csv", events, delimiter=",", header="ours,side", comments="")
    cameras = "[{name: cam, timestamps: cam.csv, unit: ms}, "
    cameras += "{name: side, timestamps: side.csv, events: events.csv}]"
    text = SESSION.replace("receiver", f"{stitched}/receiver").replace(
        "tables/", f"{stitched}/tables/"
    )
    session = folder / "session.yml"
    session.write_text(
        f"{text}behaviour: {cameras}\n".replace(f"{stitched}/receivers:", "receivers:")
    )
    run("stitch", str(session))
    run("export", str(session), "--to", "nwb", "-o", str(tmp_path / "a.nwb"))
    with pynwb.NWBHDF5IO(tmp_path / "a.nwb", "r") as io:
        file = io.read()
        ahead = start - file.session_start_time.timestamp()
        ours = file.acquisition["OnePhotonSeries"].timestamps[:]
        expected = {"cam": times["cam"] - start, "side": times["side"]}
        for name, seconds in expected.items():
            series = file.processing["behavior"][f"{name}_nearest_frame"]
            np.testing.assert_allclose(series.timestamps[:], ahead + seconds, atol=1e-4)
            apart = np.abs(series.timestamps[:][:, None] - ours)
            np.testing.assert_allclose(
                apart[np.arange(len(seconds)), series.data[:]], apart.min(axis=1), atol=1e-6
            )
    done = run("export", str(folder / "out" / "day1.zarr"), "--to", "nwb", "-o",
               str(tmp_path / "b.nwb"))  # fmt: skip
    assert "2 behaviour cameras of its session are not exported" in done.stderr
