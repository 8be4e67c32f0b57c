"""How much of a real bit stream comes back from two or three flawed captures of it.

``python benchmarks/quality/capture3.py FOLDER [--simulate]`` prints a table in Markdown. FOLDER
holds ``receiver1..3`` and ``truth`` (.avi + .csv). The truth only measures. R counts the buffers
that at least one of the receivers has bit-exact.
"""

import argparse
import time
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pandas as pd

from miostitch.compositing import (
    Copies,
    Evidence,
    compose_block,
    delivered_pixels,
    glue_piece,
    learn_model,
)
from miostitch.repair import derive_layout, repair_table


class Capture(NamedTuple):
    frames: np.ndarray
    given: np.ndarray
    frame_num: np.ndarray
    bounds: np.ndarray
    width: int
    repairs: int


def load(path: Path) -> Capture:
    """Frames of one capture by ascending repaired frame_num, pieces glued."""
    table = pd.read_csv(path.with_suffix(".csv"))
    layout = derive_layout(table)
    repaired, log = repair_table(table, layout)
    with av.open(str(path), format="avi") as container:
        images = [frame.to_ndarray() for frame in container.decode(video=0)]
    video = np.stack(images).reshape(len(images), -1)
    sizes = np.array(layout.sizes)
    bounds = np.append(0, np.cumsum(sizes))
    place = ("reconstructed_frame_index", "frame_buffer_count", "black_padding_px")
    given, _ = delivered_pixels(*(table[name].to_numpy() for name in place), sizes, len(video))
    index = table["reconstructed_frame_index"]
    inside = repaired[index.between(0, len(video) - 1)]
    owner = inside.groupby("reconstructed_frame_index")["frame_num"].agg(lambda n: n.mode()[0])
    keep: dict[int, int] = {}
    for piece, frame_num in owner.items():
        main = keep.setdefault(frame_num, piece)
        if main != piece:
            glue_piece(video[main], given[main], video[piece], given[piece], bounds)
    order = sorted(keep)
    rows = [keep[frame_num] for frame_num in order]
    return Capture(video[rows], given[rows], np.array(order), bounds, images[0].shape[1], len(log))


def exact(frames: np.ndarray, truth: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    return np.add.reduceat(frames != truth, bounds[:-1], axis=1) == 0


def measure(captures: list[Capture], truth: Capture) -> str:
    numbers = np.unique(np.concatenate([capture.frame_num for capture in captures]))
    shape = len(captures), len(numbers)
    frames = np.zeros((*shape, truth.bounds[-1]), np.uint8)
    given = np.zeros((*shape, len(truth.bounds) - 1), np.int32)
    for capture, pixels, rows in zip(captures, frames, given, strict=True):
        at = np.searchsorted(numbers, capture.frame_num)
        pixels[at], rows[at] = capture.frames, capture.given
    copies = Copies(frames, given, truth.bounds, truth.width)
    model = learn_model([copies])
    compose_block(copies, model)
    start = time.perf_counter()
    result = compose_block(copies, model)
    micros = (time.perf_counter() - start) / len(numbers) * 1e6

    invented = int((~np.isin(numbers, truth.frame_num)).sum())
    shared = np.isin(numbers, truth.frame_num)
    same = np.isin(truth.frame_num, numbers)
    wanted, there = truth.frames[same], truth.given[same] > 0
    by_receiver = np.stack([exact(f[shared], wanted, truth.bounds) & there for f in frames])
    anyone = by_receiver.any(axis=0)
    ours = exact(result.frames[shared], wanted, truth.bounds) & there
    pixels = np.repeat(there, np.diff(truth.bounds), axis=1)
    right = (result.frames[shared] == wanted)[pixels].mean()
    best_frame = (by_receiver | ~there).all(axis=2).any(axis=0)
    total = (truth.given > 0).sum()
    return (
        f"{anyone.sum()} | {ours.sum()} of {total} | {ours.sum() / anyone.sum():.4f} "
        f"| {100 * (ours & anyone).sum() / anyone.sum():.2f} % | {100 * right:.4f} % "
        f"| {(ours | ~there).all(axis=1).sum()} of {len(truth.frames)} | {best_frame.sum()} "
        f"| {(result.evidence == Evidence.STRETCHES).sum()} | {invented} | {micros:.0f} |"
    )


def corrupt(truth: Capture, seed: int, errors: float, bursts: float) -> Capture:
    """Another receiver of the truth: bursts with a share of wrong bits, flips, and losses."""
    random = np.random.default_rng(seed)
    frames, given = truth.frames.copy(), truth.given.copy()
    for frame, buffer in np.argwhere(given > 0):
        lo, hi = truth.bounds[buffer], truth.bounds[buffer + 1]
        if random.random() < 0.03:
            frames[frame, lo:hi], given[frame, buffer] = 0, 0
            continue
        if random.random() < bursts:
            start = random.integers(lo, hi)
            stop = min(hi, start + int(random.exponential(500)) + 1)
            wrong = np.packbits(random.random((stop - start, 8)) < errors, axis=1)[:, 0]
            frames[frame, start:stop] ^= wrong
        if random.random() < 0.03:
            frames[frame, random.integers(lo, hi)] ^= np.uint8(1 << random.integers(8))
    return truth._replace(frames=frames, given=given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--simulate", action="store_true", help="also with simulated receivers")
    options = parser.parse_args()
    truth = load(options.folder / "truth.avi")
    receivers = [load(options.folder / f"receiver{i}.avi") for i in (1, 2, 3)]
    print("repaired cells:", *(receiver.repairs for receiver in receivers))
    print("| receivers | R | exact | exact / R | of R kept | pixels right | frames whole "
          "| best frame (oracle) | decided | invented | us/frame |")  # fmt: skip
    print("|---" * 11 + "|")
    groups = [*combinations(range(3), 2), (0, 1, 2)]
    for group in groups:
        print(f"| {group} |", measure([receivers[i] for i in group], truth))
    if options.simulate:
        for errors in (0.05, 0.3, 0.5):
            others = [corrupt(truth, seed, errors, 0.2) for seed in (1, 2, 3)]
            for group in ((0, 1), (0, 1, 2)):
                name = f"{len(group)} simulated, {100 * errors:.0f} % of bits"
                print(f"| {name} |", measure([others[i] for i in group], truth))


if __name__ == "__main__":
    main()
