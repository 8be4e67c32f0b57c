"""The start page's server: what it lists, runs and writes, and what it refuses."""

import json
import os
import signal
import time
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from miostitch.config.session_file import load_session
from miostitch.errors import OutputLockedError
from miostitch.inspect.recordings import inspect_recordings
from miostitch.viewer.jobs import Jobs
from tests.batch.trees import simulate
from tests.commands import run
from tests.viewer.asking import ask, post
from tests.viewer.labs import make_lab
from tests.viewers import started


def named(listed: list[dict[str, Any]], name: str) -> dict[str, Any]:
    [found] = [each for each in listed if each["name"] == name]
    return found


def ended(url: str, number: int) -> dict[str, Any]:
    """The outcome of a run, once it is there."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        state: dict[str, Any] = ask(url, "runs").json[str(number)]
        if state["state"] not in ("running", "stopping"):
            return state
        time.sleep(0.05)
    raise TimeoutError(str(state))


def test_sessions_and_results_are_listed(lab: Path) -> None:
    with started(lab) as url:
        found = ask(url, "folder").json
        assert found["folder"] == str(lab)
        assert [each["name"] for each in found["sessions"]] == [
            "broken", "finished", "waiting", "bare",
        ]  # fmt: skip
        finished, bare = (named(found["sessions"], name) for name in ("finished", "bare"))
        assert (finished["file"], finished["finished"]) == ("finished/session.yml", True)
        assert finished["output"] == str(lab / "finished" / "stitched")
        assert [each["name"] for each in finished["receivers"]] == ["left", "right"]
        assert (bare["described"], bare["file"]) == (False, "bare/session.yml")
        assert "unknown key 'recievers'" in named(found["sessions"], "broken")["problem"]
        [result] = found["results"]
        assert (result["name"], result["report"]) == ("finished", True)
        summary = json.loads((lab / "finished" / "stitched" / "finished.json").read_text())
        assert (result["frames"], result["damaged"]) == (summary["frames"], summary["damaged"])
        again = ask(url, "folder").json
        assert again == found, "every number is kept"


def test_a_folder_without_recordings(tmp_path: Path) -> None:
    with started(tmp_path) as url:
        found = ask(url, "folder").json
        assert (found["sessions"], found["results"]) == ([], [])
        assert "no video with a table in it" in found["notes"][0]


def test_a_session_is_inspected(lab: Path) -> None:
    with started(lab) as url:
        sessions = ask(url, "folder").json["sessions"]
        for name in ("finished", "waiting", "bare"):
            found = ask(url, f"inspect/{named(sessions, name)['id']}").json
            videos = [lab / name / f"receiver{number}.avi" for number in (1, 2)]
            assert found == inspect_recordings(videos).to_json()
        broken = ask(url, f"inspect/{named(sessions, 'broken')['id']}")
        assert (broken.status, "unknown key" in broken.json["error"]) == (409, True)


def test_a_result_is_opened_below_the_start_page(lab: Path) -> None:
    with started(lab) as url:
        found = ask(url, "folder").json
        place = post(url, f"open/{found['results'][0]['id']}", {}).json["place"]
        scene = ask(url, f"{place}scene").json
        assert (scene["name"], scene["home"]) == ("finished.zarr", "../../")
        assert ask(url, place).status == ask(url, f"{place}page.js").status == 200
        assert ask(url, f"{place}frame/3/0,1").status == 200
        assert post(url, f"open/{found['results'][0]['id']}", {}).json["place"] == place
        assert post(url, f"{place}marks", [1]).status == 409  # no file was named
        bare = named(found["sessions"], "bare")
        side_by_side = post(url, f"open/{bare['id']}", {}).json["place"]
        assert len(ask(url, f"{side_by_side}scene").json["panels"]) == 2
        alone = post(url, f"open/{bare['receivers'][1]['id']}", {}).json["place"]
        assert len(ask(url, f"{alone}scene").json["panels"]) == 1


def test_a_report_is_shown_and_can_ask_nothing(lab: Path) -> None:
    with started(lab) as url:
        [result] = ask(url, "folder").json["results"]
        report = ask(url, f"report/{result['id']}")
        assert report.body == (lab / "finished/stitched/finished_report.html").read_bytes()
        policy = report.headers["Content-Security-Policy"]
        assert policy.startswith("sandbox allow-scripts; default-src 'none'")
        assert "connect-src" not in policy
        assert "allow-same-origin" not in policy


def test_a_session_is_run_to_its_end(own: Path) -> None:
    with started(own) as url:
        session = named(ask(url, "folder").json["sessions"], "waiting")
        number = session["id"]
        assert post(url, f"run/{number}", {}).json[str(number)]["state"] == "running"
        second = post(url, f"run/{number}", {})
        assert (second.status, "is running" in second.json["error"]) == (409, True)
        outcome = ended(url, number)
        assert (outcome["state"], outcome["exit_code"]) == ("done", 0)
        found = ask(url, "folder").json
        assert [each["name"] for each in found["results"]] == ["finished", "waiting"]


@pytest.mark.slow
def test_a_result_is_replaced_where_that_is_asked_for(own: Path) -> None:
    with started(own) as url:
        found = ask(url, "folder").json
        number, result = named(found["sessions"], "finished")["id"], found["results"][0]["id"]
        shown = post(url, f"open/{result}", {}).json["place"]
        post(url, f"run/{number}", {"force": False})
        assert ended(url, number)["state"] == "unchanged"
        assert post(url, f"open/{result}", {}).json["place"] == shown
        post(url, f"run/{number}", {"force": True})
        assert ended(url, number)["state"] == "done"
        assert post(url, f"open/{result}", {}).json["place"] != shown, "what was replaced"


def test_a_failed_run_says_why(own: Path) -> None:
    os.unlink(own / "waiting" / "receiver2.avi")
    with started(own) as url:
        number = named(ask(url, "folder").json["sessions"], "waiting")["id"]
        post(url, f"run/{number}", {})
        outcome = ended(url, number)
        assert outcome["state"] == "failed"
        assert "receiver2.avi: no such video" in outcome["error"]


@pytest.mark.slow
def test_a_run_is_stopped_and_resumed(tmp_path: Path) -> None:
    folder = make_lab(tmp_path, 3000)
    with started(folder) as url:
        number = named(ask(url, "folder").json["sessions"], "waiting")["id"]
        post(url, f"run/{number}", {})
        while not ask(url, "runs").json[str(number)].get("done"):
            time.sleep(0.01)
        assert post(url, "stop", {}).status == 200
        assert ended(url, number)["state"] == "interrupted"
        assert not (folder / "waiting" / "stitched" / "waiting.json").exists()
        post(url, f"run/{number}", {})
        assert ended(url, number)["state"] == "done"


def test_the_run_ends_with_the_viewer(own: Path) -> None:
    for path in (own / "waiting").glob("receiver*"):
        path.unlink()
    simulate(own / "waiting", 400, seed=1)
    with started(own) as url:
        number = named(ask(url, "folder").json["sessions"], "waiting")["id"]
        post(url, f"run/{number}", {})
    left = [*(own / "waiting").rglob("*.json")]
    time.sleep(0.5)
    assert [*(own / "waiting").rglob("*.json")] == left, "nothing goes on writing"


def test_nothing_is_begun_once_the_viewer_ends(lab: Path) -> None:
    jobs = Jobs()
    jobs.close()
    with pytest.raises(OutputLockedError, match="the viewer is ending"):
        jobs.start(0, str(lab / "waiting" / "session.yml"))
    assert jobs.describe() == {}


def test_a_session_file_is_written_once_where_the_page_says(own: Path) -> None:
    with started(own) as url:
        found = ask(url, "folder").json
        bare = named(found["sessions"], "bare")
        before = {*own.rglob("*")}
        saved = post(url, f"describe/{bare['id']}", {}).json["saved"]
        assert {*own.rglob("*")} - before == {Path(saved)}
        assert saved == str(own / bare["file"])
        assert [*load_session(saved).receivers] == [each["name"] for each in bare["receivers"]]
        again = post(url, f"describe/{bare['id']}", {})
        assert (again.status, "exists" in again.json["error"]) == (409, True)
        listed = named(ask(url, "folder").json["sessions"], "bare")
        assert listed["described"]
        finished = named(found["sessions"], "finished")["id"]
        assert post(url, f"describe/{finished}", {}).status == 404


def test_what_is_not_listed_is_refused(lab: Path) -> None:
    with started(lab) as url:
        for what in (
            "inspect/99", "report/99", "report/../../etc/passwd", "report/%2e%2e", "view/1/scene",
            "report//etc/passwd", "inspect/finished%2Fsession.yml",
        ):  # fmt: skip
            assert ask(url, what).status == 404, what
        for what in ("run/99", "open/99", "describe/99", "run/-1", "open/..%2f..%2fx.zarr"):
            assert post(url, what, {}).status == 404, what
        found = ask(url, "folder").json
        result, broken = found["results"][0]["id"], named(found["sessions"], "broken")["id"]
        assert post(url, f"run/{result}", {}).status == 404
        assert ask(url, f"report/{broken}").status == 404
        bare = named(found["sessions"], "bare")["id"]
        refused = post(url, f"run/{bare}", {})
        assert (refused.status, "has no session file" in refused.json["error"]) == (409, True)
        for body in (b"[", [1], {"force": "yes"}):
            assert post(url, f"run/{bare}", body).status == 400


def test_without_token_origin_or_host_nothing_is_done(lab: Path) -> None:
    with started(lab) as url:
        sessions = ask(url, "folder").json["sessions"]
        number = named(sessions, "waiting")["id"]
        at = urlsplit(url)
        for path in ("/", "/" + "x" * 43 + "/", f"/x{at.path}"):
            bare = f"http://{at.netloc}{path}"
            for what in ("", "folder", "runs", "start.js", "report/0", f"inspect/{number}"):
                assert ask(bare, what).status == 403
            for what in (f"run/{number}", f"describe/{number}", f"open/{number}", "stop"):
                assert post(bare, what, {}).status == 403
        for origin in ("http://evil.example", "null", ""):
            assert post(url, f"run/{number}", {}, Origin=origin).status == 403
        assert ask(url, "folder", Host="evil.example").status == 403
        assert ask(url, "runs").json == {}
        assert not (lab / "waiting" / "stitched").exists()


@pytest.mark.parametrize("args", [[], ["."]])
def test_the_command_without_arguments_is_the_start_page(
    lab: Path, args: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Any] = {}

    def look(url: str) -> None:
        try:
            found[url] = ask(url, "folder").json
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def open_browser(url: str) -> bool:
        Thread(target=look, args=[url]).start()
        return True

    monkeypatch.setattr("miostitch.viewer.run.webbrowser.open", open_browser)
    monkeypatch.chdir(lab)
    told = json.loads(run("view", *args, "--json").stdout)
    assert len(found[told["url"]]["sessions"]) == 4
