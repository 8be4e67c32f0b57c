"""What filling lost frames does to the traces of cells whose activity is known.

``python benchmarks/quality/regular.py [FOLDER]`` prints a table in Markdown; ``--write`` puts it
into the documentation. FOLDER, the movies, the traces and their figures are those of
``traces.py``. Frames are lost one by one, or in a row of five, at random; then one frame per tick
is made as ``miostitch regularize`` does. *Left out* takes the frames that are left for equally
spaced, as a program does that is not told of the gaps. *Masked* leaves filled frames out of the
comparison.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from traces import Cells, Movie, add_cells, intact_frames, measure, simulated_frames

from miostitch.editing.regular import FILLS, Fill, RegularFrames

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "regular.inc.md"
LOSSES = ((0.01, 1), (0.05, 1), (0.05, 5), (0.2, 1))
"""Share of the frames that is lost, and how many are in a row."""

COLUMNS = ["nothing lost", "left out", *FILLS, "masked"]


def movies(folder: Path | None) -> Iterator[Movie]:
    """Cells in real frames, if there are some, and in simulated ones."""
    if folder is not None:
        frames = intact_frames(folder / "truth.avi")
        yield add_cells("real frames", frames, Cells(12, 4))
    frames = simulated_frames(2000, 64, rows=0.0, whole=0.0)
    yield add_cells("simulated", frames, Cells(8, 3, 20))


def received(count: int, share: float, row: int, seed: int = 3) -> np.ndarray:
    """Positions of the frames that are left; the first and the last one are."""
    rng = np.random.default_rng(seed)
    begins = rng.choice(np.arange(1, count - 1 - row), max(1, round(share * count / row)), False)
    lost = (begins[:, None] + np.arange(row)).ravel()
    return np.setdiff1d(np.arange(count), lost)


def filled(movie: Movie, left: np.ndarray, how: Fill) -> np.ndarray:
    """The frames with one per tick again."""
    regular = RegularFrames.of(left, len(movie.frames))
    return regular.plan(slice(None), how).fill(movie.frames[left])


def row_of(movie: Movie, share: float, row: int) -> str:
    """A line of the table."""
    left = received(len(movie.frames), share, row)
    shorter = movie._replace(true=centred(movie.true[:, : len(left)]))
    masked = movie._replace(true=centred(movie.true[:, left]))
    found = [measure(movie, movie.frames), measure(shorter, movie.frames[left])]
    found += [measure(movie, filled(movie, left, how)) for how in FILLS]
    found.append(measure(masked, movie.frames[left]))
    rows = "" if row == 1 else f", {row} in a row"
    name = f"{movie.name}, {100 * share:g} % lost{rows}"
    return f"| {name} | {' | '.join(map(str, found))} |"


def centred(true: np.ndarray) -> np.ndarray:
    """Traces minus their mean over time."""
    return true - true.mean(axis=1, keepdims=True)


def table(folder: Path | None) -> str:
    """The whole table."""
    lines = [f"| correlation / gain / SNR in dB | {' | '.join(COLUMNS)} |"]
    lines.append("|---" * (len(COLUMNS) + 1) + "|")
    lines += [row_of(movie, *loss) for movie in movies(folder) for loss in LOSSES]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    text = table(chosen.folder)
    print(text, end="")
    if chosen.write:
        PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
