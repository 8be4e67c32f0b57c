"""The installed command: what it prints, asks and returns."""

import gc
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.cells import cell_len

import miostitch
from miostitch import cli, errors
from miostitch.cli import console
from miostitch.cli import texts as wording
from miostitch.execution.progress import counted
from miostitch.execution.results import EditSummary, NoiseSummary, OriginSummary, ScoreSummary
from miostitch.inspect import recordings as inspecting
from miostitch.text import from_here
from tests.commands import COMMAND, run, run_installed
from tests.sessions import mismatched


def test_stitch_says_what_it_made_of_inputs_as_mio_takes_them(
    session: list[str], tmp_path: Path
) -> None:
    done = run("stitch", "-i", session[0], "-i", session[1], "-o", str(tmp_path))
    assert re.search(r"^\d+ frames: \d+ intact", done.stdout)
    for suffix in (".zarr", ".avi", ".csv", "_timestamps.csv", "_scores.csv", ".json"):
        path = tmp_path / f"receiver1__receiver2_stitched{suffix}"
        assert path.exists()
        assert str(path) in done.stdout


def test_json_is_one_object_and_nothing_else(session: list[str], tmp_path: Path) -> None:
    command = ("stitch", *session, "-o", str(tmp_path), "--no-report", "--json")
    summary = json.loads(run_installed(*command).stdout)
    assert summary == json.loads((tmp_path / "receiver1__receiver2_stitched.json").read_text())
    failed = run(*command, code=4)
    assert json.loads(failed.stdout)["exit_code"] == 4
    assert "--force" in failed.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["stitch"], 2, "no recording given"),
        (["stitch", "{0}", "{0}"], 2, "same file"),
        (["stitch", "{0}", "nowhere.avi"], 3, "nowhere.avi: no such video"),
        (["stitch", "{0}", "--chunk-frames", "0"], 2, "0 is not in the range 1<=x"),
        (["stitch", "{0}", "--colour"], 2, "No such option"),
        (["stitch", "{0}", "--by", "pixel"], 2, "--by"),
        (["stitch", "{0}", "--lag", "1.5"], 2, "'1.5': give auto or a number of frames"),
        (["stitch", "{0}", "--lag", "1000"], 2, "at lag 1000 none of its"),
        (["stitch", "{0}", "--max-gap", "nan"], 2, "give a time above 0 s"),
        (["stitch", "{0}", "--max-gap", "1"], 2, "by time alone; add --align time"),
        (["stitch", "{0}", "--workers", "2", "--memory-limit", "1GB"], 2, "bounds threads"),
        (["stitch", "{0}", "--no-avi", "--codec", "ffv1"], 2, "exclude each other"),
        (["inspect"], 2, "no recording given"),
        (["trim", "{0}", "{1}", "-s", "1", "-o", "{out}"], 2, "one recording at a time"),
        (["trim", "{0}", "-o", "{out}"], 2, "nothing to trim"),
        (["trim", "{0}", "-s", "40", "-o", "{out}"], 2, "leave out fewer"),
        (["trim", "{0}", "-s", "5.5"], 2, "'5.5' is not a valid whole number"),
        (["remove-frames", "{0}", "-f", "0,x", "-o", "{out}"], 2, "0,5,10-20"),
        (["remove-frames", "{0}", "-o", "{out}"], 2, "--frames"),
        (["concat", "{0}"], 2, "--output"),
        (["concat", "{0}", "nowhere.avi", "-o", "{out}"], 3, "nowhere.avi: no such video"),
        (["score", "{0}", "-c", "denoise_exampel", "-o", "{out}"], 2, "denoise_example"),
        (["simulate", "{folder}"], 4, "--force"),
    ],
)
def test_exit_codes(
    session: list[str], tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    folder = str(Path(session[0]).parent)
    filled = [arg.format(*session, folder=folder, out=tmp_path) for arg in args]
    if args[0] == "stitch":
        filled += ["-o", str(tmp_path)]
    done = run(*filled, code=code)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


def test_composed_with_every_option(session: list[str], tmp_path: Path) -> None:
    options = ("--by", "buffer", "--align", "time", "--max-gap", "0.02", "--lag", "auto",
               "--keep-clocks", "--drop-damaged", "--unrecoverable-video")  # fmt: skip
    done = run("stitch", *session, "-o", str(tmp_path), *options, "--chunk-frames", "8", "--json")
    summary = json.loads(done.stdout)
    chosen = {"by": "buffer", "align": "time", "max_gap": 0.02, "lag": "auto",
              "keep_clocks": True, "drop_damaged": True, "unrecoverable_video": True}  # fmt: skip
    assert summary["config"].items() >= chosen.items()
    assert summary["damaged"] == 0 < len(summary["dropped_frame_num"])
    unrecoverable = tmp_path / "receiver1__receiver2_stitched_unrecoverable.avi"
    assert str(unrecoverable) in summary["outputs"]


@contextmanager
def files_up_to(most: int) -> Iterator[None]:
    """Let no file of this process grow beyond."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.fault(43, "limit on the size of files", "exit 5, nothing left")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("most", [5_000, 60_000])
def test_a_full_disk_leaves_nothing(session: list[str], tmp_path: Path, most: int) -> None:
    with files_up_to(most):
        done = run("stitch", *session, "-o", str(tmp_path), "--by", "buffer", code=5)
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


def test_edit_and_go_on(session: list[str], tmp_path: Path) -> None:
    out = str(tmp_path)
    assert "frames of" in run("trim", "-i", session[0], "-s", "2", "-e", "3", "-o", out).stdout
    trimmed = str(tmp_path / "receiver1_trimmed.avi")
    run("remove-frames", trimmed, "-f", "0,5", "-f", "10-12", "-o", out, "-q")
    removed = str(tmp_path / "receiver1_trimmed_removed.avi")
    joined = str(tmp_path / "joined" / "A.avi")
    summary = json.loads(run("concat", trimmed, "-i", removed, "-o", joined, "--json").stdout)
    assert summary == json.loads(Path(joined).with_suffix(".json").read_text())
    assert summary["outputs"] == [
        str(Path(joined).with_suffix(s)) for s in (".avi", ".csv", ".json")
    ]
    kept, left = (origin["frames"] for origin in summary["origins"])
    assert (summary["frames"], kept - left) == (kept + left, 5)
    assert "time goes backwards" in summary["warnings"][-1]
    shown = run("score", joined, trimmed, "-o", out, "-c", "denoise_example").stdout
    assert re.search(rf"^joined/A.avi +{kept + left} ", shown, re.MULTILINE)
    assert (tmp_path / "A_noise.csv").exists()


def test_paths_below_the_working_folder_are_relative(
    session: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in map(Path, session):
        shutil.copy(path, tmp_path)
        shutil.copy(path.with_suffix(".csv"), tmp_path)
    monkeypatch.chdir(tmp_path)
    calls = (
        ("trim", "-s", "1"),
        ("remove-frames", "--frames", "1"),
        ("concat", "-o", "out/joined.avi"),
        ("denoise", "-c", "remove_stripe_example"),
        ("workflow", "-c", "denoise_patch"),
    )
    for command, *args in calls:
        args = [command, "receiver1.avi", "-o", f"out/{command}", *args, "--no-progress"]
        shown = run(*args, "-v").output
        assert "note: receiver1.csv: the last frame" in shown
        assert str(tmp_path) not in shown
        assert run(*args, code=4).stderr.startswith("error: out/")
        assert json.loads(run(*args, "--json", code=4).stdout)["error"].startswith(str(tmp_path))


def test_paths_in_a_text_are_cut_where_they_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getcwd", lambda: "/data")
    text = "/data/a.avi, '/data/b c.avi' (/data/c): /more/data/d, /data2/e, /data"
    assert from_here(text) == "a.avi, 'b c.avi' (c): /more/data/d, /data2/e, /data"
    monkeypatch.setattr(os, "getcwd", lambda: "/")
    assert from_here("/data/a.avi: 1 / 2, 3 frames/s") == "/data/a.avi: 1 / 2, 3 frames/s"

    def gone() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "getcwd", gone)
    assert from_here(text) == text


def test_without_a_terminal_a_mismatch_is_exit_code_3(session: list[str], tmp_path: Path) -> None:
    video = mismatched(session, tmp_path)
    done = run("stitch", video, "-o", str(tmp_path / "out"), code=3)
    assert "--salvage" in done.stderr
    salvaging = ("stitch", video, "-o", str(tmp_path / "out"), "--salvage", "-q")
    assert "--lag 0" in run(*salvaging, code=3).stderr  # where they agree is not known
    run(*salvaging, "--lag", "0")


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 3), ("", 130)])
def test_a_mismatch_is_asked_about(
    session: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    video = mismatched(session, tmp_path)
    monkeypatch.setattr(console.Console, "may_ask", True)
    args = ["stitch", video, "-o", str(tmp_path / "out"), "--no-report", "--lag", "0"]
    done = CliRunner().invoke(cli.main, args, input=answer)
    assert done.exit_code == code, done.stderr
    assert "Continue with the part where they agree?" in done.stderr
    assert (tmp_path / "out" / "short_stitched.avi").exists() == (code == 0)


def test_a_terminal_without_some_letters_shows_escapes(session: list[str], tmp_path: Path) -> None:
    video = tmp_path / "\N{GREEK SMALL LETTER MU}.avi"
    video.write_bytes(Path(session[0]).read_bytes())
    env = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([COMMAND, "inspect", video], capture_output=True, env=env, check=True)
    assert rb"\u03bc.avi" in done.stdout


@pytest.fixture
def _on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


def test_names_are_complete_where_no_terminal_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "2026-11-30_mouse-17_left-antenna_" * 4
    config = miostitch.SimulationConfig(frames=20, height=20, width=30)
    folder = tmp_path / name
    for video in miostitch.simulate(folder, config).recordings:
        for path in (video, video.with_suffix(".csv")):
            path.rename(folder / f"{name}{path.name}")
    monkeypatch.chdir(tmp_path)
    videos = sorted(f"{name}/{path.name}" for path in folder.glob(f"{name}receiver*.avi"))
    names = [Path(video).name for video in videos]
    called = (
        run_installed("inspect", *videos),
        run("stitch", *videos, "--no-report", "-o", "out"),
        run("score", *videos, "-o", "s"),
    )
    for said in (each.stdout for each in called):
        found = [line for line in said.splitlines() if line.startswith(name) and "  " in line]
        shown = [line.split("  ")[0] for line in found]
        assert shown in (names, [each.removesuffix(".avi") for each in names]), said


@pytest.mark.usefixtures("_on_a_terminal")
def test_tables_fit_80_columns() -> None:
    for path in ("left/rec.avi", "a/" * 60 + "left.avi", "\N{MOUSE}" * 70):
        names = (path, "/elsewhere/right.avi")
        found = ScoreSummary([NoiseSummary(name, 648000, 12, 3, [], "x.csv") for name in names], {})
        head, *lines = wording.score_text(found).split("\n\n")[0].splitlines()
        assert max(map(cell_len, [head, *lines])) <= 80
        ends = [cell_len(line) for line in lines if line.endswith("3")]
        assert ends == [cell_len(head)] * 2
        assert path in "".join(line.split("  ")[0] for line in lines)


@pytest.mark.usefixtures("_on_a_terminal")
def test_a_table_of_wide_numbers_is_wider_than_80_columns() -> None:
    numbers = ("1234567890",) * 8
    head, *lines = wording._table([("recording", *numbers), ("a" * 30, *numbers)])
    assert head.split() == ["recording", *numbers]
    assert [line.split() for line in lines] == [["a" * 12, *numbers], ["a" * 12], ["a" * 6]]


def test_one_is_no_plural() -> None:
    for frames, shown in (1, "1 frame of 2"), (2, "2 frames of 2"):
        origins = [OriginSummary("/in/a.avi", "../in/a.avi", 2, 0)]
        summary = EditSummary(frames, [], origins, [], [], [], [], 0, {}, {}, [])
        assert wording.edit_text(summary).strip() == shown


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (errors.MiostitchError("m"), 6),
        (errors.InputError("m"), 3),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (OSError(28, "No space left on device"), 5),
        (MemoryError(), 5),
        (ZeroDivisionError("m"), 6),
        (SystemError("m"), 6),
    ],
)
@pytest.mark.parametrize("verbosity", ["", "-v", "-vv"])
def test_every_failure_has_its_exit_code_at_any_verbosity(
    monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, verbosity: str
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(inspecting, "inspect_recordings", fail)
    args = ["inspect", "a.avi", "--json", *([verbosity] if verbosity else [])]
    done = CliRunner().invoke(cli.main, args)
    assert done.exit_code == code
    assert ("Traceback" in done.stderr) == (verbosity == "-vv")
    answer = json.loads(done.stdout)
    assert answer.keys() == {"error", "exit_code"}
    assert answer["exit_code"] == code
    assert answer["error"] in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["stitch", "--colour", "--json"],
        ["stitch", "--json", "a.avi", "--chunk-frames", "0"],
        ["simulate", "--json"],
        ["simulate", "x", "--fps", "1/0", "--json"],
        ["sew", "--json"],
        ["--json", "stitch"],
        ["stitch", "--json"],
    ],
)
def test_json_answers_usage_errors_too(args: list[str]) -> None:
    done = CliRunner().invoke(cli.main, args)
    assert done.exit_code == 2
    answer = json.loads(done.stdout)
    assert answer["exit_code"] == 2
    assert answer["error"].rstrip(".") in done.stderr
    plain = CliRunner().invoke(cli.main, [arg for arg in args if arg != "--json"])
    assert plain.stdout == ""


FOUND = pytest.param(["inspect", "{0}", "--json"], marks=pytest.mark.slow)


@pytest.mark.parametrize("args", [FOUND, ["inspect", "--help"], ["--help"]])
def test_a_reader_that_went_away_is_no_failure_to_report(
    session: list[str], args: list[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [COMMAND, *(arg.format(*session) for arg in args)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="only Linux has /dev/full, a disk that is always full"
)
@pytest.mark.parametrize("args", [FOUND, ["inspect", "--help"]])
def test_a_full_stdout_is_exit_code_5(session: list[str], args: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        command = [COMMAND, *(arg.format(*session) for arg in args)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 5
    assert done.stderr.count(b"\n") == 1


def test_verbose_concerns_this_package_only(session: list[str]) -> None:
    ours, root = logging.getLogger("miostitch"), logging.getLogger()
    before = ours.level, ours.handlers[:], root.level, root.handlers[:]
    for _ in range(2):
        done = CliRunner().invoke(cli.main, ["inspect", session[0], "-vv"])
        assert done.exit_code == 0
        assert done.stderr.count("debug: ") == 1
    assert (ours.level, ours.handlers, root.level, root.handlers) == before
    quiet = CliRunner().invoke(cli.main, ["inspect", session[0]])
    assert quiet.stderr == ""


def test_in_process_and_in_a_thread(session: list[str]) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    codes: list[int | None] = []

    def call() -> None:
        codes.append(cli.main(["inspect", *session, "-q"], standalone_mode=False))

    call()
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert codes == [None, None]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_progress_counts_from_many_threads() -> None:
    seen: list[tuple[int, int]] = []
    count = counted(lambda done, total: seen.append((done, total)), 4000)
    assert count is not None
    threads = [threading.Thread(target=lambda: [count(1) for _ in range(1000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [(done, 4000) for done in range(1, 4001)]


def test_progress_without_a_terminal_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    advance = console._paced(console._progress_lines("stitching"))
    for clock[0], done in (5.0, 0), (10.0, 50), (19.0, 90), (20.0, 100):
        advance(done, 200)
    for clock[0], done in (25.0, 20), (30.0, 40):  # another pass
        advance(done, 80)
    assert capsys.readouterr().err.splitlines() == [
        "stitching: 50 of 200 frames, 5 frames/s, 30 s left",
        "stitching: 100 of 200 frames, 5 frames/s, 20 s left",
        "stitching: 40 of 80 frames, 4 frames/s, 10 s left",
    ]


@pytest.mark.parametrize(
    ("args", "function"),
    [
        (["inspect", "a.avi"], "miostitch.inspect.recordings.inspect_recordings"),
        (["report", "."], "miostitch.report.run.report_files"),
        (["view", "a.avi"], "miostitch.viewer.run.view"),
        (["verify", "."], "miostitch.verify.run.verify_files"),
    ],
)
def test_garbage_is_collected_while_a_command_works(
    monkeypatch: pytest.MonkeyPatch, args: list[str], function: str
) -> None:
    collecting: list[bool] = []

    def work(*_: object, **__: object) -> None:
        collecting.append(gc.isenabled())
        raise errors.UsageError("done")

    monkeypatch.setattr(function, work)
    assert CliRunner().invoke(cli.main, args).exit_code == 2
    assert collecting == [True]


def test_text_leaves_the_result_as_it_was(session: list[str]) -> None:
    found = inspecting.inspect_recordings(session)
    before = json.dumps(found.to_json())
    wording.inspect_text(found)
    assert json.dumps(found.to_json()) == before


def commands(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    found = {f"{prefix}{name}": command for name, command in group.commands.items()}
    for name, command in [*found.items()]:
        if isinstance(command, click.Group):
            found |= commands(command, f"{name} ")
    return found


COMMANDS = commands(cli.main)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_has_an_example_and_fits_80_columns(command: str) -> None:
    args = [*command.split(), "--help"]
    done = CliRunner().invoke(cli.main, args, env={"COLUMNS": "80"})
    assert re.search(rf"^    miostitch {command}", done.stdout, re.MULTILINE)
    assert max(map(len, done.stdout.splitlines())) <= 80
    if command and not isinstance(COMMANDS[command], click.Group):
        for name in ("--json", "-q, --quiet", "-v, --verbose", "--no-progress"):
            assert name in done.stdout


def test_inspect(session: list[str]) -> None:
    text = run("inspect", *session).stdout
    assert "receiver1.avi" in text
    for line in (
        r"  video +33 frames of 50 x 40 pixels, 1.65 s at 20 frames/s, rawvideo",
        r"  lag +0 frames; (\d+) of \1 missing buffers black",
        r"  frame_num +2500 to \d+, \d+ lost, \d+ repeated",
        r"together\n  frames +\d+, \d+ in every receiver; \d+ more in no receiver",
        r"receiver2\.avi +\d+ +\d+ +\+0\.3",
    ):
        assert re.search(f"^{line}", text, re.MULTILINE), line
    found = json.loads(run("inspect", *session, "--json").stdout)
    first, _ = found["recordings"]
    assert found["session"]["frames"] >= first["frames"]
    assert first["width"] == 50
    assert first["table"]["buffers_per_frame"] > 1


def test_why_recordings_cannot_be_stitched_is_a_note(session: list[str], tmp_path: Path) -> None:
    run("simulate", str(tmp_path), "--frames", "20", "--height", "20", "--width", "50")
    text = run("inspect", session[0], str(tmp_path / "receiver1.avi"), code=3).stdout
    assert re.search(r"^together\n  error: .* has frames of 50x40 and ", text, re.MULTILINE)


def test_simulate_is_the_same_every_time(session: list[str], tmp_path: Path) -> None:
    size = ("--height", "40", "--width", "50")
    run("simulate", str(tmp_path), "--frames", "40", "--seed", "2", *size, "-q")
    for path in session:
        assert (tmp_path / Path(path).name).read_bytes() == Path(path).read_bytes()


def test_every_fault_can_be_simulated(tmp_path: Path) -> None:
    chosen = {
        "frames": 30, "receivers": 3, "seed": 4, "width": 50, "height": 40, "fps": "30000/1001",
        "buffer-loss": 0.1, "frame-loss": 0.02, "corruption": 0.03, "truncation": 0.04,
        "overrun": 0.05, "header-flips": 0.06, "bursts": 0.2, "late-start": 2, "early-end": 1,
        "resets": 1, "lag": 1, "clock-offset": 0.5, "clock-drift": 7.0,
    }  # fmt: skip
    args = [f"--{name}={value}" for name, value in chosen.items()]
    run("simulate", str(tmp_path), *args, "--no-extra-frame", "-q")
    config = json.loads((tmp_path / "truth.json").read_text())["config"]
    names = {"late-start": "late_start_frames", "early-end": "early_end_frames"}
    names |= {"clock-offset": "clock_offset_s", "clock-drift": "clock_drift_ppm"}
    for name, value in chosen.items():
        assert config[names.get(name, name.replace("-", "_"))] == value, name
    assert config["extra_frame"] is False
    run("simulate", str(tmp_path), "--reset", "2", "--frames", "20", "-f", "-q")
    assert json.loads((tmp_path / "truth.json").read_text())["config"]["resets"] == 2


def test_demo(tmp_path: Path) -> None:
    done = run("demo", "-o", str(tmp_path / "demo"))
    damaged = [int(n) for n in re.findall(r"^by \w+: .*?(\d+) incomplete", done.stdout, re.M)]
    assert damaged[0] > damaged[1]
    for command in re.findall(r"^  (\S*demo/\S+|\S+ -c .*)$", done.stdout, re.MULTILINE):
        if " -c " in command:
            shown = subprocess.run(command, shell=True, check=True, capture_output=True, text=True)
            assert "frame_num" in shown.stdout
        else:
            assert Path(command).exists()
    assert (tmp_path / "demo" / "stitched" / "receiver1__receiver2_stitched_debug.avi").exists()
    assert run("demo", "-o", str(tmp_path / "demo"), code=4).stdout == ""


@pytest.mark.slow
def test_a_terminated_run_ends_cleanly(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=400, seed=1)
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
    assert not out.exists()


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from miostitch.cli.main import main\n"
        "assert CliRunner().invoke(main, ['stitch', '--help']).exit_code == 0\n"
        "print(sorted({'numba', 'dask', 'xarray', 'av', 'zarr', 'pandas', 'numpy', 'rich',"
        " 'pydantic', 'yaml'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version() -> None:
    from importlib.metadata import version

    assert version("miostitch") in run_installed("--version").stdout


def test_headers_can_be_left_as_recorded(recordings: Path, tmp_path: Path) -> None:
    names = [str(recordings / "stitch" / f"video{n}.avi") for n in (1, 2)]
    counts = []
    for choice in ("--repair", "--no-repair"):
        done = run("stitch", *names, "-o", str(tmp_path / choice), choice, "--json", "--no-report")
        summary = json.loads(done.stdout)
        assert summary["frames"] == 52
        counts.append([recording["repairs"] for recording in summary["recordings"]])
    assert counts == [[4, 0], [0, 0]]
