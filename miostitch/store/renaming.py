"""Renames that a virus scanner or a network folder may refuse for a moment."""

import errno
import os
import time

DELAYS_S = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.4)
"""Pauses between attempts: one second in all."""

FOR_A_MOMENT = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.ETXTBSY)
"""What is answered while another program has the file open."""

Path = str | os.PathLike[str]


def rename(source: Path, target: Path) -> None:
    """Rename a file or a folder; what is refused for a moment is tried again.

    A file that stands there is replaced.
    """
    for delay in DELAYS_S:
        try:
            os.replace(source, target)
        except OSError as error:
            if error.errno not in FOR_A_MOMENT:
                raise
            time.sleep(delay)
        else:
            return
    os.replace(source, target)
