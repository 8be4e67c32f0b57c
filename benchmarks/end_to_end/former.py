"""Time whole commands beside those of a former build of miostitch.

``python benchmarks/end_to_end/former.py FORMER`` takes the ``miostitch`` of another environment,
in which a former commit is installed. It simulates a pair of 200x200 frames, runs every command of
both builds in turn, and prints a table in Markdown: medians of wall time and of the largest memory
of the process, and how they compare. Nothing else should run on the machine.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from peers import CONFIG, FAULTS, HERE, Program, alternating, run

TASKS = ("by frame", "by buffer", "denoise", "verify", "trim")


def programs(program: Path, folder: Path, name: str) -> dict[str, Program]:
    """The commands of one build, and what they make."""
    videos = [folder / "session" / f"receiver{n}.avi" for n in (1, 2)]
    out = {task: folder / f"{name}-{task.replace(' ', '-')}" for task in (*TASKS, "result")}
    quiet = ("-q", "--no-progress")
    stitch = (program, "stitch", *videos, *quiet, "--no-report", "-o")
    run(*stitch, out["result"])
    return {
        "by frame": Program(out["by frame"], (*stitch, out["by frame"])),
        "by buffer": Program(out["by buffer"], (*stitch, out["by buffer"], "--by", "buffer")),
        "denoise": Program(
            out["denoise"],
            (program, "denoise", "-i", videos[0], "-c", CONFIG, "-o", out["denoise"], *quiet),
        ),
        "verify": Program(out["verify"], (program, "verify", out["result"], *quiet)),
        "trim": Program(
            out["trim"],
            (program, "trim", "-i", videos[0], "-s", "10", "-o", out["trim"] / "t.zarr", *quiet),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("former", type=Path, help="the former build's miostitch")
    parser.add_argument("--frames", type=int, default=16_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=TASKS)
    parser.add_argument("--folder", type=Path, default=HERE / "build" / "former")
    options = parser.parse_args()
    folder: Path = options.folder
    shutil.rmtree(folder, ignore_errors=True)
    ours = Path(sys.executable).with_name("miostitch")
    size = ("--frames", str(options.frames), "--seed", "1", *FAULTS)
    subprocess.run([ours, "simulate", folder / "session", *size, "-q"], check=True)
    now, former = programs(ours, folder, "now"), programs(options.former, folder, "former")
    print("| task | now | former | now takes | memory now | former | now needs |")
    print("|---" * 7 + "|")
    for task in options.tasks:
        pair = {"now": now[task], "former": former[task]}
        for each in pair.values():
            run(*each.command)  # compiles, and warms the page cache
        found = alternating(pair, options.runs)
        one, other = found["now"], found["former"]
        cells = (
            task,
            f"{one.seconds:.2f} s",
            f"{other.seconds:.2f} s",
            f"{one.seconds / other.seconds:.3f} times",
            f"{one.peak_mib:,.0f} MiB",
            f"{other.peak_mib:,.0f} MiB",
            f"{one.peak_mib / other.peak_mib:.3f} times",
        )
        print("| " + " | ".join(cells) + " |", flush=True)
        for each in pair.values():
            shutil.rmtree(each.makes, ignore_errors=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
