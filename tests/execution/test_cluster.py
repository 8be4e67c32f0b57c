"""A dask cluster gives the bytes that threads give, whatever happens to its workers."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import distributed
import numpy as np
import pytest

import miostitch
from miostitch.errors import ResourceError, UsageError
from miostitch.execution import cluster
from miostitch.execution.engine import Block, Tables, run_blocks
from miostitch.execution.executors import computing_by
from miostitch.execution.publishing import used_versions
from tests.folders import content

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
PRODUCTS = (".zarr", ".avi", ".csv", "_scores.csv", "_timestamps.csv")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    config = miostitch.SimulationConfig(frames=60, height=40, width=50, buffer_loss=0.1, seed=1)
    made = miostitch.simulate(tmp_path_factory.mktemp("session"), config)
    return [str(path) for path in made.recordings]


def products(folder: Path) -> dict[str, bytes]:
    """All but the summary; the store has files of that ending, too."""
    summaries = {path.name for path in folder.glob("*.json")}
    return {name: data for name, data in content(folder).items() if name not in summaries}


@contextmanager
def threads_of_this_process() -> Iterator[distributed.Client]:
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client


@pytest.mark.parametrize("by", [pytest.param("frame", marks=pytest.mark.slow), "buffer"])
def test_the_same_bytes_as_of_threads(session: list[str], tmp_path: Path, by: str) -> None:
    options = miostitch.StitchOptions(by=by, chunk_frames=7, debug_video=True, report=False)  # type: ignore[arg-type]
    miostitch.stitch_files(session, tmp_path / "threads", options)
    with threads_of_this_process() as client:
        runner = cluster.Cluster(client)
        with computing_by(runner):
            miostitch.stitch_files(session, tmp_path / "cluster", options)
        assert runner.workers == 2
    assert products(tmp_path / "cluster") == products(tmp_path / "threads")


@pytest.mark.parametrize("by", ["frame", pytest.param("buffer", marks=pytest.mark.slow)])
def test_the_same_bytes_whatever_the_number_of_threads(
    session: list[str], tmp_path: Path, by: str
) -> None:
    made = []
    for threads in (1, 2, 3):
        folder = tmp_path / f"{threads}"
        options = miostitch.StitchOptions(by=by, chunk_frames=7, debug_video=True, report=False)  # type: ignore[arg-type]
        with dask.config.set(num_workers=threads):
            miostitch.stitch_files(session, folder, options)
        made.append(products(folder))
    assert made[0] == made[1] == made[2]


@pytest.mark.slow
@pytest.mark.parametrize(("by", "codec"), [("frame", "ffv1"), ("buffer", "rawvideo")])
def test_the_same_bytes_whatever_the_number_of_processes(
    session: list[str], tmp_path: Path, by: str, codec: str
) -> None:
    program = str(Path(sys.executable).with_name("miostitch"))
    command = [program, "stitch", *session, "-q", "--no-report"]
    choices = ["--by", by, "--codec", codec, "--chunk-frames", "7", "--debug-video"]
    made = []
    for workers in ([], ["--workers", "1"], ["--workers", "2"], ["--workers", "4"]):
        folder = tmp_path / "-".join(["out", *workers])
        subprocess.run([*command, *choices, *workers, "-o", str(folder)], check=True, timeout=300)
        made.append(products(folder))
    assert all(each == made[0] for each in made[1:])


@pytest.mark.parametrize(
    "name", [pytest.param("denoise_calcium_imaging", marks=pytest.mark.slow), "denoise_flicker"]
)
def test_denoising_gives_the_same_bytes_as_of_threads(
    session: list[str], tmp_path: Path, name: str
) -> None:
    options = miostitch.StitchOptions(chunk_frames=7, codec=None, report=False)
    miostitch.stitch_files(session, tmp_path, options)
    [store] = tmp_path.glob("*.zarr")
    config = miostitch.load_config(name)
    miostitch.denoise_files(store, config, tmp_path / "threads")
    with threads_of_this_process() as client, computing_by(cluster.Cluster(client)):
        miostitch.denoise_files(store, config, tmp_path / "cluster")
    assert products(tmp_path / "cluster") == products(tmp_path / "threads")


@pytest.mark.fault(52, "worker without the files", "refused by host and path")
def test_a_worker_without_the_files_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").write_text("1")
    with threads_of_this_process() as client:
        runner = cluster.Cluster(client)
        runner.require_paths([str(tmp_path / "here")])
        missing = {str(tmp_path / "here"): 1, str(tmp_path / "nowhere"): 1}
        assert cluster._missing(missing) == [str(tmp_path / "nowhere")]
        assert cluster._missing({str(tmp_path / "here"): 2}) == [str(tmp_path / "here")]
        found = {"tcp://host:1": ["lost.avi"], "tcp://host:2": []}
        monkeypatch.setattr(client, "run", lambda *_: found)
        with pytest.raises(ResourceError, match=r"tcp://host:1 lacks lost\.avi; mount"):
            runner.require_paths([str(tmp_path / "here")])
        wrong = {"tcp://host:1": used_versions() | {"numpy": "1.0"}}
        answers = {cluster._missing: {"tcp://host:1": []}, used_versions: wrong}
        monkeypatch.setattr(client, "run", lambda function, *_: answers[function])
        with pytest.raises(ResourceError, match=r"tcp://host:1 has numpy 1\.0; install what is"):
            runner.require_paths([str(tmp_path / "here")])
        monkeypatch.setattr(client, "run", lambda *_: found)
        found.clear()
        with pytest.raises(ResourceError, match="no workers"):
            runner.require_paths([])


def test_errors_of_blocks_come_back(tmp_path: Path) -> None:
    def fails() -> None:
        raise ResourceError("disk full")

    with threads_of_this_process() as client:
        runner = cluster.Cluster(client)
        future = runner.submit(fails, "block-0")
        with pytest.raises(ResourceError, match="disk full"):
            future.result(60)


def test_plans_are_not_printed() -> None:
    """Dask asks for the name of every task, and a repr of its arrays took longer than the task."""

    class Plan:
        def make(self, videos: Collection[str], *, tables: bool) -> Block:
            return Block({}, {"number": np.arange(1)})

        def __repr__(self) -> str:
            pytest.fail("a plan was printed")

    found: list[Tables] = []
    with threads_of_this_process() as client, computing_by(cluster.Cluster(client)):
        run_blocks(lambda _: Plan(), 3, 1, lambda _, part: found.append(part))
    assert [len(part["number"]) for part in found] == [3]


def test_no_scheduler_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.2)
    address = "tcp://127.0.0.1:9"
    refused = pytest.raises(ResourceError, match=f"{address}: no dask scheduler answers")
    with refused, cluster.remote_cluster(address):
        pytest.fail("must not be entered")


def test_no_worker_wanted() -> None:
    with pytest.raises(UsageError, match="at least 1"), cluster.local_cluster(0):
        pytest.fail("must not be entered")


@contextmanager
def dask_processes(
    workers: int, folder: Path
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and workers as a user starts them, on the loopback interface."""
    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    local = ["--host", "127.0.0.1"]
    commands = [[*dask, "scheduler", *local, "--port", "0", "--dashboard-address", "127.0.0.1:0",
                 "--scheduler-file", str(file)]]  # fmt: skip
    commands += [[*dask, "worker", *local, "--scheduler-file", str(file), "--nthreads", "1",
                  "--no-dashboard"]] * workers  # fmt: skip
    running = [subprocess.Popen(c, cwd=folder, stderr=subprocess.DEVNULL) for c in commands]
    try:
        deadline = time.monotonic() + 120
        while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        with distributed.Client(address) as client:
            client.wait_for_workers(workers, timeout=120)
        yield address, running[1:]
    finally:
        for process in running:
            process.kill()
            process.wait()


def wait_for_a_block(out: Path) -> None:
    """Until a run has noted its first block."""
    deadline = time.monotonic() + 120
    while not [*out.glob(".*/journal/video/*.note")]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.fault(50, "SIGKILL of one of two dask workers", "the same bytes")
@pytest.mark.slow
def test_a_killed_worker_costs_only_its_blocks(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=6000, buffer_loss=0.05, seed=1)
    made = miostitch.simulate(tmp_path / "in", config)
    names = [str(path) for path in made.recordings]
    options = miostitch.StitchOptions(chunk_frames=100)
    miostitch.stitch_files(names, tmp_path / "threads", options)
    program = [
        sys.executable,
        "-c",
        "from miostitch.cli.main import main; main()",
        "stitch",
        *names,
    ]
    command = [*program, "--chunk-frames", "100", "--no-progress", "-o", str(tmp_path / "cluster")]
    with dask_processes(2, tmp_path) as (address, workers):
        run = subprocess.Popen([*command, "--scheduler", address], cwd=tmp_path)
        wait_for_a_block(tmp_path / "cluster")
        workers[0].kill()
        assert run.wait(300) == 0
    assert products(tmp_path / "cluster") == products(tmp_path / "threads")


@pytest.mark.fault(50, "SIGKILL of one of two dask workers", "the same bytes")
@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_denoises_costs_only_its_blocks(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=4000, receivers=1, buffer_loss=0.05, seed=1)
    [video] = miostitch.simulate(tmp_path / "in", config).recordings
    program = [sys.executable, "-c", "from miostitch.cli.main import main; main()", "denoise"]
    command = [*program, str(video), "-c", "denoise_calcium_imaging", "--no-progress", "-o"]
    subprocess.run([*command, str(tmp_path / "threads")], check=True, cwd=tmp_path)
    with dask_processes(2, tmp_path) as (address, workers):
        told = [str(tmp_path / "cluster"), "--scheduler", address]
        run = subprocess.Popen([*command, *told], cwd=tmp_path)
        wait_for_a_block(tmp_path / "cluster")
        workers[0].kill()
        assert run.wait(300) == 0
    assert products(tmp_path / "cluster") == products(tmp_path / "threads")


@pytest.mark.fault(52, "scheduler killed", "exit 6, goes on without it")
@pytest.mark.slow
def test_a_lost_scheduler_ends_the_run_and_another_goes_on(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=6000, buffer_loss=0.05, seed=1)
    made = miostitch.simulate(tmp_path / "in", config)
    names = [str(path) for path in made.recordings]
    options = ["--chunk-frames", "100", "--no-progress"]
    program = [
        sys.executable,
        "-c",
        "from miostitch.cli.main import main; main()",
        "stitch",
        *names,
    ]
    with dask_processes(2, tmp_path) as (address, _):
        command = [*program, *options, "-o", str(tmp_path / "out"), "--scheduler", address]
        run = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        wait_for_a_block(tmp_path / "out")
    _, said = run.communicate(timeout=300)
    assert run.returncode == 6, said
    assert "run the same command to resume" in said
    assert [name for name in os.listdir(tmp_path / "out") if not name.startswith(".")] == []
    subprocess.run([*program, *options, "-o", str(tmp_path / "out")], check=True)
    summary = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    assert summary["resumed_blocks"] > 0
