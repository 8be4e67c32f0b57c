"""Programs on a terminal of their own."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# Ctrl-C reaches who holds the terminal and does not ignore it, as the children of a runner in the
# background of a shell do.
TAKE_THE_TERMINAL = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@contextmanager
def on_a_terminal(
    command: Sequence[str], env: Mapping[str, str], folder: Path | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process and the other end of its terminal."""
    mine, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", TAKE_THE_TERMINAL, *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=env,
        cwd=folder,
    ) as process:
        os.close(theirs)
        try:
            yield process, mine
        except BaseException:
            process.kill()
            raise
    os.close(mine)
