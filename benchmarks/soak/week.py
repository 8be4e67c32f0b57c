"""A week of short sessions in one batch, watched for what is not given back.

``python benchmarks/soak/week.py [--sessions 2000] [--frames 40] [--folder DIR]`` simulates sessions
of small frames, runs ``miostitch batch`` over them in one process, and looks at that process after
every tenth of them: resident memory, open files, threads, and files in the folder for temporary
files. It prints a table in Markdown and ends with 1 if the second half of the week needs more than
the first (memory: more than 16 KiB per session; others: one in 500 sessions). Linux only, as it
reads ``/proc``.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parents[2]
MIOSTITCH = Path(sys.executable).with_name("miostitch")
KIB_PER_SESSION = 16
LEAST = 0.002  # one file or thread in 500 sessions
SESSION = """miostitch: 1
name: {name}
receivers:
  one: [../{source}/receiver1.avi]
  two: [../{source}/receiver2.avi]
output: out
options: {{by: buffer}}
"""


class Held(NamedTuple):
    """What a process holds."""

    sessions: float
    memory_kib: float
    files: float
    threads: float
    temporary: float


def look(process: int, sessions: int, temporary: Path) -> Held:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines()
    )
    files = len(os.listdir(f"/proc/{process}/fd"))
    memory, threads = (int(status[name].split()[0]) for name in ("VmRSS", "Threads"))
    return Held(sessions, memory, files, threads, sum(1 for _ in temporary.rglob("*")))


def grown(held: list[Held]) -> Held:
    """What the process holds more per session: the slope between the medians of two halves.

    The first fifth, in which code and buffers are loaded, does not count.
    """
    held = held[len(held) // 5 :]
    half = len(held) // 2
    first, last = (
        [statistics.median(column) for column in zip(*part, strict=True)]
        for part in (held[:half], held[half:])
    )
    sessions = last[0] - first[0]
    return Held(*((b - a) / sessions for a, b in zip(first, last, strict=True)))


def simulate(folder: Path, sessions: int, frames: int) -> None:
    """A dozen recordings, each in many sessions; files are what is short of room, not of time."""
    for number in range(12):
        size = ("--frames", frames, "--width", 40, "--height", 40, "--seed", number)
        words = (MIOSTITCH, "simulate", folder / f"source{number}", *size, "-q")
        subprocess.run([*map(str, words)], check=True)
    for number in range(sessions):
        name = f"day{number:05d}"
        (folder / name).mkdir()
        text = SESSION.format(name=name, source=f"source{number % 12}")
        (folder / name / "session.yml").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=2_000)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--folder", type=Path, default=HERE / "build" / "week")
    options = parser.parse_args()
    folder, temporary = options.folder, options.folder / "tmp"
    shutil.rmtree(folder, ignore_errors=True)
    temporary.mkdir(parents=True)
    simulate(folder, options.sessions, options.frames)
    words = [str(MIOSTITCH), "batch", str(folder), "-q", "--no-progress"]
    print("| sessions | memory | open files | threads | temporary files |\n" + "|---" * 5 + "|")
    held: list[Held] = []
    start = time.monotonic()
    process = subprocess.Popen(words, env={**os.environ, "TMPDIR": str(temporary)})
    step = max(options.sessions // 50, 1)
    while process.poll() is None:
        done = sum(1 for _ in folder.glob("day*/out/*.json"))
        if done >= step * (len(held) + 1) and done < options.sessions:
            held.append(look(process.pid, done, temporary))
            one = held[-1]
            print(
                f"| {one.sessions:,} | {one.memory_kib / 1024:,.0f} MiB | {one.files} "
                f"| {one.threads} | {one.temporary} |",
                flush=True,
            )
        time.sleep(0.2)
    seconds = time.monotonic() - start
    done = sum(1 for _ in folder.glob("day*/out/*.json"))
    left = [path for path in temporary.rglob("*") if path.is_file()]
    left += [path for path in folder.glob("day*/out/.*")]
    said = f"{done} of {options.sessions} sessions in {seconds:.0f} s"
    print(f"exit code {process.returncode}, {said}, left over {left[:5]}")
    growth = grown(held)
    print(
        ", ".join(f"{name} {each:+.3f}" for name, each in growth._asdict().items()), "per session"
    )
    shutil.rmtree(folder)
    leaks = growth.memory_kib > KIB_PER_SESSION or max(growth[2:]) > LEAST
    raise SystemExit(bool(done < options.sessions or left or leaks))


if __name__ == "__main__":
    main()
