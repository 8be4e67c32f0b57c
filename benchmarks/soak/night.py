"""Nine hours of two receivers, stitched by buffer while the run is killed again and again.

``python benchmarks/soak/night.py [--frames 648000] [--side 96] [--kills 10] [--folder DIR]``
simulates a session with the rates that a real one of nine hours had (3.4 and 0.4 % of the buffers
lost, 0.5 % of the headers flipped, eight segments between restarts of the device), stitches it once
undisturbed and once killed by SIGKILL at random moments and started again, and verifies. It prints
one line per attempt and ends with 1 if anything differs: a product's digest, a file that is left
over, a difference that verify finds.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
MIOSTITCH = Path(sys.executable).with_name("miostitch")
RATES = (
    *("--buffer-loss", "0.0343,0.0037", "--header-flips", "0.005", "--frame-loss", "0.0001"),
    *("--resets", "7", "--truncation", "0.0002", "--overrun", "0.0002", "--corruption", "0.0005"),
)


def command(session: Path, out: Path) -> list[str]:
    pair = (session / "receiver1.avi", session / "receiver2.avi")
    options = ("--by", "buffer", "-q", "--no-progress", "-o", out)
    return [*map(str, (MIOSTITCH, "stitch", *pair, *options))]


def attempt(words: list[str], seconds: float | None) -> tuple[int, float]:
    """Run a command, killed after so many seconds: its exit code, and how long it took."""
    start = time.monotonic()
    process = subprocess.Popen(words)
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    return code, time.monotonic() - start


def products(folder: Path) -> dict[str, str]:
    """The digests that a result's summary tells."""
    [summary] = folder.glob("*_stitched.json")
    digests: dict[str, str] = json.loads(summary.read_bytes())["digests"]
    return digests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=648_000)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=HERE / "build" / "night")
    options = parser.parse_args()
    folder, chance = options.folder, random.Random(options.seed)
    shutil.rmtree(folder, ignore_errors=True)
    session, whole, killed = (folder / name for name in ("session", "whole", "killed"))
    size = ("--frames", options.frames, "--width", options.side, "--height", options.side)
    words = (MIOSTITCH, "simulate", session, *size, "--seed", options.seed, *RATES, "-q")
    subprocess.run([*map(str, words)], check=True)
    for path in session.glob("truth.*"):
        path.unlink()
    code, seconds = attempt(command(session, whole), None)
    print(f"undisturbed: exit code {code}, {seconds:.1f} s", flush=True)
    if code:
        raise SystemExit(code)
    expected = products(whole)
    shutil.rmtree(whole)
    for number in range(1, options.kills + 1):
        code, took = attempt(command(session, killed), chance.uniform(0, seconds))
        if not code:  # before it could be killed
            shutil.rmtree(killed)
            code, took = attempt(command(session, killed), chance.uniform(0, seconds / 2))
        there = sorted(path.name for path in killed.glob("*")) if killed.exists() else []
        shown = [name for name in there if not name.startswith(".")]
        print(f"kill {number}: after {took:.1f} s, exit code {code}, files {shown}", flush=True)
    code, took = attempt(command(session, killed), None)
    found = products(killed)
    resumed = json.loads(next(killed.glob("*_stitched.json")).read_bytes())["resumed_blocks"]
    print(f"to the end: exit code {code}, {took:.1f} s, {resumed} blocks resumed", flush=True)
    differ = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    left = sorted(path.name for path in killed.iterdir() if path.name.startswith("."))
    verified = subprocess.run([str(MIOSTITCH), "verify", str(killed), "-q"], check=False).returncode
    print(f"products that differ {differ}, files left over {left}, verify {verified}")
    shutil.rmtree(folder)
    raise SystemExit(bool(code or differ or left or verified))


if __name__ == "__main__":
    main()
