"""Everything miostitch raises on purpose.

One base class, and leaves that also subclass the builtin a caller would expect. The class has the
exit code of the command line; the message names the file, the row or frame, what is wrong and what
to do about it.
"""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Self

from miostitch.text import printable

logger = logging.getLogger(__name__)

NUMBER = re.compile(r"-?\d[\d.]*")

OPTION = re.compile(r"(--(no-)?([a-z]+(?:-[a-z]+)*)(?: (auto|\d+|time|frame-num|buffer))?)")
"""An option in a message: all of it, whether it is negated, its name, and its value."""

FLAGS = {"force", "salvage", "strict", "restart", "report", "repair", "drop-damaged"}
KEYWORDS = {"bin": "binning", "input": "recordings"}  # of options that are called otherwise
ONLY_COMMANDS = {"inputs", "port", "marks", "workers"}  # options of what Python has no function for


class Severity(IntEnum):
    """How much a finding matters; the values are levels of :mod:`logging`."""

    NOTE = logging.INFO  # Usual
    WARNING = logging.WARNING
    DOUBT = logging.ERROR  # A warning that puts the result in doubt
    ERROR = logging.CRITICAL  # No result can be right


@dataclass(frozen=True)
class Notice:
    """What a user should know of a file: as a text, or raised as the reason of an error."""

    path: str  # The file; nothing where the text names several
    text: str
    remedy: str = ""  # What to do about it, or what was done
    severity: Severity = Severity.WARNING

    def __str__(self) -> str:
        where, remedy = self.path and f"{self.path}: ", self.remedy and f"; {self.remedy}"
        return f"{where}{self.text}{remedy}"


def rank_notices(notices: Iterable[Notice]) -> list[Notice]:
    """Bring the most severe notices first, each once."""
    return sorted(dict.fromkeys(notices), key=lambda notice: -notice.severity)


def merge_notices(notices: Iterable[Notice]) -> dict[Notice, list[Notice]]:
    """Bring notices to one that differ in path and numbers alone, as those of segments do.

    Returns: Each notice as it is told, with a count, and all that it stands for; ranked.
    """
    alike: dict[object, list[Notice]] = {}
    for notice in rank_notices(notices):
        said = notice.text + notice.remedy
        kind = notice.severity, NUMBER.sub("", said) if notice.path else said
        alike.setdefault(kind, []).append(notice)
    return {_count_others(*group): group for group in alike.values()}


def _count_others(first: Notice, *others: Notice) -> Notice:
    if not others:
        return first
    return replace(first, path=f"{first.path} (and {len(others)} more like it)")


def merge_texts(texts: Iterable[str]) -> list[str]:
    """The same of notices that are texts already.

    >>> merge_texts(["a1.avi: frame 3 has no image", "a2.avi: frame 40 has no image"])
    ['a1.avi (and 1 more like it): frame 3 has no image']
    """
    notices = [
        Notice(path if found else "", said if found else path)
        for path, found, said in (text.partition(": ") for text in texts)
    ]
    return [str(notice) for notice in merge_notices(notices)]


def list_errors(notices: Iterable[Notice]) -> list[str]:
    """The texts of what no result can be right with."""
    return [str(n) for n in rank_notices(notices) if n.severity == Severity.ERROR]


def list_warnings(notices: Iterable[Notice]) -> list[str]:
    """The texts of what is neither usual nor an error, most severe first."""
    between = (Severity.WARNING, Severity.DOUBT)
    return [str(n) for n in rank_notices(notices) if n.severity in between]


def list_notes(notices: Iterable[Notice]) -> list[str]:
    """The texts of what is usual."""
    return [str(n) for n in rank_notices(notices) if n.severity == Severity.NOTE]


def report_notices(notices: Iterable[Notice], *, strict: bool = False) -> None:
    """Log notices, and refuse those that are errors; ``strict``: what puts a result in doubt too.

    Raises
    ------
    InputError
        There is one.
    """
    ranked = rank_notices(notices)
    refused = [n for n in ranked if n.severity >= (Severity.DOUBT if strict else Severity.ERROR)]
    for told, alike in merge_notices(n for n in ranked if n not in refused).items():
        covers = [printable(str(notice)) for notice in alike]
        text = printable(str(told))
        keywords = describe_keywords(text)
        said = f"{text} ({keywords})" if keywords else text
        # the command line prints what is without the keywords of Python
        logger.log(told.severity, "%s", said, extra={"covers": covers, "text": text})
    if refused:
        raise InputError("; ".join(map(str, refused)))


def keywords_of_options(text: str) -> dict[str, str]:
    """The keywords of Python that are options of the command line in a message.

    >>> keywords_of_options("exists; replace it with --force, or use --lag auto")
    {'--force': 'force=True', '--lag auto': "lag='auto'"}
    """
    found = {}
    for option, negated, name, value in OPTION.findall(text):
        keyword = KEYWORDS.get(name, name.replace("-", "_"))
        if name in ONLY_COMMANDS:
            continue
        if name in FLAGS:
            found[option] = f"{keyword}={not negated}"
        elif value:
            found[option] = f"{keyword}={value if value.isdigit() else repr(value)}"
        else:
            found[option] = keyword
    return found


def describe_keywords(text: str) -> str:
    """Say what the options in a message are called in Python; nothing where there are none.

    >>> describe_keywords("--salvage leaves them out")
    'In Python: --salvage is salvage=True.'
    """
    keywords = keywords_of_options(text).items()
    said = ", ".join(f"{option} is {keyword}" for option, keyword in keywords)
    return f"In Python: {said}." if said else ""


class MiostitchError(Exception):
    """Base of every error that miostitch raises on purpose."""

    exit_code = 6

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        if keywords := describe_keywords(str(self)):
            self.add_note(keywords)

    # OSError, a parent of some, would print errno-style tuples; the message alone is wanted.
    __str__ = Exception.__str__

    @property
    def notice(self) -> Notice:
        """What went wrong, apart from the remedy if it was raised so."""
        reason = self.args[0] if self.args else ""
        return reason if isinstance(reason, Notice) else Notice("", str(self))


class UsageError(MiostitchError, ValueError):
    """Invalid argument, option or configuration."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration that does not exist, or is invalid."""


class InputError(MiostitchError, ValueError):
    """An input that cannot be used as it is."""

    exit_code = 3


class MissingInputError(InputError, FileNotFoundError):
    """A file that does not exist."""

    def __new__(cls, *args: object) -> Self:
        """Make one: ValueError is the first builtin parent, and cannot make what is an OSError."""
        return FileNotFoundError.__new__(cls, *args)


class VideoError(InputError):
    """A video that cannot be read exactly."""


class TruncatedVideoError(VideoError, EOFError):
    """A video that ends, or has a hole, in the middle of its frames."""


class MetadataError(InputError):
    """A table of buffers that cannot be read."""


class MismatchError(InputError):
    """Table and video disagree; ``salvage`` would use what matches."""


class AlignmentError(InputError, LookupError):
    """Recordings that cannot be aligned."""


class OutputExistsError(MiostitchError, FileExistsError):
    """A product exists and may not be replaced."""

    exit_code = 4


class OutputLockedError(MiostitchError, BlockingIOError):
    """Another run is writing the same products."""

    exit_code = 4


class ResourceError(MiostitchError, OSError):
    """Not enough disk space, memory or permissions."""

    exit_code = 5


class PlanError(ResourceError, MemoryError):
    """A run that would exceed its memory limit, found before it starts."""
