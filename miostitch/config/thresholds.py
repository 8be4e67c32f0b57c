"""Thresholds of the noise scores, as plain values that travel with every result."""

from dataclasses import dataclass
from math import inf
from sys import float_info

from miostitch.errors import UsageError

THRESHOLDS: dict[str, tuple[int, float, str]] = {
    "value_threshold": (0, 255, "a gray value from 0 to 255"),
    "consecutive_threshold": (1, inf, "at least 1"),
    "gradient_threshold": (0, float_info.max, "a finite number >= 0"),
}
"""Least and largest value of each, and that in words."""


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
        for name, (least, most, what) in THRESHOLDS.items():
            if not least <= getattr(self, name) <= most:
                raise UsageError(f"{name} {getattr(self, name)}: {what} is needed")
