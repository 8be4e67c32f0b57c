"""Whatever one thing of a store is: a command does its work, or names what is wrong."""

import random
import shutil
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import zarr
from click.testing import CliRunner

import miostitch
from miostitch.cli.main import main
from miostitch.errors import MiostitchError
from miostitch.viewer.cache import BlockCache
from miostitch.viewer.sources import open_scene
from tests.sessions import Made
from tests.store.odd_stores import Change, every_change

FORMATS = ("tiff", "hdf5", "zarr2", "nwb", "ucla", "avi-segments", "mp4")
COMMANDS = (
    "report", "trim -s 2 -o o", "remove-frames --frames 1 -o o", "inspect", "concat -o c.zarr",
    "verify", "denoise -c denoise_calcium_imaging -o d",
    *(f"export --to {name} -o e-{name}" for name in FORMATS), "view", "open_recording",
)  # fmt: skip
KINDS = ("frame", "buffer", "trimmed", "denoised")
FEW, ALL = 4, 1200  # changes of each kind of store


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stores")
    made = Made(folder / "raw", receivers=2, seed=2, frames=12, height=20, width=30)
    for by in ("frame", "buffer"):
        miostitch.stitch_files(made.names, folder / by, by=by, report=False)
    [by_frame], [by_buffer] = ([*(folder / by).glob("*.zarr")] for by in ("frame", "buffer"))
    options = ["trim", str(by_buffer), "-s", "2", "-o", str(folder / "trimmed")]
    assert CliRunner().invoke(main, options).exit_code == 0
    miostitch.denoise_files(by_frame, "denoise_calcium_imaging", folder / "denoised")
    return {kind: next((folder / kind).glob("*.zarr")) for kind in KINDS}


def run_command(command: str, store: Path) -> None:
    """Do what a command does; an error that names what is wrong is as good as a result."""
    name, *options = command.split()
    if name == "view":
        with BlockCache(2**20) as cache:
            scene = open_scene([str(store)], cache)
            scene.complete(Event())
            for column in scene.columns.values():
                column()
            for panel in scene.panels:
                panel.look(0)
                panel.image(0, cache)
    elif name == "open_recording":
        repr(miostitch.open_recording(store).load().miostitch)
    else:
        target = store.parent if name == "verify" else store
        done = CliRunner().invoke(main, [name, str(target), *options])
        assert done.exit_code in (0, 1, 2, 3, 7), done.output
        assert "internal error" not in done.output


def try_changes(
    store: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, count: int, commands: int
) -> None:
    rng = random.Random(19)
    changes = every_change(store)
    arrays = [name for name in changes if "zarr.json" not in name]
    attributes = [*changes.keys() - {*arrays}]
    chosen = [rng.choice(some) for some in (arrays, sorted(attributes)) for _ in range(count // 2)]
    for name in chosen:
        copy = _change(store, folder, changes[name])
        monkeypatch.chdir(folder)
        for command in rng.sample(COMMANDS, commands):
            try:
                run_command(command, copy)
            except MiostitchError:
                continue
            except Exception as error:
                pytest.fail(f"{command} of {name}: {error!r}")


def _change(store: Path, folder: Path, change: Change) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    copy = folder / "in" / store.name
    shutil.copytree(store.parent, copy.parent)
    change(copy)
    return copy


@pytest.mark.fault(68, "a variable, dimension or attribute of another kind", "named, or no matter")
@pytest.mark.parametrize("kind", [pytest.param("frame", marks=pytest.mark.slow), *KINDS[1:]])
def test_a_store_of_which_one_thing_is_odd(
    stores: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    try_changes(stores[kind], tmp_path / "odd", monkeypatch, FEW, commands=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_stores_of_which_each_thing_is_odd(
    stores: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    try_changes(stores[kind], tmp_path / "odd", monkeypatch, ALL, commands=3)


@pytest.mark.parametrize("value", [-128, 127])
def test_a_recording_that_is_none_of_the_store_is_named(
    stores: dict[str, Path], tmp_path: Path, value: int
) -> None:
    shutil.copytree(stores["buffer"].parent, tmp_path / "in")
    copy = tmp_path / "in" / stores["buffer"].name
    source: Any = zarr.open_array(copy / "source", mode="r+")
    source[...] = value
    done = CliRunner().invoke(main, ["report", str(copy), "-f"])
    assert done.exit_code == 3
    assert "source names a recording that is none of its 2" in done.output.replace("\n", " ")
