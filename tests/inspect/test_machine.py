"""What a machine gives a run is measured, and what is wrong with it comes with a remedy."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from miostitch.inspect import machine
from miostitch.inspect.machine import examine
from tests.commands import run


def found(folder: Path) -> dict[str, tuple[str, str | None]]:
    return {check.name: (check.found, check.problem) for check in examine(folder).checks}


def test_nothing_is_wrong_and_nothing_is_left(tmp_path: Path) -> None:
    checks = found(tmp_path)
    assert {problem for _, problem in checks.values()} == {None}
    assert checks["cores"][0].endswith(f"of {os.cpu_count()}")
    assert checks["writing"][0].endswith(" MB/s")
    assert "GB free" in checks[f"folder {tmp_path}"][0]
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    problem = "there is no such folder; name one that exists"
    assert found(missing)[f"folder {missing}"] == ("", problem)
    assert not missing.exists()


def test_a_folder_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    problem = found(tmp_path)["locks and names"][1]
    assert problem is not None
    assert "cannot be locked" in problem
    assert "choose a folder" in problem
    assert [*tmp_path.iterdir()] == []


def test_a_slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SLOW_DISK", float("inf"))
    assert "slow" in str(found(tmp_path)["writing"][1])


def test_compiled_code_that_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scored(*arguments: object) -> None:
        pass

    scored.compiled = SimpleNamespace(stats=SimpleNamespace(cache_path=None))  # type: ignore[attr-defined]
    monkeypatch.setattr(machine, "score_frames", scored)
    assert "NUMBA_CACHE_DIR" in str(found(tmp_path)["compiled code"][1])


def test_an_extra_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "EXTRAS", {"nothing": "miostitch-nothing"})
    assert found(tmp_path)["extra nothing"] == (
        "not installed; if you need it: pip install 'miostitch[nothing]'",
        None,
    )


def test_the_file_system_is_that_of_the_nearest_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"a / ext4 rw 0 0\nb {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(machine, "MOUNTS", mounts)
    (tmp_path / "deep").mkdir()
    assert found(tmp_path / "deep")[f"folder {tmp_path / 'deep'}"][0].startswith("nfs4, ")
    monkeypatch.setattr(machine, "MOUNTS", tmp_path / "none")
    assert "nfs4" not in found(tmp_path)[f"folder {tmp_path}"][0]


def test_the_command(tmp_path: Path) -> None:
    assert "no problem was found" in run("doctor", str(tmp_path)).stdout
    assert "problem: folder" in run("doctor", str(tmp_path / "missing"), code=5).stdout
    told = json.loads(run("doctor", str(tmp_path), "--json").stdout)
    assert [each["name"] for each in told["checks"]][:3] == ["Python", "system", "versions"]
