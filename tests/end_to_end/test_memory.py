"""A session may be longer than memory: what the program holds hardly grows with its frames."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import miostitch
from miostitch.execution.executors import thread_count
from miostitch.execution.memory import plan_stitch
from miostitch.kernels import composition as composing_kernels
from miostitch.kernels import scores as kernels
from miostitch.kernels.jit import Kernel

LIMIT = 2**30
BYTES_PER_FRAME = 400
SHORT, LONG = 16_000, 256_000
BLOCK = 419
"""As many blocks as of frames of 200 x 200: then even the short session fills every thread."""

# Measured from a small process: on Linux a process starts with the peak of the one that forked it.
PROBE = """
import json, resource, subprocess, sys
program = [sys.executable, "-c", "from miostitch.cli.main import main; main()"]
subprocess.run([*program, "stitch", *sys.argv[1:], "--no-progress"], check=True, stdout=2)
unit = 1 if sys.platform == "darwin" else 1024
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
print(json.dumps({"peak_bytes": peak}))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage"),
]


def peak_bytes(folder: Path, frames: int, side: int, by: str = "frame") -> tuple[int, int]:
    """Peak memory of stitching a pair, and the frames that came out."""
    for each in (*vars(kernels).values(), *vars(composing_kernels).values()):
        if isinstance(each, Kernel):
            assert each.compiled  # so that no measured process does
    config = miostitch.SimulationConfig(frames=frames, height=side, width=side, seed=1)
    try:
        made = miostitch.simulate(folder / "session", config)
        made.truth_video.unlink()  # a third of the disk
        out = folder / "out"
        command = [sys.executable, "-c", PROBE, *map(str, made.recordings), "-o", str(out)]
        command += ["--chunk-frames", str(BLOCK), "--by", by]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        summary = json.loads(next(out.glob("*.json")).read_text("utf-8"))
        return json.loads(done.stdout)["peak_bytes"], summary["frames"]
    finally:
        shutil.rmtree(folder)


def projected_bytes(frames: int, side: int, by: str = "frame") -> int:
    plan = plan_stitch(
        frames,
        BLOCK * side * side,
        2,
        composed=by == "buffer",
        debug=False,
    )
    return plan.needed_bytes(thread_count())


@pytest.mark.fault(58, "memory over growing lengths", "a few bytes per frame")
def test_memory_hardly_grows_with_the_frames(tmp_path: Path) -> None:
    short, few = peak_bytes(tmp_path / "pair", SHORT, 48)
    long, many = peak_bytes(tmp_path / "pair", LONG, 48)
    assert many > 15 * few
    print(f"{few} frames: {short / 2**20:.0f} MiB, {many} frames: {long / 2**20:.0f} MiB")  # noqa: T201
    assert max(short, long) < LIMIT
    assert short <= projected_bytes(few, 48)
    assert long <= projected_bytes(many, 48)
    assert long - short <= BYTES_PER_FRAME * (many - few)


@pytest.mark.parametrize("by", ["frame", "buffer"])
def test_memory_of_frames_of_the_usual_size(tmp_path: Path, by: str) -> None:
    peak, frames = peak_bytes(tmp_path / "pair", SHORT, 200, by)
    print(f"{frames} frames of 200x200 by {by}: {peak / 2**20:.0f} MiB")  # noqa: T201
    assert frames > 0.9 * SHORT
    assert peak < LIMIT
    assert peak <= projected_bytes(frames, 200, by)
