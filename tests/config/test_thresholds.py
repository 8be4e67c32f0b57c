"""Thresholds out of range are refused."""

import pytest

from miostitch.config.thresholds import ScoreConfig
from miostitch.errors import UsageError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("value_threshold", -1),
        ("value_threshold", 256),
        ("consecutive_threshold", 0),
        ("gradient_threshold", -0.5),
        ("gradient_threshold", float("nan")),
        ("gradient_threshold", float("inf")),
    ],
)
def test_out_of_range(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=field):
        ScoreConfig(**{field: value})  # type: ignore[arg-type]


def test_the_defaults_are_those_of_mio() -> None:
    config = ScoreConfig()
    assert config.value_threshold == 0
    assert config.consecutive_threshold == 5
    assert config.gradient_threshold == 20
