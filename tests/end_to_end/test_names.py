"""File names of any bytes, from end to end by the command, and what is printed of them."""

import contextlib
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zarr
from click.testing import Result

import miostitch
from miostitch.errors import OutputExistsError, UsageError
from miostitch.execution.workspace import Workspace
from miostitch.text import printable
from tests import commands
from tests.faults import case, slow
from tests.folders import content
from tests.sessions import Made

CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    Made(folder, frames=12, receivers=2, extra_frame=False, seed=4)
    return folder


def run(folder: Path, *args: bytes, code: int = 0) -> Result:
    with contextlib.chdir(folder):
        return commands.run(*map(os.fsdecode, args), code=code)


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
@pytest.mark.parametrize(
    "stem",
    [
        case(56, "bytes that are no UTF-8", "works; escaped in JSON and on the terminal",
             b"\xff\xfe\x80"),
        case(56, "newline, escape sequence, bell", "works; escaped in JSON and on the terminal",
             b"a\nb\x1b[31mred\x07"),
        slow(case(56, "percent, braces, quotes, leading dash", "works",
                  b"-%s%d{0}{}'\"$(id)`id`")),
        case(57, "markup and a formula", "as it is in CSV and JSON, nothing put before it",
             b"=cmd()<script>&"),
    ],
)  # fmt: skip
def test_any_name_from_end_to_end(session: Path, tmp_path: Path, stem: bytes) -> None:
    require_name(session, tmp_path, stem)


@pytest.mark.parametrize(
    "stem",
    [
        slow(case(56, "emoji and a letter of two code points", "works",
                  "\N{MOUSE}e\N{COMBINING ACUTE ACCENT}")),
        case(56, "space, umlaut, percent, braces, leading dash", "works", "-\xfc mlaut %d {}"),
    ],
)  # fmt: skip
def test_names_that_any_system_has(session: Path, tmp_path: Path, stem: str) -> None:
    require_name(session, tmp_path, stem.encode())


def require_name(session: Path, tmp_path: Path, stem: bytes) -> None:
    folder = os.fsencode(tmp_path)
    for name, suffix in ((b"receiver1", b".avi"), (b"receiver1", b".csv")):
        source = os.path.join(os.fsencode(session), name + suffix)
        shutil.copy(source, os.path.join(folder, stem + suffix))
    done = run(tmp_path, b"stitch", b"-o", b"out", b"--json", b"-v", b"--", stem + b".avi")
    summary = json.loads(done.stdout_bytes.decode("ascii"))
    text = printable(os.fsdecode(stem))
    assert summary["recordings"][0]["name"] == text
    made = {os.fsencode(path.name) for path in (tmp_path / "out").iterdir()}
    assert {stem + b"_stitched.zarr", stem + b"_stitched.avi"} <= made
    assert not CONTROL.search(done.stderr_bytes)
    written = (tmp_path / "out").glob("*_scores.csv")
    with next(written).open(encoding="utf-8", newline="") as file:
        assert {row["selected_video"] for row in csv.DictReader(file)} == {text}
    (path,) = (tmp_path / "out").glob("*.zarr")
    store = zarr.open_group(path, mode="r")
    assert store.attrs["recordings"] == [text]
    assert store["video"].shape[0] == summary["frames"]  # type: ignore[union-attr]
    shown = run(tmp_path, b"inspect", b"--", stem + b".avi")
    assert not CONTROL.search(shown.stdout_bytes + shown.stderr_bytes)
    missing = run(tmp_path, b"inspect", b"--", stem + b"x.avi", code=3)
    assert not CONTROL.search(missing.stderr_bytes)


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
@pytest.mark.fault(56, "bytes that are no UTF-8, to the installed program", "works; escaped")
def test_bytes_reach_the_installed_program(session: Path, tmp_path: Path) -> None:
    stem = os.fsencode(tmp_path) + b"/\xff\xfe\x80\x1b"
    for suffix in (".avi", ".csv"):
        shutil.copy(session / f"receiver1{suffix}", os.fsdecode(stem + suffix.encode()))
    command = [commands.COMMAND, "inspect", "--json", os.fsdecode(stem + b".avi")]
    done = subprocess.run(command, capture_output=True, check=True)
    assert json.loads(done.stdout.decode("ascii"))["recordings"][0]["frames"] > 0
    assert not CONTROL.search(done.stdout + done.stderr)


@pytest.mark.fault(56, "name of 255 bytes", "can be read; products that fit get names, or exit 2")
def test_the_longest_name(session: Path, tmp_path: Path) -> None:
    stem = "n" * 251
    for suffix in (".avi", ".csv"):
        shutil.copy(session / f"receiver1{suffix}", tmp_path / f"{stem}{suffix}")
    video = f"{stem}.avi".encode()
    run(tmp_path, b"inspect", video)
    run(tmp_path, b"concat", video, b"-o", b"out/a.avi")
    refused = run(tmp_path, b"stitch", video, b"-o", b"more", code=2)
    assert "too long for a file name; give a shorter --name" in refused.stderr
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize(
    "twin",
    [
        case(37, "the same path twice", "exit 2", lambda v: v),
        case(37, "a symbolic link to it", "exit 2", lambda v: link(v, os.symlink)),
        case(37, "a hard link to it", "exit 2", lambda v: link(v, os.link)),
        case(37, "another spelling of the path", "exit 2",
             lambda v: v.parent / ".." / v.parent.name / v.name),
    ],
)  # fmt: skip
def test_the_same_file_twice(session: Path, tmp_path: Path, twin: Any) -> None:
    video = tmp_path / "a.avi"
    for suffix in (".avi", ".csv"):
        shutil.copy(session / f"receiver1{suffix}", video.with_suffix(suffix))
    with pytest.raises(UsageError, match=r"same file as|given twice") as refused:
        miostitch.stitch_files([str(video), str(twin(video))], tmp_path / "out")
    assert refused.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def link(video: Path, make: Any) -> Path:
    other = video.with_name("b.avi")
    make(video, other)
    shutil.copy(video.with_suffix(".csv"), other.with_suffix(".csv"))
    return other


@pytest.fixture(scope="module")
def stitched(session: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    options = miostitch.StitchOptions(codec=None, report=False)
    miostitch.stitch_files([str(session / "receiver1.avi")], folder, options)
    return folder / "receiver1_stitched.zarr"


@pytest.mark.parametrize(
    ("inside", "link"),
    [
        case(38, "folder inside the input's store", "exit 2, nothing changed", "x", False),
        case(38, "the input's store itself", "exit 2, nothing changed", "", False),
        case(38, "folder inside it by a symbolic link", "exit 2, nothing changed", "x", True),
    ],
)
def test_an_output_inside_an_input(stitched: Path, tmp_path: Path, inside: str, link: bool) -> None:
    target = stitched
    if link:
        target = tmp_path / "link"
        target.symlink_to(stitched, target_is_directory=True)
    before = content(stitched)
    dataset = miostitch.trim(miostitch.open_recording(stitched), 1)
    told = "lies inside the input" if inside else "would replace an input"
    with pytest.raises(UsageError, match=told):
        miostitch.write_recording(dataset, target / inside if inside else f"{target}/")
    assert content(stitched) == before


@pytest.mark.parametrize(
    "kind",
    [
        case(38, "product that is an input", "exit 2, nothing changed", "same"),
        case(38, "product that is a symbolic link to an input", "exit 2, nothing changed", "link"),
        case(38, "product that is a hard link to an input", "exit 2, nothing changed", "hard"),
        case(38, "product that is the table of an input", "exit 2, nothing changed", "table"),
    ],
)
def test_an_output_that_is_an_input(session: Path, tmp_path: Path, kind: str) -> None:
    video = tmp_path / ("a_stitched.avi" if kind == "same" else "a.avi")
    for suffix in (".avi", ".csv"):
        shutil.copy(session / f"receiver1{suffix}", video.with_suffix(suffix))
    inputs = [str(video), str(video.with_suffix(".csv"))]
    product = tmp_path / "a_stitched.avi"
    if kind == "link":
        product.symlink_to(video)
    elif kind == "hard":
        os.link(video, product)
    elif kind == "table":
        (tmp_path / "a_stitched.csv").symlink_to(video.with_suffix(".csv"))
    before = content(tmp_path)
    with pytest.raises(UsageError, match="would replace an input"):
        Workspace(tmp_path, "a_stitched", [".avi", ".csv"]).check(inputs, force=True)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "product",
    [
        case(39, "result of a run before", "exit 4, byte for byte the same", ".json"),
        case(39, "one foreign file of a product's name", "exit 4, untouched", "_scores.csv"),
    ],
)
def test_an_output_that_exists(session: Path, tmp_path: Path, product: str) -> None:
    (tmp_path / f"receiver1_stitched{product}").write_text("mine")
    before = content(tmp_path)
    with pytest.raises(OutputExistsError, match="--force") as refused:
        miostitch.stitch_files([str(session / "receiver1.avi")], tmp_path)
    assert refused.value.exit_code == 4
    assert content(tmp_path) == before
