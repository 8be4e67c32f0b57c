"""Everything miostitch raises on purpose.

One base class, and leaves that also subclass the builtin a caller would expect. The class decides
the exit code of the command line (``exit_code``), the message names the file, the row or frame,
what is wrong and what to do about it.
"""

from dataclasses import dataclass


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

    @property
    def notice(self) -> Notice:
        """What went wrong, apart from the remedy if it was raised so."""
        reason = self.args[0] if self.args else ""
        return reason if isinstance(reason, Notice) else Notice("", str(self))


class UsageError(MiostitchError, ValueError):
    """A call, option or configuration that cannot be meant."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration that is not there, or cannot be meant."""


class InputError(MiostitchError, ValueError):
    """An input that cannot be used as it is."""

    exit_code = 3


class MissingInputError(InputError, FileNotFoundError):
    """A file that should be there is not."""

    # FileNotFoundError would print errno-style tuples; the message alone is wanted.
    __str__ = Exception.__str__


class VideoError(InputError):
    """A video that cannot be read, or not exactly."""


class TruncatedVideoError(VideoError, EOFError):
    """A video that ends, or has a hole, where its frames should be."""


class MetadataError(InputError):
    """A metadata table that cannot be read as buffers."""


class MismatchError(InputError):
    """Metadata and video disagree; ``salvage`` would go on with what matches."""


class AlignmentError(InputError, LookupError):
    """Recordings that cannot be brought together."""


class OutputExistsError(MiostitchError, FileExistsError):
    """A product is already there and may not be replaced."""

    exit_code = 4
    __str__ = Exception.__str__


class OutputLockedError(MiostitchError, BlockingIOError):
    """Another run is writing the same products."""

    exit_code = 4
    __str__ = Exception.__str__


class ResourceError(MiostitchError, OSError):
    """Disk, memory or permissions do not suffice."""

    exit_code = 5
    __str__ = Exception.__str__


class PlanError(ResourceError, MemoryError):
    """A run that would need more memory than it may use, found before it starts."""
