"""Memory and time over the length of a session, up to nine hours.

``python benchmarks/end_to_end/memory.py [--frames N ...] [--folder DIR]`` simulates pairs of small
frames with eight buffers each, in as many blocks as frames of 200x200 pixels have, stitches them
and denoises the result, and prints a table in Markdown: nine hours are 648,000 frames, 5.2 million
rows and 1,547 blocks. What grows with a session besides its files is what is known of each frame
and row, and that does not ask how large a frame is. Every program is a process of its own; its peak
memory is what the system says of it."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from peers import CONFIG, FAULTS, HERE, Run, run

LENGTHS = (16_000, 64_000, 256_000, 648_000)
SIDE = 48
BLOCK = 419
"""Frames of 200x200 pixels in a block."""


def measure(folder: Path, frames: int) -> dict[str, Run]:
    """Whole processes, one after the other."""
    miostitch = Path(sys.executable).with_name("miostitch")
    shutil.rmtree(folder, ignore_errors=True)
    session, out = folder / "session", folder / "out"
    size = ("--frames", frames, "--width", SIDE, "--height", SIDE, "--seed", 1, *FAULTS)
    subprocess.run([miostitch, "simulate", session, *map(str, size), "-q"], check=True)
    for path in session.glob("truth.*"):
        path.unlink()
    pair = (session / "receiver1.avi", session / "receiver2.avi")
    quiet = ("-q", "--no-progress")
    block = ("--chunk-frames", str(BLOCK))
    found = {"stitch": run(miostitch, "stitch", *pair, "-o", out, *block, *quiet)}
    [stitched] = out.glob("*_stitched.avi")
    shutil.rmtree(session)
    denoise = ("-i", stitched, "-c", CONFIG, "-o", folder / "denoised")
    found["denoise"] = run(miostitch, "denoise", *denoise, *quiet)
    shutil.rmtree(folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--folder", type=Path, default=HERE / "build" / "memory")
    options = parser.parse_args()
    print("| frames | task | wall | CPU | frames/s | peak memory |\n" + "|---" * 6 + "|")
    for frames in options.frames:
        for task, done in measure(options.folder, frames).items():
            print(
                f"| {frames:,} | {task} | {done.seconds:.1f} s | {done.cpu_seconds:.1f} s "
                f"| {frames / done.seconds:,.0f} | {done.peak_mib:,.0f} MiB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
