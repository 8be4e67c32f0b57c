"""How fast results are verified, against ``cat`` of the same bytes.

    python benchmarks/end_to_end/verify.py [--frames 16000] [--by frame|buffer] [--folder FOLDER]

Simulates two recordings of 200x200 pixels, stitches them, and times both, several times in turn.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import miostitch

RUNS = 3
PEAK = """
import json, resource, sys, time
from miostitch.verify.run import verify_files
start = time.perf_counter()
found = verify_files(sys.argv[1])
print(json.dumps({"seconds": time.perf_counter() - start, "differences": found["differences"],
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def read_files(session: Path, output: Path) -> list[str]:
    recordings = [p for p in session.glob("receiver*") if p.suffix in (".avi", ".csv")]
    return [str(p) for p in (*recordings, *output.rglob("*")) if p.is_file()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=16_000)
    parser.add_argument("--by", choices=["frame", "buffer"], default="frame")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        session, output = Path(folder) / "in", Path(folder) / "out"
        config = miostitch.SimulationConfig(frames=options.frames, buffer_loss=0.02, seed=1)
        made = miostitch.simulate(session, config)
        names = [str(path) for path in made.recordings]
        miostitch.stitch_files(names, output, miostitch.StitchOptions(by=options.by))
        files = read_files(session, output)
        size = sum(Path(name).stat().st_size for name in files)
        times: dict[str, list[float]] = {"verify": [], "cat": []}
        for _ in range(RUNS):
            start = time.perf_counter()
            subprocess.run(["cat", *files], stdout=subprocess.DEVNULL, check=True)
            times["cat"].append(time.perf_counter() - start)
            command = [sys.executable, "-c", PEAK, str(output)]
            start = time.perf_counter()
            run = subprocess.run(command, capture_output=True, check=True, text=True)
            times["verify"].append(time.perf_counter() - start)
            facts = json.loads(run.stdout)
            if facts["differences"]:
                raise SystemExit("the result does not verify")
    print(f"{options.frames} frames by {options.by}: {size / 1e6:,.0f} MB are read")
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"{name:7}{middle:8.2f} s{size / 1e6 / middle:10,.0f} MB/s")
    print(f"peak memory {facts['peak_mib']:,.0f} MiB")


if __name__ == "__main__":
    main()
