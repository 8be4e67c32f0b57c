"""How much faster a stitch is on more cores.

``python benchmarks/end_to_end/cores.py [--frames N] [--runs N] [--folder DIR]`` stitches a
simulated pair of 200x200 frames on one core, and on twice as many each time up to all of them
(Linux, which can confine a process to some cores), in turn, and prints a table in Markdown. What a
run takes before its first frame, measured on a pair of 50 frames on the same cores, is taken off.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from peers import FAULTS, HERE, run

BEGIN = 50
ON_CORES = """
import os, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
os.execv(sys.argv[2], sys.argv[2:])
"""


def simulate(folder: Path, frames: int) -> tuple[Path, Path]:
    miostitch = Path(sys.executable).with_name("miostitch")
    size = ("--frames", str(frames), "--seed", "1", *FAULTS)
    subprocess.run([miostitch, "simulate", folder, *size, "-q", "--no-progress"], check=True)
    (folder / "truth.avi").unlink()
    return folder / "receiver1.avi", folder / "receiver2.avi"


def seconds(pair: tuple[Path, Path], out: Path, cores: int) -> float:
    miostitch = Path(sys.executable).with_name("miostitch")
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    stitch = (miostitch, "stitch", *pair, "-o", out, "-q", "--no-progress")
    return run(sys.executable, "-c", ON_CORES, str(cores), *stitch).seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=64_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=HERE / "build" / "cores")
    options = parser.parse_args()
    folder: Path = options.folder
    shutil.rmtree(folder, ignore_errors=True)
    everything = len(os.sched_getaffinity(0))
    numbers = [n for n in (2**k for k in range(12)) if n < everything] + [everything]
    pairs = {frames: simulate(folder / str(frames), frames) for frames in (BEGIN, options.frames)}
    found: dict[tuple[int, int], list[float]] = {}
    for _ in range(options.runs):
        for cores in numbers:
            for frames, pair in pairs.items():
                took = seconds(pair, folder / "out", cores)
                found.setdefault((cores, frames), []).append(took)
    medians = {key: statistics.median(each) for key, each in found.items()}
    print("| cores | start-up | start-up and frames | frames/s after it | times one core |")
    print("|---" * 5 + "|")
    alone = medians[1, options.frames] - medians[1, BEGIN]
    for cores in numbers:
        begin, whole = medians[cores, BEGIN], medians[cores, options.frames]
        took = whole - begin
        rate = f"{(options.frames - BEGIN) / took:,.0f}"
        print(f"| {cores} | {begin:.1f} s | {whole:.1f} s | {rate} | {alone / took:.2f} |")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
