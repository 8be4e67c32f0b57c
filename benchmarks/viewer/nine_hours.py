"""How fast the viewer is on a store of nine hours: first frame, steps, far jumps.

``python benchmarks/viewer/nine_hours.py FOLDER`` makes the store in FOLDER, 648,000 frames of
200x200 pixels whose 1,547 chunks are links to four, so that it takes 90 MB of disk; and looks at it
in Chromium. Run it from the root of the repository, where the tests are; the chunks are in the
page cache.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles

import numpy as np

from miostitch.schema import SCORE_VARIABLES, chunk_frames
from miostitch.store.chunks import write_block
from miostitch.store.layout import (
    consolidate,
    create_store,
    write_frame_tables,
    write_group,
)
from tests.chromium import browser
from tests.viewer.test_page import STEP

FRAMES, HEIGHT, WIDTH = 648_000, 200, 200
DISTINCT = 4
GO = """at => new Promise((done) => {
  const frame = document.getElementById("frame");
  const begun = performance.now();
  const look = () => {
    if (document.getElementById("slider").ariaValueText.startsWith(`frame ${at} `)) {
      done(performance.now() - begun);
    } else setTimeout(look, 0);
  };
  frame.value = at;
  frame.dispatchEvent(new Event("change"));
  look();
})"""


def make(path: Path) -> None:
    block, rng = chunk_frames(HEIGHT, WIDTH), np.random.default_rng(0)
    attrs = {"recordings": ["a", "b"], "fps": "20", "inputs": []}
    create_store(str(path), shape=(FRAMES, HEIGHT, WIDTH), chunk_frames=block, attrs=attrs)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for k in range(DISTINCT):
        clean = 90 + 40 * np.sin(x / 17 + k) + 30 * np.cos(y / 23)
        frames = (clean + rng.normal(0, 8, (block, HEIGHT, WIDTH))).clip(0, 255).astype(np.uint8)
        write_block(str(path), k * block, frames)
    chunks = path / "video" / "c"
    for k in range(DISTINCT, -(-FRAMES // block)):
        (chunks / str(k) / "0").mkdir(parents=True)
        os.link(chunks / str(k % DISTINCT) / "0" / "0", chunks / str(k) / "0" / "0")
    n, damaged = np.arange(FRAMES), rng.random(FRAMES) < 0.002
    tables = {
        "frame_num": n + 1000,
        "timestamp_first": 1.7e9 + n / 20,
        "timestamp_last": 1.7e9 + n / 20 + 0.04,
        "source": (n // 37 % 2).astype(np.int8),
        "num_buffers": np.full(FRAMES, 8, np.int16),
        "missing_pixels": np.where(damaged, 5032, 0).astype(np.int32),
        "damaged": damaged,
        "unrecoverable": damaged,
    }
    write_frame_tables(str(path), tables)
    scores = {v.name: rng.integers(0, 9000, (2, FRAMES)).astype(v.dtype) for v in SCORE_VARIABLES}
    write_group(str(path), "scores", SCORE_VARIABLES, scores.__getitem__, {})
    consolidate(str(path))


def measure(path: Path) -> None:
    code = "from miostitch.cli.main import main; main()"
    command = [sys.executable, "-c", code, "view", str(path), "--no-browser", "--json"]
    begun = time.perf_counter()
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        browser() as found,
    ):
        assert process.stdout is not None
        url = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")["url"]
        print(f"command to address: {time.perf_counter() - begun:.2f} s (with Chromium's start)")
        page = found.new_page()
        begun = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.locator("#facts tbody tr").first.wait_for()
        print(f"address to first frame: {1000 * (time.perf_counter() - begun):.0f} ms")
        page.wait_for_timeout(3000)
        tell("steps", [page.evaluate(STEP, "ArrowRight") for _ in range(1000)])
        places = np.random.default_rng(1).integers(0, FRAMES, 100).tolist()
        tell("far jumps", [page.evaluate(GO, place) for place in places])
        status = Path(f"/proc/{process.pid}/status").read_text()
        print(next(line for line in status.splitlines() if line.startswith("VmHWM")))
        process.terminate()


def tell(what: str, took_ms: list[float]) -> None:
    slow = quantiles(took_ms, n=100)[94]
    print(f"{what}: median {median(took_ms):.1f}, 95 % {slow:.1f}, most {max(took_ms):.1f} ms")


if __name__ == "__main__":
    store = Path(sys.argv[1]) / "nine_hours.zarr"
    if not store.exists():
        make(store)
    measure(store)
