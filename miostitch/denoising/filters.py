"""The numbers behind ``denoise``: noisy frames, stripes, and the background of a recording.

All functions take blocks of frames, uint8 (frame, height, width), and a frame's result never
depends on the block it stands in.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from miostitch.config.thresholds import ScoreConfig
from miostitch.errors import UsageError
from miostitch.kernels.scores import count_rows
from miostitch.kernels.stripes import (
    WAVE_UNIT,
    Band,
    stripe_profiles,
    subtract_frame,
    subtract_stripes,
)

NEGLIGIBLE = 1e-12  # what is left of a table entry that cancels out


class FlaggedRows(NamedTuple):
    """How many rows of each frame look broken, int64 (frame,) each, by detector."""

    gradient: NDArray[np.int64]  # Rows whose mean absolute second difference exceeds the threshold
    black_area: NDArray[np.int64]  # Rows that hold a run of black pixels


METHODS = FlaggedRows._fields
"""Detectors of noisy frames."""


def flagged_rows(
    frames: NDArray[np.uint8],
    *,
    gradient_threshold: float = ScoreConfig.gradient_threshold,
    value_threshold: int = ScoreConfig.value_threshold,
    consecutive_threshold: int = ScoreConfig.consecutive_threshold,
) -> FlaggedRows:
    """Count the rows of every frame that look broken.

    ``frames``: uint8 (frame, height, width).

    Returns: Counts per frame, the rows by which :mod:`miostitch.kernels.scores` scores a frame.
    """
    out = np.empty((2, len(frames)), np.int64)
    count_rows(frames, value_threshold, consecutive_threshold, gradient_threshold, out)
    black, noisy = out
    return FlaggedRows(gradient=noisy, black_area=black)


def noisy_frames(
    rows: FlaggedRows, methods: Collection[str] = METHODS, *, min_rows: int = 1
) -> NDArray[np.bool_]:
    """Tell which frames to drop, bool (frame,): those that any of the methods flags."""
    if unknown := set(methods) - set(METHODS):
        raise UsageError(f"method {', '.join(sorted(unknown))}: use {' or '.join(METHODS)}")
    if min_rows < 1:
        raise UsageError(f"min_rows {min_rows}: at least 1 is needed")
    noisy = rows.gradient >= 1 if "gradient" in methods else np.zeros(len(rows.gradient), np.bool_)
    return noisy | (rows.black_area >= min_rows) if "black_area" in methods else noisy


class _Tables(NamedTuple):
    """The waves of a band across the rows (see :func:`_tables`); height and width as seen by it."""

    waves: NDArray[np.int32]
    source: NDArray[np.int64]
    responses: NDArray[np.float64]
    real: NDArray[np.float64]
    imaginary: NDArray[np.float64]

    def band(self, frames: NDArray[np.uint8]) -> Band:
        """The stripes in each frame: profiles, and the waves that they are multiplied by."""
        profiles = np.empty((len(frames), len(self.source), frames.shape[1]))
        stripe_profiles(frames, self.waves, self.source, self.responses, profiles)
        return profiles, self.real, self.imaginary


@dataclass(frozen=True)
class StripeFilter:
    """Takes bands of spatial frequencies out of frames of one shape.

    A vertical band of the spectrum is what makes horizontal stripes, and the other way round.
    Low frequencies inside both bands stay: they are the picture itself.

    The band from -c to below c is not symmetric, so the filtered frame is complex; its modulus is
    the result, cut to a whole number, as in mio 0.12.1.

    >>> stripes = np.full((1, 40, 40), 100, np.uint8)
    >>> stripes[:, ::2] += 20
    >>> np.unique(StripeFilter(40, 40, low_pass_radius=5, vertical_cutoff=2).apply(stripes))
    array([110], dtype=uint8)
    """

    height: int
    width: int
    # Frequencies up to this distance from zero are kept; mio's ``spatial_LPF_cutoff_radius``.
    low_pass_radius: int
    # Columns of the spectrum from minus this to below this are removed; mio's
    # ``vertical_BEF_cutoff``.
    vertical_cutoff: int = 5
    horizontal_cutoff: int = 0  # The same for its rows; mio's ``horizontal_BEF_cutoff``

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise UsageError(f"frames of {self.height} x {self.width} pixels: none to filter")
        for name in ("low_pass_radius", "vertical_cutoff", "horizontal_cutoff"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} {getattr(self, name)}: at least 0 is needed")

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Frequencies that stay, bool (height, width); zero is at (height // 2, width // 2)."""
        y = np.arange(self.height)[:, None] - self.height // 2
        x = np.arange(self.width) - self.width // 2
        band_x = (-self.vertical_cutoff <= x) & (x < self.vertical_cutoff)
        band_y = (-self.horizontal_cutoff <= y) & (y < self.horizontal_cutoff)
        stays: NDArray[np.bool_] = ~(band_x | band_y)
        return stays | (x**2 + y**2 <= self.low_pass_radius**2)

    def apply(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Filter frames.

        ``frames``: uint8 (frame, height, width); views of any strides.

        Returns: uint8 (frame, height, width), new.

        Holds 8 bytes per frame, row and wave beside the result, for shipped configurations a fifth
        of the frames; no GIL.
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
        """Tables of the vertical band, and of what the horizontal one removes beside it."""
        removed = np.fft.ifftshift(~self.mask)
        columns = np.fft.fftfreq(self.width, 1 / self.width).round()
        vertical = (-self.vertical_cutoff <= columns) & (columns < self.vertical_cutoff)
        return _tables(removed & vertical), _tables((removed & ~vertical).T)


class _Term(NamedTuple):
    """What a real wave contributes: its amount in each row, spread by a response, on a carrier."""

    source: tuple[int, bool]
    response: NDArray[np.float64]
    carrier: NDArray[np.complex128]


def _tables(removed: NDArray[np.bool_]) -> _Tables:
    """Write what a few columns of the spectrum hold as a sum of profiles times waves.

    ``removed`` has zero frequency first; of its columns k and -k either both hold the same or one
    holds nothing. Column k holds carrier_k[x] * (g * F_k)[y] of a frame: F_k is the amount of wave
    k in each row, g the inverse transform of what is removed of the column. F_k = A - i sign(k) B
    with the amounts A of a cosine and B of a sine, so these are up to four terms of a real profile
    and a complex carrier. k and -k share their profiles.
    """
    height, width = removed.shape
    x = np.arange(width)
    waves: dict[tuple[int, bool], NDArray[np.float64]] = {}
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
    waves: dict[tuple[int, bool], NDArray[np.float64]], terms: list[_Term], height: int, width: int
) -> _Tables:
    """Bring the terms that are not zero into arrays, those of a complex carrier first."""

    def is_there(values: NDArray[np.float64]) -> bool:
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


def spectrum(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Picture the spectrum of every frame: log magnitude, zero frequency in the middle.

    ``frames``: uint8 (frame, height, width).

    Returns: uint8 (frame, height, width); each frame from 0, its smallest value, to 255, its
    largest. A frame whose spectrum is the same everywhere is all 0.
    """
    out = np.zeros(frames.shape, np.uint8)
    for frame, picture in zip(frames, out, strict=True):
        magnitude = np.log1p(np.abs(np.fft.fftshift(np.fft.fft2(frame))))
        low, high = magnitude.min(), magnitude.max()
        if high > low:
            picture[:] = (magnitude - low) * (255 / (high - low))
    return out


def extremes(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Find the darkest and the brightest value of every pixel over a block.

    ``frames``: uint8 (frame, height, width).

    Returns: uint8 (2, height, width): minimum projection (the background) and maximum projection;
    255 and 0 of no frames, which :func:`combine_extremes` then passes over.
    """
    return np.stack([frames.min(axis=0, initial=255), frames.max(axis=0, initial=0)])


def combine_extremes(blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Find the extremes over blocks from those of each, in any order and grouping.

    ``blocks``: uint8 (block, 2, height, width), each as of :func:`extremes`.

    Returns: uint8 (2, height, width).
    """
    return np.stack([blocks[:, 0].min(axis=0, initial=255), blocks[:, 1].max(axis=0, initial=0)])


def difference_range(projections: NDArray[np.uint8]) -> int:
    """Largest value that any frame has above the minimum projection; the smallest is always 0.

    The largest difference of a pixel is its maximum minus its minimum. So one pass over the
    recording tells the background and the range of the differences at once.

    ``projections``: uint8 (2, height, width) of :func:`extremes`.
    """
    minimum, maximum = projections
    return int((np.maximum(minimum, maximum) - minimum).max(initial=0))


def subtract(
    frames: NDArray[np.uint8], background: NDArray[np.uint8], largest: int | None = None
) -> NDArray[np.uint8]:
    """Subtract a background, and stretch what is left; nothing ever wraps around.

    ``frames``: uint8 (frame, height, width); ``background``: uint8 (height, width), nowhere above
    the frames.

    Returns: uint8 (frame, height, width).
    """
    differences = np.arange(256 if largest is None else largest + 1)
    becomes = differences if largest is None else 255 * differences // max(largest, 1)
    out = np.empty(frames.shape, np.uint8)
    subtract_frame(frames, background, becomes.astype(np.uint8), out)
    return out
