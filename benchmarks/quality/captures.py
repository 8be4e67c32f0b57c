"""How exact captures with known truth come back.

``python benchmarks/quality/captures.py FOLDER...`` prints a table in Markdown. Each FOLDER holds
``receiver1``, ``receiver2`` and so on, and ``truth`` (.avi + .csv): a capture, or a session of
``miostitch simulate``. It counts exact buffers by frame, by buffer and by three simple rules, and
shows how often buffers and frames are exact that are said to be so with some confidence.
"""

import argparse
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from miostitch.composing.composition import Copies, compose_block
from miostitch.composing.confidence import buffer_confidence, chosen_confidence, frame_confidence
from miostitch.composing.copies import learn, plan_copies
from miostitch.recording.files import ReadOptions
from miostitch.recording.recording import open_recordings
from miostitch.session.session import Session, bring_together
from miostitch.stitching.selection import find_alike
from miostitch.stitching.stitched import stitch

STEPS = (0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.01)
CERTAIN = 0.95


class Capture(NamedTuple):
    """What arrived and what was sent, both of the frames of the result."""

    copies: Copies
    truth: np.ndarray  # (frame, pixel)
    there: np.ndarray  # which buffers the truth has, (frame, buffer)
    ways: dict[str, np.ndarray]  # frames (frame, pixel) of each way to choose
    confidence: dict[str, np.ndarray]  # of each buffer, by frame and by buffer: (frame, buffer)


def load(folder: Path) -> Capture:
    videos = sorted(map(str, folder.glob("receiver*.avi")))
    session = open_session(videos)
    count = session.shape[0]
    truth, there, numbers = load_truth(folder / "truth.avi")
    place = {number: at for at, number in enumerate(numbers.tolist())}
    at = np.array([place.get(number, -1) for number in session.frame_num(slice(0, count)).tolist()])
    own = session.source_frame(slice(0, count))
    readers = [r.reader(frames) for r, frames in zip(session.recordings, own, strict=True)]
    at_hand = plan_copies(session, slice(0, count)).read(readers)
    copies, read = at_hand.glued(), at_hand.candidates
    source = stitch(videos, by="frame").source.to_numpy()
    model = learn(session)
    composed = compose_block(copies, model)
    ways = {
        "by frame": copies.frames[source, np.arange(count)],
        "by buffer": composed.frames,
        "buffer majority": majority_of_buffers(copies),
        "pixel majority": majority_of_pixels(copies),
        "bit majority": majority_of_bits(copies),
    }
    chosen = chosen_confidence(
        source,
        read.reshape(len(read), count, -1),
        find_alike(read),
        session.delivered(slice(0, count)),
        model,
        session.bounds,
    )
    confidence = {
        "by frame": chosen,
        "by buffer": buffer_confidence(composed, model, session.bounds),
    }
    return Capture(copies, truth[at], there[at] & (at >= 0)[:, None], ways, confidence)


def open_session(videos: list[str]) -> Session:
    return bring_together(open_recordings(videos, ReadOptions(), measure=True))


def load_truth(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames (frame, pixel), which of their buffers are there, and their numbers."""
    session = open_session([str(path)])
    everything = slice(0, session.shape[0])
    masks = session.delivered(everything)[0]
    there = (masks[:, None] >> np.arange(session.buffers, dtype=np.uint64) & np.uint64(1)) > 0
    video = session.recordings[0].reader(session.source_frame(everything)[0]).read()
    return video.reshape(len(video), -1), there, session.frame_num(everything)


def delivered(copies: Copies) -> np.ndarray:
    """Which pixels each recording has, (recording, frame, pixel)."""
    return np.repeat(copies.presence() > 0, np.diff(copies.bounds), axis=2)


def majority_of_buffers(copies: Copies) -> np.ndarray:
    """Take of every buffer what most recordings have alike, else the first copy."""
    out, have = np.zeros_like(copies.frames[0]), copies.presence()
    for frame, buffer in np.ndindex(have.shape[1:]):
        pixels = slice(*copies.bounds[buffer : buffer + 2])
        there = [
            frames[frame, pixels]
            for frames, n in zip(copies.frames, have[:, frame, buffer], strict=True)
            if n
        ]
        if there:
            votes = [sum((one == other).all() for other in there) for one in there]
            out[frame, pixels] = there[int(np.argmax(votes))]
    return out


def majority_of_pixels(copies: Copies) -> np.ndarray:
    """Take of every pixel the value that most recordings have, else that of the first."""
    have, frames = delivered(copies), copies.frames
    votes = np.stack(
        [((frames == one) & have).sum(axis=0) * own for one, own in zip(frames, have, strict=True)]
    )
    return np.take_along_axis(frames, votes.argmax(axis=0)[None], axis=0)[0]


def majority_of_bits(copies: Copies) -> np.ndarray:
    """Take every bit as most recordings have it, in a tie as the first one that is there has it."""
    have = delivered(copies)
    first = np.take_along_axis(copies.frames, have.argmax(axis=0)[None], axis=0)[0]
    out = np.zeros_like(first)
    for bit in range(8):
        ones = ((copies.frames >> bit & 1) * have).sum(axis=0, dtype=np.int16) * 2
        tied = ones == have.sum(axis=0)
        out |= np.where(tied, first >> bit & 1, ones > have.sum(axis=0)).astype(np.uint8) << bit
    return out


def exact_buffers(capture: Capture, frames: np.ndarray) -> np.ndarray:
    right = np.logical_and.reduceat(frames == capture.truth, capture.copies.bounds[:-1], axis=1)
    return right & capture.there


def print_counts(captures: dict[str, Capture]) -> None:
    names = [
        "capture",
        "receivers",
        "buffers",
        "in some receiver",
        *next(iter(captures.values())).ways,
    ]
    print(f"| {' | '.join(names)} |\n{'|---' * len(names)}|")
    for name, capture in captures.items():
        anyone = np.any(
            [exact_buffers(capture, frames) for frames in capture.copies.frames], axis=0
        )
        counts = [exact_buffers(capture, frames).sum() for frames in capture.ways.values()]
        cells = [len(capture.copies.frames), capture.there.sum(), anyone.sum(), *counts]
        print(f"| {name} | {' | '.join(map(str, cells))} |")


def print_calibration(captures: dict[str, Capture]) -> None:
    """Print how often buffers of a confidence are exact, and what it tells of frames."""
    for way in ("by frame", "by buffer"):
        pairs = [(c.confidence[way], exact_buffers(c, c.ways[way])) for c in captures.values()]
        sure = np.concatenate([each.ravel() for each, _ in pairs])
        right = np.concatenate([each.ravel() for _, each in pairs])
        print(f"\n| {way}: confidence | buffers | mean | exact |\n|---|---|---|---|")
        for low, high in pairwise(STEPS):
            of = (sure >= low) & (sure < high)
            if of.any():
                mean, share = sure[of].mean(), right[of].mean()
                print(f"| {low:g} to {min(high, 1):g} | {of.sum()} | {mean:.3f} | {share:.3f} |")
        print(f"\n| {way} | frames | exact | certain | of these exact | of exact | Brier | base |")
        print("|---" * 8 + "|")
        for name, (each, exact) in zip(captures, pairs, strict=True):
            print(f"| {name} | {describe_frames(frame_confidence(each), exact.all(axis=1))} |")
        frames = np.concatenate([frame_confidence(each) for each, _ in pairs])
        exact = np.concatenate([each.all(axis=1) for _, each in pairs])
        print(f"| all | {describe_frames(frames, exact)} |")


def describe_frames(confidence: np.ndarray, exact: np.ndarray) -> str:
    certain = confidence >= CERTAIN
    brier, base = ((confidence - exact) ** 2).mean(), exact.mean() * (1 - exact.mean())
    shares = (exact & certain).sum() / np.maximum(1, [certain.sum(), exact.sum()])
    counts = f"{len(exact)} | {exact.sum()} | {certain.sum()}"
    return f"{counts} | {shares[0]:.3f} | {shares[1]:.3f} | {brier:.4f} | {base:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    captures = {folder.name: load(folder) for folder in parser.parse_args().folders}
    print_counts(captures)
    print_calibration(captures)


if __name__ == "__main__":
    main()
