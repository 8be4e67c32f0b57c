"""Time the whole workflow against copying its products, and beside mio.

``python benchmarks/end_to_end/workflow.py`` simulates two pairs of 200x200 frames, one as long as a
session and one that mio can hold, and prints a table in Markdown. Every program is a process of its
own; its peak memory is what the system says of it.

``miostitch`` is ``miostitch workflow A.avi B.avi -c denoise_calcium_imaging``: stitched and
denoised stores, videos and tables, brought to the disk before they get their names. ``cp`` copies
all of these products, and brings nothing to the disk. Both begin with the inputs in the page cache
as far as they fit, and with nothing left to be written. mio 0.12.1 gets its own configuration of
that name with an ``output_dir``, without which it fails.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from peers import FAULTS, HERE, Run, mio_program, run

CONFIG = "denoise_calcium_imaging"
MIO_CONFIG = """
import sys
from pathlib import Path
import mio
folder = Path(mio.__file__).parent / "data" / "config" / "process"
text = (folder / "denoise_calcium_imaging.yml").read_text()
Path(sys.argv[1]).write_text(f"{text}\\noutput_dir: denoised\\n")
"""


def simulate(folder: Path, frames: int) -> list[Path]:
    miostitch = Path(sys.executable).with_name("miostitch")
    size = ("--frames", str(frames), "--receivers", "2", "--seed", "1", *FAULTS)
    subprocess.run([miostitch, "simulate", folder, *size, "-q", "--no-progress"], check=True)
    for path in folder.glob("truth.*"):
        path.unlink()
    return [folder / "receiver1.avi", folder / "receiver2.avi"]


def tell(frames: int, name: str, found: list[Run], size: int) -> float:
    seconds, cpu, peak = (statistics.median(column) for column in zip(*found, strict=True))
    rate = f"{size / 1e6 / seconds:,.0f} MB/s" if size else ""
    print(
        f"| {frames:,} | {name} | {seconds:.1f} s | {cpu:.1f} s | {frames / seconds:,.0f} "
        f"| {rate} | {peak:,.0f} MiB |",
        flush=True,
    )
    return seconds


def ours(folder: Path, frames: int, runs: int) -> None:
    """The workflow and a copy of what it writes, in turn."""
    videos = simulate(folder / "session", frames)
    out, copy = folder / "out", folder / "copy"
    miostitch = Path(sys.executable).with_name("miostitch")
    found: dict[str, list[Run]] = {"miostitch": [], "cp": []}
    for _ in range(runs):
        shutil.rmtree(out, ignore_errors=True)
        os.sync()
        options = ("-c", CONFIG, "-o", out, "-q", "--no-progress")
        found["miostitch"].append(run(miostitch, "workflow", *videos, *options))
        os.sync()
        found["cp"].append(run("cp", "-r", out, copy))
        shutil.rmtree(copy)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    seconds = {name: tell(frames, name, each, size) for name, each in found.items()}
    print(f"{size / 1e9:.1f} GB; miostitch takes {seconds['miostitch'] / seconds['cp']:.2f} x cp")
    shutil.rmtree(folder)


def theirs(folder: Path, frames: int, runs: int, mio: Path) -> None:
    """The same by both programs."""
    videos = simulate(folder / "session", frames)
    config, miostitch = folder / "mio.yml", Path(sys.executable).with_name("miostitch")
    python = mio.with_name("python")
    subprocess.run([python, "-W", "ignore", "-c", MIO_CONFIG, config], check=True)
    named = ("-i", videos[0], "-i", videos[1])
    found: dict[str, list[Run]] = {"miostitch": [], "mio": []}
    for number in range(runs):
        options = ("-c", CONFIG, "-o", folder / f"ours{number}", "-q", "--no-progress")
        found["miostitch"].append(run(miostitch, "workflow", *videos, *options))
        command = (mio, "process", "workflow", *named, "-c", config)
        found["mio"].append(run(*command, "-o", folder / f"theirs{number}", "-f"))
    for name, each in found.items():
        tell(frames, name, each, 0)
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=50_000)
    parser.add_argument("--short", type=int, default=3_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=HERE / "build" / "workflow")
    parser.add_argument("--mio", type=Path, help="python of an environment with mio 0.12.1")
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    print("| frames | program | wall | CPU | frames/s | written | peak memory |")
    print("|---" * 7 + "|")
    theirs(options.folder, options.short, options.runs, mio_program(options.mio))
    ours(options.folder, options.frames, options.runs)


if __name__ == "__main__":
    main()
