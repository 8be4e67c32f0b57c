"""A run that is cut off goes on when it is called again, and ends with the very same bytes."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import miostitch
from miostitch.config.models import DenoiseConfig, FrequencyMaskingConfig
from miostitch.denoising import filters as filtering
from miostitch.denoising.run import denoise_files
from miostitch.editing.run import edit_files
from miostitch.errors import ResourceError
from miostitch.execution import publishing
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from miostitch.store import chunks as stored_blocks
from tests.execution.test_cluster import dask_processes
from tests.folders import content

CHUNK = 3
OPTIONS = StitchOptions(chunk_frames=CHUNK, debug_video=True)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("session")
    config = miostitch.SimulationConfig(frames=26, height=20, width=30, buffer_loss=0.1, seed=1)
    return [str(path) for path in miostitch.simulate(folder, config).recordings]


def result(folder: Path) -> dict[str, bytes]:
    """All but the summary, which tells of the resume; the store has files of that ending, too."""
    summaries = {path.name for path in folder.glob("*.json")}
    return {name: data for name, data in content(folder).items() if name not in summaries}


class PowerCut(BaseException):
    """What no code of ours catches."""


def await_note(store: Path, start: int) -> None:
    """Wait a little until the block before the one that begins there is noted."""
    until, notes = time.monotonic() + 0.3, store.parent / "journal" / "video"
    while start and time.monotonic() < until:
        if any(int(path.stem) == start - CHUNK for path in notes.glob("*.note")):
            break
        time.sleep(0.005)


def cut_off(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the run die when so many blocks are written."""
    left, write = after, stored_blocks.write_block

    def dies(path: str, start: int, frames: Any) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            await_note(Path(path), start)
        if left < 0:
            raise PowerCut
        write(path, start, frames)

    monkeypatch.setattr("miostitch.execution.engine.write_block", dies)


def begin(
    session: list[str],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: StitchOptions = OPTIONS,
    writes: int = 7,
) -> Path:
    """A run that was cut off; its work directory."""
    with monkeypatch.context() as patch:
        cut_off(patch, writes)
        with pytest.raises(PowerCut):
            stitch_files(session, out, options)
    [folder] = out.iterdir()
    assert [*folder.rglob("*.note")]
    return folder


@pytest.fixture(scope="module")
def whole(session: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    assert stitch_files(session, folder, OPTIONS)["resumed_blocks"] == 0
    return result(folder)


@pytest.mark.fault(45, "dies while a block is written", "goes on, the same bytes")
def test_finished_blocks_are_not_computed_again(
    session: list[str],
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = begin(session, tmp_path / "out", monkeypatch)
    noted = {int(path.stem) for path in folder.glob("journal/video/*.note")}
    written, write = set(), stored_blocks.write_block

    def watched(path: str, start: int, frames: Any) -> None:
        written.add(start)
        write(path, start, frames)

    monkeypatch.setattr("miostitch.execution.engine.write_block", watched)
    summary = stitch_files(session, tmp_path / "out", OPTIONS)
    assert "resuming" in caplog.text
    assert summary["resumed_blocks"] == len(noted) > 0
    assert written.isdisjoint(noted)
    assert result(tmp_path / "out") == whole
    assert miostitch.verify_files(tmp_path / "out")["differences"] == 0


def lose(chunk: Path, note: Path) -> None:
    chunk.unlink()


def cut(chunk: Path, note: Path) -> None:
    chunk.write_bytes(chunk.read_bytes()[:-7])


def flip_a_bit(chunk: Path, note: Path) -> None:
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 16
    chunk.write_bytes(data)


def cut_the_note(chunk: Path, note: Path) -> None:
    note.write_bytes(note.read_bytes()[:100])


def leave_half_a_chunk(chunk: Path, note: Path) -> None:
    chunk.with_name("0.abc.partial").write_bytes(b"half")


HARMS = (lose, cut, flip_a_bit, cut_the_note, leave_half_a_chunk)


@pytest.mark.fault(49, "chunk lost, cut or flipped; note cut", "made again, the same bytes")
def test_what_was_damaged_since_is_made_again(
    session: list[str], whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin(session, tmp_path / "out", monkeypatch, writes=8)
    notes = sorted(folder.glob("journal/video/*.note"))
    for harm, note in zip(HARMS, notes, strict=False):
        (chunk,) = folder.glob(f"*.zarr/video/c/{int(note.stem) // CHUNK}/0/0")
        harm(chunk, note)
    summary = stitch_files(session, tmp_path / "out", OPTIONS)
    harmed = min(len(notes), len(HARMS) - 1)  # half a chunk harms none
    assert summary["resumed_blocks"] == len(notes) - harmed
    assert result(tmp_path / "out") == whole


@pytest.mark.fault(47, "option, table, time or version changed", "begins again and says why")
def test_another_run_begins_anew_and_says_why(
    session: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each of the runs is cut off, too, and is what the next one finds."""
    folder = tmp_path / "in"
    shutil.copytree(Path(session[0]).parent, folder)
    names = [str(folder / Path(name).name) for name in session]
    table = folder / "receiver1.csv"
    options = StitchOptions(chunk_frames=CHUNK)
    changes: list[tuple[str, Any]] = [
        ("options", lambda: None),
        ("inputs", lambda: table.write_bytes(table.read_bytes().replace(b"\n", b"\r\n"))),
        ("inputs", lambda: os.utime(table, (1, 1))),
        (
            "versions",
            lambda: monkeypatch.setattr("miostitch.execution.publishing.version", str.upper),
        ),
    ]
    begin(names, tmp_path / "out", monkeypatch)
    for why, change in changes:
        change()
        caplog.clear()
        begin(names, tmp_path / "out", monkeypatch, options)
        assert f"not resumed: {why}" in caplog.text
    again = stitch_files(names, tmp_path / "out", replace(options, restart=True))
    assert again["resumed_blocks"] == 0
    assert "not resumed: as asked for" in caplog.text


@pytest.mark.fault(48, "work directory copied", "begins again")
def test_a_copied_work_directory_is_not_believed(
    session: list[str], whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin(session, tmp_path / "one", monkeypatch)
    shutil.copytree(folder, tmp_path / "two" / folder.name)
    summary = stitch_files(session, tmp_path / "two", OPTIONS)
    assert summary["resumed_blocks"] == 0
    assert result(tmp_path / "two") == whole


def test_what_is_made_anew_takes_no_room_meanwhile(
    session: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(publishing, "require_space", lambda _, needed: asked.append(needed))
    folder = begin(session, tmp_path / "out", monkeypatch)
    files = [path.stat() for path in folder.glob("*.avi")]
    # they are laid out, and not all of their frames are written
    size = sum(min(s.st_size, 512 * getattr(s, "st_blocks", s.st_size)) for s in files)
    stitch_files(session, tmp_path / "out", OPTIONS)
    first, then = asked
    assert size > 0
    assert then <= first - size


@pytest.mark.fault(43, "the n-th write fails", "nothing half-made, goes on")
def test_a_disk_that_fills_up_loses_nothing(
    session: list[str], whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fills up again and again, as other programs take what was freed."""
    write = stored_blocks.write_block
    for nth in (1, 5):
        left = nth

        def full(*args: Any) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                raise ResourceError("No space left on device")
            write(*args)

        with monkeypatch.context() as patch:
            patch.setattr("miostitch.execution.engine.write_block", full)
            with pytest.raises(ResourceError, match="No space left"):
                stitch_files(session, tmp_path / "out", OPTIONS)
        assert not [*(tmp_path / "out").glob("[!.]*")]
    stitch_files(session, tmp_path / "out", OPTIONS)
    assert result(tmp_path / "out") == whole


EDITS: dict[str, Callable[[list[xr.Dataset]], xr.Dataset]] = {
    "trim": lambda parts: miostitch.trim(parts[0], 1, 2),
    "remove-frames": lambda parts: miostitch.remove_frames(parts[0], "3"),
    "concat": lambda parts: miostitch.concat(parts * 2),
    "regularize": lambda parts: miostitch.regularize(
        miostitch.remove_frames(parts[0], "4-5,11"), "linear"
    ),
}
DENOISE = DenoiseConfig.model_validate(
    {
        "noise_patch": {"enable": False},
        "flicker_correction": {},
        "frequency_masking": {"output_freq_domain": True},
        "minimum_projection": {"output_result": True},
    }
)


def run_edit(command: str, store: Path, out: Path) -> dict[str, Any]:
    """What else writes a store, by its command."""
    if command == "denoise":
        return denoise_files(store, DENOISE, out)
    return edit_files([store], out, EDITS[command], "").to_json()


@pytest.fixture(scope="module")
def stitched(session: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stitched")
    stitch_files(session, folder, replace(OPTIONS, debug_video=False, report=False))
    return folder / "receiver1__receiver2_stitched.zarr"


def noted_before_a_cut(
    monkeypatch: pytest.MonkeyPatch, out: Path, edit: Callable[[], Any]
) -> tuple[Path, set[int]]:
    """Cut an edit off; its folder, and the blocks that it had noted by then."""
    with monkeypatch.context() as patch:
        cut_off(patch, 4)
        with pytest.raises(PowerCut):
            edit()
    [folder] = out.iterdir()
    return folder, {int(path.stem) for path in folder.glob("journal/video/*.note")}


@pytest.mark.fault(45, "trim, remove-frames, concat, denoise die", "go on, the same bytes")
@pytest.mark.parametrize(
    "command",
    [
        "trim",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("denoise", "remove-frames", "concat", "regularize")
        ),
    ],
)
def test_an_edit_goes_on(
    stitched: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    command: str,
) -> None:
    out = tmp_path / "out"
    assert run_edit(command, stitched, tmp_path / "whole")["resumed_blocks"] == 0
    folder, noted = noted_before_a_cut(monkeypatch, out, lambda: run_edit(command, stitched, out))
    assert noted
    read = len([*folder.glob("journal/noise/*.note")])
    assert bool(read) == (command == "denoise")
    written, write = set(), stored_blocks.write_block

    def watched(path: str, start: int, frames: Any) -> None:
        written.add(start)
        write(path, start, frames)

    monkeypatch.setattr("miostitch.execution.engine.write_block", watched)
    summary = run_edit(command, stitched, out)
    assert "resuming" in caplog.text
    assert summary["resumed_blocks"] == len(noted) + read
    assert written.isdisjoint(noted)
    assert result(out) == result(tmp_path / "whole")
    assert miostitch.verify_files(out)["differences"] == 0


@pytest.mark.fault(47, "edit, store or version changed", "begins again and says why")
@pytest.mark.slow
def test_another_edit_begins_anew_and_says_why(
    stitched: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(stitched, tmp_path / "in.zarr")
    store, out = miostitch.open_recording(tmp_path / "in.zarr"), tmp_path / "out.zarr"
    brighter = store.assign(video=store.video + np.uint8(1))
    chunk = tmp_path / "in.zarr" / "video" / "c" / "7" / "0" / "0"
    runs: list[tuple[str, Any, Any]] = [
        ("", store, lambda: None),
        ("options", store.isel(frame=slice(1, None)), lambda: None),
        ("options", brighter, lambda: None),
        ("options", store, lambda: None),
        ("inputs", store, lambda: os.utime(chunk, (1, 1))),
        (
            "versions",
            store,
            lambda: monkeypatch.setattr("miostitch.execution.publishing.version", str.upper),
        ),
    ]
    for why, dataset, change in runs:
        change()
        caplog.clear()
        with monkeypatch.context() as patch:
            cut_off(patch, 4)
            with pytest.raises(PowerCut):
                miostitch.write_recording(dataset, out)
        assert (f"not resumed: {why} changed" in caplog.text) == bool(why)
    again = miostitch.write_recording(store, out, restart=True)
    assert again["resumed_blocks"] == 0
    assert "not resumed: as asked for" in caplog.text


def test_no_video_is_computed_that_is_in_the_store(
    stitched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for another video either that is the same; what another one needs is."""
    config = DENOISE.model_copy(update={"frequency_masking": FrequencyMaskingConfig(enable=False)})
    _, noted = noted_before_a_cut(
        monkeypatch, tmp_path, lambda: denoise_files(stitched, config, tmp_path)
    )
    subtracted, subtract = [], filtering.subtract

    def counted(*args: Any, **options: Any) -> Any:
        subtracted.append(1)
        return subtract(*args, **options)

    monkeypatch.setattr("miostitch.denoising.filters.subtract", counted)
    frames = denoise_files(stitched, config, tmp_path)["frames"]
    assert len(subtracted) == -(-frames // CHUNK) - len(noted)


@pytest.mark.fault(53, "ESTALE where a chunk is brought to the disk", "exit 5, goes on")
def test_a_stale_handle_loses_nothing(
    session: list[str], whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, fsync = 2, os.fsync

    def stale(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", stale)
        with pytest.raises(ResourceError, match=os.strerror(errno.ESTALE)):
            stitch_files(session, tmp_path / "out", OPTIONS)
    assert not [*(tmp_path / "out").glob("[!.]*")]
    assert stitch_files(session, tmp_path / "out", OPTIONS)["resumed_blocks"] == 1
    assert result(tmp_path / "out") == whole


@pytest.mark.parametrize("by", [pytest.param("frame", marks=pytest.mark.slow), "buffer"])
def test_every_pass_goes_on(
    session: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: Any
) -> None:
    options = StitchOptions(
        by=by, chunk_frames=CHUNK, drop_damaged=True, unrecoverable_video=True, report=False
    )
    stitch_files(session, tmp_path / "whole", options)
    with monkeypatch.context() as patch:
        cut_off(patch, 2)
        with pytest.raises(PowerCut):
            stitch_files(session, tmp_path / "out", options)
    stitch_files(session, tmp_path / "out", options)
    assert result(tmp_path / "out") == result(tmp_path / "whole")


PROGRAM = [sys.executable, "-c", "from miostitch.cli.main import main; main()"]
SIMULATED: dict[str, Any] = {"buffer_loss": 0.05, "header_flips": 0.01, "seed": 1}


def kill_and_resume(command: list[str], folder: Path, kills: int) -> int:
    """Kill a command at random moments until it has made it each time; blocks it resumed.

    What it makes is compared with what it makes at once.
    """
    whole, out = folder / "whole", folder / "out"
    began = time.monotonic()
    subprocess.run([*command, "-o", str(whole)], check=True)
    takes = time.monotonic() - began
    rng, killed, resumed = random.Random(1), 0, 0
    while killed < kills:
        shutil.rmtree(out, ignore_errors=True)
        while True:
            run = subprocess.Popen([*command, "-o", str(out), "--force"])
            try:
                assert run.wait(rng.uniform(0.2, 1.1) * takes) == 0
                break
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGKILL)
                run.wait()
                killed += 1
        assert result(out) == result(whole), killed
        resumed += json.loads(next(out.glob("*.json")).read_text())["resumed_blocks"]
    return resumed


@pytest.mark.fault(45, "SIGKILL at random moments, again and again", "goes on, the same bytes")
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such signal there")
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--by", "frame"], id="by-frame"),
        pytest.param(["--by", "buffer"], id="by-buffer"),
        pytest.param(["--by", "buffer", "--workers", "2"], id="two-processes"),
        pytest.param(["--by", "buffer", "--scheduler"], id="dask-cluster"),
    ],
)
def test_killed_at_random_moments(tmp_path: Path, options: list[str]) -> None:
    config = miostitch.SimulationConfig(frames=3000, **SIMULATED)
    names = [str(p) for p in miostitch.simulate(tmp_path / "in", config).recordings]
    command = [*PROGRAM, "stitch", *names, "--chunk-frames", "100", "--debug-video", "-q", *options]
    with ExitStack() as stack:
        if "--scheduler" in options:
            address, _ = stack.enter_context(dask_processes(2, tmp_path))
            command.append(address)
        assert kill_and_resume(command, tmp_path, 30) > 0


@pytest.mark.fault(45, "denoise: SIGKILL at random moments", "goes on, the same bytes")
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such signal there")
def test_denoise_killed_at_random_moments(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=3000, **SIMULATED)
    names = [str(p) for p in miostitch.simulate(tmp_path / "in", config).recordings]
    stitch_files(names, tmp_path / "in", StitchOptions("buffer", chunk_frames=100, report=False))
    store = str(tmp_path / "in" / "receiver1__receiver2_stitched.zarr")
    command = [*PROGRAM, "denoise", store, "-c", "denoise_calcium_imaging", "-q"]
    assert kill_and_resume(command, tmp_path, 30) > 0


# Python is told of no interrupt that its parent ignores; few frames would be through too soon
SLOWED = """
import signal, sys, time
from miostitch.store import chunks as stored_blocks
from miostitch.execution import engine
from miostitch.cli.main import main

def write_block(*args):
    time.sleep({pause})
    stored_blocks.write_block(*args)

engine.write_block = write_block
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""
FEW: dict[str, Any] = {"frames": 40, "height": 40, "width": 50}


@pytest.mark.fault(46, "SIGINT, SIGTERM", "exit 130 within 5 s, goes on")
@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize(
    ("number", "size", "pause"),
    [
        (signal.SIGTERM, FEW, 0.05),
        pytest.param(signal.SIGINT, {"frames": 2000}, 0, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, {"frames": 2000}, 0, marks=pytest.mark.slow),
    ],
)
def test_interrupted_within_seconds(
    tmp_path: Path, number: signal.Signals, size: dict[str, Any], pause: float
) -> None:
    config = miostitch.SimulationConfig(buffer_loss=0.05, seed=1, **size)
    names = [str(p) for p in miostitch.simulate(tmp_path / "in", config).recordings]
    out, block = tmp_path / "out", config.frames // 20
    program = [sys.executable, "-c", SLOWED.format(pause=pause), "stitch", *names]
    run = subprocess.Popen([*program, "--chunk-frames", str(block), "-o", str(out), "-q"])
    try:
        deadline = time.monotonic() + 120
        while not [*out.glob(".*/journal/video/*.note")]:
            assert time.monotonic() < deadline
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(number)
        began = time.monotonic()
        assert run.wait(60) == 130
        assert time.monotonic() - began < 5
    finally:
        run.kill()
        run.wait()
    assert [name for name in os.listdir(out) if not name.startswith(".")] == []
    summary = stitch_files(names, out, StitchOptions(chunk_frames=block))
    assert 0 < summary["resumed_blocks"] < summary["frames"] / block
    assert np.diff(summary["frame_num"]) > 0
