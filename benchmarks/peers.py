"""Time whole processes of miostitch and of mio on the same simulated pairs.

``python benchmarks/peers.py [--frames N ...] [--runs N] [--folder DIR] [--mio PYTHON]`` prints a
table in Markdown. mio 0.12.1 gets an environment of its own (``.envs/mio``), made when missing.
The programs take turns, so that a machine whose speed drifts is as unkind to each. The disk floor
is what ``cat`` of the inputs and ``cp`` of the same output bytes take.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parents[1]
MIO = ("mio==0.12.1", "matplotlib")
# what mio can load and aligns by frame_num: it refuses negative padding and takes any lost frame
# or flipped frame_num for a reboot
FAULTS = ("--overrun", "0", "--frame-loss", "0", "--header-flips", "0")


class Run(NamedTuple):
    seconds: float
    cpu_seconds: float
    peak_mib: float


def run(*command: str | Path) -> Run:
    with tempfile.TemporaryFile() as said:
        start = time.monotonic()
        process = subprocess.Popen(
            [str(p) for p in command], stdout=subprocess.DEVNULL, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        if status:
            said.seek(0)
            sys.exit(f"{command} failed:\n{said.read().decode()}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def mio_python(given: Path | None) -> Path:
    folder = HERE / ".envs" / "mio"
    if given is None and not folder.exists():
        venv.create(folder, with_pip=True)
        pip = folder / "bin" / "pip"
        subprocess.run([pip, "install", "--quiet", *MIO], check=True)
    return given or folder / "bin" / "python"


def measure(folder: Path, frames: int, runs: int, mio: Path) -> None:
    session = folder / "session"
    shutil.rmtree(folder, ignore_errors=True)
    miostitch = Path(sys.executable).with_name("miostitch")
    size = ("--frames", str(frames), "--receivers", "2", "--seed", "1", *FAULTS)
    subprocess.run([miostitch, "simulate", session, *size, "-q", "--no-progress"], check=True)
    videos = [session / "receiver1.avi", session / "receiver2.avi"]
    commands = {
        "miostitch": (miostitch, "stitch", *videos, "-o", folder / "ours", "-q", "--force"),
        "mio": (mio.with_name("mio"), "process", "stitch", "-i", videos[0], "-i", videos[1], "-o",
                folder / "theirs", "-f"),
        "disk floor": ("sh", "-c", f"cat {session}/receiver?.??? >/dev/null; "
                       f"rm -rf {folder}/copy; cp -r {folder}/ours {folder}/copy"),
    }  # fmt: skip
    run(*commands["miostitch"])  # compiles, and warms the page cache
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            found[name].append(run(*command))
    ratio = [b.seconds / a.seconds for a, b in zip(found["miostitch"], found["mio"], strict=True)]
    for name, each in found.items():
        seconds, cpu, peak = (statistics.median(column) for column in zip(*each, strict=True))
        note = f"{statistics.median(ratio):.1f} x mio" if name == "miostitch" else ""
        print(
            f"| {frames:,} | {name} | {seconds:.1f} s | {cpu:.1f} s | {frames / seconds:,.0f} "
            f"| {peak:,.0f} MiB | {note} |",
            flush=True,
        )
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 4000, 16000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=HERE / "build" / "peers")
    parser.add_argument("--mio", type=Path, help="python of an environment with mio 0.12.1")
    options = parser.parse_args()
    mio = mio_python(options.mio)
    print("| frames | program | wall | CPU | frames/s | peak memory | |")
    print("|---" * 7 + "|")
    for frames in options.frames:
        measure(options.folder, frames, options.runs, mio)


if __name__ == "__main__":
    main()
