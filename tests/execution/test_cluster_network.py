"""A dask cluster over a network: encrypted by TLS, and on two hosts."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from distributed.security import Security

import miostitch
from tests.folders import content

MIOSTITCH = [sys.executable, "-c", "from miostitch.cli.main import main; main()"]
DASK = [sys.executable, "-m", "dask"]
HOSTS = {"miostitch-a": "10.213.77.1", "miostitch-b": "10.213.77.2"}
"""Network namespaces of this test, and the address of each on the cable between them."""


def products(folder: Path) -> dict[str, bytes]:
    """All but the summary, which names its folder."""
    summaries = {path.name for path in folder.glob("*.json")}
    return {name: data for name, data in content(folder).items() if name not in summaries}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A small session, and what threads make of it in ``threads`` next to it."""
    folder = tmp_path_factory.mktemp("session")
    config = miostitch.SimulationConfig(frames=200, height=40, width=50, buffer_loss=0.1, seed=1)
    names = [str(path) for path in miostitch.simulate(folder / "in", config).recordings]
    options = miostitch.StitchOptions(chunk_frames=10, report=False)
    miostitch.stitch_files(names, folder / "threads", options)
    return names


@contextmanager
def running(
    commands: Sequence[Sequence[str]], folder: Path, env: Mapping[str, str]
) -> Iterator[None]:
    """Processes that are ended with the block."""
    started = [
        subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, env=env)
        for command in commands
    ]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def wait_for_address(file: Path) -> str:
    """The address that a scheduler wrote."""
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text("utf-8")):
        assert time.monotonic() < deadline, "no scheduler"
        time.sleep(0.1)
    address: str = json.loads(file.read_text("utf-8"))["address"]
    return address


def stitch(
    session: list[str], out: Path, address: str, env: Mapping[str, str], before: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Stitch on a cluster; until its workers have come, the run is refused and called again."""
    options = ["--chunk-frames", "10", "--no-report", "--no-progress", "--scheduler", address]
    command = [*before, *MIOSTITCH, "stitch", *session, *options, "-o", str(out)]
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
        if "no workers" not in done.stderr or time.monotonic() > deadline:
            return done
        time.sleep(0.5)


@pytest.mark.slow
def test_blocks_travel_encrypted(session: list[str], tmp_path: Path) -> None:
    key_files = {}
    security = Security.temporary()
    for name in ("tls_ca_file", "tls_client_cert", "tls_client_key"):
        key_files[name] = tmp_path / f"{name}.pem"
        key_files[name].write_text(getattr(security, name))
    env = {**os.environ, "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
    env["DASK_DISTRIBUTED__COMM__TLS__CA_FILE"] = str(key_files["tls_ca_file"])
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        of_role = f"DASK_DISTRIBUTED__COMM__TLS__{role}"
        env[f"{of_role}__CERT"] = str(key_files["tls_client_cert"])
        env[f"{of_role}__KEY"] = str(key_files["tls_client_key"])
    file = tmp_path / "scheduler.json"
    local = ["--host", "127.0.0.1", "--protocol", "tls", "--scheduler-file", str(file)]
    scheduler = [*DASK, "scheduler", *local, "--port", "0", "--dashboard-address", "127.0.0.1:0"]
    worker = [*DASK, "worker", *local, "--nthreads", "1", "--no-dashboard"]
    with running([scheduler, worker, worker], tmp_path, env):
        address = wait_for_address(file)
        assert address.startswith("tls://")
        done = stitch(session, tmp_path / "out", address, env)
        assert done.returncode == 0, done.stderr
        plain = stitch(session, tmp_path / "plain", address.replace("tls", "tcp"), env)
        assert plain.returncode == 5, "a connection that is not encrypted must be refused"
    assert products(tmp_path / "out") == products(Path(session[0]).parents[1] / "threads")


@pytest.fixture
def two_hosts() -> Iterator[list[list[str]]]:
    """Two network namespaces with a cable between them; commands that run another one in each."""
    if not (sys.platform == "linux" and os.geteuid() == 0 and shutil.which("ip")):
        pytest.skip("network namespaces need Linux, root and ip (iproute2)")
    ip = ["ip"]
    inside = [["ip", "netns", "exec", name] for name in HOSTS]
    setup = [[*ip, "netns", "add", name] for name in HOSTS]
    ends = [f"mio{end}" for end in "ab"]
    setup += [[*ip, "link", "add", ends[0], "type", "veth", "peer", "name", ends[1]]]
    for run, end, (name, address) in zip(inside, ends, HOSTS.items(), strict=True):
        setup += [
            [*ip, "link", "set", end, "netns", name],
            [*run, "ip", "addr", "add", f"{address}/24", "dev", end],
            [*run, "ip", "link", "set", end, "up"],
            [*run, "ip", "link", "set", "lo", "up"],
        ]
    try:
        for command in setup:
            subprocess.run(command, check=True)
        yield inside
    finally:
        for name in HOSTS:
            subprocess.run([*ip, "netns", "delete", name], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_two_hosts_that_share_a_folder(
    session: list[str], tmp_path: Path, two_hosts: list[list[str]]
) -> None:
    first, second = two_hosts
    env = dict(os.environ)
    file = tmp_path / "scheduler.json"
    scheduler = [*first, *DASK, "scheduler", "--host", HOSTS["miostitch-a"], "--port", "8786",
                 "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file)]  # fmt: skip
    address = f"tcp://{HOSTS['miostitch-a']}:8786"
    workers = [
        [*run, *DASK, "worker", address, "--host", host, "--nthreads", "1", "--no-dashboard",
         "--name", name]
        for run, (name, host) in zip(two_hosts, HOSTS.items(), strict=True)
    ]  # fmt: skip
    with running([scheduler], tmp_path, env):
        assert wait_for_address(file) == address
        with running(workers, tmp_path, env):
            ask = (
                "import sys, distributed as d; c = d.Client(sys.argv[1]); c.wait_for_workers(2, 60)"
            )
            subprocess.run([*second, sys.executable, "-c", ask, address], check=True, env=env)
            # the command runs on the host that has no scheduler: all it needs crosses the cable
            done = stitch(session, tmp_path / "out", address, env, second)
            tell = (
                "import sys, distributed as d; c = d.Client(sys.argv[1]);"
                "print(*c.run(lambda dask_worker: dask_worker.state.executed_count > 0).values())"
            )
            worked = subprocess.run(
                [*first, sys.executable, "-c", tell, address],
                capture_output=True, text=True, check=True, env=env,
            )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert worked.stdout.split() == ["True", "True"], "both hosts must have computed blocks"
    assert products(tmp_path / "out") == products(Path(session[0]).parents[1] / "threads")
