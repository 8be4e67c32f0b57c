"""Text that any file or terminal takes."""

import os
import re

# All but tabs and line ends: they steer a terminal.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    r"""Replace by ``\x`` escapes what UTF-8 cannot hold, and what would steer a terminal.

    File names may have both: bytes of other encodings, and control characters.

    >>> printable("caf\udce9.avi"), printable("\x1b[31mred")
    ('caf\\xe9.avi', '\\x1b[31mred')
    """
    held = os.fsencode(text).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", held)


def amount(number: int, noun: str) -> str:
    """A number of things.

    >>> amount(1, "frame"), amount(2345, "frame")
    ('1 frame', '2,345 frames')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def from_here(text: str) -> str:
    """Write paths below the working folder in a text as they are typed from there.

    >>> from_here(f"{os.path.join(os.getcwd(), 'out', 'S.avi')}: exists")
    'out/S.avi: exists'
    """
    try:
        here = os.path.join(os.getcwd(), "")
    except FileNotFoundError:  # the folder was removed meanwhile
        return text
    # where a path begins, not inside of a longer one
    return re.sub(rf"(?<![^\s'\"(,=]){re.escape(here)}(?=[^\s/])", "", text)
