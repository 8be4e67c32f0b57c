"""How much of a real bit stream comes back from two or three flawed captures of it.

``python benchmarks/quality/capture3.py FOLDER`` prints a table in Markdown and fails if a figure
the documentation states is missed. FOLDER holds ``receiver1..3`` and ``truth`` (.avi + .csv). The
truth only measures. R counts the buffers that at least one of the receivers has bit-exact.
"""

import argparse
import sys
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from miostitch.recording.recording import Recording
from miostitch.session.session import bring_together
from miostitch.stitching.options import StitchConfig
from miostitch.stitching.stitched import stitch


class Truth(NamedTuple):
    """Frames (frame, pixel), their counters, and which of their buffers were captured at all."""

    frames: np.ndarray
    frame_num: np.ndarray
    there: np.ndarray
    bounds: np.ndarray


class Figures(NamedTuple):
    """What comes back by one method."""

    exact: int
    kept: float
    right: float
    whole: int
    invented: int


def load_truth(path: Path) -> Truth:
    session = bring_together([Recording.open(path)])
    everything = slice(0, session.shape[0])
    masks = session.delivered(everything)[0]
    there = (masks[:, None] >> np.arange(session.buffers, dtype=np.uint64) & np.uint64(1)) > 0
    video = stitch([path]).video.to_numpy()
    frames = video.reshape(len(video), -1)
    return Truth(frames, session.frame_num(everything), there, session.bounds)


def right_pixels(video: xr.DataArray, truth: Truth) -> np.ndarray:
    """Which pixels of the truth are right, bool (frame, pixel)."""
    right = np.zeros(truth.frames.shape, bool)
    seen = np.isin(truth.frame_num, video.frame_num)
    frames = video.sel(frame_num=truth.frame_num[seen]).to_numpy()
    right[seen] = frames.reshape(len(frames), -1) == truth.frames[seen]
    return right


def exact_buffers(video: xr.DataArray, truth: Truth) -> np.ndarray:
    """Which buffers of the truth are right, bool (frame, buffer)."""
    right = right_pixels(video, truth)
    return np.logical_and.reduceat(right, truth.bounds[:-1], axis=1) & truth.there


def measure(video: xr.DataArray, truth: Truth, anyone: np.ndarray) -> Figures:
    exact = exact_buffers(video, truth)
    pixels = np.repeat(truth.there, np.diff(truth.bounds), axis=1)
    return Figures(
        int(exact.sum()),
        (exact & anyone).sum() / anyone.sum(),
        right_pixels(video, truth)[pixels].mean(),
        int((exact | ~truth.there).all(axis=1).sum()),
        int((~np.isin(video.frame_num, truth.frame_num)).sum()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    truth = load_truth(folder / "truth.avi")
    receivers = [folder / f"receiver{number}.avi" for number in (1, 2, 3)]
    alone = [exact_buffers(stitch([path]).video.load(), truth) for path in receivers]
    missed = []
    print("| receivers | R | by | exact buffers | exact / R | of R kept | pixels right | "
          "frames whole | invented |")  # fmt: skip
    print("|---" * 9 + "|")
    for group in [(0,), (1,), (2,), *combinations(range(3), 2), (0, 1, 2)]:
        anyone = np.logical_or.reduce([alone[i] for i in group])
        name = "+".join(str(i + 1) for i in group)
        for by in ("frame", "buffer"):
            stitched = stitch([receivers[i] for i in group], StitchConfig(by=by))
            got = measure(stitched.video.load(), truth, anyone)
            print(
                f"| {name} | {anyone.sum()} | {by} | {got.exact} of {truth.there.sum()} "
                f"| {got.exact / anyone.sum():.4f} | {100 * got.kept:.2f} % "
                f"| {100 * got.right:.4f} % | {got.whole} of {len(truth.frames)} "
                f"| {got.invented} |"
            )
            if by == "buffer" and len(group) > 1:
                enough = (
                    got.exact >= 1.02 * anyone.sum()
                    if len(group) == 2
                    else got.exact == truth.there.sum()
                )
                right = 0.997 if len(group) == 2 else 0.9995
                if not (enough and got.kept >= 0.993 and got.right >= right and not got.invented):
                    missed.append(name)
    if missed:
        sys.exit(f"missed by buffer: {', '.join(missed)}")


if __name__ == "__main__":
    main()
