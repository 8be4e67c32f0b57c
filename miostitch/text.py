"""Text that any file or terminal takes."""

import os
import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""All but tabs and line ends: they steer a terminal."""


def printable(text: str) -> str:
    r"""Replace by ``\x`` escapes what UTF-8 cannot hold, and what would steer a terminal.

    File names may have both: bytes of other encodings, and control characters.

    Examples
    --------
    >>> printable("caf\udce9.avi"), printable("\x1b[31mred")
    ('caf\\xe9.avi', '\\x1b[31mred')
    """
    held = os.fsencode(text).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", held)
