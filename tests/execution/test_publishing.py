"""A run publishes all of its products when it has made them, or none."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from miostitch.errors import InputError, OutputExistsError, ResourceError, UsageError
from miostitch.execution.publishing import Run, RunOptions, publish_run
from miostitch.execution.results import EditSummary
from miostitch.execution.workspace import Workspace

NOTHING = EditSummary(0, [], [], [], [], [], [], 0, {}, {}, [])


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "out", "S", [".csv", ".avi", ".json"])


def make(run: Run, text: str = "made") -> None:
    run.workspace.staged(".csv").write_text(text)
    summary = run.finish(NOTHING)
    assert [Path(path).name for path in summary.outputs] == ["S.csv", "S.json"]


def test_products_appear_when_the_run_ends(space: Workspace) -> None:
    with publish_run(space, [], RunOptions()) as run:
        make(run)
        assert not space.final(".csv").exists()
    assert sorted(os.listdir(space.output)) == ["S.csv", "S.json"]
    told = json.loads(space.final(".json").read_text())
    assert told["outputs"] == [str(space.final(suffix)) for suffix in (".csv", ".json")]


def test_a_run_that_fails_publishes_nothing(space: Workspace) -> None:
    def fail() -> None:
        with publish_run(space, [], RunOptions()) as run:
            make(run)
            raise InputError("no")

    with pytest.raises(InputError, match="no"):
        fail()
    assert not space.output.exists()


def test_products_are_replaced_by_force_only(space: Workspace) -> None:
    for options in (RunOptions(), RunOptions(force=True)):
        with publish_run(space, [], options) as run:
            make(run, repr(options))
    with pytest.raises(OutputExistsError), publish_run(space, [], RunOptions()):
        pytest.fail("begun")
    assert "force=True" in space.final(".csv").read_text()


@pytest.mark.parametrize(
    ("version", "restart", "left"), [("1", False, True), ("2", False, False), ("1", True, False)]
)
def test_only_the_very_same_run_is_resumed(
    space: Workspace, version: str, restart: bool, left: bool
) -> None:
    def begin(option: str, again: bool) -> None:
        with publish_run(space, [], RunOptions(restart=again), resumable=True) as run:
            run.resume(["a.avi"], {"option": option})
            with run.journal("video") as journal:
                found = journal.recall(0) is not None
                journal.note(0, {"option": np.zeros(1)}, lambda: None)
            raise ResourceError(str(found))

    with pytest.raises(ResourceError, match="False"):
        begin("1", False)
    with pytest.raises(ResourceError, match=str(left)):
        begin(version, restart)


def test_what_an_interrupted_run_left_makes_room(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(space.output.parent)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with publish_run(space, [], RunOptions()) as run:
        before = space.left_bytes
        run.require_space(1000 + before)
        with pytest.raises(ResourceError, match="make room"):
            run.require_space(1001 + before)
        space.staged(".avi").write_bytes(bytes(500))
        run.require_space(1500 + before)


def test_a_name_that_is_too_long_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out", "S" * 250, [".csv"])
    with pytest.raises(UsageError, match="too long"), publish_run(space, [], RunOptions()):
        pytest.fail("begun")
    with pytest.raises(UsageError, match="too long"):
        space.check([], force=True)
    assert not space.output.exists()


def test_finished_frames_are_reported_as_the_user_wants(space: Workspace) -> None:
    told: list[tuple[int, int]] = []
    options = RunOptions(progress=lambda done, total: told.append((done, total)))
    count = Run(space, options, []).counted(9)
    assert count is not None
    count(4)
    count(5)
    assert told == [(4, 9), (9, 9)]
    assert Run(space, RunOptions(), []).counted(9) is None
