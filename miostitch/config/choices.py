"""Options of a call: keywords as on the command line, or an object that holds them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from miostitch.config.thresholds import ScoreConfig
from miostitch.errors import UsageError

if TYPE_CHECKING:
    import os

    from miostitch.config.models import DenoiseConfig

Options = TypeVar("Options")


def given(choices: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords that were given; the others keep their defaults."""
    return {name: value for name, value in choices.items() if value is not None}


def thresholds(config: "DenoiseConfig | str | os.PathLike[str]") -> ScoreConfig:
    """The noise thresholds of a configuration, given as it is, by its id or by its path."""
    from miostitch.config.files import to_config  # pydantic takes a tenth of a second to load

    return to_config(config).score_config()


def require_name(name: str | None) -> None:
    """Refuse a name of products that is none of a file on every system."""
    bad = name is not None and (set(name) & {*'/\\\0:*?"<>|'} or name.startswith("."))
    if name is not None and (bad or not name.strip(" .")):
        raise UsageError(f"name {name!r}: must be a file name without folder and ending")


def require_probability(name: str, value: float | None) -> None:
    """Refuse a number that is no probability; None is none."""
    if not (value is None or 0 <= value <= 1):
        raise UsageError(f"{name} {value}: must be from 0 to 1")


def is_session_file(path: "str | os.PathLike[str]") -> bool:
    """Whether a path names a session file, and no video or folder.

    >>> is_session_file("m1/session.yml"), is_session_file("m1/rec.avi")
    (True, False)
    """
    return str(path).lower().endswith((".yml", ".yaml"))


def require_one_way(choices: Mapping[str, Any], **objects: object) -> None:
    """Refuse keywords next to objects that hold such options, for one of them would be ignored.

    >>> require_one_way({"lag": 1}, reading=None)
    >>> require_one_way({"lag": 1}, reading="all options")
    Traceback (most recent call last):
    miostitch.errors.UsageError: lag and reading exclude each other; set lag in reading
    """
    held = [name for name, each in objects.items() if each is not None]
    if held and (names := ", ".join(given(choices))):
        where = " and ".join(held)
        raise UsageError(f"{names} and {where} exclude each other; set {names} in {where}")


def choose(kind: type[Options], name: str, held: Options | None, **choices: Any) -> Options:
    """Options of a kind: those that the parameter `name` holds, or made of keywords."""
    require_one_way(choices, **{name: held})
    if held is None:
        return kind(**given(choices))
    if not isinstance(held, kind):
        raise UsageError(f"{name} {held!r}: must be {kind.__name__}, or keywords")
    return held
