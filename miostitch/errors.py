"""Everything miostitch raises on purpose.

One base class, and leaves that also subclass the builtin a caller would expect. The class has the
exit code of the command line; the message names the file, the row or frame, what is wrong and what
to do about it.
"""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Notice:
    """What a user should be told of a file: as a text, or raised as the reason of an error."""

    path: str  # The file; nothing where the text names several
    text: str
    remedy: str = ""  # What to do about it, or what was done

    def __str__(self) -> str:
        where, remedy = self.path and f"{self.path}: ", self.remedy and f"; {self.remedy}"
        return f"{where}{self.text}{remedy}"


class MiostitchError(Exception):
    """Base of every error that miostitch raises on purpose."""

    exit_code = 6
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
