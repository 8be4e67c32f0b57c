"""Thresholds of the noise scores, as plain values that travel with every result."""

from dataclasses import dataclass
from math import isfinite

from miostitch.errors import UsageError


@dataclass(frozen=True)
class ScoreConfig:
    """Thresholds of the noise scores; the defaults are those of mio 0.12.1.

    Parameters
    ----------
    value_threshold
        A pixel at or below this gray value is black.
    consecutive_threshold
        A row with a run of at least this many black pixels is black.
    gradient_threshold
        A row whose mean absolute second difference along ``width`` exceeds this is noisy.

    Raises
    ------
    UsageError
        A threshold is out of its range.
    """

    value_threshold: int = 0
    consecutive_threshold: int = 5
    gradient_threshold: float = 20.0

    def __post_init__(self) -> None:
        if not 0 <= self.value_threshold <= 255:
            msg = f"value_threshold {self.value_threshold}: a gray value from 0 to 255 is needed"
            raise UsageError(msg)
        if self.consecutive_threshold < 1:
            msg = f"consecutive_threshold {self.consecutive_threshold}: at least 1 is needed"
            raise UsageError(msg)
        if not (isfinite(self.gradient_threshold) and self.gradient_threshold >= 0):
            msg = f"gradient_threshold {self.gradient_threshold}: a finite number >= 0 is needed"
            raise UsageError(msg)
