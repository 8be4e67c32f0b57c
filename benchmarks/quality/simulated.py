"""How much of simulated sessions, whose truth is known, comes back.

``python benchmarks/quality/simulated.py`` prints a table in Markdown and fails where a promise is
not kept; ``--quick`` takes a few short ones, names (``'bursts*'``) select scenarios.

A *candidate* for a frame the device made is a frame of a receiver's video that shows one of its
buffers at its place, and that a row of the receiver's table names (with a lag the first pictures
have none); a frame split by flipped headers has several from one receiver. A pixel is *available*
if some candidate holds its true value inside such a buffer. The *bound* counts the frames all of
whose pixels are available. It knows the truth, and no method does: where two receivers differ and
nothing but the truth tells which one is right, it counts the pixel all the same. Beyond it are only
buffers that a flipped header put in a wrong place, and that a method puts back.

* *complete*: output frames that equal the truth bit for bit, under their own ``frame_num`` in their
  own boot of the device.
* *oracle*: per frame, the candidate with fewest wrong pixels. By frame agrees with it where the
  output has no more wrong pixels than that, of all frames that have a candidate.
* *excess*: wrong pixels by buffer beyond those that are not available, in per cent of all pixels of
  the frames that have a candidate; a frame that is left out is wrong everywhere.
* *invented*: output frames whose ``frame_num`` the device never had in that boot, those that stand
  there twice, and those that show another frame than they say.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from math import log
from pathlib import Path
from typing import Literal, NamedTuple

import av
import numpy as np
import pandas as pd
import xarray as xr

from miostitch.schema import NO_FRAME
from miostitch.simulation.receivers import Simulation, SimulationConfig, simulate
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files

LEAST_OF_BOUND, LEAST_AGREEMENT, MOST_EXCESS_PERCENT = 0.995, 0.99, 0.1
WAYS: tuple[Literal["frame", "buffer"], ...] = ("frame", "buffer")
BURST_BUFFERS = 6
QUICK = ("independent-05-2", "bursts-20-3", "flips", "lag", "resets", "everything")
COLUMNS = (
    "scenario", "receivers", "frames in truth", "best single receiver", "by frame", "by buffer",
    "bound", "by buffer / bound", "oracle agreement", "excess wrong pixels", "invented",
)  # fmt: skip


def scenarios() -> dict[str, SimulationConfig]:
    """Every scenario by name; no fault but those it is named for."""
    none = dict.fromkeys(
        ("frame_loss", "corruption", "truncation", "overrun", "header_flips", "bursts"), 0.0
    )
    clean = SimulationConfig(frames=600, **none)
    found = {}
    for percent in (1, 5, 10, 20):
        for kind in ("independent", "bursts"):
            for receivers in (2, 3, 4):
                config = replace(clean, receivers=receivers, **loss(percent / 100, kind))
                found[f"{kind}-{percent:02}-{receivers}"] = config
    base = replace(clean, **loss(0.05, "independent"))
    clocks = {"clock_offset_s": 3.0, "clock_drift_ppm": 200.0}
    return found | {
        "frames": replace(base, frame_loss=0.02, bursts=0.3),
        "flips": replace(base, header_flips=0.01),
        "lag": replace(base, lag=1),
        "resets": replace(base, resets=2),
        "corruption": replace(base, corruption=0.02, bursts=0.1),
        "truncation": replace(base, truncation=0.02),
        "overrun": replace(base, overrun=0.02),
        "clocks": replace(base, **clocks),
        "everything": replace(
            base, frame_loss=0.01, header_flips=0.005, lag=1, resets=1, corruption=0.01,
            truncation=0.005, overrun=0.005, bursts=0.1, **clocks,
        ),
    }  # fmt: skip


def loss(share: float, kind: str) -> dict[str, float]:
    """Settings that lose a share of all buffers."""
    if kind == "independent":
        return {"buffer_loss": share, "bursts": 0.0}
    # bursts overlap: a buffer survives where none of the starts before it reaches it
    rate = -log(1 - share) / BURST_BUFFERS
    return {"buffer_loss": rate, "bursts": 1.0, "burst_length": BURST_BUFFERS}


class Truth(NamedTuple):
    """What the device made of a session, and what of it reached a receiver."""

    video: np.ndarray  # (frame, pixel)
    frame_num: np.ndarray  # (frame,)
    shown: np.ndarray  # (frame,): has a candidate
    best: np.ndarray  # wrong pixels of the best candidate of each receiver, (receiver, frame)
    unavailable: np.ndarray  # pixels that no candidate has right, (frame,)


def load_truth(simulation: Simulation) -> Truth:
    video = read_video(simulation.truth_video)
    table = pd.read_csv(simulation.truth_table, usecols=["frame_num", "reconstructed_frame_index"])
    frame_num = table.groupby("reconstructed_frame_index")["frame_num"].first().to_numpy()
    places = simulation.load_arrays()["video_frame"]  # (receiver, frame, buffer)
    edges = simulation.config.edges
    available = np.zeros(video.shape, bool)
    best = np.full(places.shape[:2], video.shape[1])
    for path, place, fewest in zip(simulation.recordings, places, best, strict=True):
        received = read_video(path)
        named = pd.read_csv(path.with_suffix(".csv"))["reconstructed_frame_index"].unique()
        place[~np.isin(place, named[named != NO_FRAME] + simulation.config.lag)] = NO_FRAME
        for buffer, shown_in in enumerate(place.T):
            frame, pixels = np.flatnonzero(shown_in != NO_FRAME), slice(*edges[buffer : buffer + 2])
            right = received[shown_in[frame], pixels] == video[frame, pixels]
            available[frame, pixels] |= right
            # a candidate counts as a whole, with what it holds beside this buffer
            wrong = (received[shown_in[frame]] != video[frame]).sum(axis=1)
            fewest[frame] = np.minimum(fewest[frame], wrong)
    shown = (places != NO_FRAME).any(axis=(0, 2))
    return Truth(video, frame_num, shown, best, (~available).sum(axis=1))


def read_video(path: Path) -> np.ndarray:
    with av.open(str(path), format="avi") as container:
        return np.stack([frame.to_ndarray().ravel() for frame in container.decode(video=0)])


class Output(NamedTuple):
    """A stitched recording against the truth."""

    wrong: np.ndarray  # pixels of each frame the device made that are not right, (frame,)
    invented: np.ndarray  # output frames

    @property
    def complete(self) -> int:
        return int((self.wrong == 0).sum())


def stitch(simulation: Simulation, folder: Path, by: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (frame, pixel) and ``frame_num`` (frame,) of the output."""
    lag = "auto" if simulation.config.lag else 0
    options = StitchOptions(by=by, lag=lag, codec=None)
    summary = stitch_files([str(path) for path in simulation.recordings], folder, options)
    store = next(path for path in summary["outputs"] if path.endswith(".zarr"))
    with xr.open_zarr(store) as stitched:
        video = stitched["video"].to_numpy()
        return video.reshape(len(video), -1), stitched["frame_num"].to_numpy()


def compare(video: np.ndarray, frame_num: np.ndarray, truth: Truth) -> Output:
    """Find each output frame in the truth, by its number and, among boots, by its pixels."""
    wrong = np.full(len(truth.video), truth.video.shape[1])
    taken = np.zeros(len(truth.video), bool)
    invented = np.zeros(len(video), bool)
    for i, (image, number) in enumerate(zip(video, frame_num, strict=True)):
        boots = np.flatnonzero((truth.frame_num == number) & ~taken)
        if not len(boots):
            invented[i] = True
            continue
        equal = (truth.video[boots] == image).sum(axis=1)
        own, right = boots[equal.argmax()], int(equal.max())
        if right < np.count_nonzero(image) / 2:
            elsewhere = (truth.video == image).sum(axis=1).max()
            invented[i] = elsewhere > max(right, np.count_nonzero(image) / 2)
        wrong[own], taken[own] = len(image) - right, True
    return Output(wrong, np.flatnonzero(invented))


class Row(NamedTuple):
    """What a scenario gave, and which promises it broke."""

    cells: tuple[str, ...]
    missed: tuple[str, ...]


def measure(name: str, config: SimulationConfig, outputs: dict[str, Output], truth: Truth) -> Row:
    bound = int((truth.unavailable[truth.shown] == 0).sum())
    agreement = float((outputs["frame"].wrong <= truth.best.min(axis=0))[truth.shown].mean())
    invented = {by: len(output.invented) for by, output in outputs.items()}
    missed = []
    if agreement < LEAST_AGREEMENT:
        missed.append(f"by frame agrees with the oracle in {agreement:.2%} of the frames")
    missed += [f"by {by} invents {count} frames" for by, count in invented.items() if count]
    composed = outputs["buffer"]
    beyond = (composed.wrong - truth.unavailable)[truth.shown].sum()
    percent = 100 * beyond / (truth.shown.sum() * truth.video.shape[1])
    share, excess = f"{composed.complete / max(bound, 1):.2%}", f"{percent:.4f} %"
    if composed.complete < LEAST_OF_BOUND * bound:
        missed.append(f"by buffer completes {share} of the bound")
    if percent > MOST_EXCESS_PERCENT:
        missed.append(f"by buffer has {excess} more wrong pixels than the bound")
    single = int((truth.best == 0).sum(axis=1).max())
    cells = (
        name, config.receivers, len(truth.video), single, outputs["frame"].complete,
        composed.complete, bound, share, f"{agreement:.2%}", excess, sum(invented.values()),
    )  # fmt: skip
    return Row(tuple(map(str, cells)), tuple(f"{name}: {what}" for what in missed))


def run(name: str, config: SimulationConfig) -> Row:
    with tempfile.TemporaryDirectory() as scratch:
        simulation = simulate(Path(scratch, "session"), config)
        truth = load_truth(simulation)
        outputs = {by: compare(*stitch(simulation, Path(scratch, by), by), truth) for by in WAYS}
    return measure(name, config, outputs, truth)


def select(patterns: list[str], *, quick: bool) -> Iterator[tuple[str, SimulationConfig]]:
    for name, config in scenarios().items():
        if any(fnmatch(name, pattern) for pattern in patterns or (QUICK if quick else ["*"])):
            yield name, replace(config, frames=200) if quick else config


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=f"scenarios: {', '.join(scenarios())}"
    )
    parser.add_argument("names", nargs="*", help="scenarios, as patterns; all by default")
    parser.add_argument("--quick", action="store_true", help="few scenarios, 200 frames")
    parser.add_argument("--frames", type=int, help="frames the device makes")
    parser.add_argument("--size", type=int, help="height and width of a frame")
    parser.add_argument("--seed", type=int, default=0, help="another session of the same kind")
    options = parser.parse_args(arguments)
    size = {"height": options.size, "width": options.size, "frames": options.frames}
    changes = {key: value for key, value in size.items() if value} | {"seed": options.seed}
    chosen = list(select(options.names, quick=options.quick))
    if not chosen:
        parser.error("no such scenario")
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    missed = []
    for name, config in chosen:
        row = run(name, replace(config, **changes))
        print(f"| {' | '.join(row.cells)} |", flush=True)
        missed += row.missed
    print(*missed, sep="\n", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
