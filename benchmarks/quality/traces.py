"""What each filter of denoising does to the traces of cells whose activity is known.

``python benchmarks/quality/traces.py [FOLDER]`` prints tables in Markdown, and fails if the flicker
correction misses what the documentation states. ``--write`` puts them into the documentation.
FOLDER holds a real recording of one receiver, ``truth`` (.avi + .csv); cells with known activity
are added to those of its frames that have all buffers. The simulated movies need no files.

A trace is the mean of the pixels in which a cell has at least half of its peak brightness, minus
its mean over time; the true one is the same of the light of all added cells. *Correlation* is that
of both; *gain* is the slope of the trace over the true one; *SNR* is the power of the true trace
over that of the difference, after division by the gain, in dB. Each is the median of all cells.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

import miostitch
from miostitch.config.models import DenoiseConfig
from miostitch.denoising import filters

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "traces.inc.md"
OFF = {"enable": False}
NOTHING: dict[str, Any] = {"frequency_masking": OFF, "flicker_correction": OFF}
STRIPES = {"vertical_BEF_cutoff": 2, "horizontal_BEF_cutoff": 0}
WAYS: dict[str, dict[str, Any]] = {
    "not filtered": {},
    "stripe filter, radius 15": {
        "frequency_masking": STRIPES | {"spatial_LPF_cutoff_radius": 15},
    },
    "stripe filter, radius 5": {"frequency_masking": STRIPES | {"spatial_LPF_cutoff_radius": 5}},
    "flicker correction, rows only": {"flicker_correction": {"frames": False}},
    "flicker correction, frames only": {"flicker_correction": {"rows": False}},
    "flicker correction": {"flicker_correction": {}},
}
LEAST_CORRELATION, GAINS = 0.95, (0.9, 1.05)  # promised where amplitude is 6 and sigma 4
EVENTS_PER_FRAME, DECAY_FRAMES = 0.005, 8.0


@dataclass(frozen=True)
class Cells:
    """Cells to be added to frames."""

    amplitude: float  # Largest gray value of each, at its center
    sigma: float  # Their radius in pixels
    number: int = 40
    seed: int = 1

    def make(self, frames: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Footprints (cell, height, width) with peaks of 1, and activity (cell, frame)."""
        rng = np.random.default_rng(self.seed)
        y, x = np.mgrid[:height, :width]
        margin = min(3 * self.sigma, height / 4, width / 4)
        at = rng.uniform(margin, [height - margin, width - margin], (self.number, 2))
        square = (y - at[:, 0, None, None]) ** 2 + (x - at[:, 1, None, None]) ** 2
        spikes = (rng.random((self.number, frames)) < EVENTS_PER_FRAME) * rng.uniform(
            0.5, 1.0, (self.number, frames)
        )
        spikes[np.arange(self.number), rng.integers(frames // 2, size=self.number)] = 1
        kernel = np.exp(-np.arange(10 * DECAY_FRAMES) / DECAY_FRAMES)
        activity = np.array([np.convolve(each, kernel)[:frames] for each in spikes])
        activity *= self.amplitude / activity.max(axis=1, keepdims=True)
        return np.exp(-square / (2 * self.sigma**2)), activity


class Movie(NamedTuple):
    """Frames with cells of known activity."""

    name: str
    frames: np.ndarray  # uint8 (frame, height, width)
    pixels: list[np.ndarray]  # Of each cell, in a flattened frame
    true: np.ndarray  # Traces of the light alone, (cell, frame)


class Figures(NamedTuple):
    """How well the traces of a movie follow the activity; medians of its cells."""

    correlation: float
    gain: float
    snr_db: float

    def __str__(self) -> str:
        return f"{self.correlation:.3f} / {self.gain:.2f} / {self.snr_db:.1f}"


def add_cells(name: str, frames: np.ndarray, cells: Cells) -> Movie:
    """Add cells to frames, in gray values that a camera would round."""
    footprints, activity = cells.make(*frames.shape)
    light = np.einsum("cf,chw->fhw", activity, footprints, optimize=True)
    pixels = [np.flatnonzero(each >= 0.5) for each in footprints]
    gray = np.clip(np.rint(frames + light), 0, 255).astype(np.uint8)
    return Movie(name, gray, pixels, traces(light, pixels))


def traces(frames: np.ndarray, pixels: list[np.ndarray]) -> np.ndarray:
    """Mean of the pixels of each cell, minus its mean over time, (cell, frame)."""
    flat = frames.reshape(len(frames), -1)
    found = np.array([flat[:, each].mean(axis=1) for each in pixels])
    return found - found.mean(axis=1, keepdims=True)


def intact_frames(path: Path) -> np.ndarray:
    """The frames of a recording whose table has all of their buffers."""
    recording = miostitch.open_recording(path, lag=0)
    buffers = recording.num_buffers.to_numpy()
    return recording.video[buffers == buffers.max()].to_numpy()


def real_movies(path: Path) -> Iterator[Movie]:
    """Cells in real frames."""
    frames = intact_frames(path)
    for cells in (Cells(6, 4), Cells(12, 4), Cells(6, 2), Cells(12, 8), Cells(12, 4, 150)):
        name = f"real frames, amplitude {cells.amplitude:g}, sigma {cells.sigma:g}"
        yield add_cells(name + (", 150 cells" * (cells.number == 150)), frames, cells)


def simulated_frames(
    count: int, size: int, *, rows: float, whole: float, seed: int = 2
) -> np.ndarray:
    """A vignette with noise of a camera, and offsets of rows and frames of this deviation."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size - 0.5
    field = 20 + 60 * np.exp(-4 * (x**2 + y**2))
    frames = rng.normal(field, np.sqrt(field) / 4, (count, size, size))
    frames += rng.normal(0, rows, (count, size, 1)) + rng.normal(0, whole, (count, 1, 1))
    return frames


def shared_by_the_field(frames: np.ndarray) -> np.ndarray:
    """A slow change of brightness that all of the field shares, as neuropil has."""
    return frames + 6 * np.sin(np.arange(len(frames)) / 15)[:, None, None]


def simulated_movies(count: int = 400, size: int = 128) -> Iterator[Movie]:
    """Cells in simulated frames, with and without flicker."""
    flickering = simulated_frames(count, size, rows=1.0, whole=1.0)
    quiet = simulated_frames(count, size, rows=0.0, whole=0.0)
    cells = Cells(8, 3, 20)
    yield add_cells("simulated, flicker 1 of rows and frames", flickering, cells)
    yield add_cells("simulated, no flicker", quiet, cells)
    yield add_cells("simulated, no flicker, crowded", quiet, Cells(8, 6, 60))
    yield add_cells("simulated, field-wide signal", shared_by_the_field(quiet), cells)


def denoised(frames: np.ndarray, way: dict[str, Any]) -> np.ndarray:
    config = DenoiseConfig.model_validate(NOTHING | way)
    recording = xr.Dataset({"video": (("frame", "height", "width"), frames)})
    return miostitch.denoise(recording, config).dataset.video.to_numpy()


def measure(movie: Movie, frames: np.ndarray) -> Figures:
    """Compare the traces of filtered frames with the activity."""
    found = []
    for trace, true in zip(traces(frames, movie.pixels), movie.true, strict=True):
        gain = trace @ true / (true @ true)
        error = trace / gain - true
        correlation = np.corrcoef(trace, true)[0, 1]
        found.append((correlation, gain, 10 * np.log10(true @ true / (error @ error))))
    return Figures(*np.median(found, axis=0).tolist())


def compare_medians(count: int = 2550, size: int = 64) -> dict[str, tuple[float, Figures]]:
    """The temporal median of a sample against that of all frames.

    Returns, by the frames of the sample: root mean square of the difference in gray values, and
    what the traces are if it is used.
    """
    frames = simulated_frames(count, size, rows=1.0, whole=1.0)
    movie = add_cells("long", frames, Cells(8, 3, 10))
    exact = filters.temporal_median(movie.frames)
    samples = {
        f"all {count:,}": movie.frames,
        "255": movie.frames[filters.sampled_frames(count, size * size)],
        "35": movie.frames[filters.sampled_frames(count, filters.SAMPLED_BYTES)],
    }
    found = {}
    for name, sample in samples.items():
        usual = filters.temporal_median(sample)
        error = float(np.sqrt(np.mean((usual.astype(float) - exact) ** 2)))
        corrected = filters.FlickerCorrection(usual).apply(movie.frames)
        found[name] = error, measure(movie, corrected)
    return found


def table_of_movies(movies: Iterator[Movie]) -> tuple[list[str], list[str]]:
    """Lines of a table, and what of the promises is missed."""
    lines = [f"| correlation / gain / SNR in dB | {' | '.join(WAYS)} |", "|---" * 7 + "|"]
    missed = []
    for movie in movies:
        got = {name: measure(movie, denoised(movie.frames, way)) for name, way in WAYS.items()}
        lines.append(f"| {movie.name} | {' | '.join(map(str, got.values()))} |")
        best = got["flicker correction"]
        kept = best.correlation >= LEAST_CORRELATION and GAINS[0] <= best.gain <= GAINS[1]
        if movie.name.endswith("amplitude 6, sigma 4") and not kept:
            missed.append(f"{movie.name}: {best}")
    return lines, missed


def table_of_samples() -> list[str]:
    """Lines of the table on the temporal median."""
    head = "| temporal median of | error in gray values | correlation / gain / SNR in dB |"
    rows = [f"| {n} frames | {e:.2f} | {f} |" for n, (e, f) in compare_medians().items()]
    return [head, "|---" * 3 + "|", *rows]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="with truth.avi and truth.csv")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    given = parser.parse_args(arguments)
    if given.write and not given.folder:
        parser.error("--write: name the FOLDER of the real recording")
    movies = [*simulated_movies()]
    if given.folder:
        movies = [*real_movies(given.folder / "truth.avi"), *movies]
    lines, missed = table_of_movies(iter(movies))
    text = "\n".join([*lines, "", *table_of_samples()]) + "\n"
    print(text)
    if given.write:
        PAGE.write_text(text)
    if missed:
        print(f"missed by the flicker correction: {'; '.join(missed)}", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
