"""Every benchmark runs, here once and at a small size."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
MODULES = {
    path.relative_to(FOLDER).with_suffix("").as_posix(): path
    for path in sorted(FOLDER.rglob("bench_*.py"))
}
KINDS = ("time_", "peakmem_", "track_", "mem_", "timeraw_")
SMALL: dict[str, dict[str, Any]] = {
    "kernels/bench_scores": {"FRAMES": 3, "HEIGHT": 20, "WIDTH": 30, "BUFFER_PIXELS": 90},
    "buffers/bench_table": {"Session.params": (800,)},
    "stitching/bench_run": {"FRAMES": 30},
    "report/bench_run": {"FRAMES": 40},
    "video/bench_source": {"BLOCK": 4, "BLOCKS": 2, "Index.frame_count": 1000},
    "execution/bench_block": {"SIDE": 20, "FRAMES": 4, "ROWS": 50},
}


def load(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def suites(module: ModuleType) -> Iterator[tuple[type, list[str]]]:
    for suite in vars(module).values():
        if isinstance(suite, type) and suite.__module__ == module.__name__:
            names = [name for name in dir(suite) if name.startswith(KINDS)]
            if names:
                yield suite, names


def run(suite: Any, names: list[str]) -> None:
    """As asv does: what ``setup_cache`` returns comes first, then the parameters."""
    cached = suite().setup_cache() if hasattr(suite, "setup_cache") else None
    params = getattr(suite, "params", ())
    axes = params if params and isinstance(params[0], tuple | list) else [params] * bool(params)
    for name, values in product(names, product(*axes)):
        given = values if cached is None else (cached, *values)
        instance = suite()
        getattr(instance, "setup", lambda *_: None)(*given)
        result = getattr(instance, name)(*given)
        assert not name.startswith("track_") or result > 0
        getattr(instance, "teardown", lambda *_: None)(*given)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n == "stitching/bench_run" else n for n in MODULES],
)
def test_benchmarks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    module = load(MODULES[name])
    for what, value in SMALL[name].items():
        owner, _, attribute = what.rpartition(".")
        monkeypatch.setattr(getattr(module, owner) if owner else module, attribute, value)
    found = list(suites(module))
    assert found
    for suite, names in found:
        run(suite, names)


def test_a_real_bit_stream_comes_back(
    recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capture3 = load(FOLDER / "quality" / "capture3.py")
    monkeypatch.setattr("sys.argv", ["capture3.py", str(recordings / "capture3")])
    capture3.main()
    *_, by_frame, by_buffer = capsys.readouterr().out.splitlines()
    assert by_frame.startswith("| 1+2+3 | 892 | frame | 798 of 905 |")
    assert by_buffer.startswith("| 1+2+3 | 892 | buffer | 905 of 905 |")
    assert by_buffer.endswith("| 100.0000 % | 116 of 116 | 0 |")


SIMULATED = ["flips", "--frames", "40", "--size", "48"]


@pytest.mark.slow
def test_simulated_session_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    simulated = load(FOLDER / "quality" / "simulated.py")
    assert simulated.main(SIMULATED) == 0
    *_, row = capsys.readouterr().out.splitlines()
    assert row.startswith("| flips | 2 | 40 |")


def test_simulated_session_that_does_not_come_back_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated = load(FOLDER / "quality" / "simulated.py")
    stitch = simulated.stitch

    def misnumbered(*args: Any) -> tuple[Any, Any]:
        video, frame_num = stitch(*args)
        return video, frame_num + 1

    monkeypatch.setattr(simulated, "stitch", misnumbered)
    assert simulated.main(SIMULATED) == 1
    missed = capsys.readouterr().err
    assert "flips: by frame agrees with the oracle in 0.00% of the frames" in missed
    assert "flips: by frame invents 39 frames" in missed  # the last one is in no video


@pytest.mark.parametrize("script", ["cores", "former", "memory", "peers", "verify", "workflow"])
def test_scripts_say_what_they_do(script: str) -> None:
    command = [sys.executable, str(FOLDER / "end_to_end" / f"{script}.py"), "--help"]
    path = os.pathsep.join([str(FOLDER / "end_to_end"), str(FOLDER.parent)])
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:")
