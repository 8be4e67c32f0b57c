"""How much faster a stitch is on more cores.

``python benchmarks/end_to_end/cores.py [--frames N] [--runs N] [--folder DIR]`` stitches a
simulated pair of 200x200 frames on one core, and on twice as many each time up to all of them
(Linux, which can confine a process to some cores), in turn, and prints a table in Markdown. What a
run takes before its first frame, measured on a pair of 50 frames on the same cores, is taken off.
Two lines more tell what all cores give by other means: ``--workers``, and what the machine itself
gives, which is as many runs at the same time as there are cores, each on a core of its own and over
its share of the frames.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from peers import FAULTS, HERE, run

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


def seconds(*commands: Command, out: Path) -> float:
    """Time whole runs that begin at the same time, until the last of them has ended."""
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    with ThreadPoolExecutor(len(commands)) as pool:
        return max(done.seconds for done in pool.map(lambda command: run(*command), commands))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=64_000)
    parser.add_argument("--runs", type=int, default=3)
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
        workers = ("--workers", str(len(cores)))
        ways["workers"] = [on_cores(cores, pairs[frames], out, *workers)]
        part = pairs[share if frames == options.frames else frames]
        ways["machine"] = [on_cores([core], part, out / str(core)) for core in cores]
        return ways

    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.runs):
        for frames in (BEGIN, options.frames):
            for way, each in commands(frames).items():
                found.setdefault((way, frames), []).append(seconds(*each, out=out))
    medians = {key: statistics.median(each) for key, each in found.items()}
    print("| by | start-up | start-up and frames | frames/s after it | times one core |")
    print("|---" * 5 + "|")
    alone = medians["1 cores", options.frames] - medians["1 cores", BEGIN]
    for way in commands(BEGIN):
        begin, whole = medians[way, BEGIN], medians[way, options.frames]
        took = whole - begin
        rate = f"{(options.frames - BEGIN) / took:,.0f}"
        print(f"| {way} | {begin:.1f} s | {whole:.1f} s | {rate} | {alone / took:.2f} |")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
