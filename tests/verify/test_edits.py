"""Results of editing and denoising verify clean; what is changed afterwards is found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import miostitch
from miostitch.config.models import FlickerCorrectionConfig
from miostitch.editing.operations import concat, remove_frames, trim
from miostitch.editing.run import edit_files
from miostitch.recording.files import ReadOptions
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from miostitch.verify.run import verify_files
from tests.folders import content, rewrite_summary
from tests.sessions import FAULTY
from tests.video_files import decode, write

STEM = "receiver1__receiver2_stitched"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session, its result, and what was made of that."""
    folder = tmp_path_factory.mktemp("edits")
    session = miostitch.SimulationConfig(**{**FAULTY, "seed": 5})
    names = [str(path) for path in miostitch.simulate(folder / "in", session).recordings]
    stitch_files(names, folder / "out", StitchOptions("buffer", chunk_frames=8, report=False))
    store = folder / "out" / f"{STEM}.zarr"
    edit_files([store], folder / "trim", lambda p: trim(p[0], 2, 3), "_trimmed")
    trimmed = folder / "trim" / f"{STEM}_trimmed.avi"
    edit_files([trimmed], folder / "removed", lambda p: remove_frames(p[0], "0,3,5-7"), "_removed")
    edit_files([store, trimmed], folder / "joined", concat, "_combined")
    edit_files([names[0]], folder / "raw", lambda p: trim(p[0], 1, 1), "_trimmed")
    edit_files(
        [names[0]],
        folder / "lagging",
        lambda p: trim(p[0], 0, 1),
        "_trimmed",
        reading=ReadOptions(salvage=True, lag=1, need_table=False),
    )
    edit_files([names[0]], folder / "raw_store" / "raw.zarr", lambda p: trim(p[0], 1, 1), "")
    miostitch.denoise_files(store, miostitch.load_config("denoise_example"), folder / "denoised")
    flicker = miostitch.load_config("denoise_flicker").model_copy(
        update={"flicker_correction": FlickerCorrectionConfig(output_result=True)}
    )
    miostitch.denoise_files(store, flicker, folder / "flicker_denoised")
    stripes = miostitch.load_config("remove_stripe_example")
    miostitch.denoise_files(names[0], stripes, folder / "raw_denoised")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil; the origins are not copied."""
    for name in ("trim", "removed", "joined", "raw", "denoised"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path


def found(path: Path) -> list[dict[str, Any]]:
    return [each for result in verify_files(path)["results"] for each in result["findings"]]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("trim", marks=pytest.mark.slow),
        *("removed", "joined", "raw", "raw_store", "lagging"),
        *("denoised", "flicker_denoised", "raw_denoised"),
    ],
)
def test_edited_results_are_clean(name: str, made: Path) -> None:
    [result] = verify_files(made / name)["results"]
    assert result["findings"] == []
    assert result["kind"] == ("denoise" if "denoised" in name else "edit")
    assert result["frames"] > 10


def pixel(path: Path, frame: int) -> None:
    frames = decode(path)
    frames[frame, 2, 3] ^= 1
    write(path, frames)


def stored(path: Path, name: str, frame: int) -> None:
    array: Any = zarr.open_array(path / name, mode="r+")
    values = array[...]
    values[frame] += np.ones((), values.dtype)
    array[...] = values


def copied(source: str, target: str) -> Callable[[Path], None]:
    """Put one file in the place of another."""

    def change(folder: Path) -> None:
        shutil.copy(folder / source, folder / target)

    return change


def told(path: Path, name: str, value: Any) -> None:
    rewrite_summary(path, json.dumps({**json.loads(path.read_text()), name: value}))


def without_config(path: Path) -> None:
    metadata = json.loads((path / "zarr.json").read_text())
    del metadata["attributes"]["config"]
    (path / "zarr.json").write_text(json.dumps(metadata))


def without_last_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


TRIMMED, REMOVED, JOINED = (
    f"trim/{STEM}_trimmed",
    f"removed/{STEM}_trimmed_removed",
    f"joined/{STEM}_combined",
)
DENOISED, PATCH = f"denoised/{STEM}_denoised", f"denoised/{STEM}_patch"
Tampering = tuple[Callable[[Path], object], dict[str, Any]]
TAMPERED: dict[str, dict[str, Tampering]] = {
    "pixels and tables": {
        "of an edit": (
            lambda f: pixel(f / f"{REMOVED}.avi", 4),
            {"kind": "pixels", "file": f"{STEM}_trimmed_removed.avi", "frame": 4}
            | {"row": 2, "column": 3},
        ),
        "of a video alone": (
            lambda f: pixel(f / "raw/receiver1_trimmed.avi", 4),
            {"kind": "pixels", "file": "receiver1_trimmed.avi", "frame": 4}
            | {"row": 2, "column": 3},
        ),
        "of the store": (
            lambda f: stored(f / f"{TRIMMED}.zarr", "video", 9),
            {"kind": "pixels", "file": f"{STEM}_trimmed.zarr", "frame": 9},
        ),
        "of a chunk": (
            lambda f: (f / f"{JOINED}.zarr/video/c/1/0/0").unlink(),
            {"kind": "missing chunk", "chunk": "video/c/1/0/0", "frame": 8},
        ),
        "of a denoised result": (
            lambda f: pixel(f / f"{DENOISED}.avi", 4),
            {"kind": "pixels", "file": f"{STEM}_denoised.avi", "frame": 4},
        ),
        "table of the store": (
            lambda f: stored(f / f"{TRIMMED}.zarr", "missing_pixels", 3),
            {"kind": "frame table", "frame": 3, "column": "missing_pixels"},
        ),
        "row": (
            lambda f: without_last_line(f / f"{JOINED}.csv"),
            {"kind": "rows", "file": f"{STEM}_combined.csv"},
        ),
        "time stamp": (
            lambda f: without_last_line(f / f"{REMOVED}_timestamps.csv"),
            {"kind": "rows", "file": f"{STEM}_trimmed_removed_timestamps.csv"},
        ),
        "beside a denoised result": (
            lambda f: without_last_line(f / f"{PATCH}.csv"),
            {"kind": "rows", "file": f"{STEM}_patch.csv"},
        ),
    },
    "summaries and files": {
        "count of an edit": (
            lambda f: told(f / f"{TRIMMED}.json", "frames", 3),
            {"kind": "count", "file": f"{STEM}_trimmed.zarr"},
        ),
        "count of a denoised result": (
            lambda f: told(f / f"{DENOISED}.json", "frames_before", 3),
            {"kind": "summary", "column": "frames_before"},
        ),
        "configuration of what was stitched": (
            lambda f: without_config(f / f"{TRIMMED}.zarr"),
            {"kind": "attributes", "column": "config"},
        ),
        "history": (
            lambda f: told(f / f"{TRIMMED}.json", "history", []),
            {"kind": "attributes", "column": "history"},
        ),
        "list of dropped frames": (
            lambda f: (f / f"{PATCH}_dropped_frames.txt").write_text(""),
            {"kind": "summary", "file": f"{STEM}_patch_dropped_frames.txt"},
        ),
        "kept frames": (
            lambda f: told(f / f"{DENOISED}.json", "kept_frame_num", [[1, 2]]),
            {"kind": "summary", "column": "kept_frame_num"},
        ),
        "gone": (
            lambda f: (f / f"{TRIMMED}.avi").unlink(),
            {"kind": "missing file", "file": f"{STEM}_trimmed.avi"},
        ),
        "frames beside a denoised result": (
            copied("raw/receiver1_trimmed.avi", f"{PATCH}.avi"),
            {"kind": "count", "file": f"{STEM}_patch.avi"},
        ),
    },
}
"""Changes to several results at once, and what is found for each."""


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_found(name: str, folder: Path) -> None:
    tampered, before = TAMPERED[name], content(folder)
    for change, _ in tampered.values():
        change(folder)
    after = content(folder)
    changed = {Path(path).parts[0] for path, _ in {*before.items()} ^ {*after.items()}}
    listed = [each for path in changed for each in found(folder / path)]
    missed = {
        what: expected
        for what, (_, expected) in tampered.items()
        if not any(expected.items() <= each.items() for each in listed)
    }
    assert missed == {}, listed


def test_an_origin_that_is_gone_is_not_checked(folder: Path) -> None:
    path = folder / f"{TRIMMED}.json"
    told(path, "origins", [{"path": str(folder / "nowhere.zarr"), "frames": 23}])
    [result] = verify_files(folder / "trim")["results"]
    assert (result["differences"], result["not_checked"]) == (0, 1)
    told(path, "history", [])
    kinds = {each["kind"] for each in found(folder / "trim")}
    assert kinds == {"attributes", "not checked"}


def test_rows_are_counted_from_the_start_of_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("miostitch.verify.tables.CHUNK_ROWS", 16)
    table = folder / "raw/receiver1_trimmed.csv"
    lines = table.read_text().splitlines(keepends=True)
    lines[61], lines[62] = lines[62], lines[61]
    table.write_text("".join(lines))
    rows = [each["row"] for each in found(folder / "raw") if each["kind"] == "rows"]
    assert rows == [60, 61]
    del lines[61]
    table.write_text("".join(lines))
    [lost] = [each for each in found(folder / "raw") if each["kind"] == "rows"] or [{}]
    assert (lost["row"], lost["message"]) == (61, "1 row missing from here on")


def test_frames_that_the_history_does_not_leave_are_found(folder: Path) -> None:
    path = folder / f"{REMOVED}.json"
    told(path, "origin_frames", [[0, 1, json.loads(path.read_text())["frames"]]])
    columns = {each.get("column") for each in found(folder / "removed")}
    assert {"history"} <= columns


def test_extra_videos_of_another_run_are_found(folder: Path) -> None:
    path = folder / f"{PATCH}.avi"
    frames = decode(path)
    frames[3, 4, 5] ^= 1
    write(path, frames)
    assert [(e["kind"], e["file"]) for e in found(folder / "denoised")] == [("changed", path.name)]


def test_where_no_frame_was_noisy_the_list_is_empty_and_sound(tmp_path: Path) -> None:
    frames = np.full((9, 16, 24), 100, np.uint8)
    write(tmp_path / "clean.avi", frames)
    config = miostitch.load_config("denoise_patch")
    miostitch.denoise_files(tmp_path / "clean.avi", config, tmp_path / "out")
    listed = tmp_path / "out/clean_patch_dropped_frames.txt"
    assert listed.read_bytes() == b""
    assert found(tmp_path / "out") == []
    listed.write_text("3\n")
    assert [each["kind"] for each in found(tmp_path / "out")] == ["summary"]
    (tmp_path / "out/clean_patch.avi").write_bytes(b"")
    assert "unreadable" in {each["kind"] for each in found(tmp_path / "out")}
