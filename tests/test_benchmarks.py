"""Every benchmark runs, here once and at a small size."""

import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
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
    [pytest.param(n, marks=pytest.mark.slow) if n.endswith("bench_run") else n for n in MODULES],
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


def test_the_page_on_traces_says_what_is_measured(recordings: Path) -> None:
    traces = load(FOLDER / "quality" / "traces.py")
    weak = next(traces.real_movies(recordings / "capture3" / "truth.avi"))
    assert len(weak.frames) == 93
    lines, missed = traces.table_of_movies(iter([weak]))
    assert not missed
    page = traces.PAGE.read_text()
    assert lines[0] in page
    row = next(each for each in page.splitlines() if each.startswith(f"| {weak.name} |"))
    assert same_figures(row, lines[2])


def same_figures(row: str, other: str) -> bool:
    """Whether two rows have the same figures, but for the last digits."""
    one, two = (np.array(re.findall(r"-?\d+\.\d+", each), float) for each in (row, other))
    return np.allclose(one, two, rtol=0.02, atol=0.2)


def test_what_helps_traces_is_seen_on_a_small_movie() -> None:
    traces = load(FOLDER / "quality" / "traces.py")
    flickering, quiet, *_, shared = traces.simulated_movies(150, 48)
    ways = {name: way for name, way in traces.WAYS.items() if "only" not in name}
    got = {
        movie.name: {
            n: traces.measure(movie, traces.denoised(movie.frames, w)) for n, w in ways.items()
        }
        for movie in (flickering, quiet, shared)
    }
    for name in ("stripe filter, radius 15", "stripe filter, radius 5"):
        assert got[flickering.name][name].snr_db < got[flickering.name]["not filtered"].snr_db + 0.5
    for movie in (flickering, shared):
        better = got[movie.name]["flicker correction"]
        assert better.snr_db > got[movie.name]["not filtered"].snr_db + 6
        assert 0.8 < better.gain < 1.05
    costs = got[quiet.name]["flicker correction"]
    assert costs.snr_db < got[quiet.name]["not filtered"].snr_db
    assert costs.gain < got[quiet.name]["not filtered"].gain


def test_the_error_of_the_temporal_median_does_not_reach_the_traces() -> None:
    traces = load(FOLDER / "quality" / "traces.py")
    every, sampled, few = traces.compare_medians(900, 24).values()
    assert every[0] == 0 < sampled[0] < few[0] < 1.5
    for _, figures in (sampled, few):
        assert abs(figures.correlation - every[1].correlation) < 0.01
        assert abs(figures.gain - every[1].gain) < 0.01


def test_the_script_on_traces_fails_where_a_promise_is_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    traces = load(FOLDER / "quality" / "traces.py")
    frames = np.full((40, 24, 24), 50.0)
    movie = traces.add_cells("amplitude 6, sigma 4", frames, traces.Cells(6, 4, 3))
    monkeypatch.setattr(traces, "simulated_movies", lambda: iter([movie]))
    monkeypatch.setattr(traces, "compare_medians", dict)
    assert traces.main([]) == int("missed" in capsys.readouterr().err)
    monkeypatch.setattr(traces, "LEAST_CORRELATION", 1.1)
    assert traces.main([]) == 1
    assert "missed by the flicker correction: amplitude 6" in capsys.readouterr().err


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


def test_figures_name_their_machine_and_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = load(FOLDER / "end_to_end" / "peers.py")
    told = peers.describe_machine()
    assert f"{os.cpu_count()} cores, {platform.platform(terse=True)}" in told
    assert f"Python {platform.python_version()}, " in told
    assert re.search(r", (commit [0-9a-f]{7,40}(-dirty)?|no clone of git)$", told)
    monkeypatch.setattr(peers, "HERE", Path("/"))
    assert peers.describe_machine().endswith("no clone of git")
    pages = FOLDER.parent / "docs" / "explanation"
    for page in ("peers.inc.md", "performance.md"):
        assert re.search(r"\bcommit [0-9a-f]{7}\b", (pages / page).read_text("utf-8")), page
