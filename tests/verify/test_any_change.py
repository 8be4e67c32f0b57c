"""Any change of any file of a result is found, and none where nothing was changed."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import miostitch
from miostitch.editing.operations import concat, trim
from miostitch.editing.run import edit_files
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from miostitch.verify.run import verify_files
from tests.sessions import FAULTY

RESULTS = ("frame", "buffer", "trimmed", "joined", "raw", "denoised", "workflow", "lazy")
LEFT = ("._zarr.json", ".DS_Store", "Thumbs.db", "desktop.ini")


class Made:
    """A session, and results of every kind, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config = miostitch.SimulationConfig(**{**FAULTY, "frames": 12, "seed": 5})
        self.names = [str(p) for p in miostitch.simulate(folder / "in", config).recordings]
        self.options = StitchOptions(chunk_frames=4, report=False)

    def store(self, name: str) -> Path:
        return next(self[name].glob("*.zarr"))

    def __getitem__(self, name: str) -> Path:
        """The folder of a result."""
        folder = self.folder / name
        if folder.exists():
            return folder
        stripes = miostitch.load_config("remove_stripe_example")
        match name:
            case "frame" | "buffer":
                stitch_files(self.names, folder, replace(self.options, by=name))
            case "trimmed":
                edit_files([self.store("buffer")], folder, lambda p: trim(p[0], 1, 1), "_trimmed")
            case "joined":
                stores = [self.store(each) for each in ("frame", "buffer")]
                edit_files(stores, folder, concat, "_combined")
            case "raw":
                edit_files([self.names[0]], folder, lambda p: trim(p[0], 1, 1), "_trimmed")
            case "denoised":
                miostitch.denoise_files(self.store("frame"), stripes, folder)
            case "lazy":
                miostitch.write_recording(miostitch.stitch(self.names, by="buffer"), folder)
            case "workflow":
                miostitch.workflow_files(self.names, stripes, folder, None, self.options)
        return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("any"))


def wrong(folder: Path) -> int:
    found = verify_files(folder)
    return int(found["differences"] + found["not_checked"])


def leaves(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Places of all values of a JSON document that contain no others."""
    if not isinstance(value, dict | list) or not value:
        return [place]
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return [leaf for key, each in parts for leaf in leaves(each, (*place, key))]


def another(value: Any) -> Any:
    if isinstance(value, str):
        return value + "x"
    return value + 1 if isinstance(value, int | float) else 3


def change_field(path: Path, draw: Callable[[Any], Any]) -> None:
    """Change, or leave out, one value of a JSON document."""
    found = json.loads(path.read_text())
    *outer, last = draw(st.sampled_from(leaves(found)))
    inner = found
    for key in outer:
        inner = inner[key]
    if draw(st.booleans()):
        inner[last] = another(inner[last])
    else:
        del inner[last]
    path.write_text(json.dumps(found, indent=1) + "\n")


def change_bytes(path: Path, draw: Callable[[Any], Any]) -> None:
    """Change one byte, or leave out or add some at the end."""
    data = bytearray(path.read_bytes())
    way = draw(st.sampled_from(["flip", "flip", "flip", "cut", "longer"]))
    at = draw(st.integers(0, max(len(data) - 1, 0)))
    if way == "longer" or not data:
        data += b"7"
    elif way == "cut":
        del data[at:]
    else:
        data[at] ^= draw(st.integers(1, 255))
    path.write_bytes(data)


def spoil(folder: Path, data: st.DataObject) -> str:
    """Change one file of a result."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    whole = [path for path in files if ".zarr" not in str(path.relative_to(folder))]
    path = data.draw(st.sampled_from(data.draw(st.sampled_from([files, whole]))))
    change = change_field if path.suffix == ".json" and data.draw(st.booleans()) else change_bytes
    change(path, data.draw)
    return str(path.relative_to(folder))


def check_any_change(made: Made, name: str, data: st.DataObject) -> None:
    folder = made.folder / f"spoiled-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made[name], folder)
    changed = spoil(folder, data)
    assert wrong(folder), changed


@pytest.mark.fault(76, "a byte, a cell, a row, a file, an attribute", "verify names it")
@settings(max_examples=3)
@given(data=st.data())
def test_any_change_is_found(made: Made, data: st.DataObject) -> None:
    check_any_change(made, "raw", data)


@pytest.mark.slow
@settings(max_examples=100)
@given(data=st.data())
@pytest.mark.parametrize("name", RESULTS)
def test_any_change_is_found_again_and_again(made: Made, name: str, data: st.DataObject) -> None:
    check_any_change(made, name, data)


@pytest.mark.parametrize(
    "name",
    [each if each == "raw" else pytest.param(each, marks=pytest.mark.slow) for each in RESULTS],
)
def test_renamed_moved_and_with_files_of_the_system(made: Made, name: str, tmp_path: Path) -> None:
    made[name]
    shutil.copytree(made.folder, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / name
    assert wrong(folder) == 0
    for each in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        for left in LEFT:
            (each / left).write_bytes(b"\0\5\x16\7")
    assert wrong(folder) == 0
    stems = {path.stem for path in folder.glob("*.zarr")} | {p.stem for p in folder.glob("r*.json")}
    base = min(stems, key=len).removesuffix("_denoised")
    for path in sorted(folder.iterdir()):
        if path.name.startswith(base):
            path.rename(path.with_name("new name" + path.name.removeprefix(base)))
    assert wrong(folder) == 0
