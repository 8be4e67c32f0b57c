"""The command line, called here (quick) or as the installed program (what only a process shows)."""

import gc
import subprocess
import sysconfig
from pathlib import Path

from click.testing import CliRunner, Result

from miostitch import cli

COMMAND = str(Path(sysconfig.get_path("scripts"), "miostitch"))


def run(*args: str, code: int = 0) -> Result:
    """Run a command in this process."""
    done = CliRunner().invoke(cli.main, args)
    gc.unfreeze()  # a program ends here, but these go on
    assert done.exit_code == code, done.stderr
    return done


def run_installed(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the installed program."""
    done = subprocess.run(
        [COMMAND, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == code, done.stderr
    return done
