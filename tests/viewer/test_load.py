"""Many runs at once, and a recording of hours that is cut off again and again."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import miostitch
from miostitch.execution.workspace import Workspace
from tests.end_to_end.test_resume import PROGRAM, result
from tests.folders import content

RUNS = 8
HOURS_2 = 144_000
"""Frames, at 20 a second."""


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    config = miostitch.SimulationConfig(frames=1500, buffer_loss=0.05, seed=1)
    made = miostitch.simulate(tmp_path_factory.mktemp("in"), config)
    return [*PROGRAM, "stitch", *map(str, made.recordings), "--chunk-frames", "100", "-q"]


@pytest.fixture(scope="module")
def alone(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run([*command, "-o", str(folder)], check=True)
    return result(folder)


def at_once(command: list[str], outputs: list[Path]) -> list[tuple[int, int, str]]:
    """Start a command for every output; of each run its process, exit code and what it said."""
    runs = [
        subprocess.Popen([*command, "-o", str(out)], stderr=subprocess.PIPE, text=True)
        for out in outputs
    ]
    try:
        said = [run.communicate(timeout=1200)[1] for run in runs]
    finally:
        for run in runs:
            run.kill()
    return [(run.pid, run.returncode, text) for run, text in zip(runs, said, strict=True)]


@pytest.mark.slow
def test_many_runs_do_not_disturb_each_other(
    command: list[str], alone: dict[str, bytes], tmp_path: Path
) -> None:
    outputs = [tmp_path / str(number) for number in range(RUNS)]
    assert [code for _, code, _ in at_once(command, outputs)] == [0] * RUNS
    for out in outputs:
        assert result(out) == alone


@pytest.mark.fault(
    41, "eight processes", "one wins, the others: exit 4, its process or its products"
)
@pytest.mark.slow
def test_of_many_runs_into_one_output_one_wins(
    command: list[str], alone: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    runs = at_once(command, [out] * RUNS)
    [winner] = [pid for pid, code, _ in runs if code == 0]
    refused = [(code, text) for pid, code, text in runs if pid != winner]
    named = re.compile(rf"is being written by process {winner} on |: exists; choose another")
    for code, text in refused:
        assert (code, bool(named.search(text))) == (4, True), text
    assert any("is being written" in text for _, text in refused)
    assert result(out) == alone
    before = content(out)
    assert [code for _, code, _ in at_once(command, [out] * RUNS)] == [4] * RUNS
    assert content(out) == before


def test_the_owner_of_a_lock_is_known_as_soon_as_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while what an earlier run left is cleared away, which may take long."""
    space, seen = Workspace(tmp_path, "s", [".avi"]), []
    monkeypatch.setattr(
        Workspace, "_clear", lambda self, *kept: seen.append((self._owner(), "owner.json" in kept))
    )
    monkeypatch.setattr(Workspace, "_recover", lambda self: seen.append((self._owner(), True)))
    with space.open([], force=False):
        pass
    assert {owner.split(" on ")[0] for owner, _ in seen[:2]} == {f"process {os.getpid()}"}
    assert [kept for _, kept in seen[:2]] == [True, True]


@pytest.mark.fault(45, "two hours of 20 frames a second: ten SIGKILLs", "goes on, the same bytes")
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such signal there")
def test_two_hours_survive_ten_kills(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(
        frames=HOURS_2, height=48, width=48, buffer_loss=0.02, header_flips=0.001, seed=1
    )
    names = [str(path) for path in miostitch.simulate(tmp_path / "in", config).recordings]
    command = [*PROGRAM, "stitch", *names, "--chunk-frames", "1000", "--no-report", "-q", "-o"]
    whole, out = tmp_path / "whole", tmp_path / "out"
    subprocess.run([*command, str(whole)], check=True)
    blocks = len([*whole.glob("*.zarr/video/c/*")])
    assert blocks > 140
    for kill in range(1, 11):
        run = subprocess.Popen([*command, str(out)])
        deadline = time.monotonic() + 600
        while len([*out.glob(".*/journal/video/*.note")]) < blocks * kill // 11:
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.wait()
    subprocess.run([*command, str(out)], check=True)
    summary = json.loads(next(out.glob("*.json")).read_text())
    assert summary["resumed_blocks"] >= blocks * 10 // 11
    assert result(out) == result(whole)
