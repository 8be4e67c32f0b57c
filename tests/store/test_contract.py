"""Stores that lack a variable or have odd attributes: an error that names it, in every command."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import miostitch
from miostitch.cli.main import main
from miostitch.errors import InputError
from miostitch.schema import FRAME_VARIABLES
from miostitch.store.contract import _KINDS
from miostitch.store.reader import Store
from tests.sessions import Made

COMMANDS = ("report", "trim -s 2 -o o", "remove-frames --frames 1 -o o", "export --to tiff -o t",
            "inspect", "concat -o c.zarr", "verify")  # fmt: skip
NAMES = [variable.name for variable in FRAME_VARIABLES]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=3,
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    made = Made(folder / "raw", receivers=2, seed=2, frames=12, height=20, width=30)
    miostitch.stitch_files(made.names, folder / "out", report=False)
    [store] = (folder / "out").glob("*.zarr")
    return store


def change_root(store: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = store / "zarr.json"
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))


def without_array(store: Path, name: str) -> None:
    shutil.rmtree(store / name)
    change_root(store, lambda m: (m.get("consolidated_metadata") or {"metadata": {}})[
        "metadata"].pop(name, None))  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_variable_is_named(sound: Path, tmp_path: Path, name: str) -> None:
    store = tmp_path / sound.name
    shutil.copytree(sound, store)
    without_array(store, name)
    with pytest.raises(InputError, match=f"{store.name}: the array '{name}' is missing"):
        Store.open(str(store))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda store: without_array(store, "damaged"),
        lambda store: change_root(store, lambda m: m["attributes"].pop("fps")),
        lambda store: change_root(store, lambda m: m["attributes"].update(recordings=True)),
        lambda store: change_root(store, lambda m: m["attributes"].update(inputs=-1)),
    ],
    ids=["array", "fps", "recordings", "inputs"],
)
def test_no_command_fails_inside(
    sound: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    damage: Callable[[Path], None],
) -> None:
    store = tmp_path / sound.name
    shutil.copytree(sound, store)
    damage(store)
    monkeypatch.chdir(tmp_path)
    name, *options = command.split()
    done = CliRunner().invoke(main, [name, str(store), *options])
    assert done.exit_code in ((1, 3) if name == "verify" else (2, 3)), done.output


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(_KINDS)), JSON)
def test_attributes_of_any_kind(sound: Path, tmp_path: Path, name: str, value: object) -> None:
    assume(not _KINDS[name][0](value))
    store = tmp_path / "copy.zarr"
    if not store.exists():
        shutil.copytree(sound, store)
    shutil.copy(sound / "zarr.json", store)  # without the last example
    change_root(store, lambda m: m["attributes"].update({name: value}))
    with pytest.raises(InputError, match=f"copy.zarr: the attribute '{name}' must be"):
        Store.open(str(store))


@pytest.mark.parametrize("change", [{"data_type": "float64"}, {"shape": [3]}], ids=str)
def test_another_dtype_or_shape_is_named(
    sound: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    store = tmp_path / sound.name
    shutil.copytree(sound, store)
    path = store / "frame_num" / "zarr.json"
    meta = json.loads(path.read_text()) | change
    path.write_text(json.dumps(meta))
    change_root(store, lambda m: m.pop("consolidated_metadata", None))
    with pytest.raises(InputError, match=r"'frame_num' is .* but must be int64"):
        Store.open(str(store))
