"""Time whole processes of miostitch and of mio on the same simulated recordings.

``python benchmarks/end_to_end/peers.py`` (``make bench-peers``) prints a table in Markdown and,
with ``--docs``, keeps it and a plot in the documentation. mio 0.12.1 gets an environment of its own
(``.envs/mio``), made when missing; it needs ``ffmpeg``. The programs take turns, so that a machine
whose speed drifts is as unkind to each; every run begins without a former result and with nothing
left to be written to the disk; medians are told. The disk floor is what it takes to read all inputs
with ``cat`` and to write the same output bytes with ``cp``."""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parents[2]
DOCS = HERE / "docs" / "explanation"
MIO = ("mio==0.12.1", "matplotlib")
# what mio can load and aligns by frame_num: it refuses negative padding and takes any lost frame
# or flipped frame_num for a reboot
FAULTS = ("--overrun", "0", "--frame-loss", "0", "--header-flips", "0")
CONFIG = "denoise_calcium_imaging"
MOST_DENOISED = 16_000
"""Frames beyond which mio's denoise, which holds every frame several times, is not asked."""
MOST_REPEATED = 16_000 * 200**2
"""Pixels of a video beyond which everything runs once: mio takes many minutes."""

HEAD = ("task", "size", "frames", "program", "wall", "CPU", "frames/s", "peak memory", "mio takes")


class Program(NamedTuple):
    """A command line, and the folder that it makes."""

    makes: Path
    command: tuple[str | Path, ...]


class Run(NamedTuple):
    seconds: float
    cpu_seconds: float
    peak_mib: float


class Row(NamedTuple):
    task: str
    size: int
    frames: int
    program: str
    seconds: float
    cpu_seconds: float
    peak_mib: float
    ratio: float | None

    def cells(self) -> list[str]:
        ratio = "" if self.ratio is None else f"{self.ratio:.1f} times as long"
        return [
            self.task,
            f"{self.size}x{self.size}",
            f"{self.frames:,}",
            self.program,
            f"{self.seconds:.1f} s",
            f"{self.cpu_seconds:.1f} s",
            f"{self.frames / self.seconds:,.0f}",
            f"{self.peak_mib:,.0f} MiB",
            ratio,
        ]


def run(*command: str | Path) -> Run:
    # what pip installs is bytecode already; what is only linked gets it with its first run
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as said:
        start = time.monotonic()
        process = subprocess.Popen(
            [str(p) for p in command], stdout=subprocess.DEVNULL, stderr=said, env=env
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        if status:
            said.seek(0)
            sys.exit(f"{command} failed:\n{said.read().decode()}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def mio_program(given: Path | None) -> Path:
    folder = HERE / ".envs" / "mio"
    if given is None and not folder.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *MIO], check=True)
    return (given or folder / "bin" / "python").with_name("mio")


def alternating(programs: dict[str, Program], runs: int) -> dict[str, Run]:
    """Medians of whole processes that take turns, each with nothing to replace or to wait for."""
    found: dict[str, list[Run]] = {name: [] for name in programs}
    for _ in range(runs):
        for name, program in programs.items():
            shutil.rmtree(program.makes, ignore_errors=True)
            os.sync()
            found[name].append(run(*program.command))
    return {
        name: Run(*(statistics.median(column) for column in zip(*each, strict=True)))
        for name, each in found.items()
    }


def floor(inputs: list[Path], output: Path) -> Program:
    names = " ".join(f"{path.with_suffix('')}.???" for path in inputs)
    copy = output.with_name("copy")
    return Program(copy, ("sh", "-c", f"cat {names} > /dev/null; cp -r {output} {copy}"))


def measure(folder: Path, frames: int, size: int, runs: int, mio: Path) -> list[Row]:
    shutil.rmtree(folder, ignore_errors=True)
    session = folder / "session"
    ours, buffer, theirs, denoised = (folder / n for n in ("ours", "buffer", "theirs", "denoised"))
    miostitch = Path(sys.executable).with_name("miostitch")
    simulate = ("--frames", frames, "--width", size, "--height", size, "--seed", 1, *FAULTS)
    subprocess.run([miostitch, "simulate", session, *map(str, simulate), "-q"], check=True)
    (session / "truth.avi").unlink()
    videos = [session / "receiver1.avi", session / "receiver2.avi"]
    quiet = ("-q", "--no-progress")
    by_frame = (miostitch, "stitch", *videos, "-o", ours, *quiet)
    by_buffer = (miostitch, "stitch", *videos, "-o", buffer, "--by", "buffer", *quiet)
    for warming in (by_frame, by_buffer):  # both compile, and warm the page cache
        run(*warming)
    rows = []

    def tell(task: str, found: dict[str, Run]) -> None:
        of_mio = found["mio"].seconds
        for name, each in found.items():
            ratio = of_mio / each.seconds if name != "mio" else None
            rows.append(Row(task, size, frames, name, *each, ratio))
            print("| " + " | ".join(rows[-1].cells()) + " |", flush=True)

    pair = ("-i", videos[0], "-i", videos[1], "-o", theirs, "-f")
    programs = {
        "miostitch": Program(ours, by_frame),
        "miostitch --by buffer": Program(buffer, by_buffer),
        "mio": Program(theirs, (mio, "process", "stitch", *pair)),
        "disk floor": floor(videos, ours),
    }
    tell("stitch", alternating(programs, runs))
    for program in programs.values():
        shutil.rmtree(program.makes, ignore_errors=True)
    if frames <= MOST_DENOISED:
        one = ("-i", videos[0], "-c", CONFIG)
        denoise = (miostitch, "denoise", *one, "-o", denoised, *quiet)
        run(*denoise)
        programs = {
            "miostitch": Program(denoised, denoise),
            "mio": Program(theirs, (mio, "process", "denoise", *one, "-o", theirs, "-f")),
            "disk floor": floor(videos[:1], denoised),
        }
        tell("denoise", alternating(programs, runs))
    shutil.rmtree(folder)
    return rows


def plot(rows: list[Row], path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 (all else works without)
    from matplotlib.figure import Figure  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "miostitch"
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    usual = [row for row in rows if row.task == "stitch" and row.size == 200]
    for program in dict.fromkeys(row.program for row in usual):
        own = [row for row in usual if row.program == program]
        axes.plot([r.frames for r in own], [r.seconds for r in own], "o-", label=program)
    axes.set(xscale="log", yscale="log", xlabel="frames of 200x200, two receivers", ylabel="s")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


def describe_machine() -> str:
    """On what figures were measured, and of which commit; uncommitted changes are said."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    commit = f"commit {done.stdout.strip()}" if done.returncode == 0 else "no clone of git"
    return ", ".join(
        (
            processor_name(),
            f"{os.cpu_count()} cores",
            platform.platform(terse=True),
            f"Python {platform.python_version()}",
            commit,
        )
    )


def processor_name() -> str:
    """The processor as Linux calls it; elsewhere its kind alone."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="*", default=[50, 1000, 4000, 16000, 64000])
    parser.add_argument("--large", type=int, nargs="*", default=[1000], help="of 1000x1000")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=HERE / "build" / "peers")
    parser.add_argument("--mio", type=Path, help="python of an environment with mio 0.12.1")
    parser.add_argument("--docs", action="store_true", help="keep table and plot in docs/")
    options = parser.parse_args()
    mio = mio_program(options.mio)
    head = f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|"
    print(head)
    rows = []
    for size, counts in ((200, options.frames), (1000, options.large)):
        for frames in counts:
            runs = options.runs if frames * size**2 <= MOST_REPEATED else 1
            rows += measure(options.folder, frames, size, runs, mio)
    if options.docs:
        most = f"{MOST_REPEATED / 1e6:,.0f} million pixels"
        each = f"Medians of {options.runs} runs, one run of videos of more than {most}"
        each = "One run each" if options.runs == 1 else each
        told = f"{each}; {describe_machine()}."
        body = "\n".join(f"| {' | '.join(row.cells())} |" for row in rows)
        (DOCS / "peers.inc.md").write_text(f"{head}\n{body}\n\n{told}\n")
        plot(rows, HERE / "docs" / "images" / "peers.svg")


if __name__ == "__main__":
    main()
