"""What the installed command shows on a terminal, and what it asks there."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from miostitch.cli import console
from miostitch.cli import texts as wording
from miostitch.text import from_here
from tests.commands import COMMAND, run
from tests.sessions import mismatched

pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
select = pytest.importorskip("select")
termios = pytest.importorskip("termios")
terminals = pytest.importorskip("tests.terminals")


@contextmanager
def on_a_terminal(*args: str, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    env |= {"TERM": "xterm-256color", **environment}
    with terminals.on_a_terminal([COMMAND, *args], env) as found:
        yield found


def read_all(terminal: int, press: bytes = b"") -> bytes:
    """Read to the end, and press keys now and again, as a user does whom nobody heard.

    Python loses an interrupt that comes just before it begins to wait for a line.
    """
    shown = b""
    try:
        while True:
            if press:
                os.write(terminal, press)
            while not press or select.select([terminal], [], [], 3.0)[0]:
                chunk = os.read(terminal, 4096)
                if not chunk:
                    return shown
                shown += chunk
    except OSError:  # Linux reports the closed terminal so
        pass
    return shown


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(b"y\n", 0, marks=pytest.mark.slow),
        pytest.param(b"n\n", 3, marks=pytest.mark.slow),
        pytest.param(b"\x04", 130, marks=pytest.mark.slow),
        (b"\x03", 130),
    ],
)
def test_on_a_terminal_a_mismatch_is_asked_about(
    session: list[str], tmp_path: Path, answer: bytes, code: int
) -> None:
    video = mismatched(session, tmp_path)
    args = ("stitch", video, "-o", str(tmp_path / "out"), "--lag", "0")
    with on_a_terminal(*args) as (process, terminal):
        shown = b""
        while b"Continue with the part" not in shown:
            shown += os.read(terminal, 4096)
        shown += read_all(terminal, press=answer)
    assert process.returncode == code, shown
    assert b"Traceback" not in shown
    assert (tmp_path / "out" / "short_stitched.avi").exists() == (code == 0)


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_is_respected(tmp_path: Path, environment: dict[str, str], coloured: bool) -> None:
    args = ("simulate", str(tmp_path), "--frames", "20", "--height", "40", "--width", "50")
    with on_a_terminal(*args, **environment) as (process, terminal):
        shown = read_all(terminal)
    assert process.returncode == 0
    assert b"simulating" in shown
    assert bool(re.search(rb"\x1b\[(\d+;)*[349][0-8]", shown)) == coloured


@pytest.mark.parametrize("kind", [pytest.param("note", marks=pytest.mark.slow), "error"])
def test_long_messages_are_broken_between_words(
    session: list[str], tmp_path: Path, kind: str
) -> None:
    args = ["inspect", *session]
    if kind == "error":
        args = ["stitch", mismatched(session, tmp_path), "-o", str(tmp_path), "--no-progress", "-q"]
    with on_a_terminal(*args) as (_, terminal):
        termios.tcsetwinsize(terminal, (40, 50))
        shown = read_all(terminal).decode()
    plain = run(*args, code=3 if kind == "error" else 0).output
    assert shown.split() == plain.split()
    [message] = re.findall(rf"^ *{kind}: .{{50,}}", plain, re.MULTILINE)[:1]
    assert message not in shown


def test_findings_are_broken_between_words() -> None:
    message = "differs in 40 pixels, the first is 0; video1 has 92"
    finding = {"kind": "pixels", "file": "S.zarr", "chunk": "video/c/0/0/0", "message": message}
    result = {"stem": "S", "frames": 1, "findings": [finding], "counts": {"pixels": 2}}
    text = wording.verify_text({"results": [{**result, "differences": 2, "not_checked": 1}]})
    mine, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 40))
    with open(mine), open(theirs, "w") as terminal:
        assert console._fitted(text, terminal).split("\n") == [
            "pixels: 2",
            "  - S.zarr: chunk video/c/0/0/0: differs",
            "    in 40 pixels, the first is 0; video1",
            "    has 92",
            "pixels: 1 more not listed",
            "S: 1 frame, 2 differences, 1 part not checked",
        ]


def test_a_failure_before_the_first_frame_leaves_no_bar(session: list[str], tmp_path: Path) -> None:
    with on_a_terminal("trim", session[0], "-s", "99", "-o", str(tmp_path)) as (process, terminal):
        shown = read_all(terminal)
    assert process.returncode == 2
    assert shown.rsplit(b"\x1b[2K", 1)[-1].strip().startswith(b"error: ")


def test_no_progress_where_it_is_not_wanted(tmp_path: Path) -> None:
    args = ("simulate", str(tmp_path), "--frames", "20", "--height", "40", "--width", "50")
    with on_a_terminal(*args, "--no-progress") as (process, terminal):
        shown = read_all(terminal)
    assert process.returncode == 0
    assert b"simulating" not in shown


def test_paths_are_complete_where_the_working_folder_is_the_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(os.path.abspath(os.sep))
    text = f"{os.path.join(os.getcwd(), 'out', 'S.avi')}: exists"
    assert from_here(text) == text
