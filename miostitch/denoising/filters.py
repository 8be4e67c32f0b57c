"""The numbers behind ``denoise``: noisy frames, stripes, and the background of a recording.

All functions take blocks of frames, uint8 (frame, height, width); the result of a frame never
depends on its block.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import F64, I32, I64, U8, Bools
from miostitch.config.thresholds import ScoreConfig
from miostitch.errors import UsageError
from miostitch.kernels.flicker import subtract_flicker
from miostitch.kernels.scores import score_frames
from miostitch.kernels.stripes import (
    WAVE_UNIT,
    Band,
    stripe_profiles,
    subtract_frame,
    subtract_stripes,
)

NEGLIGIBLE = 1e-12  # what is left of a table entry that cancels out
SAMPLED_FRAMES = 255  # of which a temporal median is taken
SAMPLED_BYTES = 2**26  # fewer frames if they are larger together, but at least as many as
LEAST_SAMPLED = 35
SAMPLED_TOGETHER = 5  # consecutive ones, as few blocks are read then


class FlaggedRows(NamedTuple):
    """How many rows of each frame look broken, int64 (frame,) each, by detector."""

    gradient: I64
    """Rows whose mean absolute second difference exceeds the threshold."""
    black_area: I64
    """Rows with a run of black pixels."""


METHODS = FlaggedRows._fields
"""Detectors of noisy frames."""

USUAL = ScoreConfig()


def flagged_rows(frames: U8, limits: ScoreConfig = USUAL) -> FlaggedRows:
    """Count the rows of every frame that look broken: those whose pixels the scores count."""
    out = np.empty((2, len(frames)), np.int64)
    score_frames(
        frames, limits.value_threshold, limits.consecutive_threshold, limits.gradient_threshold, out
    )
    black, noisy = out // frames.shape[2]
    return FlaggedRows(gradient=noisy, black_area=black)


def noisy_frames(
    rows: FlaggedRows, methods: Collection[str] = METHODS, *, min_rows: int = 1
) -> Bools:
    """Find the frames to drop, bool (frame,): those that any of the methods flags."""
    if unknown := set(methods) - set(METHODS):
        raise UsageError(f"method {', '.join(sorted(unknown))}: use {' or '.join(METHODS)}")
    if min_rows < 1:
        raise UsageError(f"min_rows {min_rows}: at least 1 is needed")
    noisy = np.zeros(len(rows.gradient), np.bool_)
    if "gradient" in methods:
        noisy |= rows.gradient >= 1
    if "black_area" in methods:
        noisy |= rows.black_area >= min_rows
    return noisy


class _Tables(NamedTuple):
    """The waves of a band across the rows, see :func:`_tables`."""

    waves: I32
    source: I64
    responses: F64
    real: F64
    imaginary: F64

    def band(self, frames: U8) -> Band:
        """Stripes in each frame: their profiles, and the waves that these are multiplied by."""
        profiles = np.empty((len(frames), len(self.source), frames.shape[1]))
        stripe_profiles(frames, self.waves, self.source, self.responses, profiles)
        return profiles, self.real, self.imaginary


def sampled_frames(count: int, pixels: int) -> I64:
    """Choose frames of ``count``, ascending, whose temporal median stands for that of all.

    They come in short runs, which are evenly spaced.
    """
    most = min(max(SAMPLED_BYTES // pixels, LEAST_SAMPLED), SAMPLED_FRAMES)
    if count <= most:
        return np.arange(count)
    number = most // SAMPLED_TOGETHER
    middle = (2 * np.arange(number) + 1) * count // (2 * number)
    places = np.arange(SAMPLED_TOGETHER) - SAMPLED_TOGETHER // 2
    return (middle[:, None] + places).ravel()


def temporal_median(frames: U8) -> U8:
    """Median of every pixel (height, width); of an even number the lower of the middle two."""
    middle = (len(frames) - 1) // 2
    found: U8 = np.partition(frames, middle, axis=0)[middle].copy()  # not all of them
    return found


@dataclass(frozen=True, eq=False)
class FlickerCorrection:
    """Subtracts what all pixels of a frame, or of a row of it, differ by from their usual value.

    ``usual`` (height, width) is the temporal median. ``rows``: what rows differ by from the whole
    frame; ``frames``: what the whole frame differs by. Either is the median over the pixels, which
    what covers less than half of them does not move. The result is limited to 0 and 255.
    """

    usual: U8
    rows: bool = True
    frames: bool = True

    def apply(self, frames: U8) -> U8:
        """Correct frames of any strides, uint8 (frame, height, width); the result is a new array.

        >>> usual = np.full((4, 6), 100, np.uint8)
        >>> frame = usual + np.array([[3], [3], [5], [3]], np.uint8)
        >>> FlickerCorrection(usual).apply(frame[None]).tolist() == [usual.tolist()]
        True
        """
        out = np.empty(frames.shape, np.uint8)
        subtract_flicker(frames, self.usual, self.rows, self.frames, out)
        return out


@dataclass(frozen=True)
class StripeFilter:
    """Removes bands of spatial frequencies from frames of one shape.

    A vertical band of the spectrum makes horizontal stripes, and the other way round. Low
    frequencies inside the bands stay: they are the image itself.

    The band from -c to below c is not symmetric, so the filtered frame is complex. Its modulus,
    rounded down, is the result, as in mio 0.12.1.

    Frequencies up to ``low_pass_radius`` from zero stay (mio's ``spatial_LPF_cutoff_radius``).
    Columns of the spectrum from minus to below ``vertical_cutoff`` are removed, and likewise its
    rows (``vertical_BEF_cutoff``, ``horizontal_BEF_cutoff``).

    >>> stripes = np.full((1, 40, 40), 100, np.uint8)
    >>> stripes[:, ::2] += 20
    >>> np.unique(StripeFilter(40, 40, low_pass_radius=5, vertical_cutoff=2).apply(stripes))
    array([110], dtype=uint8)
    """

    height: int
    width: int
    low_pass_radius: int
    vertical_cutoff: int = 5
    horizontal_cutoff: int = 0

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise UsageError(f"frames of {self.height} x {self.width} pixels: none to filter")
        for name in ("low_pass_radius", "vertical_cutoff", "horizontal_cutoff"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} {getattr(self, name)}: at least 0 is needed")

    @property
    def mask(self) -> Bools:
        """Frequencies that stay, bool (height, width); zero is at (height // 2, width // 2)."""
        y = np.arange(self.height)[:, None] - self.height // 2
        x = np.arange(self.width) - self.width // 2
        band_x = (-self.vertical_cutoff <= x) & (x < self.vertical_cutoff)
        band_y = (-self.horizontal_cutoff <= y) & (y < self.horizontal_cutoff)
        stays: Bools = ~(band_x | band_y)
        return stays | (x**2 + y**2 <= self.low_pass_radius**2)

    def apply(self, frames: U8) -> U8:
        """Filter frames of any strides, uint8 (frame, height, width); the result is a new array.

        Besides, this holds 8 bytes per frame, row and wave: for shipped configurations a fifth of
        the frames.
        """
        if frames.dtype != np.uint8 or frames.shape[1:] != (self.height, self.width):
            raise UsageError(
                f"frames of {frames.shape} {frames.dtype}:"
                f" uint8 (frame, {self.height}, {self.width}) is needed"
            )
        vertical, horizontal = self._bands
        out = np.empty(frames.shape, np.uint8)
        across = frames.transpose(0, 2, 1)
        subtract_stripes(frames, vertical.band(frames), horizontal.band(across), out)
        return out

    @cached_property
    def _bands(self) -> tuple[_Tables, _Tables]:
        """Tables of the vertical band, and of what the horizontal one removes besides."""
        removed = np.fft.ifftshift(~self.mask)
        columns = np.fft.fftfreq(self.width, 1 / self.width).round()
        vertical = (-self.vertical_cutoff <= columns) & (columns < self.vertical_cutoff)
        return _tables(removed & vertical), _tables((removed & ~vertical).T)


class _Term(NamedTuple):
    """Part of a real wave: its amount in each row, convolved with a response, on a carrier."""

    source: tuple[int, bool]
    response: F64
    carrier: NDArray[np.complex128]


def _tables(removed: Bools) -> _Tables:
    """Write a few columns of the spectrum as a sum of profiles times waves.

    ``removed`` (height, width) has zero frequency first; its columns k and -k are either equal or
    one of them is empty. Column k of a frame is carrier_k[x] * (g * F_k)[y]: F_k is the amount of
    wave k in each row, g the inverse transform of what is removed of the column. F_k = A - i
    sign(k) B with the amounts A of a cosine and B of a sine, so these are up to four terms of a
    real profile and a complex carrier. k and -k share their profiles.
    """
    height, width = removed.shape
    x = np.arange(width)
    waves: dict[tuple[int, bool], F64] = {}
    terms: dict[tuple[int, int], _Term] = {}
    for column in np.flatnonzero(removed.any(axis=0)).tolist():
        k = (column + width // 2) % width - width // 2
        sign, angle = np.sign(k), 2 * np.pi * (abs(k) * x % width) / width
        g = np.fft.ifft(removed[:, column])
        cosine, sine = (abs(k), False), (abs(k), True)
        waves |= {cosine: np.cos(angle), sine: np.sin(angle)}
        carrier = (np.cos(angle) + 1j * sign * np.sin(angle)) / width
        parts = (
            _Term(cosine, g.real, carrier),
            _Term(sine, g.real, -1j * sign * carrier),
            _Term(cosine, g.imag, 1j * carrier),
            _Term(sine, g.imag, sign * carrier),
        )
        for n, part in enumerate(parts):
            twin = terms.get((abs(k), n))
            both = part.carrier + (twin.carrier if twin else 0)
            terms[abs(k), n] = part._replace(carrier=both)
    return _stacked(waves, [*terms.values()], height, width)


def _stacked(
    waves: dict[tuple[int, bool], F64], terms: list[_Term], height: int, width: int
) -> _Tables:
    """Stack the terms that are not zero, those of a complex carrier first."""

    def is_there(values: F64) -> bool:
        return bool(np.abs(values).max() > NEGLIGIBLE)

    terms = [t for t in terms if is_there(t.response) and is_there(np.abs(t.carrier))]
    terms.sort(key=lambda term: is_there(term.carrier.imag), reverse=True)
    carriers = np.array([t.carrier for t in terms]).reshape(-1, width)
    responses = np.array([t.response for t in terms]).reshape(-1, height)
    names = sorted({t.source for t in terms})
    table = np.array([waves[name] for name in names]).reshape(-1, width)
    return _Tables(
        waves=np.rint(WAVE_UNIT * table).astype(np.int32),
        source=np.array([names.index(t.source) for t in terms], np.int64),
        responses=np.tile(responses, 2),
        real=carriers.real.copy(),
        imaginary=carriers.imag[: sum(is_there(t.carrier.imag) for t in terms)].copy(),
    )


def spectrum(frames: U8) -> U8:
    """Draw the spectrum of every frame: log magnitude, zero frequency in the middle.

    Each is stretched over 0 to 255; one that is the same everywhere is all 0.
    """
    out = np.zeros(frames.shape, np.uint8)
    for frame, image in zip(frames, out, strict=True):
        magnitude = np.log1p(np.abs(np.fft.fftshift(np.fft.fft2(frame))))
        low, high = magnitude.min(), magnitude.max()
        if high > low:
            image[:] = (magnitude - low) * (255 / (high - low))
    return out


def extremes(frames: U8) -> U8:
    """Minimum projection, which is the background, and maximum projection (2, height, width).

    Of no frames they are 255 and 0, which :func:`combine_extremes` then passes over.
    """
    return np.stack([frames.min(axis=0, initial=255), frames.max(axis=0, initial=0)])


def combine_extremes(blocks: U8) -> U8:
    """Combine the :func:`extremes` of blocks (block, 2, height, width), in any order."""
    return np.stack([blocks[:, 0].min(axis=0, initial=255), blocks[:, 1].max(axis=0, initial=0)])


def difference_range(projections: U8) -> int:
    """Largest difference of any frame from the background, by its :func:`extremes`.

    So one pass over the recording gives the background and the range of the differences.
    """
    minimum, maximum = projections
    return int((np.maximum(minimum, maximum) - minimum).max(initial=0))


def subtract(frames: U8, background: U8, largest: int | None = None) -> U8:
    """Subtract a background (height, width), nowhere above the frames, without wrapping around.

    With ``largest``, differences of 0 to that are stretched over 0 to 255.
    """
    differences = np.arange(256 if largest is None else largest + 1)
    becomes = differences if largest is None else 255 * differences // max(largest, 1)
    out = np.empty(frames.shape, np.uint8)
    subtract_frame(frames, background, becomes.astype(np.uint8), out)
    return out
