"""A session in a process of its own."""

import multiprocessing
from pathlib import Path

import pytest

from miostitch.batch.processes import SessionProcess
from miostitch.execution.results import SessionOutcome
from tests.batch.trees import simulate

FILE = """miostitch: 1
receivers: {left: [receiver1.avi], right: [receiver2.avi]}
options: {report: false}
"""


@pytest.fixture
def session(tmp_path: Path) -> Path:
    simulate(tmp_path, 30)
    path = tmp_path / "session.yml"
    path.write_text(FILE)
    return path


def test_it_reports_how_far_it_is_and_then_its_outcome(session: Path) -> None:
    process = SessionProcess(str(session), force=False, threads=1, progress=True)
    reports = []
    while not isinstance(found := process.receive(), SessionOutcome):
        reports.append(found)
    assert found.state == "done"
    assert reports[-1][0] == reports[-1][1] == found.frames
    assert all(0 <= done <= total for done, total in reports)


def test_one_that_is_killed_has_failed(session: Path) -> None:
    process = SessionProcess(str(session), force=False, threads=1)
    [child] = multiprocessing.active_children()
    child.kill()
    outcome = process.outcome()
    assert outcome.state == "failed"
    assert "run it again to resume it" in str(outcome.error)
