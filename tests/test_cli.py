"""The installed command: what it prints, asks and returns."""

import json
import os
import pty
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

import miostitch

COMMAND = str(Path(sysconfig.get_path("scripts"), "miostitch"))


def run(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [COMMAND, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("session")
    run("simulate", str(folder), "--frames", "40", "--seed", "2", "--height", "40", "--width", "50")
    return [str(folder / f"receiver{n}.avi") for n in (1, 2)]


def test_stitch_says_what_it_made(session: list[str], tmp_path: Path) -> None:
    done = run("stitch", *session, "-o", str(tmp_path))
    assert "frames (frame_num" in done.stdout
    for suffix in (".zarr", ".avi", ".csv", "_timestamps.csv", "_scores.csv", ".json"):
        path = tmp_path / f"receiver1__receiver2_stitched{suffix}"
        assert path.exists()
        assert str(path) in done.stdout


def test_inputs_as_mio_takes_them(session: list[str], tmp_path: Path) -> None:
    run("stitch", "-i", session[0], "-i", session[1], "-o", str(tmp_path), "-q")
    assert (tmp_path / "receiver1__receiver2_stitched.avi").exists()


def test_json_is_one_object_and_nothing_else(session: list[str], tmp_path: Path) -> None:
    summary = json.loads(run("stitch", *session, "-o", str(tmp_path), "--json").stdout)
    assert summary == json.loads((tmp_path / "receiver1__receiver2_stitched.json").read_text())
    failed = run("stitch", *session, "-o", str(tmp_path), "--json", code=4)
    assert json.loads(failed.stdout)["exit_code"] == 4
    assert "--force" in failed.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["stitch"], 2, "no recording given"),
        (["stitch", "{0}", "{0}"], 2, "same file"),
        (["stitch", "{0}", "nowhere.avi"], 3, "nowhere.avi: no such video"),
        (["stitch", "{0}", "--chunk-frames", "0"], 2, "chunk-frames"),
        (["stitch", "{0}", "--colour"], 2, "No such option"),
        (["inspect"], 2, "no recording given"),
        (["simulate", "{folder}"], 4, "--force"),
    ],
)
def test_exit_codes(
    session: list[str], tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    folder = str(Path(session[0]).parent)
    filled = [arg.format(*session, folder=folder) for arg in args]
    if args[0] == "stitch":
        filled += ["-o", str(tmp_path)]
    done = run(*filled, code=code)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


def mismatched(session: list[str], folder: Path) -> str:
    video = folder / "short.avi"
    video.write_bytes(Path(session[0]).read_bytes())
    rows = Path(session[0]).with_suffix(".csv").read_text().splitlines(keepends=True)
    kept = [row for row in rows[1:] if 0 <= int(row.rsplit(",", 1)[1]) < 10]
    video.with_suffix(".csv").write_text("".join([rows[0], *kept]))
    return str(video)


def test_without_a_terminal_a_mismatch_is_exit_code_3(session: list[str], tmp_path: Path) -> None:
    video = mismatched(session, tmp_path)
    done = run("stitch", video, "-o", str(tmp_path / "out"), code=3)
    assert "--salvage" in done.stderr
    run("stitch", video, "-o", str(tmp_path / "out"), "--salvage", "-q")


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 3)])
def test_on_a_terminal_a_mismatch_is_asked_about(
    session: list[str], tmp_path: Path, answer: str, code: int
) -> None:
    video = mismatched(session, tmp_path)
    mine, theirs = pty.openpty()
    command = [COMMAND, "stitch", video, "-o", str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"Go on with what matches?" not in shown:
            shown += os.read(mine, 4096)
        os.write(mine, answer.encode())
        try:
            while chunk := os.read(mine, 4096):
                shown += chunk
        except OSError:  # Linux reports the closed terminal so
            pass
    os.close(mine)
    assert process.returncode == code, shown
    assert (tmp_path / "out" / "short_stitched.avi").exists() == (code == 0)


def test_inspect(session: list[str]) -> None:
    text = run("inspect", *session).stdout
    assert "receiver1.avi" in text
    assert "frames: " in text
    (first, _) = json.loads(run("inspect", *session, "--json").stdout)["recordings"]
    assert first["width"] == 50
    assert first["table"]["buffers_per_frame"] > 1


def test_inspect_of_real_recordings(recordings: Path) -> None:
    videos = [str(recordings / "stitch" / f"video{n}.avi") for n in (1, 2)]
    first, second = json.loads(run("inspect", *videos, "--json").stdout)["recordings"]
    assert (first["frames"], first["fps"], first["codec"]) == (50, "20", "rawvideo")
    assert first["table"]["repeated_frames"] == 2
    assert second["table"]["buffers_lost"] == 0
    noise = str(recordings / "noise" / "wireless_corrupted_extended.mp4")
    (coded,) = json.loads(run("inspect", noise, "--json").stdout)["recordings"]
    assert coded["lossy"]
    assert coded["table"] is None


def test_simulate_is_the_same_every_time(session: list[str], tmp_path: Path) -> None:
    size = ("--height", "40", "--width", "50")
    run("simulate", str(tmp_path), "--frames", "40", "--seed", "2", *size, "-q")
    for path in session:
        assert (tmp_path / Path(path).name).read_bytes() == Path(path).read_bytes()


def test_demo(tmp_path: Path) -> None:
    done = run("demo", "-o", str(tmp_path / "demo"))
    assert "Look at it:" in done.stdout
    assert (tmp_path / "demo" / "stitched" / "receiver1__receiver2_stitched_debug.avi").exists()
    assert run("demo", "-o", str(tmp_path / "demo"), code=4).stdout == ""


def test_a_terminated_run_ends_cleanly(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=1500, seed=1)
    made = miostitch.simulate(tmp_path / "long", config)
    videos = [str(path) for path in made.recordings]
    out = tmp_path / "out"
    command = [COMMAND, "stitch", *videos, "-o", str(out), "--chunk-frames", "1", "-q"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not list(out.glob(".*/*.avi")):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        assert process.wait(10) == 130
        assert time.monotonic() - sent < 5
    assert os.listdir(out) == []


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from miostitch.cli import main\n"
        "assert CliRunner().invoke(main, ['stitch', '--help']).exit_code == 0\n"
        "print(sorted({'numba', 'dask', 'xarray', 'av', 'zarr', 'pandas', 'numpy', 'rich'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version() -> None:
    from importlib.metadata import version

    assert version("miostitch") in run("--version").stdout
