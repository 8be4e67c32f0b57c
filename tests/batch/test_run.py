"""A batch goes on after failures, skips what is finished, and resumes what was interrupted."""

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import miostitch
from miostitch.batch.run import BatchOptions, find_sessions, run_batch
from miostitch.batch.session import run_session
from miostitch.errors import MissingInputError, OutputExistsError, UsageError
from tests.batch.trees import simulate
from tests.commands import COMMAND, run
from tests.folders import content

if TYPE_CHECKING:
    from miostitch.execution.results import SessionOutcome

SESSION = """
miostitch: 1
name: {name}
receivers: {{left: receiver1.avi, right: receiver2.avi}}
options: {{chunk_frames: 4, {options}}}
"""


def describe(folder: Path, options: str = "", name: str = "") -> str:
    path = folder / "session.yml"
    path.write_text(SESSION.format(name=name or folder.name, options=options))
    return str(path)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Two sessions, a and c; what stands between them has no videos."""
    for number, name in enumerate("abc"):
        (tmp_path / name).mkdir()
        if name != "b":
            simulate(tmp_path / name, 24, seed=number)
        describe(tmp_path / name, "report: false")
    return tmp_path


def states(folder: Path) -> dict[str, str]:
    with (folder / "batch.csv").open() as file:
        return {row["name"]: row["state"] for row in csv.DictReader(file)}


def test_a_failure_does_not_stop_the_others(lab: Path) -> None:
    said: list[SessionOutcome] = []
    made = run_batch([str(lab)], BatchOptions(), finished=said.append)
    assert [each.state for each in made.sessions] == ["done", "failed", "done"] == [
        each.state for each in said
    ]  # fmt: skip
    first, failed, _ = made.sessions
    assert (failed.exit_code, failed.needs_attention) == (3, True)
    assert "no such video" in str(failed.error)
    assert made.attention == 1 + sum(bool(each.warnings) for each in made.sessions)
    summary = json.loads((lab / "a" / "stitched" / "a.json").read_text())
    assert (first.frames, first.intact, first.damaged, first.not_received) == tuple(
        summary[name] for name in ("frames", "intact", "damaged", "not_received")
    )
    assert first.receivers is not None
    assert [each.name for each in first.receivers] == ["left", "right"]
    assert first.battery == 189  # as the simulated device sends
    assert states(lab) == {"a": "done", "b": "failed", "c": "done"}


def test_losses_are_those_of_all_frames(tmp_path: Path) -> None:
    simulate(tmp_path, 24, seed=3)
    outcome = run_session(describe(tmp_path, "report: false"))
    summary = json.loads((tmp_path / "stitched" / f"{tmp_path.name}.json").read_text())
    buffers = 8
    assert outcome.receivers is not None
    for ours, theirs in zip(outcome.receivers, summary["recordings"], strict=True):
        missed = buffers * (summary["frames"] - theirs["frames"]) + theirs["buffers_lost"]
        assert ours.lost == pytest.approx(missed / (buffers * summary["frames"]), abs=1e-6)


def test_what_is_finished_and_unchanged_is_skipped(lab: Path) -> None:
    run_batch([str(lab / "a"), str(lab / "c")], BatchOptions())
    before = content(lab / "a" / "stitched")
    assert run_session(str(lab / "a" / "session.yml")).state == "unchanged"
    assert content(lab / "a" / "stitched") == before
    describe(lab / "a", "report: false, by: buffer")  # now it is another session
    changed = run_session(str(lab / "a" / "session.yml"))
    assert (changed.state, changed.exit_code) == ("failed", 4)
    assert "--force" in str(changed.error)
    assert run_session(str(lab / "a" / "session.yml"), force=True).state == "done"
    table = lab / "c" / "receiver1.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-9]))
    assert run_session(str(lab / "c" / "session.yml")).exit_code == 4


@pytest.mark.parametrize(
    "receivers", ["left: receiver1.avi, right: receiver2.avi", "left: receiver1.avi"]
)
def test_workflow_is_run_where_options_name_a_configuration(tmp_path: Path, receivers: str) -> None:
    simulate(tmp_path, 16)
    path = tmp_path / "s.yml"

    def set_trim(start: int) -> None:
        options = f"{{denoise: remove_stripe_example, trim: {{start: {start}}}, no_avi: true}}"
        path.write_text(f"miostitch: 1\nreceivers: {{{receivers}}}\noptions: {options}\n")

    set_trim(2)
    outcome = run_session(str(path))
    assert (outcome.state, outcome.error) == ("done", None)
    assert (tmp_path / "stitched" / "s_trimmed_denoised.zarr").exists()
    assert not (tmp_path / "stitched" / "s.avi").exists()
    assert run_session(str(path)).state == "unchanged"
    set_trim(3)  # whose results have the same names
    assert run_session(str(path)).exit_code == 4


def test_an_interrupted_session_is_resumed(lab: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= total // 2:
            raise KeyboardInterrupt

    paths = [str(lab / name) for name in "ac"]
    with pytest.raises(KeyboardInterrupt):
        run_batch(paths, BatchOptions(), progress=interrupt)
    assert states(lab) == {"a": "interrupted", "c": "not begun"}
    assert not (lab / "a" / "stitched" / "a.json").exists()
    made = run_batch(paths, BatchOptions())
    assert [each.state for each in made.sessions] == ["done", "done"]
    summary = json.loads((lab / "a" / "stitched" / "a.json").read_text())
    assert summary["resumed_blocks"] > 0


def test_products_are_those_of_a_run_on_its_own(lab: Path, tmp_path: Path) -> None:
    run_batch([str(lab / "a")], BatchOptions())
    names = [str(lab / "a" / f"receiver{n}.avi") for n in (1, 2)]
    options = miostitch.StitchOptions(chunk_frames=4, report=False, name="a")
    miostitch.stitch_files(names, tmp_path / "alone", options)
    ours, theirs = content(lab / "a" / "stitched"), content(tmp_path / "alone")
    assert ours.keys() == theirs.keys()
    for name in ours:
        if not name.endswith(("zarr.json", ".json", "_scores.csv")):
            assert ours[name] == theirs[name], name


def test_sessions_are_found_once_and_have_results_of_their_own(lab: Path) -> None:
    a = lab / "a" / "session.yml"
    (lab / "a" / "config.yml").write_text("noise_patch:\n")  # no session file
    assert find_sessions([str(a), str(lab / "a")]) == [str(a)]
    (lab / "a" / "other.yml").write_text(a.read_text())
    with pytest.raises(UsageError, match="results are named as those of"):
        run_batch([str(lab)], BatchOptions())
    (lab / "empty").mkdir()
    with pytest.raises(MissingInputError, match="no session file in it; write some with miostitch"):
        find_sessions([str(lab / "empty")])
    with pytest.raises(MissingInputError, match="no such session file"):
        find_sessions([str(lab / "none.yml")])
    with pytest.raises(UsageError, match="must be a folder or a session file"):
        find_sessions([str(lab / "a" / "receiver1.avi")])
    with pytest.raises(UsageError, match="no session given"):
        find_sessions([])


def test_a_file_of_somebody_else_is_not_written_over(lab: Path) -> None:
    (lab / "batch.csv").write_text("my,own,table\n")
    with pytest.raises(OutputExistsError, match="is no table of a batch"):
        run_batch([str(lab / "a")], BatchOptions(str(lab)))
    assert not (lab / "a" / "stitched").exists()  # refused before anything is run


def test_the_command(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab)
    done = run("batch", "a", "b", code=1)
    assert "1 session to look at" in done.stdout
    assert "b: failed" in done.stderr
    found = json.loads(run("batch", "a", "--json").stdout)
    assert [each["state"] for each in found["sessions"]] == ["unchanged"]
    found = json.loads(run("init", "a", "--json").stdout)
    assert [each["state"] for each in found["sessions"]] == ["exists"]
    os.unlink("a/session.yml")
    assert "not written" in run("init", "a", "--dry-run").stdout
    assert "session.yml (written)" in run("init", "a").stdout


@pytest.mark.slow
def test_sessions_side_by_side(lab: Path) -> None:
    made = run_batch([str(lab)], BatchOptions(jobs=2))
    assert [each.state for each in made.sessions] == ["done", "failed", "done"]
    assert states(lab) == {"a": "done", "b": "failed", "c": "done"}


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_signal_ends_all_and_all_are_resumed(tmp_path: Path, jobs: str) -> None:
    for number, name in enumerate("ac"):
        (tmp_path / name).mkdir()
        simulate(tmp_path / name, 1500, seed=number)
        describe(tmp_path / name)
    command = [COMMAND, "batch", str(tmp_path), "--jobs", jobs]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        journal = tmp_path / "a" / "stitched" / ".a.miostitch" / "journal"
        while process.poll() is None and not [*journal.glob("*/*.note")]:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert states(tmp_path)["a"] == "interrupted"
    run("batch", str(tmp_path), "-q")
    summary = json.loads((tmp_path / "a" / "stitched" / "a.json").read_text())
    assert summary["resumed_blocks"] > 0
