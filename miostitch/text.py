"""Text that any file or terminal takes."""

import os


def printable(text: str) -> str:
    r"""Replace what UTF-8 cannot hold, as in file names of other encodings, by ``\x`` escapes.

    Examples
    --------
    >>> printable("caf\udce9.avi")
    'caf\\xe9.avi'
    """
    return os.fsencode(text).decode("utf-8", "backslashreplace")
