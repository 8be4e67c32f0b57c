"""The viewer's server: whom it answers, what it answers, what it writes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner, Result

from miostitch import cli
from miostitch.errors import InputError, MissingInputError, ResourceError, UsageError
from miostitch.ranges import parse_frames
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from miostitch.viewer.run import ViewOptions, view
from miostitch.viewer.server import Marks
from tests.sessions import Made
from tests.video_files import make_frames, write
from tests.viewer.asking import ask, post
from tests.viewers import Served, served


def run(*args: str) -> Result:
    return CliRunner().invoke(cli.main, args)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("session"), frames=30, seed=6, frame_loss=0.1)


@pytest.fixture(scope="module")
def store(session: Made, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("out")
    stitch_files(session.names, folder, StitchOptions(chunk_frames=7, report=False))
    return str(next(folder.glob("*.zarr")))


@pytest.fixture(scope="module")
def shown(store: str) -> Iterator[Served]:
    with served([store]) as found:
        yield found


def completed(url: str) -> Any:
    ask(url, "frame/0/")  # before that nothing else is done
    while not (scene := ask(url, "scene").json)["completed"]:
        pass
    return scene


def test_the_page_and_what_it_needs(shown: Served) -> None:
    page = ask(shown.url)
    assert page.status == 200
    wanted = {*re.findall(r'(?:href|src)="([\w.]+)"', page.body.decode())}
    assert wanted == {"page.css", "page.js", "palette.css"}
    for name in sorted(wanted):
        asset = ask(shown.url, name)
        assert asset.status == 200
        wanted |= {*re.findall(r'from "\./([\w.]+)"', asset.body.decode())}
    for name in wanted:
        asset = ask(shown.url, name)
        assert (asset.status, b"http" in asset.body) == (200, False), name
        assert asset.headers["Content-Type"].startswith(("text/css", "text/javascript"))
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert page.headers["Cache-Control"] == "no-store"


def test_it_listens_on_this_machine_alone(shown: Served) -> None:
    at = urlsplit(shown.url)
    assert at.hostname == "127.0.0.1"
    assert len(at.path) > 40
    with socket.socket() as other:  # every other address of this machine is free
        other.bind(("127.0.0.2", at.port or 0))


@pytest.mark.parametrize("what", ["", "page.js", "scene", "frame/0/", "timeline/3", "no"])
def test_without_token_or_host_nothing_is_told(shown: Served, what: str) -> None:
    at = urlsplit(shown.url)
    for path in ("/", "//", f"/{at.path[1:-2]}/", "/" + "x" * 43 + "/", f"/x{at.path}"):
        bare = ask(f"http://{at.netloc}{path}", what)
        assert (bare.status, [*bare.json]) == (403, ["error"])
        assert at.path[1:-1] not in str(bare)
    for host in ("evil.example", f"evil.example:{at.port}", "127.0.0.1", "localhost:1", ""):
        answer = ask(shown.url, what, Host=host)
        assert answer.status in (400, 403), host  # 400: none at all
        assert b"viewer" not in answer.body
    assert ask(shown.url, "scene", Host=f"localhost:{at.port}").status == 200


def test_only_the_page_itself_may_post(shown: Served) -> None:
    for origin in ("http://evil.example", "null", "http://localhost:1", ""):
        assert post(shown.url, "list", [1], Origin=origin).status == 403
    assert ask(shown.url, "list", method="POST", body=[1]).status == 403
    assert post(shown.url, "list", [5, 1, 2, 3]).json == {"text": "1-3,5"}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused(shown: Served, method: str) -> None:
    assert ask(shown.url, "marks", method=method).status == 405


@pytest.mark.parametrize(
    "what",
    [
        "frame/30000/",
        "frame/0/3",
        "frame/0/0,99999999999999999999",
        "jump/30000/next/source",
        f"frame/0/{'9' * 6000}",
    ],
)
def test_bad_requests_say_what_is_meant(shown: Served, what: str) -> None:
    answer = ask(shown.url, what)
    assert answer.status == 400
    assert "must be a number from 0 to" in answer.json["error"]


def test_nothing_else_is_served(shown: Served) -> None:
    for what in (
        "no", "../viewer.py", "%2e%2e/viewer.py", "page.html", "no.js", "/etc/passwd", "frame",
        "frame/0", "frame/-1/", "frame/1e3/", "frame/%D9%A1/", f"frame/{'9' * 400}/", "frame/0/a",
        "jump/0/sideways/source", "jump/0/next/video", "jump/next/source", "find/-3",
        "timeline/0", "timeline/100000",
    ):  # fmt: skip
        assert ask(shown.url, what).status == 404, what
    assert post(shown.url, "no", []).status == 404
    assert post(shown.url, "scene", []).status == ask(shown.url, "list").status == 405


@pytest.mark.parametrize("body", [[-1], [30000], [1.5], [True], ["1"], {"a": 1}, 3, None])
def test_marks_that_cannot_be(shown: Served, body: Any) -> None:
    assert post(shown.url, "list", body).status == 400


@pytest.mark.fault(
    69, "nesting without end, halves of text, no number", "a message, and it serves on"
)
@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 50_000, b"[1e999]", b"\xff\xfe", b""])
def test_bodies_that_are_no_list(shown: Served, body: bytes) -> None:
    assert post(shown.url, "list", body).status == 400


def test_a_packet_is_what_stands_in_the_files(shown: Served, store: str) -> None:
    scene = completed(shown.url)
    assert [panel["pictures"] for panel in scene["panels"]] == [True] * 3
    stitched = xr.open_zarr(store)
    for at in (0, 6, 7, scene["frames"] - 1):
        body = ask(shown.url, f"frame/{at}/0,2").body
        length = int.from_bytes(body[:4], "little")
        head, pixels = json.loads(body[4 : 4 + length]), body[4 + length :]
        kept = [panel for panel in head["panels"] if "height" in panel]
        assert "height" not in head["panels"][1]
        assert len(pixels) == sum(panel["height"] * panel["width"] for panel in kept)
        np.testing.assert_array_equal(
            np.frombuffer(pixels[: 40 * 50], np.uint8).reshape(40, 50), stitched.video[at]
        )
        facts = head["panels"][0]["facts"]
        assert facts["frame_num"] == stitched.frame_num[at]
        assert facts["damaged"] is bool(stitched.damaged[at])


def test_jumps_and_overview(shown: Served, store: str) -> None:
    damaged = np.flatnonzero(xr.open_zarr(store).damaged)
    assert ask(shown.url, f"jump/{damaged[0]}/next/damaged").json == {"frame": int(damaged[1])}
    assert ask(shown.url, "jump/0/previous/source").json == {"frame": None}
    number = int(xr.open_zarr(store).frame_num[4])
    assert ask(shown.url, f"find/{number}").json == {"frame": 4}
    assert ask(shown.url, "time/0").json == {"frame": 0}
    last = shown.viewer.scene.count - 1
    assert ask(shown.url, "time/99999999").json == {"frame": last}
    assert sum(ask(shown.url, "timeline/7").json["damaged"]) == len(damaged)


def test_what_cannot_be_read_is_told_and_no_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "a.avi", make_frames(5))
    with served([str(path)]) as (url, _):
        path.write_bytes(path.read_bytes()[:9000])
        body = ask(url, "frame/4/0").body
        [panel] = json.loads(body[4:])["panels"]
        assert str(path) in panel["problem"]


def test_marks_are_saved_where_the_user_said_and_nowhere_else(store: str, tmp_path: Path) -> None:
    file = tmp_path / "marks.txt"
    with served([store], file) as (url, _):
        assert ask(url, "scene").json["marks_file"] == str(file)
        saved = post(url, "marks?path=/other&file=other", [7, 3, 4, 5])
        assert saved.json == {"text": "3-5,7", "saved": str(file)}
        assert [*tmp_path.iterdir()] == [file]
        assert parse_frames(file.read_text().strip()).tolist() == [3, 4, 5, 7]
        assert post(url, "marks", []).json["text"] == ""
        assert post(url, "marks", [2]).status == 200
    with served([store], file) as (url, _):
        assert ask(url, "scene").json["marks"] == [2]
        file.unlink()
        os.rmdir(tmp_path)
        assert "cannot be written" in post(url, "marks", [1]).json["error"]
        os.mkdir(tmp_path)


def test_without_a_file_nothing_can_be_saved(shown: Served) -> None:
    assert post(shown.url, "marks", [1]).status == 409


def test_marks_count_the_first_recording(session: Made, tmp_path: Path) -> None:
    file = tmp_path / "marks.txt"
    with served(session.names, file) as (url, viewer):
        places = viewer.scene.first_frames
        assert places is not None
        lacking = np.flatnonzero(places < 0)
        known = np.flatnonzero(places > lacking[0])
        marked = [int(known[0]), int(known[-1]), int(lacking[0])]
        post(url, "marks", marked)
        expected = [int(places[i]) for i in marked[:2]]
        assert parse_frames(file.read_text().strip()).tolist() == expected
    with served(session.names, file) as (url, _):
        assert ask(url, "scene").json["marks"] == marked[:2]


@pytest.mark.parametrize("content", [b"RIFF\xff", b"1,2,x", b"1" * 2**24])
def test_a_file_that_is_no_list_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "marks.txt"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="name another file"):
        Marks(file)
    assert file.read_bytes() == content
    with pytest.raises(MissingInputError):
        Marks(tmp_path / "no" / "marks.txt")


def test_a_port_that_is_taken(store: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        options = ViewOptions(port=other.getsockname()[1], browser=False)
        with pytest.raises(ResourceError, match="--port"):
            view([store], options, ready=lambda _: None)


def test_the_browser_is_opened_where_it_is_wanted(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def open_browser(url: str) -> bool:
        opened.append(url)
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    monkeypatch.setattr("miostitch.viewer.run.webbrowser.open", open_browser)
    result = run("view", store, "--json")
    assert result.exit_code == 0
    assert opened == [json.loads(result.stdout)["url"]]


def test_bad_input(tmp_path: Path) -> None:
    assert run("view", str(tmp_path / "no.zarr"), "--no-browser").exit_code == 3
    folder = run("view", str(tmp_path), "--no-browser", "--marks", str(tmp_path / "marks.txt"))
    assert (folder.exit_code, "is a folder; --marks" in folder.stderr) == (2, True)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), InputError("gone")])
def test_the_page_does_not_wait_for_recordings_that_cannot_be_read(
    store: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("miostitch.viewer.sources.find_originals", fail)
    with served([store]) as (url, _):
        scene = completed(url)
        assert scene["notices"] == [str(error)]
        assert [panel["note"] for panel in scene["panels"][1:]] == [str(error)] * 2
        assert ask(url, "frame/0/0,1").status == 200


def test_it_ends_when_what_is_being_read_is_read(store: str) -> None:
    told: list[str] = []

    def complete(closing: threading.Event) -> None:
        told.append("begun")
        assert closing.wait(30)
        time.sleep(0.2)
        told.append("ended")

    with served([store]) as (url, viewer):
        viewer.scene.complete = complete
        assert ask(url, "frame/0/").status == 200
        while not told:
            time.sleep(0.01)
    assert told == ["begun", "ended"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not sent so there")
def test_ctrl_c_ends_it(store: str) -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from miostitch.cli.main import main; main()"
    command = [sys.executable, "-c", code, "view", store, "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = b""
        while not lines.rstrip().endswith(b"}"):
            lines += process.stdout.readline()
        url = json.loads(lines)["url"]
        assert ask(url, "frame/3/0,1").status == 200
        process.send_signal(signal.SIGINT)
        guard = threading.Timer(60, process.kill)
        guard.start()
        rest, said = process.stdout.read(), process.stderr.read()
        guard.cancel()
    assert (process.returncode, rest, said) == (0, b"", b"")
