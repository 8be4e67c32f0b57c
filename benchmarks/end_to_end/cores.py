"""How much faster a stitch is on more cores.

``python benchmarks/end_to_end/cores.py [--frames N] [--runs N] [--folder DIR]`` stitches a
simulated pair of 200x200 frames on one core, and on twice as many each time up to all of them
(Linux, which can confine a process to some cores), in turn, and prints a table in Markdown. What a
run takes before its first frame, measured on a pair of 50 frames on the same cores, is taken off.
So it is from the processor time of the process that was started, without that of its workers; of
threads that is all of it. Reading and repairing the tables is in it.
More lines tell what all cores give by other means: by processes, as many as there are cores or as
``--workers N ...`` says, and what the machine itself gives, which is as many runs at the same time
as there are cores, each on a core of its own and over its share of the frames. Memory is the most
that all processes of a run held together, looked at ten times a second; what they share counts in
parts.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from peers import FAULTS, HERE

Command = tuple[str | Path, ...]
BEGIN = 50
ON_CORES = """
import os, sys
os.sched_setaffinity(0, map(int, sys.argv[1].split(",")))
os.execv(sys.argv[2], sys.argv[2:])
"""


def simulate(folder: Path, frames: int) -> tuple[Path, Path]:
    miostitch = Path(sys.executable).with_name("miostitch")
    size = ("--frames", str(frames), "--seed", "1", *FAULTS)
    subprocess.run([miostitch, "simulate", folder, *size, "-q", "--no-progress"], check=True)
    (folder / "truth.avi").unlink()
    return folder / "receiver1.avi", folder / "receiver2.avi"


def on_cores(chosen: list[int], pair: tuple[Path, Path], out: Path, *more: str) -> Command:
    miostitch = Path(sys.executable).with_name("miostitch")
    names = ",".join(map(str, chosen))
    stitch = (miostitch, "stitch", *pair, "-o", out, "-q", "--no-progress", *more)
    return (sys.executable, "-c", ON_CORES, names, *stitch)


class Times(NamedTuple):
    """Of a whole run, in s."""

    wall: float
    coordinator: float  # Processor time of the process that was started, without its workers
    memory_mib: float  # The most that it and its workers held together


class Memory:
    """Looks at what a process and those that it started hold, until it has ended."""

    def __init__(self, process: int) -> None:
        self.peak_kib, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(process,), daemon=True)
        self._thread.start()

    def stop(self) -> float:
        self._ended.set()
        self._thread.join()
        return self.peak_kib / 1024

    def _watch(self, process: int) -> None:
        while not self._ended.wait(0.1):
            self.peak_kib = max(self.peak_kib, sum(map(self._held, self._family(process))))

    def _family(self, process: int) -> list[int]:
        found, new = [], [process]
        while new:
            found += new
            lists = [Path(f"/proc/{each}/task").glob("*/children") for each in new]
            new = [int(n) for files in lists for file in files for n in _text(file).split()]
        return found

    def _held(self, process: int) -> int:
        lines = _text(Path(f"/proc/{process}/smaps_rollup")).splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""


def run(command: Command) -> Times:
    start = time.monotonic()
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    memory = Memory(process.pid)
    # a process that has ended, but was not waited for, still tells what it took itself; what is
    # told of one that was waited for has the time of its workers in it
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    wall = time.monotonic() - start
    held = memory.stop()
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    if process.wait():
        sys.exit(f"{command} failed")
    return Times(wall, ticks / os.sysconf("SC_CLK_TCK"), held)


def measure(*commands: Command, out: Path) -> Times:
    """Time whole runs that begin at the same time, until the last of them has ended."""
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    with ThreadPoolExecutor(len(commands)) as pool:
        each = [*pool.map(run, commands)]
    walls, coordinators, memories = zip(*each, strict=True)
    return Times(max(walls), sum(coordinators), sum(memories))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=64_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", help="numbers of processes to try")
    parser.add_argument("--folder", type=Path, default=HERE / "build" / "cores")
    options = parser.parse_args()
    folder: Path = options.folder
    shutil.rmtree(folder, ignore_errors=True)
    cores = sorted(os.sched_getaffinity(0))
    numbers = [n for n in (2**k for k in range(12)) if n < len(cores)] + [len(cores)]
    share = options.frames // len(cores)
    pairs = {n: simulate(folder / str(n), n) for n in {BEGIN, options.frames, share}}
    out = folder / "out"

    def commands(frames: int) -> dict[str, list[Command]]:
        ways = {f"{n} cores": [on_cores(cores[:n], pairs[frames], out)] for n in numbers}
        for n in options.workers or [len(cores)]:
            by_workers = on_cores(cores, pairs[frames], out, "--workers", str(n))
            ways[f"{n} workers"] = [by_workers]
        part = pairs[share if frames == options.frames else frames]
        ways["machine"] = [on_cores([core], part, out / str(core)) for core in cores]
        return ways

    found: dict[tuple[str, int], list[Times]] = {}
    for _ in range(options.runs):
        for frames in (BEGIN, options.frames):
            for way, each in commands(frames).items():
                found.setdefault((way, frames), []).append(measure(*each, out=out))
    medians = {
        key: Times(*map(statistics.median, zip(*each, strict=True))) for key, each in found.items()
    }
    titles = ("by", "start-up", "start-up and frames", "frames/s after it", "times one core")
    print(f"| {' | '.join(titles)} | µs of the coordinator per frame | memory |")
    print("|---" * 7 + "|")
    more = options.frames - BEGIN
    alone = medians["1 cores", options.frames].wall - medians["1 cores", BEGIN].wall
    for way in commands(BEGIN):
        begin, whole = medians[way, BEGIN], medians[way, options.frames]
        took, busy = whole.wall - begin.wall, whole.coordinator - begin.coordinator
        cells = f"{begin.wall:.1f} s | {whole.wall:.1f} s | {more / took:,.0f} | {alone / took:.2f}"
        print(f"| {way} | {cells} | {1e6 * busy / more:.0f} | {whole.memory_mib:,.0f} MiB |")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
